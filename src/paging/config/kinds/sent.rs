//! Kinds that can be sent to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Global;
use super::super::IntegrationConfig;
use super::super::scalar::{Bool, HostPort, SecretUrl, Url};
use super::{File, Kind, List, Text, key_name, one_way, secret, set};
use crate::model::{Duration, Secret};
use crate::net::http::{HttpClientConfig, TlsConfig};

kind! { WebhookConfig {
    send_resolved: Option<Bool>, url: Option<Secret>, url_file: File, http_config: Option<HttpClientConfig>,
    max_alerts: Option<u64>, timeout: Option<Duration>, payload: Option<Value>,
    // Beyond Alertmanager's: the key that signs the requests.
    signing_key: Option<Secret>, signing_key_file: File,
}}

impl Kind for WebhookConfig {
    common!("webhook", Webhook, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        match (self.url.as_ref().filter(|u| !u.is_empty()), set(&self.url_file)) {
            (None, false) => return Err("one of url or url_file must be configured".to_owned()),
            (Some(_), true) => return Err("at most one of url & url_file must be configured".to_owned()),
            (Some(url), false) if !url.expose().contains("{{") => {
                super::super::scalar::check_url(url.expose())
                    .map_err(|_| "url is no http or https URL".to_owned())?;
            }
            _ => {}
        }
        one_way(secret(&self.signing_key), set(&self.signing_key_file), "signing_key & signing_key_file")
    }
}

kind! { EmailConfig {
    send_resolved: Option<Bool>, to: Text, from: Text, hello: Text, smarthost: Option<HostPort>,
    auth_username: Text, auth_password: Option<Secret>, auth_password_file: File,
    auth_secret: Option<Secret>, auth_secret_file: File, auth_identity: Text,
    headers: Option<BTreeMap<String, Text>>, html: Text, text: Text, require_tls: Option<Bool>,
    force_implicit_tls: Option<Bool>, tls_config: Option<TlsConfig>, threading: Option<EmailThreading>,
}}

kind! { EmailThreading { enabled: Option<Bool>, thread_by_date: Text, } }

impl Kind for EmailConfig {
    common!("email", Email, no_http);

    fn sends_resolved(&self) -> bool {
        false
    }

    fn check(&mut self, global: &Global) -> Result<(), String> {
        if !set(&self.to) {
            return Err("missing to address in email config".to_owned());
        }
        if let Some(tls) = &self.tls_config {
            tls.validate()?;
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in self.headers.iter().flat_map(BTreeMap::keys) {
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(format!("duplicate header {name:?} in email config"));
            }
        }
        if let Some(threading) = self.threading.as_ref().filter(|t| t.enabled.is_some_and(|b| b.0))
            && !matches!(threading.thread_by_date.as_deref(), Some("daily" | "none"))
        {
            return Err("threading.thread_by_date must be either 'none' or 'daily'".to_owned());
        }
        if self.smarthost.as_ref().is_none_or(|h| h.port.is_empty()) {
            self.smarthost = Some(
                global
                    .smtp_smarthost
                    .clone()
                    .filter(|h| !h.port.is_empty())
                    .ok_or("no global SMTP smarthost set")?,
            );
        }
        if !set(&self.from) {
            self.from =
                Some(global.smtp_from.clone().filter(|f| !f.is_empty()).ok_or("no global SMTP from set")?);
        }
        if !set(&self.hello) {
            self.hello = Some(global.smtp_hello.clone().unwrap_or_else(|| "localhost".to_owned()));
        }
        if !set(&self.auth_username) {
            self.auth_username.clone_from(&global.smtp_auth_username);
        }
        if !secret(&self.auth_password) && !set(&self.auth_password_file) {
            self.auth_password.clone_from(&global.smtp_auth_password);
            self.auth_password_file.clone_from(&global.smtp_auth_password_file);
        }
        if !secret(&self.auth_secret) && !set(&self.auth_secret_file) {
            self.auth_secret.clone_from(&global.smtp_auth_secret);
            self.auth_secret_file.clone_from(&global.smtp_auth_secret_file);
        }
        if !set(&self.auth_identity) {
            self.auth_identity.clone_from(&global.smtp_auth_identity);
        }
        self.require_tls = self.require_tls.or(global.smtp_require_tls).or(Some(Bool(true)));
        self.force_implicit_tls = self.force_implicit_tls.or(global.smtp_force_implicit_tls);
        if self.tls_config.is_none() {
            self.tls_config.clone_from(&global.smtp_tls_config);
        }
        Ok(())
    }

