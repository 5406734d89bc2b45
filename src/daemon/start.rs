//! Starting: what may refuse first, then the rooms in the order in which they need each other.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{Config, Loaded};
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Clock, Duration, hex};
use crate::net::auth::Security;
use crate::net::listener::{self, ServerLimits};
use crate::paging::PagingMetrics;
use crate::promql::{Engine, EngineOptions};
use crate::remote::{AlertmanagerSender, SenderMetrics, SenderParts};
use crate::rules;
use crate::scrape;
use crate::storage::{SourceId, StorageMetrics};
use crate::telemetry::SelfMetrics;
use crate::web::{self, Web};

use super::alerts::AlertOutput;
use super::lifecycle::{LifecycleAdapter, Status};
use super::metrics::ReloadMetrics;
use super::paging::PagerSlot;
use super::reload::Requests;
use super::rooms::{HOST_SOURCE, LEDGER_FILE, Rooms, external_url};
use super::samples;
use super::{Options, StartError};

/// The key that signs acknowledgement links when none is configured.
const LINK_KEY_FILE: &str = "acknowledge.key";
/// The file of the baselines in the storage path.
const BASELINES_FILE: &str = "baselines";

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
        let Doors { security, listeners, addresses } = Doors::open(options).await?;
        let mut registry = SelfMetrics::registry();
        let config = loaded.config;
        let storage_metrics = StorageMetrics::register(&mut registry);
        let storage = samples::open(options, &config, storage_metrics, clock.clone())
            .map_err(|e| other("storage", &e))?;
        let ledger = open_ledger(&options.storage_path.join(LEDGER_FILE)).map_err(|e| other("ledger", &e))?;
        let next_source = Arc::new(AtomicU32::new(HOST_SOURCE.0 + 1));
        let instance_id = random_id().map_err(|e| other("random numbers", &e))?;

        let engine = engine(options);
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
        let next_number = next_source.clone();
        let scrape = Arc::new(scrape::Manager::new(
            storage.clone(),
            clock.clone(),
            instance_id.clone(),
            move || SourceId(next_number.fetch_add(1, Ordering::Relaxed)),
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
            web_options(options, &addresses, external_url, instance_id),
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
}

fn other(what: &str, e: &dyn std::fmt::Display) -> StartError {
    StartError::Other(format!("{what}: {e}"))
}

/// What is listened on, and who may ask there.
struct Doors {
    security: Arc<Security>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Doors {
    async fn open(options: &Options) -> Result<Self, StartError> {
        let security = match &options.web_config_file {
            Some(file) => Security::load(file).map_err(|e| StartError::Config(vec![e]))?,
            None => Security::open(),
        };
        let mut listeners = Vec::new();
        for address in &options.listen {
            let listener = listener::bind(address).await;
            listeners.push(listener.map_err(|e| other(&format!("cannot listen on {address}"), &e))?);
        }
        let addresses = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        Ok(Self { security: Arc::new(security), listeners, addresses })
    }
}

fn engine(options: &Options) -> Engine {
    Engine::new(EngineOptions {
        lookback_ms: options.lookback_delta.ms(),
        max_samples: options.max_samples,
        // 11,000 points and the one at the start.
        max_steps: 11_001,
        ..EngineOptions::default()
    })
}

fn web_options(
    options: &Options,
    addresses: &[SocketAddr],
    external_url: String,
    instance_id: String,
) -> web::Options {
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
    Ok(hex(&bytes))
}
