//! Receivers and their integrations: read, checked, and filled up with what is global.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::check::Check;
use super::global::Global;
use super::kinds::*;
use super::visit::{Piece, Visit as _};
use crate::model::Secret;
use crate::model::yaml::{self, FromYaml, Key, Node, Raw, Spanned, read_keys};
use crate::net::http::HttpClientConfig;

/// Messages on their way to a receiver at one time, unless the file says otherwise, and the most that it may say.
const DEFAULT_CONCURRENCY: u64 = 8;
const MAX_CONCURRENCY: u64 = 64;

/// A receiver: any number of integrations.
#[derive(Debug)]
pub struct Receiver {
    pub name: String,
    /// Its place in the file, from 0.
    pub position: usize,
    pub labels: BTreeMap<String, String>,
    pub integrations: Vec<Integration>,
    /// Messages on their way to it at one time.
    pub max_concurrency: usize,
}

/// A text with a template in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    /// Where in the integration: `fields[0].title`.
    pub key: String,
    pub text: Secret,
    /// Is the text itself a secret?
    pub secret: bool,
}

/// One integration of a receiver.
#[derive(Debug)]
pub struct Integration {
    /// `webhook`, `slack`, …
    pub kind: &'static str,
    /// Its number among those of its kind in the receiver.
    pub index: usize,
    pub send_resolved: bool,
    pub http: HttpClientConfig,
    pub config: IntegrationConfig,
    /// Where the file has it.
    pub place: Spanned<()>,
    /// Its texts with templates in them.
    pub templates: Vec<TemplateText>,
    /// Everything in it that must not be shown.
    pub secrets: Vec<Secret>,
    /// Files that it names, as the file has them: URLs, keys, passwords, certificates.
    pub files: Vec<PathBuf>,
}

impl Integration {
    /// Does it keep a state of its own, that an acknowledgement should change?
    pub fn follows_acknowledgements(&self) -> bool {
        match &self.config {
            IntegrationConfig::Pagerduty(_) | IntegrationConfig::Opsgenie(_) => true,
            IntegrationConfig::Victorops(_) => true,
            IntegrationConfig::Slack(c) => c.updates(),
            _ => false,
        }
    }
}

/// What to send with.
#[derive(Debug)]
pub enum IntegrationConfig {
    Webhook(Box<WebhookConfig>),
    Pagerduty(Box<PagerdutyConfig>),
    Slack(Box<SlackConfig>),
    Discord(Box<DiscordConfig>),
    Msteams(Box<MsteamsConfig>),
    Msteamsv2(Box<Msteamsv2Config>),
    Alertmanager(Box<AlertmanagerConfig>),
    Email(Box<EmailConfig>),
    Incidentio(Box<IncidentioConfig>),
    Mattermost(Box<MattermostConfig>),
    Opsgenie(Box<OpsgenieConfig>),
    Pushover(Box<PushoverConfig>),
    Rocketchat(Box<RocketchatConfig>),
    Telegram(Box<TelegramConfig>),
    Victorops(Box<VictoropsConfig>),
    Webex(Box<WebexConfig>),
    /// Understood, but there is no sender; why, and what to use instead.
    CannotSend(String),
}

type NewKind = fn() -> Box<dyn Kind>;

/// The kinds by their keys.
const KINDS: [(&str, NewKind); 19] = [
    ("alertmanager_configs", || Box::<AlertmanagerConfig>::default()),
    ("discord_configs", || Box::<DiscordConfig>::default()),
    ("email_configs", || Box::<EmailConfig>::default()),
    ("incidentio_configs", || Box::<IncidentioConfig>::default()),
    ("jira_configs", || Box::<JiraConfig>::default()),
    ("mattermost_configs", || Box::<MattermostConfig>::default()),
    ("msteams_configs", || Box::<MsteamsConfig>::default()),
    ("msteamsv2_configs", || Box::<Msteamsv2Config>::default()),
    ("opsgenie_configs", || Box::<OpsgenieConfig>::default()),
    ("pagerduty_configs", || Box::<PagerdutyConfig>::default()),
    ("pushover_configs", || Box::<PushoverConfig>::default()),
    ("rocketchat_configs", || Box::<RocketchatConfig>::default()),
    ("slack_configs", || Box::<SlackConfig>::default()),
    ("sns_configs", || Box::<SnsConfig>::default()),
    ("telegram_configs", || Box::<TelegramConfig>::default()),
    ("victorops_configs", || Box::<VictoropsConfig>::default()),
    ("webex_configs", || Box::<WebexConfig>::default()),
    ("webhook_configs", || Box::<WebhookConfig>::default()),
    ("wechat_configs", || Box::<WechatConfig>::default()),
];

/// A receiver as it is written.
#[derive(Default)]
struct ReceiverConfig {
    name: Option<Spanned<String>>,
    labels: BTreeMap<String, String>,
    /// Ours: messages on their way to it at one time.
    max_concurrency: Option<u64>,
    entries: Vec<Entry>,
}

/// One entry of `…_configs`.
struct Entry {
    place: Spanned<()>,
    index: usize,
    /// Is there anything in it?
    given: bool,
    config: Box<dyn Kind>,
}