    fn cannot_send(&self) -> Option<String> {
        let identity =
            self.auth_identity.as_ref().filter(|i| !i.is_empty() && Some(*i) != self.auth_username.as_ref());
        identity.map(|_| "an auth_identity other than auth_username cannot be given; leave it out".to_owned())
    }
}

kind! { PagerdutyConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, routing_key: Option<Secret>,
    routing_key_file: File, service_key: Option<Secret>, service_key_file: File, url: Option<Url>,
    client: Text, client_url: Text, description: Text, severity: Text, source: Text,
    details: Option<BTreeMap<String, Value>>, images: List<PagerdutyImage>, links: List<PagerdutyLink>,
    component: Text, group: Text, class: Text, timeout: Option<Duration>,
}}

kind! { PagerdutyImage { href: Text, src: Text, alt: Text, } }
kind! { PagerdutyLink { href: Text, text: Text, } }

impl Kind for PagerdutyConfig {
    common!("pagerduty", Pagerduty, http);

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let routing = (secret(&self.routing_key), set(&self.routing_key_file));
        let service = (secret(&self.service_key), set(&self.service_key_file));
        if !(routing.0 || routing.1 || service.0 || service.1) {
            return Err("missing service or routing key in PagerDuty config".to_owned());
        }
        one_way(routing.0, routing.1, "routing_key & routing_key_file")?;
        one_way(service.0, service.1, "service_key & service_key_file")?;
        if self.url.is_none() {
            self.url = global
                .pagerduty_url
                .clone()
                .or_else(|| Some(Url("https://events.pagerduty.com/v2/enqueue".to_owned())));
        }
        Ok(())
    }
}

kind! { SlackConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Option<SecretUrl>,
    api_url_file: File,
    app_token | bot_token: Option<Secret>,
    app_token_file | bot_token_file: File,
    app_url: Option<Url>, channel: Text, username: Text, color: Text, title: Text, title_link: Text, pretext: Text, text: Text, message_text: Text,
    fields: List<AttachmentField>, short_fields: Option<Bool>, footer: Text, fallback: Text, callback_id: Text,
    icon_emoji: Text, icon_url: Text, image_url: Text, thumb_url: Text, link_names: Option<Bool>,
    mrkdwn_in: List<String>, actions: List<SlackAction>, timeout: Option<Duration>, update_message: Option<Bool>,
    escape_values: Option<Bool>,
}}

