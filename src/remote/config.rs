//! `alerting:` of the configuration.

use serde::de::IgnoredAny;

use crate::model::Duration;
use crate::model::yaml::{Error, Spanned, table};
use crate::net::http::HttpClientConfig;
use crate::scrape::relabel::{self, NameValidation, RelabelConfigs, RelabelRule};
use crate::scrape::{DISCOVERIES_NOT_BUILT, FileSdConfig, TargetGroup};

table! {
    /// Where alerts are sent to.
    #[derive(Debug, Clone)]
    pub struct AlertingConfig {
        pub alert_relabel_configs: RelabelConfigs,
        pub alertmanagers: Vec<Spanned<AlertmanagerConfig>>,
    }
}

table! {
    /// A set of Alertmanagers with the same settings.
    #[derive(Debug, Clone)]
    pub struct AlertmanagerConfig {
        pub scheme: Option<Spanned<String>>,
        pub path_prefix: Option<String>,
        pub timeout: Option<Duration>,
        pub api_version: Option<Spanned<String>>,
        pub static_configs: Vec<Spanned<TargetGroup>>,
        pub file_sd_configs: Vec<Spanned<FileSdConfig>>,
        pub relabel_configs: RelabelConfigs,
        pub alert_relabel_configs: RelabelConfigs,
        /// Not built: refused, also when it is empty, which has a meaning.
        pub sigv4: Option<Spanned<IgnoredAny>>,
        ..
        /// How they are asked.
        pub http: HttpClientConfig,
    }
    not_built: DISCOVERIES_NOT_BUILT
}

impl AlertingConfig {
    /// The rules that every alert passes before it is sent.
    ///
    /// # Errors
    /// What is wrong, at its place.
    pub fn relabel_rules(&self) -> Result<Vec<RelabelRule>, Error> {
        relabel::compile_all(&self.alert_relabel_configs, NameValidation::default(), "alert")
    }

    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// What is wrong, at its place if that is known.
    pub fn validate(&self) -> Result<(), Error> {
        self.relabel_rules()?;
        self.alertmanagers
            .iter()
            .try_for_each(|one| one.value.validate().map_err(|e| e.or_at(one.referenced)))
    }
}

impl AlertmanagerConfig {
    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.scheme.as_ref().map_or("http", |scheme| scheme.value.as_str())
    }

    /// The path that alerts are posted to.
    pub fn alerts_path(&self) -> String {
        let prefix = self.path_prefix.as_deref().unwrap_or_default().trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{slash}{prefix}/api/v2/alerts")
    }

    /// The groups of addresses that are written in the configuration.
    pub fn static_groups(&self) -> Vec<TargetGroup> {
        self.static_configs.iter().map(|group| group.value.clone()).collect()
    }

    /// The files that name addresses.
    pub fn file_sd(&self) -> Vec<FileSdConfig> {
        self.file_sd_configs.iter().map(|files| files.value.clone()).collect()
    }

    /// The rules that make receivers of addresses.
    ///
    /// # Errors
    /// What is wrong, at its place.
    pub fn relabel_rules(&self) -> Result<Vec<RelabelRule>, Error> {
        relabel::compile_all(&self.relabel_configs, NameValidation::default(), "Alertmanager target")
    }

    /// The rules that alerts for these receivers pass, after those for all.
    ///
    /// # Errors
    /// What is wrong, at its place.
    pub fn alert_relabel_rules(&self) -> Result<Vec<RelabelRule>, Error> {
        relabel::compile_all(&self.alert_relabel_configs, NameValidation::default(), "Alertmanager alert")
    }

    /// How long a request may take: 10 s unless set.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(10))
    }

    fn validate(&self) -> Result<(), Error> {
        if let Some(sigv4) = &self.sigv4 {
            return Err(Error::at(sigv4.referenced, "sigv4 is not built yet"));
        }
        if let Some(scheme) = self.scheme.as_ref().filter(|s| !matches!(s.value.as_str(), "http" | "https")) {
            let message = format_args!("unknown scheme {:?}: http and https are known", scheme.value);
            return Err(Error::at(scheme.referenced, message));
        }
        if let Some(version) = self.api_version.as_ref().filter(|v| v.value != "v2") {
            return Err(Error::at(version.referenced, "expected Alertmanager api version to be v2"));
        }
        let relabelled = !self.relabel_rules()?.is_empty();
        self.alert_relabel_rules()?;
        for files in &self.file_sd_configs {
            files.value.validate().map_err(|e| Error::at(files.referenced, e))?;
        }
        // Rules may still make addresses of what stands here.
        let check = if relabelled { TargetGroup::validate_labels } else { TargetGroup::validate };
        for group in &self.static_configs {
            check(&group.value).map_err(|e| Error::at(group.referenced, e))?;
        }
        Ok(self.http.validate()?)
    }
}
