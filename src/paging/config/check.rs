//! From the file to what runs: everything checked, everything resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::callbacks::{self, Callbacks};
use super::file::{Entries, File, Global, NamedIntervals, ReceiverConfig, RouteConfig};
use super::kinds::*;
use super::people::{self, AckSettings, Heartbeat, Policy, Severities, User};
use super::reach;
use super::scalar::Bool;
use super::visit::{self, Piece, Visit as _};
use crate::model::yaml::{self, FileError, Spanned};
use crate::model::{Duration, Secret, is_legacy_label_name};
use crate::net::http::{HttpClientConfig, TlsConfig};
use crate::paging::inhibit::InhibitRule;
use crate::paging::route::Route;
use crate::paging::schedule::Schedule;
use crate::paging::time_interval::TimeInterval;

/// Messages on their way to a receiver at one time, unless the file says otherwise, and the most that it may say.
const DEFAULT_CONCURRENCY: u64 = 8;
const MAX_CONCURRENCY: u64 = 64;

/// The paging file, ready to be used.
#[derive(Debug)]
pub struct PagingConfig {
    /// Where it was read from; relative files in it are beside it.
    pub path: PathBuf,
    /// The file's text as it may be shown, set by whoever has read it.
    pub shown: String,
    pub resolve_timeout: Duration,
    pub route: Arc<Route>,
    pub receivers: BTreeMap<String, Receiver>,
    pub inhibit_rules: Vec<InhibitRule>,
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// Patterns of template files.
    pub templates: Vec<PathBuf>,
    pub users: BTreeMap<String, User>,
    pub schedules: BTreeMap<String, Schedule>,
    pub policies: BTreeMap<String, Policy>,
    pub severities: Severities,
    pub heartbeat: Option<Heartbeat>,
    pub acknowledge: AckSettings,
    pub history: people::History,
    pub callbacks: Callbacks,
    /// Secrets of the section `global`, which integrations may have taken over or not.
    global_secrets: Vec<Secret>,
    /// What a person should know, though it runs.
    pub warnings: Vec<FileError>,
    /// Receivers that a route or a step reaches and that cannot be sent to: warnings when checking, errors
    /// when running.
    pub unsendable: Vec<FileError>,
}

/// A receiver: any number of integrations.
#[derive(Debug)]
pub struct Receiver {
    pub name: String,
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

impl PagingConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong in it, at least one error.
    pub fn load(path: &Path) -> Result<Self, Vec<FileError>> {
        let text = std::fs::read_to_string(path).map_err(|e| vec![FileError::whole(path, e)])?;
        Self::parse(path, &text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<FileError>> {
        let file: File = yaml::parse(path, text).map_err(|e| vec![e])?;
        Self::check(path, file)
    }

    /// Checks a file that has been read (as the section `paging:` of the main file).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(path: &Path, file: File) -> Result<Self, Vec<FileError>> {
        let mut check = Check { path, errors: Vec::new(), warnings: Vec::new() };
        let made = check.all(file);
        match made {
            Some(config) if check.errors.is_empty() => Ok(Self { warnings: check.warnings, ..config }),
            _ => Err(check.errors),
        }
    }
}

impl PagingConfig {
    /// Everything in it that must not be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let integrations = self.receivers.values().flat_map(|r| &r.integrations).flat_map(|i| &i.secrets);
        let callbacks = [&self.callbacks.pagerduty, &self.callbacks.slack];
        let callbacks = callbacks.into_iter().flatten().flat_map(|c| &c.secrets);
        let heartbeat = self.heartbeat.iter().flat_map(|h| &h.url);
        integrations.chain(callbacks).chain(heartbeat).chain(&self.global_secrets)
    }

    /// A text without the secrets of this configuration.
    pub fn without_secrets(&self, text: &str) -> String {
        visit::without(text, self.secrets().map(Secret::expose))
    }
}