kind! { #[derive(Clone)] AttachmentField { title: Text, value: Text, short: Option<Bool>, } }
kind! { SlackAction {
    r#type: Text, text: Text, url: Text, style: Text, name: Text, value: Text, confirm: Option<SlackConfirm>,
}}
kind! { SlackConfirm { text: Text, title: Text, ok_text: Text, dismiss_text: Text, } }

/// Where a bot token posts.
pub const SLACK_POST_MESSAGE: &str = "https://slack.com/api/chat.postMessage";

impl SlackConfig {
    /// Is it the Web API, with a bot token, and not an incoming webhook?
    pub fn has_token(&self) -> bool {
        let posts = self.api_url.as_ref().is_some_and(|u| u.0.expose().ends_with("/chat.postMessage"));
        posts || secret(&self.app_token) || set(&self.app_token_file)
    }

    /// Does one message stand for a group, brought up to date in its place? An incoming webhook cannot.
    pub fn updates(&self) -> bool {
        self.has_token() && self.update_message.is_none_or(|b| b.0)
    }
}

impl Kind for SlackConfig {
    common!("slack", Slack, http);

    fn may_be_empty(&self) -> bool {
        true
    }

    fn sends_resolved(&self) -> bool {
        false
    }

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let url = (self.api_url.is_some(), set(&self.api_url_file));
        let token = (secret(&self.app_token), set(&self.app_token_file));
        one_way(url.0, url.1, "api_url & api_url_file")?;
        one_way(token.0, token.1, "app_token & app_token_file")?;
        one_way(url.0 || url.1, token.0 || token.1, "api_url/api_url_file & app_token/app_token_file")?;
        for field in self.fields.iter().flatten() {
            if !set(&field.title) {
                return Err("missing title in Slack field configuration".to_owned());
            }
            if !set(&field.value) {
                return Err("missing value in Slack field configuration".to_owned());
            }
        }
        for action in self.actions.iter().flatten() {
            if !set(&action.r#type) {
                return Err("missing type in Slack action configuration".to_owned());
            }
            if !set(&action.text) {
                return Err("missing text in Slack action configuration".to_owned());
            }
            if !set(&action.url) && !set(&action.name) {
                return Err("missing name or url in Slack action configuration".to_owned());
            }
            if action.confirm.as_ref().is_some_and(|c| !set(&c.text)) {
                return Err("missing text in Slack confirmation configuration".to_owned());
            }
        }
        // Where a token of its own is given, in `app_token` or in the header, no global one is looked for.
        let own_header = self.http_config.as_ref().is_some_and(|h| h.authorization.is_some());
        if own_header && (token.0 || token.1) {
            return Err("http authorization can't be set when using Slack App tokens".to_owned());
        }
        if !(url.0 || url.1 || token.0 || token.1) {
            if self.app_url.is_none() {
                self.app_url.clone_from(&global.slack_app_url);
            }
            let global_token = secret(&global.slack_app_token) || set(&global.slack_app_token_file);
            if global_token && !own_header {
                self.app_token.clone_from(&global.slack_app_token);
                self.app_token_file.clone_from(&global.slack_app_token_file);
            } else if global.slack_api_url.is_some() || set(&global.slack_api_url_file) {
                self.api_url.clone_from(&global.slack_api_url);
                self.api_url_file.clone_from(&global.slack_api_url_file);
            } else {
                return Err("no Slack API URL nor App token set either inline or in a file".to_owned());
            }
        }
        if self.update_message.is_some_and(|b| b.0)
            && self.api_url.as_ref().is_some_and(|u| u.0.expose() != SLACK_POST_MESSAGE)
        {
            return Err(format!(
                "update_message can only be used with bot tokens. api_url must be set to {SLACK_POST_MESSAGE}"
            ));
        }
        Ok(())
    }
}

kind! { DiscordConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, webhook_url: Option<SecretUrl>,
    webhook_url_file: File, content: Text, title: Text, message: Text, username: Text, avatar_url: Text,
}}

/// Kinds with a webhook URL, inline or in a file, and nothing global.
fn webhook_url(url: &Option<SecretUrl>, file: &File) -> Result<(), String> {
    match (url.is_some(), set(file)) {
        (false, false) => Err("one of webhook_url or webhook_url_file must be configured".to_owned()),
        (a, b) => one_way(a, b, "webhook_url & webhook_url_file"),
    }
}

impl Kind for DiscordConfig {
    common!("discord", Discord, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

kind! { MsteamsConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, webhook_url: Option<SecretUrl>,
    webhook_url_file: File, title: Text, summary: Text, text: Text,
}}

impl Kind for MsteamsConfig {
    common!("msteams", Msteams, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

kind! { Msteamsv2Config {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, webhook_url: Option<SecretUrl>,
    webhook_url_file: File, title: Text, text: Text,
}}

impl Kind for Msteamsv2Config {
    common!("msteamsv2", Msteamsv2, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

kind! {
    /// Beyond Alertmanager's kinds: alerts are passed on to an Alertmanager, or another sideband, by `/api/v2`.
    AlertmanagerConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, url: Option<Url>,
    timeout: Option<Duration>,
}}

impl Kind for AlertmanagerConfig {
    common!("alertmanager", Alertmanager, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        if self.url.is_none() { Err("missing url in alertmanager config".to_owned()) } else { Ok(()) }
    }
}
