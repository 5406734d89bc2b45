//! Kinds that are understood and checked, but have no sender.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::super::Global;
use super::super::IntegrationConfig;
use super::super::scalar::{Bool, SecretUrl, Url};
use super::super::visit::{See, Visit};
use super::{AttachmentField, File, Kind, List, Text, inherit, key_name, one_way, secret, set};
use crate::model::yaml::{self, FromYaml, Node};
use crate::model::{Duration, Secret};
use crate::net::http::HttpClientConfig;

kind! { IncidentioConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, url: Option<SecretUrl>, url_file: File,
    alert_source_token: Option<Secret>, alert_source_token_file: File, max_alerts: Option<u64>,
    timeout: Option<Duration>,
}}

impl Kind for IncidentioConfig {
    common!("incidentio", Incidentio, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        match (self.url.is_some(), set(&self.url_file)) {
            (false, false) => return Err("one of url or url_file must be configured".to_owned()),
            (a, b) => one_way(a, b, "url & url_file")?,
        }
        let token = (self.alert_source_token.is_some(), set(&self.alert_source_token_file));
        one_way(token.0, token.1, "alert_source_token & alert_source_token_file")?;
        // As in Alertmanager, only an own HTTP client without a header is looked at: the global one may have it.
        let header = self.http_config.as_ref().map(|h| h.authorization.is_some());
        match (token.0 || token.1, header) {
            (true, Some(true)) => {
                Err("cannot specify alert_source_token or alert_source_token_file when using \
                                 http_config.authorization"
                    .to_owned())
            }
            (false, Some(false)) => Err("at least one of alert_source_token, alert_source_token_file or \
                                   http_config.authorization must be configured"
                .to_owned()),
            _ => Ok(()),
        }
    }
}

kind! { JiraConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Option<Url>, api_type: Text,
    project: Text, summary: Option<JiraText>, description: Option<JiraText>, labels: List<String>,
    priority: Text, issue_type: Text, resolve_transition: Text, reopen_transition: Text,
    wont_fix_resolution: Text, reopen_duration: Option<Duration>, fields: Option<BTreeMap<String, IgnoredAny>>,
}}

/// A template, or one with more said about it.
#[derive(Debug)]
pub enum JiraText {
    Template(String),
    More(JiraField),
}
impl FromYaml for JiraText {
    fn from_yaml(node: &Node) -> Result<Self, yaml::Error> {
        match node.is_mapping() {
            true => JiraField::from_yaml(node).map(Self::More),
            false => String::from_yaml(node).map(Self::Template),
        }
    }
}
impl Visit for JiraText {
    fn visit(&self, place: &str, see: See<'_>) {
        match self {
            Self::Template(text) => text.visit(place, see),
            Self::More(field) => field.visit(place, see),
        }
    }
}

kind! { JiraField { template: Text, enable_update: Option<Bool>, } }

impl Kind for JiraConfig {
    common!("jira", CannotSend, http);

    fn check(&mut self, global: &Global) -> Result<(), String> {
        if !set(&self.project) {
            return Err("missing project in jira_config".to_owned());
        }
        if !set(&self.issue_type) {
            return Err("missing issue_type in jira_config".to_owned());
        }
        if !matches!(self.api_type.as_deref().unwrap_or("auto"), "auto" | "cloud" | "datacenter") {
            return Err("unknown api_type on jira_config, must be cloud, datacenter or auto".to_owned());
        }
        if self.api_url.is_none() && global.jira_api_url.is_none() {
            return Err("no global Jira Cloud URL set".to_owned());
        }
        Ok(())
    }
}

kind! { MattermostConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, webhook_url: Option<SecretUrl>,
    webhook_url_file: File, channel: Text, username: Text, text: Text, icon_url: Text, icon_emoji: Text,
    attachments: List<MattermostAttachment>, r#type: Text, props: Option<MattermostProps>,
    priority: Option<MattermostPriority>, fallback: Text, color: Text, pretext: Text, author_name: Text,
    author_link: Text, author_icon: Text, title: Text, title_link: Text, fields: List<AttachmentField>,
    thumb_url: Text, footer: Text, footer_icon: Text, image_url: Text,
}}
kind! { #[derive(Clone)] MattermostAttachment {
    fallback: Text, color: Text, pretext: Text, text: Text, author_name: Text, author_link: Text,
    author_icon: Text, title: Text, title_link: Text, fields: List<AttachmentField>, thumb_url: Text,
    footer: Text, footer_icon: Text, image_url: Text,
}}
kind! { MattermostProps { card: Text, } }
kind! { MattermostPriority { priority: Text, requested_ack: Option<Bool>, persistent_notifications: Option<Bool>, } }

