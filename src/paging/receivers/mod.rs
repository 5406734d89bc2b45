//! How each kind of receiver is told: one file a kind.

mod alertmanager;
mod answer;
mod chat;
mod pagerduty;
mod slack;
mod text;
mod webhook;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;

use super::acklink::{AckClaim, AckLinks};
use super::config::{IntegrationConfig, PagingConfig};
use super::engine::{Job, Outcome};
use super::notification::{Notification, Reason};
pub use text::DEFAULT_TEMPLATES;

use crate::model::{Clock, Secret, Timestamp};
use crate::net::http::{HttpClient, HttpRequest, Limits, NetError};

/// How long a page can be judged by its link, ms: people look back in the next meeting.
const FEEDBACK_MS: i64 = 30 * 86_400_000;
/// How long a receiver may take when its configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, for its error text.
const MAX_ANSWER: usize = 16 * 1024;

/// Something that can be awaited elsewhere.
pub type Sending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Whatever carries notifications away; tests bring their own.
pub trait Transport: Send + Sync {
    /// One attempt.
    fn send(&self, job: Job) -> Sending;
}

/// Expands the templates of a receiver's configuration.
pub trait Render: Send + Sync {
    /// The text of `template` for this notification.
    ///
    /// # Errors
    /// What is wrong with the template; a page then goes out with a plain text instead.
    fn render(
        &self,
        template: &str,
        notification: &Notification,
        external_url: &str,
    ) -> Result<String, String>;
}

/// Leaves templates as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTemplates;

impl Render for NoTemplates {
    fn render(&self, template: &str, _: &Notification, _: &str) -> Result<String, String> {
        if template.contains("{{") {
            Err("templates are not available".to_owned())
        } else {
            Ok(template.to_owned())
        }
    }
}

/// What all senders know.
pub(super) struct Shared {
    base_dir: PathBuf,
    external_url: String,
    render: Arc<dyn Render>,
    links: Option<AckLinks>,
    link_ms: i64,
    clock: Arc<dyn Clock>,
}

/// One integration that can be sent to.
struct Sender {
    client: HttpClient,
    config: Arc<PagingConfig>,
    receiver: String,
    at: usize,
}

/// The senders of a configuration.
pub struct Senders {
    shared: Arc<Shared>,
    senders: HashMap<String, Arc<Sender>>,
}

impl Senders {
    /// Makes a client for every integration. `links` sign acknowledgements; `external_url` stands in messages.
    ///
    /// # Errors
    /// A certificate or key that cannot be used, with the receiver's name.
    pub fn new(
        config: &Arc<PagingConfig>,
        links: Option<AckLinks>,
        external_url: &str,
        render: Arc<dyn Render>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let base_dir = config.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut senders = HashMap::new();
        for receiver in config.receivers.values() {
            for (at, integration) in receiver.integrations.iter().enumerate() {
                if matches!(integration.config, IntegrationConfig::CannotSend(_)) {
                    continue;
                }
                let client = HttpClient::new(&integration.http, &base_dir)
                    .map_err(|e| format!("receiver {:?}: {e}", receiver.name))?;
                let id = format!("{}/{}/{}", receiver.name, integration.kind, integration.index);
                let sender =
                    Sender { client, config: Arc::clone(config), receiver: receiver.name.clone(), at };
                senders.insert(id, Arc::new(sender));
            }
        }
        let shared = Shared {
            base_dir,
            external_url: external_url.to_owned(),
            render,
            links,
            link_ms: config.acknowledge.expires.ms(),
            clock,
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
        let message = Message { job, shared };
        match &integration.config {
            IntegrationConfig::Webhook(c) => webhook::send(c, &message, &self.client).await,
            IntegrationConfig::Alertmanager(c) => alertmanager::send(c, &message, &self.client).await,
            IntegrationConfig::Pagerduty(c) => pagerduty::send(c, &message, &self.client).await,
            IntegrationConfig::Slack(c) => slack::send(c, &message, &self.client).await,
            IntegrationConfig::Discord(c) => chat::discord(c, &message, &self.client).await,
            IntegrationConfig::Msteams(c) => chat::msteams(c, &message, &self.client).await,
            IntegrationConfig::Msteamsv2(c) => chat::msteamsv2(c, &message, &self.client).await,
            IntegrationConfig::CannotSend(why) => Outcome::Final { reason: why.clone() },
        }
    }
}

/// A job and what a sender needs to give it a form.
pub(super) struct Message<'a> {
    pub job: &'a Job,
    shared: &'a Shared,
}

