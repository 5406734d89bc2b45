//! `scrape_configs`: every key that Prometheus has, and what it means when it is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::file_sd::FileSdConfig;
use super::relabel::{self, NameValidation, RelabelConfig, RelabelRule};
pub use super::target_group::TargetGroup;
/// A group of targets as `static_configs` hold it.
pub use super::target_group::TargetGroup as StaticConfig;
use crate::model::Duration;
use crate::model::yaml::Spanned;
use crate::net::http::{HttpClientConfig, with_http_client_fields};

/// What is wrong, and where. Line and column count from 1; 0 says that the place is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    pub line: u64,
    pub column: u64,
    pub message: String,
}

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

macro_rules! scrape_config {
    ($($unbuilt:ident),* $(,)?) => {
        with_http_client_fields! {
            /// One entry of `scrape_configs` as it is written.
            #[derive(Debug, Clone, PartialEq, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct ScrapeConfig {
                #[serde(default)]
                pub job_name: Option<Spanned<String>>,
                #[serde(default)]
                pub scrape_interval: Option<Duration>,
                #[serde(default)]
                pub scrape_timeout: Option<Duration>,
                #[serde(default)]
                pub scrape_protocols: Option<Vec<String>>,
                #[serde(default)]
                pub fallback_scrape_protocol: Option<String>,
                #[serde(default)]
                pub scrape_native_histograms: Option<bool>,
                #[serde(default)]
                pub always_scrape_classic_histograms: Option<bool>,
                #[serde(default)]
                pub convert_classic_histograms_to_nhcb: Option<bool>,
                #[serde(default)]
                pub honor_timestamps: Option<bool>,
                #[serde(default)]
                pub track_timestamps_staleness: Option<bool>,
                #[serde(default)]
                pub honor_labels: Option<bool>,
                #[serde(default)]
                pub params: Option<BTreeMap<String, Vec<String>>>,
                #[serde(default)]
                pub metrics_path: Option<String>,
                #[serde(default)]
                pub scheme: Option<String>,
                #[serde(default)]
                pub enable_compression: Option<bool>,
                #[serde(default)]
                pub scrape_failure_log_file: Option<String>,
                /// A number with a unit, `10MB`.
                #[serde(default)]
                pub body_size_limit: Option<String>,
                #[serde(default)]
                pub sample_limit: Option<u64>,
                #[serde(default)]
                pub bucket_limit: Option<u64>,
                #[serde(default)]
                pub native_histogram_min_bucket_factor: Option<f64>,
                #[serde(default)]
                pub target_limit: Option<u64>,
                #[serde(default)]
                pub keep_dropped_targets: Option<u64>,
                #[serde(default)]
                pub label_limit: Option<u64>,
                #[serde(default)]
                pub label_name_length_limit: Option<u64>,
                #[serde(default)]
                pub label_value_length_limit: Option<u64>,
                #[serde(default)]
                pub metric_name_validation_scheme: Option<String>,
                #[serde(default)]
                pub metric_name_escaping_scheme: Option<String>,
                #[serde(default)]
                pub extra_scrape_metrics: Option<bool>,
                #[serde(default)]
                pub relabel_configs: Option<Vec<Option<RelabelConfig>>>,
                #[serde(default)]
                pub metric_relabel_configs: Option<Vec<Option<RelabelConfig>>>,
                #[serde(default)]
                pub static_configs: Option<Vec<Option<TargetGroup>>>,
                #[serde(default)]
                pub file_sd_configs: Option<Vec<FileSdConfig>>,
                $(#[serde(default)] pub $unbuilt: Option<IgnoredAny>,)*
            }
        }

        impl ScrapeConfig {
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

scrape_config!(
    aws_sd_configs,
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
    ionos_sd_configs,
    kubernetes_sd_configs,
    kuma_sd_configs,
    lightsail_sd_configs,
    linode_sd_configs,
    marathon_sd_configs,
    nerve_sd_configs,
    nomad_sd_configs,
    oci_sd_configs,
    openstack_sd_configs,
    outscale_sd_configs,
    ovhcloud_sd_configs,
    puppetdb_sd_configs,
    scaleway_sd_configs,
    serverset_sd_configs,
    stackit_sd_configs,
    triton_sd_configs,
    uyuni_sd_configs,
    vultr_sd_configs,
);

/// How names outside the old alphabet may be written by a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escaping {
    #[default]
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    /// The word in configuration files and in the Accept header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|e| e.as_str() == word)
    }
}

/// A job with everything filled in and checked. Two equal jobs behave the same, so that a reload can
/// leave their targets alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeJob {
    pub name: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// The Accept header.
    pub accept: String,
    pub fallback: Option<crate::exposition::Format>,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub honor_labels: bool,
    pub params: BTreeMap<String, Vec<String>>,
    pub metrics_path: String,
    pub scheme: String,
    pub compression: bool,
    /// Bytes, decompressed.
    pub body_size_limit: usize,
    /// Here and below 0 is no limit.
    pub sample_limit: u64,
    pub target_limit: u64,
    pub keep_dropped_targets: u64,
    pub label_limit: u64,
    pub label_name_length_limit: u64,
    pub label_value_length_limit: u64,
    pub names: NameValidation,
    pub extra_scrape_metrics: bool,
    pub relabel: Vec<RelabelRule>,
    pub metric_relabel: Vec<RelabelRule>,
    pub static_groups: Vec<TargetGroup>,
    pub file_sd: Vec<FileSdConfig>,
    pub http: HttpClientConfig,
    /// What relative paths are relative to.
    pub base_dir: PathBuf,
}