impl Kind for MattermostConfig {
    common!("mattermost", Mattermost, http);

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let attached = self.attachments.iter().flatten().flat_map(|a| a.fields.iter().flatten());
        for field in self.fields.iter().flatten().chain(attached) {
            if !set(&field.title) {
                return Err("missing title in Mattermost field configuration".to_owned());
            }
            if !set(&field.value) {
                return Err("missing value in Mattermost field configuration".to_owned());
            }
        }
        let given = (self.webhook_url.is_some(), set(&self.webhook_url_file));
        one_way(given.0, given.1, "webhook_url & webhook_url_file")?;
        inherit(
            (&mut self.webhook_url, &mut self.webhook_url_file),
            (&global.mattermost_webhook_url, &global.mattermost_webhook_url_file),
            given,
            "missing webhook_url or webhook_url_file on mattermost_config",
        )
    }
}

kind! { OpsgenieConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_key: Option<Secret>,
    api_key_file: File, api_url: Option<Url>, message: Text, description: Text, source: Text,
    details: Option<BTreeMap<String, Text>>, entity: Text, responders: List<OpsgenieResponder>, actions: Text,
    tags: Text, note: Text, priority: Text, update_alerts: Option<Bool>,
}}
kind! { OpsgenieResponder { id: Text, name: Text, username: Text, r#type: Text, } }

impl Kind for OpsgenieConfig {
    common!("opsgenie", Opsgenie, http);

    fn may_be_empty(&self) -> bool {
        true
    }

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let given = (secret(&self.api_key), set(&self.api_key_file));
        one_way(given.0, given.1, "api_key & api_key_file")?;
        for r in self.responders.iter().flatten() {
            if !set(&r.id) && !set(&r.username) && !set(&r.name) {
                return Err("opsGenieConfig responder has to have at least one of id, username or name \
                            specified"
                    .to_owned());
            }
            let kind = r.r#type.as_deref().unwrap_or_default();
            let known = ["team", "teams", "user", "escalation", "schedule"];
            if !kind.contains("{{") && !known.iter().any(|k| k.eq_ignore_ascii_case(kind)) {
                return Err(format!(
                    "opsGenieConfig responder type {kind:?} is not valid, valid types are {}",
                    known.join(", ")
                ));
            }
        }
        inherit(
            (&mut self.api_key, &mut self.api_key_file),
            (&global.opsgenie_api_key, &global.opsgenie_api_key_file),
            given,
            "no global OpsGenie API Key set either inline or in a file",
        )
    }
}

kind! { PushoverConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, user_key: Option<Secret>,
    user_key_file: File, token: Option<Secret>, token_file: File, title: Text, message: Text, url: Text,
    url_title: Text, device: Text, sound: Text, priority: Text, retry: Option<GoDuration>,
    expire: Option<GoDuration>, ttl: Option<GoDuration>, html: Option<Bool>, monospace: Option<Bool>,
}}

/// A duration as Go writes it, which only has to be one: `1h2m3.5s`.
#[derive(Debug, Clone)]
pub struct GoDuration(pub String);

impl GoDuration {
    /// Whole seconds; what is below zero is none.
    pub fn seconds(&self) -> u64 {
        let negative = self.0.starts_with('-');
        let mut rest = self.0.trim_start_matches(['-', '+']);
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let tail = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            let number: f64 = rest[..rest.len() - tail.len()].parse().unwrap_or_default();
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            seconds += number
                * match &tail[..end] {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 1e-3,
                    _ => 0.0,
                };
            rest = &tail[end..];
        }
        // A float that is too large becomes the largest number.
        if negative { 0 } else { seconds as u64 }
    }
}

