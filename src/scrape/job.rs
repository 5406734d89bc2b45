//! A scrape job: its configuration with everything filled in and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::{GlobalDefaults, ScrapeConfig};
use super::file_sd::FileSdConfig;
use super::protocols::{self, Escaping};
use super::relabel::{self, NameValidation, RelabelRule};
use super::target_group::TargetGroup;
use crate::exposition::Format;
use crate::model::yaml::{Error, Spanned};
use crate::model::{Duration, parse_size};
use crate::net::http::HttpClientConfig;

/// A job with everything filled in and checked. Two equal jobs behave the same, so that a reload can
/// leave their targets alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeJob {
    pub name: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// The Accept header.
    pub accept: String,
    pub fallback: Option<Format>,
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

impl ScrapeJob {
    /// What keeps addresses of its static groups from being scraped after relabelling, a sentence each.
    pub fn target_faults(&self) -> Vec<String> {
        super::target::faults(self)
    }
}

impl GlobalDefaults {
    /// Checks what every job inherits.
    ///
    /// # Errors
    /// A sentence in Prometheus' words.
    pub fn check(&self) -> Result<(), String> {
        protocols::check(&self.scrape_protocols)?;
        let (_, escaping) = ScrapeConfig::default().schemes(self).map_err(|e| e.to_string())?;
        protocols::accept_header(&self.scrape_protocols, escaping).map(drop)
    }
}

/// What is wrong with a key, at its place.
fn at<T>(key: &Spanned<T>, message: impl std::fmt::Display) -> Error {
    Error::at(key.referenced, message)
}

/// What is set, and not set to nothing.
fn text(key: &Option<String>) -> Option<String> {
    key.clone().filter(|text| !text.is_empty())
}

fn limit(own: Option<u64>, global: u64) -> u64 {
    own.unwrap_or(global)
}

impl ScrapeConfig {
    /// Fills in the defaults and checks everything; relative paths will be relative to `base_dir`.
    ///
    /// # Errors
    /// What is wrong first: at its own place, or at the place of the job's name.
    pub fn resolve(&self, global: &GlobalDefaults, base_dir: &Path) -> Result<ScrapeJob, Error> {
        let name = self.job_name.as_ref().map(|name| name.referenced).unwrap_or_default();
        self.checked(global, base_dir).map_err(|e| e.or_at(name))
    }

    fn checked(&self, global: &GlobalDefaults, base_dir: &Path) -> Result<ScrapeJob, Error> {
        let name = self.name().to_owned();
        if name.is_empty() {
            return Err("job_name is empty".to_owned().into());
        }
        self.refuse_not_built()?;
        let in_job = |message: String| Error::from(format!("{message} (job {name:?})"));
        let (interval, timeout) = self.times(global)?;
        let (names, escaping) = self.schemes(global)?;
        self.http.validate().map_err(in_job)?;
        let relabel = relabel::compile_all(&self.relabel_configs, names, "target")?;
        Ok(ScrapeJob {
            interval,
            timeout,
            accept: self.accept(global, escaping)?,
            fallback: self.fallback()?,
            honor_timestamps: self.honor_timestamps.unwrap_or(true),
            track_timestamps_staleness: self.track_timestamps_staleness.unwrap_or_default(),
            honor_labels: self.honor_labels.unwrap_or_default(),
            params: self.params.clone(),
            metrics_path: text(&self.metrics_path).unwrap_or_else(|| "/metrics".to_owned()),
            scheme: text(&self.scheme).unwrap_or_else(|| "http".to_owned()),
            compression: self.enable_compression.unwrap_or(true),
            body_size_limit: self.body_size_limit(global)?,
            sample_limit: limit(self.sample_limit, global.sample_limit),
            target_limit: limit(self.target_limit, global.target_limit),
            keep_dropped_targets: limit(self.keep_dropped_targets, global.keep_dropped_targets),
            label_limit: limit(self.label_limit, global.label_limit),
            label_name_length_limit: limit(self.label_name_length_limit, global.label_name_length_limit),
            label_value_length_limit: limit(self.label_value_length_limit, global.label_value_length_limit),
            names,
            extra_scrape_metrics: self.extra_scrape_metrics.unwrap_or(global.extra_scrape_metrics),
            static_groups: self.static_groups(!relabel.is_empty())?,
            relabel,
            metric_relabel: relabel::compile_all(&self.metric_relabel_configs, names, "metric")?,
            file_sd: self.file_sd()?,
            http: self.http.clone(),
            base_dir: base_dir.to_owned(),
            name,
        })
    }