fn global_secrets(global: &Global) -> Vec<Secret> {
    let urls = [&global.slack_api_url, &global.mattermost_webhook_url].into_iter().flatten().map(|u| &u.0);
    let secrets = [
        &global.smtp_auth_password,
        &global.smtp_auth_secret,
        &global.slack_app_token,
        &global.opsgenie_api_key,
        &global.wechat_api_secret,
        &global.victorops_api_key,
        &global.telegram_bot_token,
        &global.rocketchat_token,
        &global.rocketchat_token_id,
    ];
    let mut all: Vec<Secret> = secrets.into_iter().flatten().chain(urls).cloned().collect();
    if let Some(http) = &global.http_config {
        http.visit("", &mut |_, piece| {
            if let Piece::Secret(text) = piece {
                all.push(Secret::new(text));
            }
        });
    }
    all
}

struct Check<'a> {
    path: &'a Path,
    errors: Vec<FileError>,
    warnings: Vec<FileError>,
}

impl Check<'_> {
    fn whole(&mut self, message: impl std::fmt::Display) {
        self.errors.push(FileError::whole(self.path, message));
    }

    fn at<T>(&mut self, place: &Spanned<T>, message: impl std::fmt::Display) {
        self.errors.push(FileError::at(self.path, place, message));
    }

    fn all(&mut self, file: File) -> Option<PagingConfig> {
        let base = self.path.parent().unwrap_or(Path::new("")).to_owned();
        for (key, given) in
            [("tracing", file.tracing.is_some()), ("event_recorder", file.event_recorder.is_some())]
        {
            if given {
                self.warnings.push(FileError::whole(self.path, format!("{key} has no effect here")));
            }
        }
        self.global(&file.global);
        let receivers = self.receivers(&file);
        let time_intervals = self.intervals(&file);
        let mut errors = Vec::new();
        let names = receivers.keys().cloned().collect();
        let people = people::people(&file, &names, &time_intervals, &mut |place, why| {
            errors.push(FileError::at(self.path, place, why));
        });
        self.errors.append(&mut errors);
        let mut inhibit_rules = Vec::new();
        for rule in &file.inhibit_rules {
            let r = &rule.value;
            for pairs in [&r.source_match, &r.source_match_re, &r.target_match, &r.target_match_re] {
                for name in pairs.keys() {
                    self.legacy_name(rule, name);
                }
            }
            if r.equal.iter().any(String::is_empty) {
                self.at(rule, "invalid label name \"\" in equal list");
            }
            self.nulls(rule, &rule.value.source_match_re);
            self.nulls(rule, &rule.value.target_match_re);
            for list in [&rule.value.source_matchers, &rule.value.target_matchers] {
                for warning in &list.warnings {
                    self.warnings.push(FileError::at(self.path, rule, warning));
                }
            }
            match rule.value.rule() {
                Ok(rule) => inhibit_rules.push(rule),
                Err(e) => self.at(rule, e),
            }
        }
        let Some(route) = &file.route else {
            self.whole("no routes provided");
            return None;
        };
        self.root(route);
        self.route(route, &route.value, &names, &time_intervals, &people.policies, 0);
        if !self.errors.is_empty() {
            return None;
        }
        let tree = Route::tree(&route.value).map_err(|e| self.at(route, e)).ok()?;
        let heartbeat = match &file.heartbeat {
            Some(h) => people::heartbeat(self.path, h, &base, file.global.http_config.as_ref())
                .map_err(|e| self.errors.push(e))
                .ok(),
            None => None,
        };
        let acknowledge = people::acknowledge(self.path, &file.acknowledge, &base)
            .map_err(|e| self.errors.push(e))
            .unwrap_or_default();
        let history =
            people::history(self.path, &file.history).map_err(|e| self.errors.push(e)).unwrap_or_default();
        let mut config = PagingConfig {
            path: self.path.to_owned(),
            shown: String::new(),
            resolve_timeout: file.global.resolve_timeout.unwrap_or(Duration::from_secs(300)),
            route: tree,
            receivers,
            inhibit_rules,
            time_intervals,
            templates: file.templates.iter().map(|t| base.join(t)).collect(),
            severities: people::severities(&file),
            users: people.users,
            schedules: people.schedules,
            policies: people.policies,
            heartbeat,
            acknowledge,
            history,
            callbacks: callbacks::callbacks(self.path, &file.callbacks, &base, &mut self.errors),
            global_secrets: global_secrets(&file.global),
            warnings: Vec::new(),
            unsendable: Vec::new(),
        };
        let reached = reach::reached(&config);
        config.unsendable = reach::unsendable(self.path, &config, &reached);
        self.warnings.extend(reach::acknowledgement(self.path, &config, &reached));
        Some(config)
    }

    fn global(&mut self, g: &Global) {
        let secret = |s: &Option<crate::model::Secret>| s.as_ref().is_some_and(|s| !s.is_empty());
        let text = |t: &Option<String>| t.as_ref().is_some_and(|t| !t.is_empty());
        let pairs = [
            (
                secret(&g.smtp_auth_password),
                text(&g.smtp_auth_password_file),
                "smtp_auth_password & smtp_auth_password_file",
            ),
            (
                secret(&g.smtp_auth_secret),
                text(&g.smtp_auth_secret_file),
                "smtp_auth_secret & smtp_auth_secret_file",
            ),
            (g.slack_api_url.is_some(), text(&g.slack_api_url_file), "slack_api_url & slack_api_url_file"),
            (
                secret(&g.slack_app_token),
                text(&g.slack_app_token_file),
                "slack_app_token & slack_app_token_file",
            ),
            (
                secret(&g.opsgenie_api_key),
                text(&g.opsgenie_api_key_file),
                "opsgenie_api_key & opsgenie_api_key_file",
            ),
            (
                secret(&g.victorops_api_key),
                text(&g.victorops_api_key_file),
                "victorops_api_key & victorops_api_key_file",
            ),
            (
                secret(&g.telegram_bot_token),
                text(&g.telegram_bot_token_file),
                "telegram_bot_token & telegram_bot_token_file",
            ),
            (
                secret(&g.wechat_api_secret),
                text(&g.wechat_api_secret_file),
                "wechat_api_secret & wechat_api_secret_file",
            ),
            (
                g.rocketchat_token.is_some(),
                text(&g.rocketchat_token_file),
                "rocketchat_token & rocketchat_token_file",
            ),
            (
                g.rocketchat_token_id.is_some(),
                text(&g.rocketchat_token_id_file),
                "rocketchat_token_id & rocketchat_token_id_file",
            ),
            (
                g.mattermost_webhook_url.is_some(),
                text(&g.mattermost_webhook_url_file),
                "mattermost_webhook_url & mattermost_webhook_url_file",
            ),
        ];
        for (a, b, names) in pairs {
            if let Err(e) = one_way(a, b, names) {
                self.whole(e);
            }
        }
        let app_url = g.slack_app_url.as_ref().map_or(SLACK_POST_MESSAGE, |u| u.0.as_str());
        if (secret(&g.slack_app_token) || text(&g.slack_app_token_file))
            && g.slack_api_url.as_ref().is_some_and(|u| u.0.expose() != app_url)
        {
            self.whole(
                "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be \
                 configured",
            );
        }
        if let Some(Err(e)) = g.smtp_tls_config.as_ref().map(TlsConfig::validate) {
            self.whole(format!("smtp_tls_config: {e}"));
        }
        if let Some(http) = &g.http_config
            && let Err(e) = http.validate()
            && !not_built(&e)
        {
            self.whole(format!("global http_config: {e}"));
        }
    }

    fn receivers(&mut self, file: &File) -> BTreeMap<String, Receiver> {
        let mut out = BTreeMap::new();
        for r in &file.receivers {
            let Some(name) = r.name.as_ref().filter(|n| !n.value.is_empty()) else {
                self.whole("missing name in receiver");
                continue;
            };
            if let Some(label) = r.labels.get("name").filter(|l| **l != name.value) {
                self.at(
                    name,
                    format!(
                        "receiver label \"name\" must match receiver name {:?}, got {label:?}",
                        name.value
                    ),
                );
            }
            let max_concurrency = r.max_concurrency.unwrap_or(DEFAULT_CONCURRENCY);
            if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
                self.at(name, format!("max_concurrency must be 1 to {MAX_CONCURRENCY}"));
            }
            let receiver = Receiver {
                max_concurrency: usize::try_from(max_concurrency).unwrap_or(1),
                name: name.value.clone(),
                labels: r.labels.clone(),
                integrations: self.integrations(r, &file.global),
            };
            if out.insert(name.value.clone(), receiver).is_some() {
                self.at(name, format!("notification config name {:?} is not unique", name.value));
            }
        }
        out
    }

    fn integrations(&mut self, r: &ReceiverConfig, global: &Global) -> Vec<Integration> {
        let mut out = Vec::new();
        macro_rules! sendable {
            ($($field:ident $variant:ident,)*) => {$(
                self.kind(&r.$field, global, &mut out, |c| IntegrationConfig::$variant(Box::new(c)));
            )*};
        }
        macro_rules! cannot_send {
            ($($field:ident $instead:literal,)*) => {$(
                self.kind(&r.$field, global, &mut out, |_| {
                    IntegrationConfig::CannotSend(concat!("no sender for this kind; use ", $instead).to_owned())
                });
            )*};
        }
        sendable! {
            alertmanager_configs Alertmanager, discord_configs Discord, email_configs Email,
            incidentio_configs Incidentio, mattermost_configs Mattermost, msteams_configs Msteams,
            msteamsv2_configs Msteamsv2, opsgenie_configs Opsgenie, pagerduty_configs Pagerduty,
            pushover_configs Pushover, rocketchat_configs Rocketchat, slack_configs Slack,
            telegram_configs Telegram, victorops_configs Victorops, webex_configs Webex, webhook_configs Webhook,
        }
        cannot_send! {
            jira_configs "alertmanager_configs to an Alertmanager that has it",
            sns_configs "alertmanager_configs to an Alertmanager that has it",
            wechat_configs "alertmanager_configs to an Alertmanager that has it",
        }
        out
    }

    fn kind<K: Kind + Clone + Default>(
        &mut self,
        entries: &Entries<K>,
        global: &Global,
        out: &mut Vec<Integration>,
        wrap: impl Fn(K) -> IntegrationConfig,
    ) {
        for (index, entry) in entries.iter().flatten().enumerate() {
            let empty = if K::MAY_BE_EMPTY { Some(K::default()) } else { None };
            let Some(mut config) = entry.value.clone().or(empty) else {
                self.at(entry, format!("missing {} config", K::NAME));
                continue;
            };
            let http = config.http_config().map(|own| client(own.as_ref(), global.http_config.as_ref()));
            let http = http.unwrap_or_default();
            let mut reason = None;
            if let Err(e) = http.validate() {
                if not_built(&e) {
                    reason = Some(format!("http_config: {e}"));
                } else {
                    self.at(entry, format!("{} config: {e}", K::NAME));
                }
            }
            if let Err(e) = config.check(global) {
                self.at(entry, e);
                continue;
            }
            let (mut templates, mut secrets) = (Vec::new(), Vec::new());
            let mut see = |key: &str, piece: Piece<'_>| {
                let (Piece::Text(text) | Piece::Secret(text)) = piece;
                let secret = matches!(piece, Piece::Secret(_));
                if text.contains("{{") {
                    templates.push(TemplateText { key: key.to_owned(), text: Secret::new(text), secret });
                }
                if secret && !text.is_empty() {
                    secrets.push(Secret::new(text));
                }
            };
            config.visit("", &mut see);
            http.visit("http_config", &mut see);
            let reason = reason.or_else(|| config.cannot_send());
            out.push(Integration {
                kind: K::NAME,
                index,
                send_resolved: config.send_resolved().unwrap_or(Bool(K::SEND_RESOLVED)).0,
                http,
                config: reason.map_or_else(|| wrap(config), IntegrationConfig::CannotSend),
                place: Spanned::new((), entry.referenced, entry.defined),
                templates,
                secrets,
            });
        }
    }

    fn intervals(&mut self, file: &File) -> BTreeMap<String, Vec<TimeInterval>> {
        let mut out = BTreeMap::new();
        let all =
            [("mute time interval", &file.mute_time_intervals), ("time interval", &file.time_intervals)];
        for (word, list) in all {
            for entry in list {
                let NamedIntervals { name, time_intervals } = &entry.value;
                match name.as_deref() {
                    None | Some("") => self.at(entry, format!("missing name in {word}")),
                    Some(name) => {
                        if out.insert(name.to_owned(), time_intervals.clone()).is_some() {
                            self.at(entry, format!("{word} {name:?} is not unique"));
                        }
                    }
                }
            }
        }
        out
    }

    fn root(&mut self, root: &Spanned<RouteConfig>) {
        let r = &root.value;
        if r.receiver_name().is_none() {
            self.at(root, "root route must specify a default receiver");
        }
        if !r.equal.is_empty() || !r.regex.is_empty() || !r.matchers.matchers.is_empty() {
            self.at(root, "root route must not have any matchers");
        }
        if !r.mute_time_intervals.is_empty() {
            self.at(root, "root route must not have any mute time intervals");
        }
        if !r.active_time_intervals.is_empty() {
            self.at(root, "root route must not have any active time intervals");
        }
        if r.continues {
            self.at(root, "cannot have continue in root route");
        }
    }

    fn route(
        &mut self,
        near: &Spanned<RouteConfig>,
        r: &RouteConfig,
        receivers: &BTreeSet<String>,
        intervals: &BTreeMap<String, Vec<TimeInterval>>,
        policies: &BTreeMap<String, Policy>,
        depth: usize,
    ) {
        if depth >= crate::paging::route::MAX_DEPTH {
            self.at(near, crate::paging::route::RouteError::TooDeep);
            return;
        }
        if let Some(receiver) = &r.receiver
            && !receiver.value.is_empty()
            && !receivers.contains(&receiver.value)
        {
            self.at(receiver, format!("undefined receiver {:?} used in route", receiver.value));
        }
        if let Some(policy) = &r.escalation_policy
            && !policies.contains_key(&policy.value)
        {
            self.at(policy, format!("undefined escalation policy {:?} used in route", policy.value));
        }
        let mut seen = BTreeSet::new();
        for name in r.group_by.iter().flatten() {
            if !seen.insert(name) && name != "..." {
                self.at(near, format!("duplicated label {name:?} in group_by"));
            }
            if name == "..." {
                if r.group_by.iter().flatten().any(|other| other != "...") {
                    self.at(near, "cannot have wildcard group_by (`...`) and other labels at the same time");
                }
            } else if !is_label_name(name) {
                self.at(near, format!("invalid label name {name:?} in group_by list"));
            }
        }
        for name in r.labels.keys().filter(|n| !is_label_name(n)) {
            self.at(near, format!("invalid label name {name:?} in route labels"));
        }
        for name in r.equal.keys().chain(r.regex.keys()) {
            self.legacy_name(near, name);
        }
        self.nulls(near, &r.regex);
        for warning in &r.matchers.warnings {
            self.warnings.push(FileError::at(self.path, near, warning));
        }
        if let Err(e) = r.all_matchers() {
            self.at(near, e);
        }
        if r.group_interval.is_some_and(Duration::is_zero) {
            self.at(near, "group_interval cannot be zero");
        }
        if r.repeat_interval.is_some_and(Duration::is_zero) {
            self.at(near, "repeat_interval cannot be zero");
        }
        for name in r.mute_time_intervals.iter().chain(&r.active_time_intervals) {
            if !intervals.contains_key(name) {
                self.at(near, format!("undefined time interval {name:?} used in route"));
            }
        }
        for child in &r.routes {
            self.route(near, child, receivers, intervals, policies, depth + 1);
        }
    }

    fn legacy_name<T>(&mut self, near: &Spanned<T>, name: &str) {
        if !is_legacy_label_name(name) {
            self.at(near, format!("invalid label name {name:?}"));
        }
    }

    fn nulls<T>(&mut self, near: &Spanned<T>, pairs: &BTreeMap<String, Option<String>>) {
        for (name, _) in pairs.iter().filter(|(_, v)| v.is_none()) {
            self.at(near, format!("invalid regexp value for {name:?}"));
        }
    }
}

/// Any text can be the name of a label, but one that begins with a dash is taken for a slip.
fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-')
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
fn not_built(message: &str) -> bool {
    message.contains("not built yet") || message.contains("are built yet") || message.contains("not spoken")
}
