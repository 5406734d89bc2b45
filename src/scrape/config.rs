//! `scrape_configs` as they are written, and the keys of `global:` that they fall back to.

use std::collections::BTreeMap;

use super::file_sd::FileSdConfig;
use super::relabel::{RelabelConfig, RelabelConfigs};
use super::target_group::TargetGroup;
use crate::model::Duration;
use crate::model::yaml::{Spanned, from_yaml_by_serde, table};
use crate::net::http::HttpClientConfig;

from_yaml_by_serde! { RelabelConfig TargetGroup FileSdConfig }

/// The keys of `global:` that scrape jobs fall back to.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalDefaults {
    pub scrape_interval: Duration,
    /// Cut to a job's interval when that is shorter.
    pub scrape_timeout: Duration,
    /// Empty: those that sideband reads, the newest first.
    pub scrape_protocols: Vec<String>,
    pub body_size_limit: u64,
    pub sample_limit: u64,
    pub target_limit: u64,
    pub label_limit: u64,
    pub label_name_length_limit: u64,
    pub label_value_length_limit: u64,
    pub keep_dropped_targets: u64,
    pub metric_name_validation_scheme: Option<String>,
    pub metric_name_escaping_scheme: Option<String>,
    pub extra_scrape_metrics: bool,
}

impl Default for GlobalDefaults {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: Vec::new(),
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            extra_scrape_metrics: false,
        }
    }
}

table! {
    /// One entry of `scrape_configs`: every key that Prometheus has.
    #[derive(Debug, Clone)]
    pub struct ScrapeConfig {
        pub job_name: Option<Spanned<String>>,
        pub scrape_interval: Option<Duration>,
        pub scrape_timeout: Option<Spanned<Duration>>,
        pub scrape_protocols: Option<Spanned<Vec<String>>>,
        pub fallback_scrape_protocol: Option<Spanned<String>>,
        pub scrape_native_histograms: Option<Spanned<bool>>,
        pub always_scrape_classic_histograms: Option<bool>,
        pub convert_classic_histograms_to_nhcb: Option<Spanned<bool>>,
        pub honor_timestamps: Option<bool>,
        pub track_timestamps_staleness: Option<bool>,
        pub honor_labels: Option<bool>,
        pub params: BTreeMap<String, Vec<String>>,
        pub metrics_path: Option<String>,
        pub scheme: Option<String>,
        pub enable_compression: Option<bool>,
        pub scrape_failure_log_file: Option<Spanned<String>>,
        /// A number with a unit, `10MB`.
        pub body_size_limit: Option<Spanned<String>>,
        pub sample_limit: Option<u64>,
        pub bucket_limit: Option<u64>,
        pub native_histogram_min_bucket_factor: Option<f64>,
        pub target_limit: Option<u64>,
        pub keep_dropped_targets: Option<u64>,
        pub label_limit: Option<u64>,
        pub label_name_length_limit: Option<u64>,
        pub label_value_length_limit: Option<u64>,
        pub metric_name_validation_scheme: Option<Spanned<String>>,
        pub metric_name_escaping_scheme: Option<Spanned<String>>,
        pub extra_scrape_metrics: Option<bool>,
        pub relabel_configs: RelabelConfigs,
        pub metric_relabel_configs: RelabelConfigs,
        pub static_configs: Vec<Spanned<Option<TargetGroup>>>,
        pub file_sd_configs: Vec<Spanned<FileSdConfig>>,
        ..
        /// How targets are asked.
        pub http: HttpClientConfig,
    }
    not_built: DISCOVERIES_NOT_BUILT
}

impl ScrapeConfig {
    /// The job's name, if it has one.
    pub fn name(&self) -> &str {
        self.job_name.as_ref().map_or("", |name| name.value.as_str())
    }
}

/// Ways to discover targets that Prometheus has and sideband has not.
pub const DISCOVERIES_NOT_BUILT: &[&str] = &[
    "aws_sd_configs",
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dns_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "http_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "oci_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];