impl Visit for GoDuration {
    fn visit(&self, _: &str, _: See<'_>) {}
}

impl FromYaml for GoDuration {
    fn from_yaml(node: &Node) -> Result<Self, yaml::Error> {
        let text = String::from_yaml(node)?;
        let mut rest = text.trim_start_matches(['-', '+']);
        let mut ok = !rest.is_empty();
        while ok && !rest.is_empty() && rest != "0" {
            let tail = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            let number = &rest[..rest.len() - tail.len()];
            let unit = ["ns", "us", "µs", "ms", "s", "m", "h"]
                .into_iter()
                .find(|u| tail.strip_prefix(u).is_some_and(|t| !t.starts_with(|c: char| c.is_alphabetic())));
            ok = number.parse::<f64>().is_ok() && unit.is_some();
            rest = &tail[unit.map_or(0, str::len)..];
        }
        if ok { Ok(Self(text)) } else { Err(serde::de::Error::custom(format!("invalid duration {text:?}"))) }
    }
}

impl Kind for PushoverConfig {
    common!("pushover", Pushover, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        for (a, b, missing, both) in [
            (
                secret(&self.user_key),
                set(&self.user_key_file),
                "one of user_key or user_key_file must be configured",
                "user_key & user_key_file",
            ),
            (
                secret(&self.token),
                set(&self.token_file),
                "one of token or token_file must be configured",
                "token & token_file",
            ),
        ] {
            if !a && !b {
                return Err(missing.to_owned());
            }
            one_way(a, b, both)?;
        }
        if self.html.is_some_and(|b| b.0) && self.monospace.is_some_and(|b| b.0) {
            return Err("at most one of monospace & html must be configured".to_owned());
        }
        Ok(())
    }
}

kind! { RocketchatConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Option<Url>, channel: Text,
    token: Option<Secret>, token_file: File, token_id: Option<Secret>, token_id_file: File, color: Text,
    title: Text, title_link: Text, text: Text, fields: List<AttachmentField>, short_fields: Option<Bool>,
    emoji: Text, icon_url: Text, image_url: Text, thumb_url: Text, link_names: Option<Bool>,
    actions: List<RocketchatAction>,
}}
kind! { RocketchatAction { r#type: Text, text: Text, url: Text, msg: Text, } }

impl Kind for RocketchatConfig {
    common!("rocketchat", Rocketchat, http);

    fn may_be_empty(&self) -> bool {
        true
    }

    fn sends_resolved(&self) -> bool {
        false
    }

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let token = (self.token.is_some(), set(&self.token_file));
        let id = (self.token_id.is_some(), set(&self.token_id_file));
        one_way(token.0, token.1, "token & token_file")?;
        one_way(id.0, id.1, "token_id & token_id_file")?;
        inherit(
            (&mut self.token_id, &mut self.token_id_file),
            (&global.rocketchat_token_id, &global.rocketchat_token_id_file),
            id,
            "no global Rocketchat TokenID set either inline or in a file",
        )?;
        inherit(
            (&mut self.token, &mut self.token_file),
            (&global.rocketchat_token, &global.rocketchat_token_file),
            token,
            "no global Rocketchat Token set either inline or in a file",
        )
    }
}

kind! { SnsConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Text, sigv4: Option<Sigv4>,
    topic_arn: Text, phone_number: Text, target_arn: Text, subject: Text, message: Text,
    attributes: Option<BTreeMap<String, Text>>, use_aws_http_client: Option<Bool>,
}}
kind! { Sigv4 {
    region: Text, access_key: Text, secret_key: Option<Secret>, profile: Text, role_arn: Text,
    external_id: Text, use_fips_sts_endpoint: Option<Bool>, service_name: Text,
}}