    /// The interval and the timeout.
    fn times(&self, global: &GlobalDefaults) -> Result<(Duration, Duration), Error> {
        let interval = self.scrape_interval.filter(|d| !d.is_zero()).unwrap_or(global.scrape_interval);
        match self.scrape_timeout.as_ref().filter(|d| !d.value.is_zero()) {
            Some(timeout) if timeout.value > interval => {
                Err(at(timeout, self.of_job("scrape timeout greater than scrape interval")))
            }
            Some(timeout) => Ok((interval, timeout.value)),
            None => Ok((interval, global.scrape_timeout.min(interval))),
        }
    }

    fn of_job(&self, message: &str) -> String {
        format!("{message} for scrape config with job name {:?}", self.name())
    }

    fn schemes(&self, global: &GlobalDefaults) -> Result<(NameValidation, Escaping), Error> {
        let (validation, escaping) = (&self.metric_name_validation_scheme, &self.metric_name_escaping_scheme);
        let place = |own: &Option<Spanned<String>>| own.as_ref().map(|s| s.referenced).unwrap_or_default();
        let given = |own: &Option<Spanned<String>>, global: &Option<String>| {
            own.as_ref().map(|s| s.value.clone()).filter(|s| !s.is_empty()).or_else(|| text(global))
        };
        let names = protocols::parse_validation(given(validation, &global.metric_name_validation_scheme))
            .map_err(|e| Error::at(place(validation), e))?;
        // A job that goes back to the old alphabet does not inherit an escaping that contradicts it.
        let inherited = match (escaping, validation) {
            (None, Some(_)) => None,
            _ => given(escaping, &global.metric_name_escaping_scheme),
        };
        let escaping = protocols::parse_escaping(inherited, names)
            .map_err(|e| Error::at(place(escaping), e).or_at(place(validation)))?;
        Ok((names, escaping))
    }

    fn accept(&self, global: &GlobalDefaults, escaping: Escaping) -> Result<String, Error> {
        let header = |list: &[String]| {
            protocols::check(list)?;
            protocols::accept_header(list, escaping)
        };
        match &self.scrape_protocols {
            Some(list) if list.value.is_empty() => {
                Err(at(list, self.of_job("scrape_protocols cannot be empty")))
            }
            Some(list) => header(&list.value).map_err(|e| at(list, self.of_job(&e))),
            None => header(&global.scrape_protocols).map_err(|e| self.of_job(&e).into()),
        }
    }

    fn fallback(&self) -> Result<Option<Format>, Error> {
        let Some(name) = &self.fallback_scrape_protocol else { return Ok(None) };
        protocols::format_of(&name.value)
            .map_err(|e| at(name, format_args!("{}: {e}", self.of_job("invalid fallback_scrape_protocol"))))
    }

    /// Bytes.
    fn body_size_limit(&self, global: &GlobalDefaults) -> Result<usize, Error> {
        let limit = match &self.body_size_limit {
            Some(text) => {
                parse_size(&text.value).map_err(|e| at(text, format_args!("body_size_limit: {e}")))?
            }
            None => global.body_size_limit,
        };
        Ok(match limit {
            0 => DEFAULT_BODY_LIMIT,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }

    /// Of groups that are `relabelled`, addresses are not checked: rules may still make some of what stands there.
    fn static_groups(&self, relabelled: bool) -> Result<Vec<TargetGroup>, Error> {
        let mut groups = Vec::new();
        for written in &self.static_configs {
            let group = written.value.as_ref();
            let group = group.ok_or_else(|| at(written, "empty or null section in static_configs"))?;
            let checked = if relabelled { group.validate_labels() } else { group.validate() };
            checked.map_err(|e| at(written, e))?;
            groups.push(group.clone());
        }
        Ok(groups)
    }

    fn file_sd(&self) -> Result<Vec<FileSdConfig>, Error> {
        let mut all = Vec::new();
        for files in &self.file_sd_configs {
            files.value.validate().map_err(|e| at(files, e))?;
            all.push(files.value.clone());
        }
        Ok(all)
    }

    fn refuse_not_built(&self) -> Result<(), Error> {
        if let Some(file) = &self.scrape_failure_log_file {
            return Err(at(file, "scrape_failure_log_file is not built yet"));
        }
        for (key, value) in [
            ("scrape_native_histograms", &self.scrape_native_histograms),
            ("convert_classic_histograms_to_nhcb", &self.convert_classic_histograms_to_nhcb),
        ] {
            if let Some(value) = value.as_ref().filter(|v| v.value) {
                return Err(at(value, format_args!("{key} is not built yet")));
            }
        }
        Ok(())
    }
}