/// Where no `body_size_limit` is set there is still one: a page of some 200,000 series.
pub const DEFAULT_BODY_LIMIT: usize = 32 << 20;

/// Protocols by their names in configuration files; the last is known and not spoken.
const PROTOCOLS: [(&str, &str); 5] = [
    ("OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1"),
    ("OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0"),
    ("PrometheusText0.0.4", "text/plain;version=0.0.4"),
    ("PrometheusText1.0.0", "text/plain;version=1.0.0"),
    ("PrometheusProto", ""),
];

const DEFAULT_PROTOCOLS: [&str; 4] =
    ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];

fn unknown_protocol(name: &str) -> String {
    format!(
        "unknown scrape protocol {name}, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 \
         PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]"
    )
}

/// Checks a list of `scrape_protocols`.
///
/// # Errors
/// A sentence in Prometheus' words, without the job's name.
pub fn check_protocols(list: &[String]) -> Result<(), String> {
    for (i, name) in list.iter().enumerate() {
        if !PROTOCOLS.iter().any(|(known, _)| known == name) {
            return Err(format!("scrape_protocols: {}", unknown_protocol(name)));
        }
        if list[..i].contains(name) {
            return Err(format!("duplicated protocol in scrape_protocols, got [{}]", list.join(" ")));
        }
    }
    Ok(())
}

/// Reads a size: a number with a unit of which `KB` and `KiB` are the same (powers of 1024), or `0`.
///
/// # Errors
/// A sentence with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 13] = [
        ("KiB", 10),
        ("MiB", 20),
        ("GiB", 30),
        ("TiB", 40),
        ("PiB", 50),
        ("EiB", 60),
        ("KB", 10),
        ("MB", 20),
        ("GB", 30),
        ("TB", 40),
        ("PB", 50),
        ("EB", 60),
        ("B", 0),
    ];
    if text == "0" {
        return Ok(0);
    }
    let bad = || format!("unknown unit or number in size {text:?} (as in 512KB, 10MB)");
    let (number, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).ok_or_else(bad)?;
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
}

impl ScrapeJob {
    /// What keeps addresses of its static groups from being scraped after relabelling, a sentence each.
    pub fn target_faults(&self) -> Vec<String> {
        super::target::faults(self)
    }
}

impl ScrapeConfig {
    /// The job's name, if it has one.
    pub fn name(&self) -> &str {
        self.job_name.as_ref().map_or("", |name| name.value.as_str())
    }

    /// Fills in the defaults and checks everything; relative paths will be relative to `base_dir`.
    ///
    /// # Errors
    /// What is wrong first, at the place of the job's name.
    pub fn resolve(&self, global: &GlobalDefaults, base_dir: &Path) -> Result<ScrapeJob, ConfigError> {
        self.checked(global, base_dir).map_err(|message| {
            let place = self.job_name.as_ref().map(|name| name.referenced);
            ConfigError {
                line: place.map_or(0, |p| p.line()),
                column: place.map_or(0, |p| p.column()),
                message,
            }
        })
    }