impl Kind for SnsConfig {
    common!("sns", CannotSend, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        let targets = [&self.target_arn, &self.topic_arn, &self.phone_number];
        // Two are refused; Alertmanager takes all three at once, and so does this.
        if targets.into_iter().filter(|t| set(t)).count() % 2 == 0 {
            return Err(
                "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config".to_owned()
            );
        }
        match &self.sigv4 {
            Some(s) if set(&s.access_key) != secret(&s.secret_key) => {
                Err("must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 \
                     config"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

kind! { TelegramConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Option<Url>,
    bot_token: Option<Secret>, bot_token_file: File, chat_id: Option<i64>, chat_id_file: File,
    message_thread_id: Option<i64>, message: Text, disable_notifications: Option<Bool>, parse_mode: Text,
}}

impl Kind for TelegramConfig {
    common!("telegram", Telegram, http);

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let token = (secret(&self.bot_token), set(&self.bot_token_file));
        one_way(token.0, token.1, "bot_token & bot_token_file")?;
        let chat = (self.chat_id.is_some_and(|id| id != 0), set(&self.chat_id_file));
        if !chat.0 && !chat.1 {
            return Err("missing chat_id or chat_id_file on telegram_config".to_owned());
        }
        one_way(chat.0, chat.1, "chat_id & chat_id_file")?;
        let mode = self.parse_mode.as_deref().unwrap_or_default();
        if !matches!(mode, "" | "Markdown" | "MarkdownV2" | "HTML") {
            return Err(
                "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string"
                    .to_owned(),
            );
        }
        inherit(
            (&mut self.bot_token, &mut self.bot_token_file),
            (&global.telegram_bot_token, &global.telegram_bot_token_file),
            token,
            "missing bot_token or bot_token_file on telegram_config",
        )
    }
}

kind! { VictoropsConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_key: Option<Secret>,
    api_key_file: File, api_url: Option<Url>, routing_key: Text, message_type: Text, state_message: Text,
    entity_display_name: Text, monitoring_tool: Text, custom_fields: Option<BTreeMap<String, Text>>,
}}

impl Kind for VictoropsConfig {
    common!("victorops", Victorops, http);

    fn check(&mut self, global: &Global) -> Result<(), String> {
        if !set(&self.routing_key) {
            return Err("missing Routing key in VictorOps config".to_owned());
        }
        let given = (secret(&self.api_key), set(&self.api_key_file));
        one_way(given.0, given.1, "api_key & api_key_file")?;
        const FIXED: [&str; 6] = [
            "routing_key",
            "message_type",
            "state_message",
            "entity_display_name",
            "monitoring_tool",
            "entity_id",
        ];
        for name in self.custom_fields.iter().flat_map(BTreeMap::keys) {
            if FIXED.contains(&name.as_str()) || name == "entity_state" {
                return Err(format!(
                    "victorOps config contains custom field {name} which cannot be used as it conflicts with the \
                     fixed/static fields"
                ));
            }
        }
        inherit(
            (&mut self.api_key, &mut self.api_key_file),
            (&global.victorops_api_key, &global.victorops_api_key_file),
            given,
            "no global VictorOps API Key set",
        )
    }
}

kind! { WebexConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_url: Option<Url>, message: Text,
    room_id: Text,
}}

impl Kind for WebexConfig {
    common!("webex", Webex, http);

    fn check(&mut self, _: &Global) -> Result<(), String> {
        if !set(&self.room_id) {
            return Err("missing room_id on webex_config".to_owned());
        }
        if self.http_config.as_ref().is_none_or(|h| h.authorization.is_none()) {
            return Err("missing webex_configs.http_config.authorization".to_owned());
        }
        Ok(())
    }
}

kind! { WechatConfig {
    send_resolved: Option<Bool>, http_config: Option<HttpClientConfig>, api_secret: Option<Secret>,
    api_secret_file: File, corp_id: Text, message: Text, api_url: Option<Url>, to_user: Text, to_party: Text,
    to_tag: Text, agent_id: Text, message_type: Text,
}}

impl Kind for WechatConfig {
    common!("wechat", CannotSend, http);

    fn may_be_empty(&self) -> bool {
        true
    }

    fn sends_resolved(&self) -> bool {
        false
    }

    fn check(&mut self, global: &Global) -> Result<(), String> {
        let kind = self.message_type.as_deref().unwrap_or("text");
        if !matches!(kind, "" | "text" | "markdown") {
            return Err(format!(
                "weChat message type {kind:?} does not match valid options ^(text|markdown)$"
            ));
        }
        let given = (secret(&self.api_secret), set(&self.api_secret_file));
        one_way(given.0, given.1, "api_secret & api_secret_file")?;
        inherit(
            (&mut self.api_secret, &mut self.api_secret_file),
            (&global.wechat_api_secret, &global.wechat_api_secret_file),
            given,
            "no global Wechat Api Secret set either inline or in a file",
        )?;
        if !set(&self.corp_id) && !set(&global.wechat_api_corp_id) {
            return Err("no global Wechat CorpID set".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    #[test]
    fn go_durations_in_seconds() {
        for (text, expect) in [
            ("30s", 30),
            ("1m", 60),
            ("1h2m3.5s", 3723),
            ("1500ms", 1),
            ("-5m", 0),
            ("9us", 0),
            ("0", 0),
            ("", 0),
        ] {
            assert_eq!(GoDuration(text.to_owned()).seconds(), expect, "{text}");
        }
    }
}
