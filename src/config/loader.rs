//! From the file as it is written to the configuration that runs: every section checked, every file that it names read,
//! every error kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Config, Inputs, external_labels, file, paging_file};
use crate::host::{Host, HostConfig};
use crate::model::yaml::{self, FileError, Spanned};
use crate::model::{Duration, Labels, METRIC_NAME, is_legacy_label_name, parse_size};
use crate::paging;
use crate::paging::config::PagingConfig;
use crate::remote::AlertingConfig;
use crate::rules::file::{Names, Options, RuleFile};
use crate::scrape::{GlobalDefaults, ScrapeConfig, ScrapeJob};

/// What has been read so far, and what was found wrong.
pub(super) struct Loader<'a> {
    path: &'a Path,
    /// What relative paths are relative to.
    base: PathBuf,
    inputs: &'a mut Inputs,
    pub errors: Vec<FileError>,
    pub warnings: Vec<String>,
    pub missing: Vec<FileError>,
    pub files_named: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    /// Of the file at `path`; what it names is noted in `inputs`.
    pub fn new(path: &'a Path, inputs: &'a mut Inputs) -> Self {
        Self {
            path,
            base: path.parent().unwrap_or(Path::new("")).to_owned(),
            inputs,
            errors: Vec::new(),
            warnings: Vec::new(),
            missing: Vec::new(),
            files_named: Vec::new(),
        }
    }

    /// Composes the configuration. It counts only if there are no errors then.
    pub fn load(&mut self, file: file::File, text: &str) -> Config {
        let global_place = file.global;
        let global = global_place.as_ref().map(|g| &g.value);
        let defaults = self.scrape_defaults(global_place.as_ref());
        let evaluation_interval = global
            .and_then(|g| g.evaluation_interval)
            .filter(|d| !d.is_zero())
            .unwrap_or(Duration::from_secs(60));
        let external_labels = self.external_labels(global);
        let scrape_jobs = self.scrape_jobs(file.scrape_configs, file.scrape_config_files, &defaults);
        let rule_files = self.rule_files(file.rule_files);
        let alerting = self.alerting(file.alerting);
        let (retention_time, retention_size, max_series) = self.storage(file.storage);
        let paging = self.paging(file.paging, file.paging_file, text);
        let host = self.host(file.host);
        let rules = file.rules.map(|r| r.value).unwrap_or_default();
        let warm_start = rules.warm_start.map(|place| {
            if let Err(e) = place.value.validate() {
                self.at(&place, format_args!("rules.warm_start: {e}"));
            }
            self.files_named.extend(place.value.http.files().into_iter().map(|f| self.base.join(f)));
            place.value
        });
        Config {
            scrape_interval: defaults.scrape_interval,
            evaluation_interval,
            rule_query_offset: global.and_then(|g| g.rule_query_offset).unwrap_or_default(),
            external_labels,
            scrape_jobs,
            rule_files,
            alerting,
            host,
            paging,
            retention_time,
            retention_size,
            max_series,
            resend_delay: rules.resend_delay,
            warm_start,
            reload_gate: rules.reload_gate.unwrap_or_default(),
        }
    }

    fn at<T>(&mut self, place: &Spanned<T>, message: impl std::fmt::Display) {
        self.errors.push(FileError::at(self.path, place, message));
    }

    fn scrape_defaults(&mut self, global: Option<&Spanned<file::Global>>) -> GlobalDefaults {
        let mut defaults = GlobalDefaults::default();
        let Some(place) = global else { return defaults };
        let g = &place.value;
        let set = |d: Option<Duration>| d.filter(|d| !d.is_zero());
        if let Some(interval) = set(g.scrape_interval) {
            defaults.scrape_interval = interval;
        }
        match set(g.scrape_timeout) {
            Some(timeout) if timeout > defaults.scrape_interval => {
                self.at(place, "global scrape timeout greater than scrape interval");
            }
            Some(timeout) => defaults.scrape_timeout = timeout,
            None => defaults.scrape_timeout = defaults.scrape_timeout.min(defaults.scrape_interval),
        }
        if let Some(size) = &g.body_size_limit {
            match parse_size(&size.value) {
                Ok(bytes) => defaults.body_size_limit = bytes,
                Err(e) => self.at(size, format!("body_size_limit: {e}")),
            }
        }
        if let Some(protocols) = &g.scrape_protocols {
            if protocols.is_empty() {
                self.at(place, "scrape_protocols cannot be empty for global config");
            }
            defaults.scrape_protocols.clone_from(protocols);
        }
        let number = |n: Option<u64>| n.unwrap_or_default();
        defaults.sample_limit = number(g.sample_limit);
        defaults.target_limit = number(g.target_limit);
        defaults.label_limit = number(g.label_limit);
        defaults.label_name_length_limit = number(g.label_name_length_limit);
        defaults.label_value_length_limit = number(g.label_value_length_limit);
        defaults.keep_dropped_targets = number(g.keep_dropped_targets);
        defaults.metric_name_validation_scheme.clone_from(&g.metric_name_validation_scheme);
        defaults.metric_name_escaping_scheme.clone_from(&g.metric_name_escaping_scheme);
        defaults.extra_scrape_metrics = g.extra_scrape_metrics.unwrap_or_default();
        if let Err(e) = defaults.check() {
            self.at(place, format!("{e} for global config"));
            // Said once: the jobs, which inherit it, have none to repeat.
            defaults.scrape_protocols.clear();
            defaults.metric_name_validation_scheme = None;
            defaults.metric_name_escaping_scheme = None;
        }
        defaults
    }

    fn external_labels(&mut self, global: Option<&file::Global>) -> Labels {
        let Some(labels) = global.and_then(|g| g.external_labels.as_ref()) else { return Labels::empty() };
        let legacy =
            global.and_then(|g| g.metric_name_validation_scheme.as_deref()).is_some_and(|s| s == "legacy");
        for (name, value) in labels {
            if name.is_empty() || name == METRIC_NAME || legacy && !is_legacy_label_name(name) {
                self.at(value, format!("{name:?} is not a valid label name"));
            }
        }
        let pairs = labels.iter().map(|(n, v)| (n.as_str(), v.value.as_deref().unwrap_or_default()));
        let (labels, unset) = external_labels::expand(pairs, |name| std::env::var(name).ok());
        for name in unset {
            self.warnings.push(format!("external_labels: the environment variable {name} is not set"));
        }
        labels
    }

    fn scrape_jobs(
        &mut self,
        configs: Vec<Spanned<Option<ScrapeConfig>>>,
        patterns: Vec<Spanned<String>>,
        defaults: &GlobalDefaults,
    ) -> Vec<ScrapeJob> {
        let mut jobs = Vec::new();
        let mut seen = BTreeSet::new();
        let main = self.path.to_owned();
        self.add_jobs(&main, configs, defaults, &mut jobs, &mut seen);
        for pattern in patterns {
            for path in self.expand(&pattern, "invalid scrape config file path") {
                let read = self.inputs.read(&path).map_err(|e| self.named_at(&pattern, e));
                let parsed = read.and_then(|text| yaml::read_all::<file::ScrapeConfigFile>(&path, &text));
                match parsed {
                    Ok(files) => {
                        for file in files {
                            let configs = file.scrape_configs;
                            self.add_jobs(&path, configs, defaults, &mut jobs, &mut seen);
                        }
                    }
                    Err(e) => self.errors.push(e),
                }
            }
        }
        jobs
    }

    fn add_jobs(
        &mut self,
        path: &Path,
        configs: Vec<Spanned<Option<ScrapeConfig>>>,
        defaults: &GlobalDefaults,
        jobs: &mut Vec<ScrapeJob>,
        seen: &mut BTreeSet<String>,
    ) {
        for written in configs {
            let Some(config) = &written.value else {
                self.errors.push(FileError::at(path, &written, "empty or null scrape config section"));
                continue;
            };
            match config.resolve(defaults, &self.base) {
                Ok(job) if seen.insert(job.name.clone()) => {
                    self.files_named.extend(job.http.files().into_iter().map(|f| self.base.join(f)));
                    jobs.push(job);
                }
                Ok(job) => {
                    let message = format!("found multiple scrape configs with job name {:?}", job.name);
                    self.errors.push(FileError::at(path, &written, message));
                }
                Err(e) => self.errors.push(FileError::of(path, &e.or_at(written.referenced))),
            }
        }
    }

    /// The files that a pattern names; a pattern that cannot be is an error at its place.
    fn expand(&mut self, pattern: &Spanned<String>, what: &str) -> Vec<PathBuf> {
        match self.inputs.expand(&self.base.join(&pattern.value)) {
            Ok(files) => {
                let (here, gone): (Vec<_>, Vec<_>) = files.into_iter().partition(|f| f.exists());
                for file in gone {
                    let message = format!("{}: no such file", file.display());
                    self.missing.push(FileError::at(self.path, pattern, message));
                }
                here
            }
            Err(e) => {
                self.at(pattern, format!("{what} {:?}: {e}", pattern.value));
                Vec::new()
            }
        }
    }

    /// A file that cannot be read at all is an error where it is named.
    fn named_at(&self, place: &Spanned<String>, error: FileError) -> FileError {
        if error.line > 0 {
            return error;
        }
        FileError::at(self.path, place, error)
    }

    fn rule_files(&mut self, patterns: Vec<Spanned<String>>) -> Vec<RuleFile> {
        let mut files = BTreeMap::new();
        for pattern in patterns {
            for path in self.expand(&pattern, "invalid rule file path") {
                if files.contains_key(&path) {
                    continue;
                }
                let options = Options { names: Names::Utf8, ignore_unknown_fields: false };
                let read = self.inputs.read(&path).map_err(|e| vec![self.named_at(&pattern, e)]);
                let parsed = read.and_then(|text| crate::rules::file::parse(&path, &text, options));
                match parsed {
                    Ok(file) => {
                        self.warnings.extend(file.warnings.iter().map(ToString::to_string));
                        files.insert(path, file);
                    }
                    Err(errors) => self.errors.extend(errors),
                }
            }
        }
        files.into_values().collect()
    }

    fn alerting(&mut self, alerting: Option<Spanned<AlertingConfig>>) -> AlertingConfig {
        let Some(alerting) = alerting else { return AlertingConfig::default() };
        if let Err(e) = alerting.value.validate() {
            self.errors.push(FileError::of(self.path, &e.or_at(alerting.referenced)));
        }
        for alertmanager in &alerting.value.alertmanagers {
            let files = alertmanager.value.http.files().into_iter();
            self.files_named.extend(files.map(|f| self.base.join(f)));
        }
        alerting.value
    }

    fn storage(
        &mut self,
        storage: Option<Spanned<file::Storage>>,
    ) -> (Option<Duration>, Option<u64>, Option<usize>) {
        let Some(storage) = storage.map(|s| s.value) else { return (None, None, None) };
        let tsdb = storage.tsdb.unwrap_or_default();
        if let Some(window) = tsdb.out_of_order_time_window.filter(|w| !w.value.is_zero()) {
            self.at(&window, "out_of_order_time_window is not built yet");
        }
        if let Some(encoding) = tsdb.chunk_encoding.and_then(|c| c.floats)
            && !matches!(encoding.value.as_str(), "xor" | "xor2")
        {
            self.at(
                &encoding,
                "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2', or the field must be omitted",
            );
        }
        let retention = tsdb.retention.unwrap_or_default();
        if let Some(percentage) = retention.percentage {
            if !(0.0..=100.0).contains(&percentage.value) {
                self.at(&percentage, "'storage.tsdb.retention.percentage' must be in the range [0, 100]");
            } else if percentage.value > 0.0 {
                self.at(&percentage, "retention.percentage is not built yet; use retention.size");
            }
        }
        let size = retention.size.and_then(|size| match parse_size(&size.value) {
            Ok(bytes) => Some(bytes),
            Err(e) => {
                self.at(&size, format!("retention.size: {e}"));
                None
            }
        });
        (retention.time, size, storage.max_series)
    }

    fn host(&mut self, host: Option<Spanned<HostConfig>>) -> HostConfig {
        let Some(host) = host else { return HostConfig::default() };
        if let Err(e) = Host::new(&host.value) {
            self.at(&host, e);
        }
        host.value
    }

    fn paging(
        &mut self,
        section: Option<Spanned<paging::config::File>>,
        named: Option<Spanned<String>>,
        main: &str,
    ) -> Option<PagingConfig> {
        let mut shown = main.to_owned();
        let checked = match (section, named) {
            (Some(section), Some(_)) => {
                self.at(&section, "at most one of paging & paging_file must be configured");
                return None;
            }
            (Some(section), None) => PagingConfig::check(self.path, section.value),
            (None, Some(named)) => {
                let path = self.base.join(&named.value);
                let text = self.inputs.read(&path).map_err(|e| vec![self.named_at(&named, e)]);
                text.and_then(|text| {
                    let parsed = PagingConfig::parse(&path, &text);
                    shown = text;
                    parsed
                })
            }
            (None, None) => return None,
        };
        match checked.and_then(|config| paging_file::complete(config, &shown, self.inputs)) {
            Ok(config) => {
                self.warnings.extend(paging_file::warnings(&config));
                Some(config)
            }
            Err(errors) => {
                self.errors.extend(errors);
                None
            }
        }
    }
}