impl FromYaml for ReceiverConfig {
    fn from_yaml(node: &Node) -> Result<Self, yaml::Error> {
        let mut read = Self::default();
        let mut lists: [Option<Vec<Spanned<Option<Raw>>>>; KINDS.len()] = Default::default();
        let mut keys: Vec<(&str, &mut dyn Key)> = vec![
            ("name", &mut read.name),
            ("labels", &mut read.labels),
            ("max_concurrency", &mut read.max_concurrency),
        ];
        keys.extend(KINDS.iter().zip(&mut lists).map(|((key, _), list)| (*key, list as &mut dyn Key)));
        read_keys(node, &mut keys, &[])?;
        for ((_, new), list) in KINDS.iter().zip(lists) {
            for (index, entry) in list.into_iter().flatten().enumerate() {
                let place = Spanned::new((), entry.referenced, entry.defined);
                let mut config = new();
                if let Some(raw) = &entry.value {
                    raw.put(config.as_mut())?;
                }
                read.entries.push(Entry { place, index, given: entry.value.is_some(), config });
            }
        }
        Ok(read)
    }
}

impl Check<'_> {
    pub(super) fn receivers(&mut self, list: &[Raw], global: &Global) -> BTreeMap<String, Receiver> {
        let mut out = BTreeMap::new();
        for (position, raw) in list.iter().enumerate() {
            let r: ReceiverConfig = match raw.read(self.path) {
                Ok(r) => r,
                Err(e) => {
                    self.errors.push(e);
                    continue;
                }
            };
            let Some(name) = r.name.filter(|n| !n.value.is_empty()) else {
                self.whole("missing name in receiver");
                continue;
            };
            if let Some(label) = r.labels.get("name").filter(|l| **l != name.value) {
                self.at(
                    &name,
                    format!(
                        "receiver label \"name\" must match receiver name {:?}, got {label:?}",
                        name.value
                    ),
                );
            }
            let max_concurrency = r.max_concurrency.unwrap_or(DEFAULT_CONCURRENCY);
            if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
                self.at(&name, format!("max_concurrency must be 1 to {MAX_CONCURRENCY}"));
            }
            let receiver = Receiver {
                max_concurrency: usize::try_from(max_concurrency).unwrap_or(1),
                name: name.value.clone(),
                position,
                labels: r.labels,
                integrations: r.entries.into_iter().filter_map(|e| self.integration(e, global)).collect(),
            };
            if out.insert(name.value.clone(), receiver).is_some() {
                self.at(&name, format!("notification config name {:?} is not unique", name.value));
            }
        }
        out
    }

    fn integration(&mut self, entry: Entry, global: &Global) -> Option<Integration> {
        let Entry { place, index, given, mut config } = entry;
        let kind = config.name();
        if !given && !config.may_be_empty() {
            self.at(&place, format!("missing {kind} config"));
            return None;
        }
        let http = config.http_config().map(|own| client(own.as_ref(), global.http_config.as_ref()));
        let http = http.unwrap_or_default();
        let mut reason = None;
        if let Err(e) = http.validate() {
            if not_built(&e) {
                reason = Some(format!("http_config: {e}"));
            } else {
                self.at(&place, format!("{kind} config: {e}"));
            }
        }
        if let Err(e) = config.check(global) {
            self.at(&place, e);
            return None;
        }
        let (mut templates, mut secrets, mut files) = (Vec::new(), Vec::new(), http.files());
        let mut see = |key: &str, piece: Piece<'_>| {
            let (Piece::Text(text) | Piece::Secret(text)) = piece;
            let secret = matches!(piece, Piece::Secret(_));
            if text.contains("{{") {
                templates.push(TemplateText { key: key.to_owned(), text: Secret::new(text), secret });
            } else if key.ends_with("_file") && !secret && !text.is_empty() && !key.contains('.') {
                files.push(PathBuf::from(text));
            }
            if secret && !text.is_empty() {
                secrets.push(Secret::new(text));
            }
        };
        config.visit("", &mut see);
        http.visit("http_config", &mut see);
        Some(Integration {
            kind,
            index,
            send_resolved: config.send_resolved().map_or(config.sends_resolved(), |b| b.0),
            http,
            config: match reason.or_else(|| config.cannot_send()) {
                Some(reason) => IntegrationConfig::CannotSend(reason),
                None => config.into_integration(),
            },
            place,
            templates,
            secrets,
            files,
        })
    }
}

/// The HTTP client of an integration: its own, or the global one; of the global one an own client that
/// names no proxy still takes the proxy.
fn client(own: Option<&HttpClientConfig>, global: Option<&HttpClientConfig>) -> HttpClientConfig {
    match (own, global) {
        (None, global) => global.cloned().unwrap_or_default(),
        (Some(own), Some(global))
            if own.proxy_url.is_none() && !own.proxy_from_environment.unwrap_or_default() =>
        {
            HttpClientConfig {
                proxy_url: global.proxy_url.clone(),
                no_proxy: own.no_proxy.clone().or_else(|| global.no_proxy.clone()),
                proxy_from_environment: global.proxy_from_environment,
                proxy_connect_header: own
                    .proxy_connect_header
                    .clone()
                    .or_else(|| global.proxy_connect_header.clone()),
                ..own.clone()
            }
        }
        (Some(own), _) => own.clone(),
    }
}

/// Does the HTTP client say that it understands, but cannot do it yet?
pub(super) fn not_built(message: &str) -> bool {
    message.contains("not built yet") || message.contains("are built yet") || message.contains("not spoken")
}
