//! `alerting:` of the configuration.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::Duration;
use crate::net::http::with_http_client_fields;
use crate::scrape::relabel::{self, NameValidation, RelabelConfig, RelabelRule};
use crate::scrape::{FileSdConfig, TargetGroup};

/// Where alerts are sent to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertingConfig {
    pub alert_relabel_configs: Option<Vec<Option<RelabelConfig>>>,
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

macro_rules! alertmanager_config {
    ($($unbuilt:ident),* $(,)?) => {
        with_http_client_fields! {
            /// A set of Alertmanagers with the same settings.
            #[derive(Debug, Clone, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct AlertmanagerConfig {
                #[serde(default = "http")]
                scheme: String,
                #[serde(default)]
                path_prefix: String,
                timeout: Option<Duration>,
                #[serde(default)]
                api_version: Option<String>,
                #[serde(default)]
                static_configs: Vec<TargetGroup>,
                #[serde(default)]
                file_sd_configs: Option<Vec<FileSdConfig>>,
                #[serde(default)]
                relabel_configs: Option<Vec<Option<RelabelConfig>>>,
                #[serde(default)]
                alert_relabel_configs: Option<Vec<Option<RelabelConfig>>>,
                $(#[serde(default)] $unbuilt: Option<IgnoredAny>,)*
            }
        }

        impl AlertmanagerConfig {
            /// The first key in use that Prometheus has and sideband has not yet.
            fn unbuilt(&self) -> Option<&'static str> {
                $(if self.$unbuilt.is_some() {
                    return Some(stringify!($unbuilt));
                })*
                None
            }
        }
    };
}

alertmanager_config!(
    azure_sd_configs,
    consul_sd_configs,
    digitalocean_sd_configs,
    dns_sd_configs,
    docker_sd_configs,
    dockerswarm_sd_configs,
    ec2_sd_configs,
    eureka_sd_configs,
    gce_sd_configs,
    hetzner_sd_configs,
    http_sd_configs,
    kubernetes_sd_configs,
    marathon_sd_configs,
    nerve_sd_configs,
    openstack_sd_configs,
    serverset_sd_configs,
    triton_sd_configs,
    sigv4,
);

impl AlertingConfig {
    /// The rules that every alert passes before it is sent.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn relabel_rules(&self) -> Result<Vec<RelabelRule>, String> {
        let configs = self.alert_relabel_configs.as_deref().unwrap_or_default();
        relabel::compile_all(configs, NameValidation::default(), "alert")
    }

    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn validate(&self) -> Result<(), String> {
        self.relabel_rules()?;
        self.alertmanagers.iter().try_for_each(AlertmanagerConfig::validate)
    }
}

fn http() -> String {
    "http".to_owned()
}

impl AlertmanagerConfig {
    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The path that alerts are posted to.
    pub fn alerts_path(&self) -> String {
        let prefix = self.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{slash}{prefix}/api/v2/alerts")
    }

    /// The groups of addresses that are written in the configuration.
    pub fn static_configs(&self) -> &[TargetGroup] {
        &self.static_configs
    }

    /// The files that name addresses.
    pub fn file_sd_configs(&self) -> &[FileSdConfig] {
        self.file_sd_configs.as_deref().unwrap_or_default()
    }

    /// The rules that make receivers of addresses.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn relabel_rules(&self) -> Result<Vec<RelabelRule>, String> {
        let configs = self.relabel_configs.as_deref().unwrap_or_default();
        relabel::compile_all(configs, NameValidation::default(), "Alertmanager target")
    }

    /// The rules that alerts for these receivers pass, after those for all.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn alert_relabel_rules(&self) -> Result<Vec<RelabelRule>, String> {
        let configs = self.alert_relabel_configs.as_deref().unwrap_or_default();
        relabel::compile_all(configs, NameValidation::default(), "Alertmanager alert")
    }

    /// How long a request may take: 10 s unless set.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(10))
    }

    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn validate(&self) -> Result<(), String> {
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return Err(format!("unknown scheme {:?}: http and https are known", self.scheme));
        }
        if self.api_version.as_deref().is_some_and(|v| v != "v2") {
            return Err("expected Alertmanager api version to be v2".to_owned());
        }
        let relabelled = !self.relabel_rules()?.is_empty();
        self.alert_relabel_rules()?;
        if let Some(key) = self.unbuilt() {
            return Err(format!("{key} of alertmanagers is not built yet"));
        }
        self.file_sd_configs().iter().try_for_each(FileSdConfig::validate)?;
        // Rules may still make addresses of what stands here.
        let check = if relabelled { TargetGroup::validate_labels } else { TargetGroup::validate };
        self.static_configs.iter().try_for_each(check)?;
        self.http_client().validate()
    }
}
