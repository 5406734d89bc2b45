//! Which receivers there are: what discovery and relabelling make of the addresses of `alertmanagers:`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{LabelsBuilder, yaml};
use crate::net::http::{HttpClient, NetError};
use crate::remote::config::AlertmanagerConfig;
use crate::scrape::relabel::{RelabelRule, process};
use crate::scrape::{FileDiscovery, TargetGroup, check_address};

/// What the receivers of one entry of `alertmanagers:` have in common.
pub(super) struct Settings {
    scheme: String,
    path: String,
    relabel: Vec<RelabelRule>,
    groups: Vec<TargetGroup>,
    pub alert_rules: Vec<RelabelRule>,
    pub timeout: Duration,
    pub client: HttpClient,
}

/// One entry of `alertmanagers:`, and its files.
pub(super) struct Entry {
    pub settings: Arc<Settings>,
    pub files: FileDiscovery,
    /// How often files are read; `None` without files.
    pub refresh: Option<Duration>,
}

impl Entry {
    /// # Errors
    /// A rule that cannot be compiled, or a client that cannot be made.
    pub fn new(config: &AlertmanagerConfig, base_dir: &Path) -> Result<Self, NetError> {
        let bad = |e: yaml::Error| NetError::Config(e.to_string());
        let settings = Settings {
            scheme: config.scheme().to_owned(),
            path: config.alerts_path(),
            relabel: config.relabel_rules().map_err(bad)?,
            groups: config.static_groups(),
            alert_rules: config.alert_relabel_rules().map_err(bad)?,
            timeout: config.timeout().to_std(),
            client: HttpClient::new(&config.http, base_dir)?,
        };
        let files = config.file_sd();
        Ok(Self {
            settings: Arc::new(settings),
            files: FileDiscovery::new(&files, base_dir),
            refresh: files.iter().map(|f| f.refresh_interval().to_std()).min(),
        })
    }
}

/// The URLs to post to, and those that relabelling has dropped.
#[derive(Default)]
pub(super) struct Found {
    pub urls: Vec<String>,
    pub dropped: Vec<String>,
}

impl Settings {
    /// The receivers of the static groups and of those discovered.
    pub fn receivers(&self, discovered: &[TargetGroup]) -> Found {
        let mut found = Found::default();
        for group in self.groups.iter().chain(discovered) {
            for address in &group.targets {
                let mut labels = LabelsBuilder::default();
                for (name, value) in group.labels.iter().flatten() {
                    labels.set(name, value);
                }
                labels.set("__address__", address);
                labels.set("__scheme__", &self.scheme);
                labels.set("__alerts_path__", &self.path);
                let before = url(&labels);
                if process(&mut labels, &self.relabel) {
                    let url = url(&labels);
                    let address = labels.get("__address__").unwrap_or_default();
                    if address.is_empty() {
                        tracing::error!(url, "an address of alertmanagers makes no URL");
                    } else if let Err(reason) = check_address(address) {
                        tracing::error!(reason, "an address of alertmanagers makes no URL");
                    } else if !found.urls.contains(&url) {
                        found.urls.push(url);
                    }
                } else {
                    found.dropped.push(before);
                }
            }
        }
        found
    }
}

fn url(labels: &LabelsBuilder) -> String {
    let get = |name: &str| labels.get(name).unwrap_or_default();
    let path = get("__alerts_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{}://{}{slash}{path}", get("__scheme__"), get("__address__"))
}
