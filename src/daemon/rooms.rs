//! The rooms, wired: started in order, given a new configuration all or nothing, stopped in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Config, Inputs, Loaded};
use crate::host::HostConfig;
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Clock, Duration};
use crate::net::auth::Security;
use crate::net::listener::{self, ServerLimits};
use crate::paging::PagingMetrics;
use crate::promql::{Engine, EngineOptions};
use crate::remote::{AlertmanagerSender, SenderMetrics, SenderParts};
use crate::replay::ReplayOptions;
use crate::rules;
use crate::scrape::{self, ScrapeJob};
use crate::storage::{SourceId, Storage, StorageMetrics};
use crate::telemetry::SelfMetrics;
use crate::web::{self, Web};

use super::alerts::AlertOutput;
use super::gate::{self, Gate};
use super::history::CentralHistory;
use super::host::HostTask;
use super::lifecycle::{LifecycleAdapter, Status};
use super::metrics::ReloadMetrics;
use super::paging::PagerSlot;
use super::reload::Requests;
use super::samples;
use super::{Options, StartError};

/// The host's number as a source; targets and rule groups have the numbers after it.
const HOST_SOURCE: SourceId = SourceId(0);
/// The ledger's file in the storage path.
pub const LEDGER_FILE: &str = "ledger.redb";
/// The key that signs acknowledgement links when none is configured.
const LINK_KEY_FILE: &str = "acknowledge.key";
/// The file of the baselines in the storage path.
const BASELINES_FILE: &str = "baselines";

/// Everything that runs.
pub struct Rooms {
    options: Options,
    /// What the host task runs with.
    host_config: Option<(HostConfig, Duration)>,
    /// The jobs that run, to go back to.
    jobs: Vec<ScrapeJob>,
    clock: Arc<dyn Clock>,
    storage: Storage,
    scrape: Arc<scrape::Manager>,
    rules: rules::Manager,
    output: Arc<AlertOutput>,
    pager: PagerSlot,
    host: Option<HostTask>,
    web: Arc<Web>,
    status: Arc<Status>,
    next_source: Arc<AtomicU32>,
    reload_metrics: ReloadMetrics,
    addresses: Vec<SocketAddr>,
    /// The replay of what the last reload changed.
    gate: Option<Gate>,
    stop: watch::Sender<bool>,
    rules_task: JoinHandle<()>,
    web_task: JoinHandle<()>,
}

