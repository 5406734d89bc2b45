//! How each kind of receiver is told: one file a kind.

mod alertmanager;
mod answer;
mod chat;
mod defaults;
mod email;
mod idna;
mod incidentio;
mod mattermost;
mod message;
mod opsgenie;
mod pagerduty;
mod pushover;
mod render;
mod rocketchat;
mod slack;
mod slack_text;
mod smtp;
mod telegram;
mod text;
mod threads;
mod values;
mod victorops;
mod webex;
mod webhook;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use super::acklink::AckLinks;
use super::config::{IntegrationConfig, PagingConfig};
use super::engine::{Job, Outcome};
use crate::model::Clock;
use crate::net::http::{HttpClient, TlsClient};
use message::{Message, Shared, deliver, form_request, json_request, post};

use crate::model::hex;

pub use defaults::DEFAULT_TEMPLATES;
pub use render::{NoTemplates, Render, RenderContext};
pub use slack::BUTTON;
pub use threads::{Thread, Threads};

/// Something that can be awaited elsewhere.
pub type Sending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Whatever carries notifications away; tests bring their own.
pub trait Transport: Send + Sync {
    /// One attempt.
    fn send(&self, job: Job) -> Sending;
}

/// One integration that can be sent to.
struct Sender {
    client: HttpClient,
    /// For what is not HTTP.
    tls: Option<TlsClient>,
    config: Arc<PagingConfig>,
    receiver: String,
    at: usize,
}

/// The senders of a configuration.
pub struct Senders {
    shared: Arc<Shared>,
    senders: HashMap<String, Arc<Sender>>,
}

/// What senders need beside their configuration.
pub struct SenderParts {
    /// Signs acknowledgements.
    pub links: Option<AckLinks>,
    /// Stands in messages.
    pub external_url: String,
    pub render: Arc<dyn Render>,
    pub clock: Arc<dyn Clock>,
    pub threads: Arc<Threads>,
}

impl Senders {
    /// Makes a client for every integration.
    ///
    /// # Errors
    /// A certificate or key that cannot be used, with the receiver's name.
    pub fn new(config: &Arc<PagingConfig>, parts: SenderParts) -> Result<Self, String> {
        let base_dir = config.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut senders = HashMap::new();
        for receiver in config.receivers.values() {
            let named = |e: &dyn std::fmt::Display| format!("receiver {:?}: {e}", receiver.name);
            for (at, integration) in receiver.integrations.iter().enumerate() {
                if matches!(integration.config, IntegrationConfig::CannotSend(_)) {
                    continue;
                }
                let client = HttpClient::new(&integration.http, &base_dir).map_err(|e| named(&e))?;
                let tls = match &integration.config {
                    IntegrationConfig::Email(c) => {
                        let tls = c.tls_config.clone().unwrap_or_default();
                        Some(TlsClient::new(tls, &base_dir).map_err(|e| named(&e))?)
                    }
                    _ => None,
                };
                let id = format!("{}/{}/{}", receiver.name, integration.kind, integration.index);
                let sender =
                    Sender { client, tls, config: Arc::clone(config), receiver: receiver.name.clone(), at };
                senders.insert(id, Arc::new(sender));
            }
        }
        let shared = Shared {
            base_dir,
            external_url: parts.external_url,
            render: parts.render,
            links: parts.links,
            link_ms: config.acknowledge.expires.ms(),
            clock: parts.clock,
            threads: parts.threads,
            slack_button: config.callbacks.slack.is_some(),
        };
        Ok(Self { shared: Arc::new(shared), senders })
    }
}

impl Transport for Senders {
    fn send(&self, job: Job) -> Sending {
        let id = format!("{}/{}/{}", job.receiver, job.kind, job.index);
        let Some(sender) = self.senders.get(&id).cloned() else {
            // The configuration has changed since the row was written.
            let reason = format!("there is no receiver {id} any more, or it cannot be sent to");
            return Box::pin(async move { Outcome::Final { reason } });
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { sender.send(&shared, &job).await })
    }
}

impl Sender {
    async fn send(&self, shared: &Shared, job: &Job) -> Outcome {
        let integration = self.config.receivers.get(&self.receiver).and_then(|r| r.integrations.get(self.at));
        let Some(integration) = integration else {
            return Outcome::Final { reason: "unknown integration".to_owned() };
        };
        // What a label says calls nobody. (Slack's own file does the same, and more.)
        let quiet = matches!(
            integration.config,
            IntegrationConfig::Discord(_)
                | IntegrationConfig::Mattermost(_)
                | IntegrationConfig::Rocketchat(_)
                | IntegrationConfig::Webex(_)
        )
        .then(|| values::changed(job, values::uncalled));
        let message = Message::new(quiet.as_ref().unwrap_or(job), shared);
        let (m, client) = (&message, &self.client);
        let outcome = match &integration.config {
            IntegrationConfig::Alertmanager(c) => alertmanager::send(c, m, client).await,
            IntegrationConfig::Discord(c) => chat::discord(c, m, client).await,
            IntegrationConfig::Email(c) => match &self.tls {
                Some(tls) => email::send(c, m, tls).await,
                None => Outcome::Final { reason: "no TLS".to_owned() },
            },
            IntegrationConfig::Incidentio(c) => incidentio::send(c, m, client).await,
            IntegrationConfig::Mattermost(c) => mattermost::send(c, m, client).await,
            IntegrationConfig::Msteams(c) => chat::msteams(c, m, client).await,
            IntegrationConfig::Msteamsv2(c) => chat::msteamsv2(c, m, client).await,
            IntegrationConfig::Opsgenie(c) => opsgenie::send(c, m, client).await,
            IntegrationConfig::Pagerduty(c) => pagerduty::send(c, m, client).await,
            IntegrationConfig::Pushover(c) => pushover::send(c, m, client).await,
            IntegrationConfig::Rocketchat(c) => rocketchat::send(c, m, client).await,
            IntegrationConfig::Slack(c) => slack::send(c, m, client).await,
            IntegrationConfig::Telegram(c) => telegram::send(c, m, client).await,
            IntegrationConfig::Victorops(c) => victorops::send(c, m, client).await,
            IntegrationConfig::Webex(c) => webex::send(c, m, client).await,
            IntegrationConfig::Webhook(c) => webhook::send(c, m, client).await,
            IntegrationConfig::CannotSend(why) => Outcome::Final { reason: why.clone() },
        };
        message.without_secrets(outcome, &integration.secrets)
    }
}
