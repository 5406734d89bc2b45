//! Giving the rooms a configuration: the first one, and every reload.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::{self, Config, Inputs};
use crate::host::HostConfig;
use crate::model::Duration;
use crate::paging::config::PagingConfig;
use crate::remote::AlertmanagerSender;
use crate::replay::ReplayOptions;
use crate::rules;
use crate::scrape::ScrapeJob;
use crate::storage::SourceId;

use super::gate;
use super::history::CentralHistory;
use super::host::HostTask;
use super::rooms::{HOST_SOURCE, Rooms, external_url};

impl Rooms {
    /// Reads the configuration again and puts it in force, all or nothing. `inputs` becomes what was read,
    /// also when it is refused.
    ///
    /// # Errors
    /// Every reason why it is refused, a line each; what ran goes on.
    pub async fn reload(&mut self, path: &Path, inputs: &mut Inputs) -> Result<(), String> {
        let result = self.try_reload(path, inputs).await;
        match &result {
            Ok(()) => tracing::info!("the configuration was reloaded"),
            Err(reasons) => {
                self.reload_metrics.failed();
                self.status.reloaded(false, self.clock.now());
                for reason in reasons.lines() {
                    tracing::error!("reload refused: {reason}");
                }
            }
        }
        result
    }

    async fn try_reload(&mut self, path: &Path, inputs: &mut Inputs) -> Result<(), String> {
        let path = path.to_owned();
        // Many and large files: not on the thread that everything waits on.
        let load = move || {
            let mut read = Inputs::default();
            (config::load_to_run(&path, &mut read), read)
        };
        let (loaded, read) = tokio::task::spawn_blocking(load).await.map_err(|e| e.to_string())?;
        *inputs = read;
        let loaded =
            loaded.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.apply(loaded.config, loaded.shown).await
    }

    /// Puts a configuration in force. Everything that may refuse comes before anything that changes.
    pub(super) async fn apply(&mut self, mut config: Config, shown: String) -> Result<(), String> {
        let base = self.options.config_file.parent().unwrap_or(Path::new(""));
        let alerting = AlertmanagerSender::prepare(&config.alerting, base, config.external_labels.clone())
            .map_err(|e| format!("alerting: {e}"))?;
        let remote_history = remote_history(&config, base)?;
        self.apply_jobs_and_paging(&config.scrape_jobs, config.paging.take()).await?;
        self.jobs = std::mem::take(&mut config.scrape_jobs);

        let interval = config.host.scrape_interval.unwrap_or(config.scrape_interval);
        self.apply_host(std::mem::take(&mut config.host), interval);
        self.output.set_pager(self.pager.get());
        self.output.sender().apply(alerting).await;
        let labels = config.external_labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.apply_rules(config, remote_history).await;
        self.web.set_external_labels(labels);

        let now = self.clock.now();
        self.status.set_config(shown);
        self.status.reloaded(true, now);
        self.reload_metrics.succeeded(now);
        Ok(())
    }

    /// The two that may refuse what they are given: both or none.
    async fn apply_jobs_and_paging(
        &mut self,
        jobs: &[ScrapeJob],
        paging: Option<PagingConfig>,
    ) -> Result<(), String> {
        let notes = paging.as_ref().map(|p| (p.without_files(), !p.hints.is_empty()));
        self.scrape.apply(jobs.to_vec()).map_err(|e| e.to_string())?;
        if let Err(e) = self.pager.apply(paging).await {
            // The jobs of the running configuration were good once.
            if let Err(again) = self.scrape.apply(self.jobs.clone()) {
                tracing::error!(error = %again, "the former scrape jobs cannot be restored");
            }
            return Err(format!("paging: {e}"));
        }
        let Some((without_files, unaddressed)) = notes else { return Ok(()) };
        if let Some(sentence) = without_files {
            tracing::warn!("{sentence}");
        }
        if unaddressed && self.options.external_url.is_none() {
            let url = external_url(&self.options, &self.addresses);
            tracing::info!(
                "links in pages begin with {url}: if phones cannot open that, set acknowledge.external_url"
            );
        }
        Ok(())
    }

    fn apply_host(&mut self, config: HostConfig, interval: Duration) {
        let host = (config, interval);
        if self.host_config.as_ref() == Some(&host) {
            return;
        }
        // The old one ends first: two would write the same series.
        self.host = None;
        if host.0.enabled {
            let (storage, clock) = (self.storage.clone(), self.clock.clone());
            let task = HostTask::start(&host.0, interval, storage, HOST_SOURCE, clock);
            // The section was checked when it was loaded.
            self.host = task.inspect_err(|error| tracing::error!(%error, "no host metrics")).ok();
        }
        self.host_config = Some(host);
    }

    /// The rules, and the replay of those that changed.
    async fn apply_rules(&mut self, config: Config, remote_history: Option<Arc<dyn rules::RemoteHistory>>) {
        let mut settings = rules::Settings {
            external_labels: config.external_labels,
            external_url: external_url(&self.options, &self.addresses),
            ..rules::Settings::default()
        };
        if let Some(delay) = config.resend_delay {
            settings.resend_delay_ms = delay.ms();
        }
        let interval_ms = Some(config.evaluation_interval.ms()).filter(|ms| *ms > 0);
        let options = ReplayOptions {
            interval_ms: interval_ms.unwrap_or(rules::DEFAULT_INTERVAL_MS),
            query_offset_ms: config.rule_query_offset.ms(),
            settings: settings.clone(),
            lookback_ms: self.options.lookback_delta.ms(),
        };
        let files = config.rule_files.clone();
        let loaded = rules::Loaded {
            files: config.rule_files,
            settings,
            evaluation_interval: config.evaluation_interval,
            query_offset: config.rule_query_offset,
            remote_history,
            gate: config.reload_gate,
        };
        let numbers = self.next_source.clone();
        // The one of the last reload ends: its rules may be others now.
        self.gate = None;
        let changed =
            self.rules.apply(loaded, move || SourceId(numbers.fetch_add(1, Ordering::Relaxed))).await;
        self.gate = gate::start(gate::Parts {
            manager: self.rules.clone(),
            storage: self.storage.clone(),
            files,
            options,
            changed,
            now: self.clock.now(),
        });
    }
}

/// Where new baselines look for what happened before, if that is configured.
fn remote_history(config: &Config, base: &Path) -> Result<Option<Arc<dyn rules::RemoteHistory>>, String> {
    let Some(warm) = &config.warm_start else { return Ok(None) };
    let query = warm.query(base).map_err(|e| format!("rules.warm_start: {e}"))?;
    Ok(Some(Arc::new(CentralHistory(query))))
}