impl Rooms {
    /// Starts everything, the parts that may refuse first.
    ///
    /// # Errors
    /// An address cannot be listened on, a file cannot be used.
    pub async fn start(
        options: &Options,
        loaded: Loaded,
        clock: Arc<dyn Clock>,
        requests: Requests,
    ) -> Result<Self, StartError> {
        let other = |what: &str, e: &dyn std::fmt::Display| StartError::Other(format!("{what}: {e}"));
        let security = match &options.web_config_file {
            Some(file) => Security::load(file).map_err(|e| StartError::Config(vec![e]))?,
            None => Security::open(),
        };
        let security = Arc::new(security);
        let mut listeners = Vec::new();
        for address in &options.listen {
            listeners.push(
                listener::bind(address)
                    .await
                    .map_err(|e| other(&format!("cannot listen on {address}"), &e))?,
            );
        }
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let mut registry = SelfMetrics::registry();
        let config = loaded.config;
        let storage_metrics = StorageMetrics::register(&mut registry);
        let storage = samples::open(options, &config, storage_metrics, clock.clone())
            .map_err(|e| other("storage", &e))?;
        let ledger = open_ledger(&options.storage_path.join(LEDGER_FILE)).map_err(|e| other("ledger", &e))?;
        let next_source = Arc::new(AtomicU32::new(HOST_SOURCE.0 + 1));
        let instance_id = random_id().map_err(|e| other("random numbers", &e))?;

        let engine = Engine::new(EngineOptions {
            lookback_ms: options.lookback_delta.ms(),
            max_samples: options.max_samples,
            // 11,000 points and the one at the start.
            max_steps: 11_001,
            ..EngineOptions::default()
        });
        let scrape_metrics = scrape::ScrapeMetrics::register(&mut registry);
        let output = Arc::new(AlertOutput::new(AlertmanagerSender::new(SenderParts {
            ledger: ledger.clone(),
            clock: clock.clone(),
            metrics: SenderMetrics::register(&mut registry),
            scrape_metrics: scrape_metrics.clone(),
        })));
        let rules = rules::Manager::new(rules::Parts {
            storage: storage.clone(),
            source: Arc::new(storage.clone()),
            engine: engine.clone(),
            clock: clock.clone(),
            sink: output.clone(),
            metrics: rules::RuleMetrics::register(&mut registry),
            baseline_file: Some(options.storage_path.join(BASELINES_FILE)),
        });
        let numbers = next_source.clone();
        let scrape = Arc::new(scrape::Manager::new(
            storage.clone(),
            clock.clone(),
            instance_id.clone(),
            move || SourceId(numbers.fetch_add(1, Ordering::Relaxed)),
            scrape_metrics,
        ));
        let external_url = external_url(options, &addresses);
        let paging_metrics = PagingMetrics::register(&mut registry);
        let pager = PagerSlot::new(
            ledger,
            clock.clone(),
            external_url.clone(),
            options.storage_path.join(LINK_KEY_FILE),
            paging_metrics,
        );
        let reload_metrics = ReloadMetrics::register(&mut registry);
        let web_metrics = web::WebMetrics::register(&mut registry);
        let status = Arc::new(Status::new(clock.now(), retention_text(options, &config)));

        let pager_now: web::PagerSource = Arc::new({
            let pager = pager.clone();
            move || pager.get()
        });
        let web = Arc::new(Web::new(
            web::Parts {
                storage: storage.clone(),
                engine: Arc::new(engine),
                clock: clock.clone(),
                registry: Arc::new(registry),
                metrics: web_metrics,
                security: security.clone(),
                rules: Arc::new(rules.clone()),
                targets: scrape.clone(),
                incidents: Arc::new(web::PagerIncidents::new(
                    pager_now.clone(),
                    rules.clone(),
                    clock.clone(),
                )),
                pager: pager_now,
                lifecycle: Arc::new(LifecycleAdapter {
                    requests,
                    status: status.clone(),
                    output: output.clone(),
                }),
            },
            web::Options {
                external_url,
                instance_id,
                enable_lifecycle: options.enable_lifecycle,
                loopback_only: addresses.iter().all(|a| a.ip().is_loopback()),
                lookback_ms: options.lookback_delta.ms(),
                query_timeout_ms: options.query_timeout.ms(),
                query_concurrency: options.query_concurrency,
                flags: options.shown.clone(),
                revision: crate::telemetry::REVISION.to_owned(),
                ..web::Options::default()
            },
        ));
        let (stop, stopped) = watch::channel(false);
        let rules_task = tokio::spawn({
            let (rules, stopped) = (rules.clone(), stopped.clone());
            async move { rules.run(wait_for(stopped)).await }
        });
        let web_task = tokio::spawn(listener::run(
            listeners,
            web.clone(),
            security,
            ServerLimits { max_connections: options.max_connections.max(1), ..ServerLimits::default() },
            wait_for(stopped),
        ));
        let mut rooms = Self {
            options: options.clone(),
            host_config: None,
            jobs: Vec::new(),
            clock,
            storage,
            scrape,
            rules,
            output,
            pager,
            host: None,
            web,
            status,
            next_source,
            reload_metrics,
            addresses,
            gate: None,
            stop,
            rules_task,
            web_task,
        };
        rooms.apply(config, loaded.shown).await.map_err(StartError::Other)?;
        rooms.status.set_ready();
        Ok(rooms)
    }

