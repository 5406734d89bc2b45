//! The daemon: starts the rooms in order, keeps the configuration fresh, stops the rooms in order.

mod alerts;
mod apply;
mod gate;
mod history;
mod host;
mod lifecycle;
mod messages;
mod metrics;
mod paging;
mod reload;
mod rooms;
mod samples;
mod signals;
mod start;
mod systemd;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use tokio::sync::mpsc;

use crate::config::{self, Inputs};
use crate::model::yaml::FileError;
use crate::model::{Clock, Duration, SystemClock};

pub use messages::MessageTemplates;
use reload::{Request, Requests};
pub use rooms::LEDGER_FILE;
use rooms::Rooms;
pub use samples::SAMPLES_DIR;
use signals::{Signal, Signals};
use watch::Watch;

/// What the flags say.
#[derive(Debug, Clone)]
pub struct Options {
    pub config_file: PathBuf,
    /// Addresses to listen on, at least one.
    pub listen: Vec<String>,
    pub web_config_file: Option<PathBuf>,
    pub external_url: Option<String>,
    pub enable_lifecycle: bool,
    /// Open connections at one time.
    pub max_connections: usize,
    pub storage_path: PathBuf,
    /// Before the configuration's.
    pub retention_time: Option<Duration>,
    /// Bytes; before the configuration's.
    pub retention_size: Option<u64>,
    pub lookback_delta: Duration,
    pub query_timeout: Duration,
    pub max_samples: usize,
    /// Queries at one time; further ones wait.
    pub query_concurrency: usize,
    /// Flags and their values as they are shown.
    pub shown: Vec<(String, String)>,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is refused")]
    Config(Vec<FileError>),
    #[error("{0}")]
    Other(String),
}

impl StartError {
    /// Every reason, a line each.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Self::Config(errors) => errors.iter().map(ToString::to_string).collect(),
            Self::Other(reason) => vec![reason.clone()],
        }
    }
}

/// How often stored samples are tidied and baselines written.
const MAINTENANCE: StdDuration = StdDuration::from_secs(15);
/// A wall clock that moved by more than this against boot time is worth a line in the log, ms.
const JUMP: i64 = 2_000;
/// Threads for queries, evaluations and files; further work waits for one.
const BLOCKING_THREADS: usize = 16;

/// Runs until SIGTERM, SIGINT or `/-/quit`.
///
/// # Errors
/// The configuration is refused, an address cannot be listened on, a file of the storage is in use.
pub fn run(options: Options) -> Result<(), StartError> {
    let other = |e: std::io::Error| StartError::Other(e.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(StdDuration::from_secs(60))
        .build()
        .map_err(other)?;
    let done = runtime.block_on(serve(options));
    // A collector that hangs on a dead file system must not hold up the end.
    runtime.shutdown_timeout(StdDuration::from_secs(2));
    done
}

async fn serve(options: Options) -> Result<(), StartError> {
    let systemd = systemd::Notifier::from_env();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut signals = Signals::new().map_err(|e| StartError::Other(format!("signals: {e}")))?;
    let mut inputs = Inputs::default();
    let loaded = config::load_to_run(&options.config_file, &mut inputs).map_err(StartError::Config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut watch = Watch::new();
    watch.set_files(inputs.paths());
    let (sender, mut requests): (Requests, _) = mpsc::channel(16);

    let mut rooms = Rooms::start(&options, loaded, clock.clone(), sender).await?;
    systemd.ready();
    tracing::info!(
        listen = rooms.addresses(),
        config = %options.config_file.display(),
        version = crate::telemetry::VERSION,
        "sideband is ready"
    );

    let mut jumps = systemd::JumpDetector::new(&*clock);
    let mut maintenance = tokio::time::interval(MAINTENANCE);
    let mut watchdog = systemd::watchdog_interval().map(tokio::time::interval);
    loop {
        let request = tokio::select! {
            signal = signals.next() => match signal {
                Signal::Terminate => break,
                Signal::Reload => Some(Request::Reload(None)),
            },
            Some(request) = requests.recv() => Some(request),
            () = watch.changed() => {
                // Many events change nothing that counts, and a refused state is refused once.
                (inputs.fingerprint_now() != inputs.fingerprint()).then_some(Request::Reload(None))
            }
            _ = maintenance.tick() => {
                if let Some(by) = jumps.jumped(&*clock, JUMP) {
                    tracing::warn!(seconds = by as f64 / 1000.0, "the wall clock jumped");
                }
                rooms.maintain();
                None
            }
            () = tick(&mut watchdog) => {
                systemd.watchdog();
                None
            }
        };
        match request {
            Some(Request::Quit) => break,
            Some(Request::Reload(answer)) => {
                systemd.reloading();
                let result = rooms.reload(&options.config_file, &mut inputs).await;
                watch.set_files(inputs.paths());
                if let Some(answer) = answer {
                    // Who asked may have gone away.
                    let _ = answer.send(result);
                }
                systemd.ready();
            }
            None => {}
        }
    }
    systemd.stopping();
    tracing::info!("stopping");
    rooms.stop().await;
    tracing::info!("stopped");
    Ok(())
}

async fn tick(timer: &mut Option<tokio::time::Interval>) {
    match timer {
        Some(timer) => drop(timer.tick().await),
        None => std::future::pending().await,
    }
}
