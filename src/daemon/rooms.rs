//! The rooms, wired. `start` starts them, `apply` gives them a configuration, here they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::host::HostConfig;
use crate::model::{Clock, Duration};
use crate::rules;
use crate::scrape::{self, ScrapeJob};
use crate::storage::{SourceId, Storage};
use crate::web::Web;

use super::Options;
use super::alerts::AlertOutput;
use super::gate::Gate;
use super::host::HostTask;
use super::lifecycle::Status;
use super::metrics::ReloadMetrics;
use super::paging::PagerSlot;

/// The host's number as a source; targets and rule groups have the numbers after it.
pub(super) const HOST_SOURCE: SourceId = SourceId(0);
/// The ledger's file in the storage path.
pub const LEDGER_FILE: &str = "ledger.redb";

/// Everything that runs.
pub struct Rooms {
    pub(super) options: Options,
    /// What the host task runs with.
    pub(super) host_config: Option<(HostConfig, Duration)>,
    /// The jobs that run, to go back to.
    pub(super) jobs: Vec<ScrapeJob>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) storage: Storage,
    pub(super) scrape: Arc<scrape::Manager>,
    pub(super) rules: rules::Manager,
    pub(super) output: Arc<AlertOutput>,
    pub(super) pager: PagerSlot,
    pub(super) host: Option<HostTask>,
    pub(super) web: Arc<Web>,
    pub(super) status: Arc<Status>,
    pub(super) next_source: Arc<AtomicU32>,
    pub(super) reload_metrics: ReloadMetrics,
    pub(super) addresses: Vec<SocketAddr>,
    /// The replay of what the last reload changed.
    pub(super) gate: Option<Gate>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) rules_task: JoinHandle<()>,
    pub(super) web_task: JoinHandle<()>,
}

impl Rooms {
    /// The addresses that are listened on, for people.
    pub fn addresses(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
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

/// Under which URL people reach this process: as said, or the first address that is listened on.
pub(super) fn external_url(options: &Options, addresses: &[SocketAddr]) -> String {
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