    /// The addresses that are listened on, for people.
    pub fn addresses(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

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
    async fn apply(&mut self, mut config: Config, shown: String) -> Result<(), String> {
        let base = self.options.config_file.parent().unwrap_or(Path::new(""));
        let alerting = AlertmanagerSender::prepare(&config.alerting, base, config.external_labels.clone())
            .map_err(|e| format!("alerting: {e}"))?;
        let remote_history: Option<Arc<dyn rules::RemoteHistory>> = match &config.warm_start {
            Some(warm) => {
                let query = warm.query(base).map_err(|e| format!("rules.warm_start: {e}"))?;
                Some(Arc::new(CentralHistory(query)))
            }
            None => None,
        };
        let interval = config.host.scrape_interval.unwrap_or(config.scrape_interval);
        let host = (config.host, interval);
        let notes = config.paging.as_ref().map(|p| (p.without_files(), !p.hints.is_empty()));
        self.scrape.apply(config.scrape_jobs.clone()).map_err(|e| e.to_string())?;
        if let Err(e) = self.pager.apply(config.paging.take()).await {
            // The jobs of the running configuration were good once.
            if let Err(again) = self.scrape.apply(self.jobs.clone()) {
                tracing::error!(error = %again, "the former scrape jobs cannot be restored");
            }
            return Err(format!("paging: {e}"));
        }
        if let Some((without_files, unaddressed)) = notes {
            if let Some(sentence) = without_files {
                tracing::warn!("{sentence}");
            }
            if unaddressed && self.options.external_url.is_none() {
                let url = external_url(&self.options, &self.addresses);
                tracing::info!(
                    "links in pages begin with {url}: if phones cannot open that, set acknowledge.external_url"
                );
            }
        }
        self.jobs = config.scrape_jobs;
        if self.host_config.as_ref() != Some(&host) {
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
        self.output.set_pager(self.pager.get());
        self.output.sender().apply(alerting).await;
        let mut settings = rules::Settings {
            external_labels: config.external_labels.clone(),
            external_url: external_url(&self.options, &self.addresses),
            ..rules::Settings::default()
        };
        if let Some(delay) = config.resend_delay {
            settings.resend_delay_ms = delay.ms();
        }
        let loaded = rules::Loaded {
            files: std::mem::take(&mut config.rule_files),
            settings,
            evaluation_interval: config.evaluation_interval,
            query_offset: config.rule_query_offset,
            remote_history,
            gate: config.reload_gate,
        };
        let numbers = self.next_source.clone();
        let (files, settings) = (loaded.files.clone(), loaded.settings.clone());
        // The one of the last reload ends: its rules may be others now.
        self.gate = None;
        let changed =
            self.rules.apply(loaded, move || SourceId(numbers.fetch_add(1, Ordering::Relaxed))).await;
        self.gate = gate::start(gate::Parts {
            manager: self.rules.clone(),
            storage: self.storage.clone(),
            files,
            options: ReplayOptions {
                interval_ms: Some(config.evaluation_interval.ms())
                    .filter(|ms| *ms > 0)
                    .unwrap_or(rules::DEFAULT_INTERVAL_MS),
                query_offset_ms: config.rule_query_offset.ms(),
                settings,
                lookback_ms: self.options.lookback_delta.ms(),
            },
            changed,
            now: self.clock.now(),
        });
        let labels = config.external_labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.web.set_external_labels(labels);
        let now = self.clock.now();
        self.status.set_config(shown);
        self.status.reloaded(true, now);
        self.reload_metrics.succeeded(now);
        Ok(())
    }

    /// Tidies what is stored, in the background.
    pub fn maintain(&self) {
        let (storage, now) = (self.storage.clone(), self.clock.now());
        tokio::task::spawn_blocking(move || storage.maintain(now));
    }

    /// Ends in order: no new samples, the last evaluation, the last page, the last answer, the files.
    pub async fn stop(self) {
        drop(self.host);
        drop(self.gate);
        self.scrape.stop().await;
        let _ = self.stop.send(true);
        let _ = self.rules_task.await;
        tokio::join!(self.output.sender().stop(), self.pager.stop());
        let _ = self.web_task.await;
        let storage = self.storage;
        let _ = tokio::task::spawn_blocking(move || storage.flush()).await;
    }
}

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // The sender going away is the end too.
    let _ = stopped.wait_for(|s| *s).await;
}

fn retention_text(options: &Options, config: &Config) -> String {
    let storage = samples::options(options, config, StorageMetrics::default());
    let time = Duration::from_ms(storage.retention_time);
    match storage.retention_size {
        0 => time.to_string(),
        bytes => format!("{time} or {bytes}B"),
    }
}

/// The ledger's file; when it cannot be used pages go out all the same, from memory, and it is tried again.
///
/// # Errors
/// Another process has it: two would page for the same incidents.
fn open_ledger(path: &Path) -> Result<Ledger, LedgerError> {
    match Ledger::open_or_heal(path) {
        (_, Some(error @ LedgerError::Locked(_))) => Err(error),
        (ledger, Some(error)) => {
            tracing::error!(
                file = %path.display(), %error,
                "THE LEDGER CANNOT BE OPENED: pages are kept in memory only, and a restart forgets them"
            );
            Ok(ledger)
        }
        (ledger, None) => Ok(ledger),
    }
}

fn random_id() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Under which URL people reach this process: as said, or the first address that is listened on.
fn external_url(options: &Options, addresses: &[SocketAddr]) -> String {
    if let Some(url) = &options.external_url {
        return url.trim_end_matches('/').to_owned();
    }
    match addresses.first() {
        Some(address) if address.ip().is_unspecified() => {
            let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("http://{node}:{}", address.port())
        }
        Some(address) => format!("http://{address}"),
        None => String::new(),
    }
}
