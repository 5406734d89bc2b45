//! The section `global`: defaults of the receivers.

use super::kinds::{File, SLACK_POST_MESSAGE, Text, key_name, kind, secret, set};
use super::scalar::{Bool, HostPort, SecretUrl, Url};
use super::visit::{Piece, Visit as _};
use crate::model::{Duration, Secret};
use crate::net::http::{HttpClientConfig, TlsConfig};

kind! {
    /// Defaults of the receivers.
    Global {
    resolve_timeout: Option<Duration>,
    http_config: Option<HttpClientConfig>,
    smtp_from: Text,
    smtp_hello: Text,
    smtp_smarthost: Option<HostPort>,
    smtp_auth_username: Text,
    smtp_auth_password: Option<Secret>,
    smtp_auth_password_file: File,
    smtp_auth_secret: Option<Secret>,
    smtp_auth_secret_file: File,
    smtp_auth_identity: Text,
    smtp_require_tls: Option<Bool>,
    smtp_force_implicit_tls: Option<Bool>,
    smtp_tls_config: Option<TlsConfig>,
    jira_api_url: Option<Url>,
    slack_api_url: Option<SecretUrl>,
    slack_api_url_file: File,
    slack_app_token: Option<Secret>,
    slack_app_token_file: File,
    slack_app_url: Option<Url>,
    pagerduty_url: Option<Url>,
    opsgenie_api_url: Option<Url>,
    opsgenie_api_key: Option<Secret>,
    opsgenie_api_key_file: File,
    wechat_api_url: Option<Url>,
    wechat_api_secret: Option<Secret>,
    wechat_api_secret_file: File,
    wechat_api_corp_id: Text,
    victorops_api_url: Option<Url>,
    victorops_api_key: Option<Secret>,
    victorops_api_key_file: File,
    telegram_api_url: Option<Url>,
    telegram_bot_token: Option<Secret>,
    telegram_bot_token_file: File,
    webex_api_url: Option<Url>,
    rocketchat_api_url: Option<Url>,
    rocketchat_token: Option<Secret>,
    rocketchat_token_file: File,
    rocketchat_token_id: Option<Secret>,
    rocketchat_token_id_file: File,
    mattermost_webhook_url: Option<SecretUrl>,
    mattermost_webhook_url_file: File,
}}

impl Global {
    /// Everything that is wrong in it.
    pub(super) fn check(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let url = |url: &Option<SecretUrl>| url.is_some();
        for (inline, file, name) in [
            (secret(&self.smtp_auth_password), &self.smtp_auth_password_file, "smtp_auth_password"),
            (secret(&self.smtp_auth_secret), &self.smtp_auth_secret_file, "smtp_auth_secret"),
            (url(&self.slack_api_url), &self.slack_api_url_file, "slack_api_url"),
            (secret(&self.slack_app_token), &self.slack_app_token_file, "slack_app_token"),
            (secret(&self.opsgenie_api_key), &self.opsgenie_api_key_file, "opsgenie_api_key"),
            (secret(&self.victorops_api_key), &self.victorops_api_key_file, "victorops_api_key"),
            (secret(&self.telegram_bot_token), &self.telegram_bot_token_file, "telegram_bot_token"),
            (secret(&self.wechat_api_secret), &self.wechat_api_secret_file, "wechat_api_secret"),
            (self.rocketchat_token.is_some(), &self.rocketchat_token_file, "rocketchat_token"),
            (self.rocketchat_token_id.is_some(), &self.rocketchat_token_id_file, "rocketchat_token_id"),
            (url(&self.mattermost_webhook_url), &self.mattermost_webhook_url_file, "mattermost_webhook_url"),
        ] {
            if inline && set(file) {
                errors.push(format!("at most one of {name} & {name}_file must be configured"));
            }
        }
        let app_url = self.slack_app_url.as_ref().map_or(SLACK_POST_MESSAGE, |u| u.0.as_str());
        if (secret(&self.slack_app_token) || set(&self.slack_app_token_file))
            && self.slack_api_url.as_ref().is_some_and(|u| u.0.expose() != app_url)
        {
            errors.push(
                "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be \
                 configured"
                    .to_owned(),
            );
        }
        if let Some(Err(e)) = self.smtp_tls_config.as_ref().map(TlsConfig::validate) {
            errors.push(format!("smtp_tls_config: {e}"));
        }
        if let Some(http) = &self.http_config
            && let Err(e) = http.validate()
            && !super::receivers::not_built(&e)
        {
            errors.push(format!("global http_config: {e}"));
        }
        errors
    }

    /// Everything in it that must not be shown, which integrations may have taken over or not.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let mut all = Vec::new();
        self.visit("", &mut |_, piece| {
            if let Piece::Secret(text) = piece {
                all.push(Secret::new(text));
            }
        });
        all
    }
}