impl Message<'_> {
    pub fn notification(&self) -> &Notification {
        &self.job.notification
    }

    /// The wall clock, ms.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub fn external_url(&self) -> &str {
        &self.shared.external_url
    }

    /// The link by which the person who gets this acknowledges; the same for every attempt.
    pub fn ack_url(&self) -> Option<String> {
        let n = self.notification();
        let incident = n.incident.as_ref().filter(|i| n.reason == Reason::Page && !i.automation)?;
        let claim = AckClaim {
            incident: incident.id,
            round: self.job.round,
            step: u16::try_from(self.job.step).unwrap_or(u16::MAX),
            expires: (self.job.created_at + self.shared.link_ms) / 1000 * 1000,
            person: incident.user.clone().unwrap_or_else(|| incident.target.clone()),
        };
        Some(self.shared.links.as_ref()?.url(&claim))
    }

    /// The link by which whoever gets this says whether it was useful: in pages, and in the message that it is over.
    pub fn feedback_url(&self) -> Option<String> {
        let n = self.notification();
        let told = matches!(n.reason, Reason::Page | Reason::Resolved);
        let incident = n.incident.as_ref().filter(|i| told && !i.automation)?;
        let claim = AckClaim {
            incident: incident.id,
            round: self.job.round,
            step: u16::try_from(self.job.step).unwrap_or(u16::MAX),
            expires: (self.job.created_at + self.shared.link_ms.max(FEEDBACK_MS)) / 1000 * 1000,
            person: incident.user.clone().unwrap_or_else(|| incident.target.clone()),
        };
        Some(self.shared.links.as_ref()?.judge_url(&claim))
    }

    /// The text of a template; an error in it is said in the text, and the page goes out.
    pub fn text(&self, template: &str) -> String {
        if !template.contains("{{") {
            return template.to_owned();
        }
        match self.shared.render.render(template, self.notification(), self.external_url()) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(receiver = %self.job.receiver, %error, "a template could not be expanded");
                format!("<error expanding template: {error}>")
            }
        }
    }

    /// As [`text`](Self::text), or what stands for a template that is not given.
    pub fn text_or(&self, template: Option<&str>, default: impl FnOnce() -> String) -> String {
        template.map_or_else(default, |t| self.text(t))
    }

    /// A secret, inline or from its file, which is read again every time.
    ///
    /// # Errors
    /// The file cannot be read (now: it may come).
    pub fn secret(&self, inline: Option<&Secret>, file: Option<&str>) -> Result<String, Outcome> {
        match (inline.filter(|s| !s.is_empty()), file.filter(|f| !f.is_empty())) {
            (Some(secret), _) => Ok(secret.expose().to_owned()),
            (None, Some(file)) => {
                let path = self.shared.base_dir.join(file);
                let text = std::fs::read_to_string(&path).map_err(|e| Outcome::Retry {
                    reason: format!("{}: {e}", path.display()),
                    after_ms: None,
                })?;
                Ok(text.trim().to_owned())
            }
            (None, None) => Ok(String::new()),
        }
    }
}

/// A request with a JSON body and the idempotency key.
pub(super) fn json_request<T: serde::Serialize>(
    method: Method,
    url: String,
    body: &T,
    message: &Message<'_>,
) -> Result<HttpRequest, Outcome> {
    let body = serde_json::to_vec(body).map_err(|e| Outcome::Final { reason: e.to_string() })?;
    let headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), concat!("sideband/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Idempotency-Key".to_owned(), message.job.key.clone()),
    ];
    Ok(HttpRequest { method, url, headers, body })
}

/// Sends a request, and judges the answer by its status.
pub(super) async fn post(
    client: &HttpClient,
    request: HttpRequest,
    timeout: Option<crate::model::Duration>,
) -> Result<Vec<u8>, Outcome> {
    let timeout = timeout.filter(|t| !t.is_zero()).map_or(TIMEOUT, crate::model::Duration::to_std);
    let limits = Limits { timeout, max_body: MAX_ANSWER };
    let mut exchange = client.start(request, limits).await.map_err(|e| failed(&e))?;
    let mut body = Vec::new();
    // The status decides; what comes after it only explains.
    while body.len() < MAX_ANSWER && matches!(exchange.read(&mut body).await, Ok(true)) {}
    answer::judge(exchange.status, &exchange.headers, &body).map(|()| body)
}

fn failed(e: &NetError) -> Outcome {
    match e {
        NetError::Config(reason) => Outcome::Final { reason: reason.clone() },
        other => Outcome::Retry { reason: other.to_string(), after_ms: None },
    }
}