    fn checked(&self, global: &GlobalDefaults, base_dir: &Path) -> Result<ScrapeJob, String> {
        let name = self.name().to_owned();
        if name.is_empty() {
            return Err("job_name is empty".into());
        }
        let of_job = |message: String| format!("{message} for scrape config with job name {name:?}");
        let (interval, timeout) = self.times(global).map_err(of_job)?;
        let (names, escaping) = self.schemes(global)?;
        let protocols = self.scrape_protocols.as_ref().unwrap_or(&global.scrape_protocols);
        if self.scrape_protocols.as_ref().is_some_and(Vec::is_empty) {
            return Err(of_job("scrape_protocols cannot be empty".into()));
        }
        check_protocols(protocols).map_err(of_job)?;
        let fallback = self.fallback().map_err(|e| {
            format!("invalid fallback_scrape_protocol for scrape config with job name {name:?}: {e}")
        })?;
        let http = self.http_client();
        http.validate().map_err(|e| format!("{e} (job {name:?})"))?;
        let relabel = self.relabel_configs.as_deref().unwrap_or_default();
        let metric_relabel = self.metric_relabel_configs.as_deref().unwrap_or_default();
        let in_job = |message: String| format!("{message} (job {name:?})");
        let relabel = relabel::compile_all(relabel, names, "target").map_err(in_job)?;
        let metric_relabel = relabel::compile_all(metric_relabel, names, "metric").map_err(in_job)?;
        let mut static_groups = Vec::new();
        for group in self.static_configs.iter().flatten() {
            let group =
                group.as_ref().ok_or_else(|| in_job("empty or null section in static_configs".into()))?;
            let checked = if relabel.is_empty() { group.validate() } else { group.validate_labels() };
            checked.map_err(in_job)?;
            static_groups.push(group.clone());
        }
        for files in self.file_sd_configs.iter().flatten() {
            files.validate().map_err(in_job)?;
        }
        let scheme = self.scheme.clone().unwrap_or_else(|| "http".into());
        let body_size_limit = match &self.body_size_limit {
            Some(text) => parse_size(text).map_err(|e| in_job(format!("body_size_limit: {e}")))?,
            None => global.body_size_limit,
        };
        self.refuse_unbuilt(&in_job)?;
        Ok(ScrapeJob {
            interval,
            timeout,
            accept: accept_header(protocols, escaping).map_err(in_job)?,
            fallback,
            honor_timestamps: self.honor_timestamps.unwrap_or(true),
            track_timestamps_staleness: self.track_timestamps_staleness.unwrap_or_default(),
            honor_labels: self.honor_labels.unwrap_or_default(),
            params: self.params.clone().unwrap_or_default(),
            metrics_path: self
                .metrics_path
                .clone()
                .filter(|p| !p.is_empty())
                .unwrap_or_else(|| "/metrics".into()),
            scheme: if scheme.is_empty() { "http".into() } else { scheme },
            compression: self.enable_compression.unwrap_or(true),
            body_size_limit: match body_size_limit {
                0 => DEFAULT_BODY_LIMIT,
                limit => usize::try_from(limit).unwrap_or(usize::MAX),
            },
            sample_limit: self.sample_limit.unwrap_or(global.sample_limit),
            target_limit: self.target_limit.unwrap_or(global.target_limit),
            keep_dropped_targets: self.keep_dropped_targets.unwrap_or(global.keep_dropped_targets),
            label_limit: self.label_limit.unwrap_or(global.label_limit),
            label_name_length_limit: self.label_name_length_limit.unwrap_or(global.label_name_length_limit),
            label_value_length_limit: self
                .label_value_length_limit
                .unwrap_or(global.label_value_length_limit),
            names,
            extra_scrape_metrics: self.extra_scrape_metrics.unwrap_or(global.extra_scrape_metrics),
            relabel,
            metric_relabel,
            static_groups,
            file_sd: self.file_sd_configs.clone().unwrap_or_default(),
            http,
            base_dir: base_dir.to_owned(),
            name,
        })
    }

    fn times(&self, global: &GlobalDefaults) -> Result<(Duration, Duration), String> {
        let set = |d: Option<Duration>| d.filter(|d| !d.is_zero());
        let interval = set(self.scrape_interval).unwrap_or(global.scrape_interval);
        let timeout = match set(self.scrape_timeout) {
            Some(timeout) if timeout > interval => {
                return Err("scrape timeout greater than scrape interval".into());
            }
            Some(timeout) => timeout,
            None => global.scrape_timeout.min(interval),
        };
        Ok((interval, timeout))
    }

