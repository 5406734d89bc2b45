//! The file as it is written: `prometheus.yml`'s sections, and ours beside them.

use std::collections::BTreeMap;

use crate::host::HostConfig;
use crate::model::Duration;
use crate::model::yaml::{Spanned, from_yaml_by_serde, table};
use crate::paging;
use crate::remote::{AlertingConfig, WarmStartConfig};
use crate::rules::GateMode;
use crate::scrape::ScrapeConfig;

from_yaml_by_serde! { HostConfig GateMode paging::config::File }

table! {
    /// The whole file. A key that is there and empty counts as left out.
    #[derive(Debug)]
    pub struct File {
        pub global: Option<Spanned<Global>>,
        /// Accepted: the Go runtime that it tunes is not here.
        pub runtime: Option<Runtime>,
        pub rule_files: Vec<Spanned<String>>,
        pub scrape_config_files: Vec<Spanned<String>>,
        pub scrape_configs: Vec<Spanned<Option<ScrapeConfig>>>,
        pub alerting: Option<Spanned<AlertingConfig>>,
        pub storage: Option<Spanned<Storage>>,

        pub host: Option<Spanned<HostConfig>>,
        pub paging: Option<Spanned<paging::config::File>>,
        pub paging_file: Option<Spanned<String>>,
        pub rules: Option<Spanned<Rules>>,
    }
    not_built: &["remote_write", "remote_read", "tracing", "otlp"]
}

table! {
    /// A file that `scrape_config_files` names.
    #[derive(Debug)]
    pub struct ScrapeConfigFile {
        pub scrape_configs: Vec<Spanned<Option<ScrapeConfig>>>,
    }
}

table! {
    #[derive(Debug)]
    pub struct Runtime {
        pub gogc: Option<i64>,
    }
}

table! {
    /// `global:`
    #[derive(Debug)]
    pub struct Global {
        pub scrape_interval: Option<Duration>,
        pub scrape_timeout: Option<Duration>,
        pub scrape_protocols: Option<Vec<String>>,
        pub evaluation_interval: Option<Duration>,
        pub rule_query_offset: Option<Duration>,
        pub external_labels: Option<BTreeMap<String, Spanned<Option<String>>>>,
        pub body_size_limit: Option<Spanned<String>>,
        pub sample_limit: Option<u64>,
        pub target_limit: Option<u64>,
        pub label_limit: Option<u64>,
        pub label_name_length_limit: Option<u64>,
        pub label_value_length_limit: Option<u64>,
        pub keep_dropped_targets: Option<u64>,
        pub metric_name_validation_scheme: Option<String>,
        pub metric_name_escaping_scheme: Option<String>,
        pub extra_scrape_metrics: Option<bool>,
        /// The text formats, which are what is scraped, carry no native histograms: these change nothing.
        pub scrape_native_histograms: Option<bool>,
        pub convert_classic_histograms_to_nhcb: Option<bool>,
        pub always_scrape_classic_histograms: Option<bool>,
    }
    not_built: &["query_log_file", "scrape_failure_log_file"]
}

table! {
    /// `storage:`, with more keys than Prometheus has.
    #[derive(Debug)]
    pub struct Storage {
        pub tsdb: Option<Tsdb>,
        pub exemplars: Option<Exemplars>,
        /// The most series that may be held at once; 0: no limit.
        pub max_series: Option<usize>,
    }
}

table! {
    #[derive(Debug)]
    pub struct Tsdb {
        pub out_of_order_time_window: Option<Spanned<Duration>>,
        pub stale_series_compaction_threshold: Option<f64>,
        pub retention: Option<Retention>,
        pub chunk_encoding: Option<ChunkEncoding>,
    }
}

table! {
    /// Accepted; the head chooses the encoding for each chunk itself.
    #[derive(Debug)]
    pub struct ChunkEncoding {
        pub floats: Option<Spanned<String>>,
    }
}

table! {
    #[derive(Debug)]
    pub struct Retention {
        pub time: Option<Duration>,
        pub size: Option<Spanned<String>>,
        pub percentage: Option<Spanned<f64>>,
    }
}

table! {
    /// Accepted: exemplars are read and not kept.
    #[derive(Debug)]
    pub struct Exemplars {
        pub max_exemplars: Option<i64>,
    }
}

table! {
    /// `rules:`
    #[derive(Debug)]
    pub struct Rules {
        /// How often an alert that still fires is sent again; 1 m when left out.
        pub resend_delay: Option<Duration>,
        /// Where new baselines look for history that is not stored here.
        pub warm_start: Option<Spanned<WarmStartConfig>>,
        /// What happens to sigma rules that a reload changed; `warn` when left out.
        pub reload_gate: Option<GateMode>,
    }
}