    fn schemes(&self, global: &GlobalDefaults) -> Result<(NameValidation, Escaping), String> {
        let given = |job: &Option<String>, global: &Option<String>| {
            job.clone().filter(|s| !s.is_empty()).or_else(|| global.clone().filter(|s| !s.is_empty()))
        };
        let names = parse_validation(given(
            &self.metric_name_validation_scheme,
            &global.metric_name_validation_scheme,
        ))?;
        // A job that goes back to the old alphabet does not inherit an escaping that contradicts it.
        let inherited = match (&self.metric_name_escaping_scheme, &self.metric_name_validation_scheme) {
            (None, Some(_)) => None,
            (own, _) => given(own, &global.metric_name_escaping_scheme),
        };
        Ok((names, parse_escaping(inherited, names)?))
    }

    fn fallback(&self) -> Result<Option<crate::exposition::Format>, String> {
        use crate::exposition::Format;
        Ok(match self.fallback_scrape_protocol.as_deref() {
            None | Some("") => None,
            Some("PrometheusProto") => return Err("PrometheusProto is not built yet".into()),
            Some(name) if !PROTOCOLS.iter().any(|(known, _)| *known == name) => {
                return Err(unknown_protocol(name));
            }
            Some(name) if name.starts_with("OpenMetrics") => Some(Format::OpenMetrics),
            Some(_) => Some(Format::Text),
        })
    }

    fn refuse_unbuilt(&self, in_job: &dyn Fn(String) -> String) -> Result<(), String> {
        let named = self.unbuilt().or(match () {
            () if self.scrape_failure_log_file.is_some() => Some("scrape_failure_log_file"),
            () if self.scrape_native_histograms == Some(true) => Some("scrape_native_histograms"),
            () if self.convert_classic_histograms_to_nhcb == Some(true) => {
                Some("convert_classic_histograms_to_nhcb")
            }
            () => None,
        });
        named.map_or(Ok(()), |key| Err(in_job(format!("{key} is not built yet"))))
    }
}

/// Reads a `metric_name_validation_scheme`.
///
/// # Errors
/// A sentence in Prometheus' words.
pub fn parse_validation(word: Option<String>) -> Result<NameValidation, String> {
    match word.as_deref() {
        None | Some("utf8") => Ok(NameValidation::Utf8),
        Some("legacy") => Ok(NameValidation::Legacy),
        Some(other) => Err(format!("unrecognized ValidationScheme: {other:?}")),
    }
}

/// Reads a `metric_name_escaping_scheme` that goes with the validation.
///
/// # Errors
/// A sentence in Prometheus' words.
pub fn parse_escaping(word: Option<String>, names: NameValidation) -> Result<Escaping, String> {
    match word.as_deref() {
        None if names == NameValidation::Legacy => Ok(Escaping::Underscores),
        None => Ok(Escaping::AllowUtf8),
        Some(word) => match Escaping::parse(word) {
            Some(Escaping::AllowUtf8) if names == NameValidation::Legacy => {
                Err("utf8 metric names requested but validation scheme is not set to UTF8".into())
            }
            Some(escaping) => Ok(escaping),
            None => Err(format!(
                "unknown name escaping scheme: {word:?}, must be one of allow-utf-8, underscores, dots, values"
            )),
        },
    }
}

fn accept_header(protocols: &[String], escaping: Escaping) -> Result<String, String> {
    let mut names: Vec<&str> = protocols.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = DEFAULT_PROTOCOLS.to_vec();
    }
    names.retain(|name| *name != "PrometheusProto");
    if names.is_empty() {
        return Err("scrape_protocols: PrometheusProto alone is not built yet".into());
    }
    let mut parts = Vec::new();
    let mut weight = PROTOCOLS.len() + 1;
    for name in names {
        let media = PROTOCOLS.iter().find(|(known, _)| *known == name).map_or("", |(_, media)| media);
        let escaped = name.ends_with("1.0.0").then(|| format!(";escaping={}", escaping.as_str()));
        parts.push(format!("{media}{};q=0.{weight}", escaped.unwrap_or_default()));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{weight}"));
    Ok(parts.join(","))
}
