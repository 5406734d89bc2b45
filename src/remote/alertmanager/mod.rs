//! Sends alerts to Alertmanagers (or to a paging sideband, which speaks the same API).
//!
//! Every receiver has a bounded queue of its own, so that a dead one delays no other. What waits for longer
//! than a moment is in the ledger, and is sent after a restart; above all the end of an alert, which nobody
//! repeats then.

mod metrics;
mod peer;
mod queue;
mod receivers;
mod store;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::config::AlertingConfig;
use crate::ledger::Ledger;
use crate::model::{Alert, Clock, Labels};
use crate::net::http::NetError;
use crate::scrape::relabel::{RelabelRule, relabel};
use crate::scrape::{ScrapeMetrics, TargetGroup};

pub use metrics::SenderMetrics;
use peer::{Peer, lock};
use queue::Queue;
use receivers::{Entry, Found, Settings};
pub use store::NOTIFICATIONS_TABLE;

/// Alerts that wait for one receiver at the most (Prometheus's default).
const QUEUE: usize = 10_000;
/// Queues that are kept for receivers that are gone: they may come back.
const PARKED: usize = 16;
/// What is delivered within this time is not written to the disk.
const BEFORE_WRITING: Duration = Duration::from_millis(50);
/// After a failure the disk is tried again so often.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// Files of receivers are looked at so often, whatever their refresh interval.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the end waits for requests under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a sender is made of.
#[derive(Clone)]
pub struct SenderParts {
    /// Keeps what waits.
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub metrics: SenderMetrics,
    /// Counts files of receivers that cannot be read.
    pub scrape_metrics: ScrapeMetrics,
}

/// Sends alerts to every receiver of `alerting:`. Clones share it.
#[derive(Clone)]
pub struct AlertmanagerSender {
    shared: Arc<Shared>,
}

/// A checked configuration, ready to be put in force.
pub struct PreparedAlerting {
    entries: Vec<Entry>,
    rules: Vec<RelabelRule>,
    external_labels: Labels,
}

struct Shared {
    parts: SenderParts,
    journal: Arc<Journal>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<RelabelRule>,
    external_labels: Labels,
    entries: Vec<(Arc<Settings>, Found)>,
    peers: BTreeMap<String, Running>,
    /// Queues of receivers that are gone or have not been discovered yet.
    parked: BTreeMap<String, Arc<Mutex<Queue>>>,
    discovery: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

struct Running {
    peer: Arc<Peer>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says when queues are to be written.
#[derive(Default)]
struct Journal {
    soon: Notify,
    now: Notify,
    stopped: AtomicBool,
}

impl Journal {
    fn changed(&self, urgent: bool) {
        if urgent {
            self.now.notify_one();
        }
        self.soon.notify_one();
    }
}

impl AlertmanagerSender {
    /// A sender without receivers.
    pub fn new(parts: SenderParts) -> Self {
        let shared = Shared { parts, journal: Arc::default(), state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes of a configuration what can fail. File names are relative to `base_dir`.
    ///
    /// # Errors
    /// A client cannot be made (a file of its TLS settings is unreadable), or a rule is wrong.
    pub fn prepare(
        config: &AlertingConfig,
        base_dir: &Path,
        external_labels: Labels,
    ) -> Result<PreparedAlerting, NetError> {
        let entries = config.alertmanagers.iter().map(|a| Entry::new(&a.value, base_dir));
        Ok(PreparedAlerting {
            entries: entries.collect::<Result<_, _>>()?,
            rules: config.relabel_rules().map_err(|e| NetError::Config(e.to_string()))?,
            external_labels,
        })
    }

    /// Puts a configuration in force. Receivers that stay keep what waits for them; the first time that is what
    /// the ledger has of an earlier process. Must be called on the runtime.
    pub async fn apply(&self, prepared: PreparedAlerting) {
        let shared = &self.shared;
        if shared.state().writer.is_none() {
            let ledger = shared.parts.ledger.clone();
            let read = tokio::task::spawn_blocking(move || store::read(&ledger)).await;
            let rows = match read {
                Ok(Ok(rows)) => rows,
                Ok(Err(error)) => {
                    shared.parts.metrics.durable.set(0);
                    tracing::error!(%error, "alerts that waited to be sent cannot be read");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            let writer = tokio::spawn(Arc::clone(shared).write_always());
            let mut state = shared.state();
            for (id, alerts) in rows {
                tracing::info!(
                    alertmanager = id,
                    alerts = alerts.len(),
                    "alerts of before the restart are sent"
                );
                state.parked.insert(id, Arc::new(Mutex::new(Queue::restored(QUEUE, alerts))));
            }
            state.writer = Some(writer);
        }
        let mut state = shared.state();
        if let Some(discovery) = state.discovery.take() {
            discovery.abort();
        }
        state.rules = prepared.rules;
        state.external_labels = prepared.external_labels;
        state.entries.clear();
        let mut watched = Vec::new();
        for (i, mut entry) in prepared.entries.into_iter().enumerate() {
            entry.files.refresh(true, &shared.parts.scrape_metrics);
            let found = entry.settings.receivers(&entry.files.groups());
            state.entries.push((Arc::clone(&entry.settings), found));
            if entry.refresh.is_some() {
                watched.push((i, entry));
            }
        }
        shared.sync(&mut state, true);
        if !watched.is_empty() {
            state.discovery = Some(tokio::spawn(discover(Arc::clone(shared), watched)));
        }
    }

    /// Queues alerts. External labels are added where the alert lacks them, then alerts are relabelled.
    pub fn send(&self, alerts: &[Alert]) {
        let state = self.shared.state();
        if state.peers.is_empty() {
            return;
        }
        let alerts: Vec<Alert> = alerts.iter().filter_map(|a| state.prepare(a)).collect();
        for running in state.peers.values() {
            running.peer.enqueue(&alerts);
        }
    }

    /// The URLs that alerts are posted to.
    pub fn urls(&self) -> Vec<String> {
        self.shared.state().peers.values().map(|r| r.peer.url.clone()).collect()
    }

    /// The URLs that relabelling has dropped.
    pub fn dropped_urls(&self) -> Vec<String> {
        self.shared.state().entries.iter().flat_map(|(_, found)| found.dropped.clone()).collect()
    }

    /// Ends: gives requests under way a moment, then writes what is left.
    pub async fn stop(&self) {
        let busy = || {
            let state = self.shared.state();
            let mut peers = state.peers.values().map(|r| &r.peer);
            peers.any(|p| !p.failing.load(Ordering::Acquire) && !lock(&p.queue).is_empty())
        };
        let deadline = tokio::time::Instant::now() + FAREWELL;
        while busy() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let writer = {
            let mut state = self.shared.state();
            if let Some(discovery) = state.discovery.take() {
                discovery.abort();
            }
            let ended = std::mem::take(&mut state.peers);
            for (id, running) in ended {
                state.parked.insert(id, Arc::clone(&running.peer.queue));
            }
            state.writer.take()
        };
        self.shared.journal.stopped.store(true, Ordering::Release);
        self.shared.journal.changed(true);
        if let Some(writer) = writer {
            let _ = writer.await;
        }
    }
}

impl State {
    fn prepare(&self, alert: &Alert) -> Option<Alert> {
        let mut labels = alert.labels.to_builder();
        for (name, value) in self.external_labels.iter() {
            if labels.get(name).is_none() {
                labels.set(name, value);
            }
        }
        relabel(&labels.build(), &self.rules).map(|labels| Alert { labels, ..alert.clone() })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the running receivers in line with what was found; `all`: the others get new settings.
    fn sync(&self, state: &mut State, all: bool) {
        let mut wanted: BTreeMap<String, (String, Arc<Settings>)> = BTreeMap::new();
        for (settings, found) in &state.entries {
            for url in &found.urls {
                // Two entries may send to the same place, with different relabelling.
                let mut id = url.clone();
                let mut n = 2;
                while wanted.contains_key(&id) {
                    id = format!("{url} #{n}");
                    n += 1;
                }
                wanted.insert(id, (url.clone(), Arc::clone(settings)));
            }
        }
        let gone: HashSet<String> =
            state.peers.keys().filter(|id| all || !wanted.contains_key(*id)).cloned().collect();
        for id in gone {
            let Some(running) = state.peers.remove(&id) else { continue };
            if !wanted.contains_key(&id) {
                self.parts.metrics.removed(&running.peer.url);
            }
            state.parked.insert(id, Arc::clone(&running.peer.queue));
        }
        for (id, (url, settings)) in wanted {
            if state.peers.contains_key(&id) {
                continue;
            }
            let queue = state.parked.remove(&id);
            let peer = Arc::new(Peer {
                url,
                settings,
                queue: queue.unwrap_or_else(|| Arc::new(Mutex::new(Queue::new(QUEUE)))),
                journal: Arc::clone(&self.journal),
                metrics: self.parts.metrics.clone(),
                clock: Arc::clone(&self.parts.clock),
                news: Notify::new(),
                failing: AtomicBool::new(false),
            });
            self.parts.metrics.added(&peer.url);
            self.parts.metrics.queue_length(&peer.url, lock(&peer.queue).len());
            let task = tokio::spawn(Arc::clone(&peer).run());
            state.peers.insert(id, Running { peer, task });
        }
        self.park(state);
        self.parts.metrics.discovered.set(i64::try_from(state.peers.len()).unwrap_or(i64::MAX));
    }

    /// Empty queues of receivers that are gone go, and of the others those that are too many.
    fn park(&self, state: &mut State) {
        let now = self.parts.clock.now();
        let mut kept = 0;
        for (id, queue) in &state.parked {
            let mut queue = lock(queue);
            kept += usize::from(!queue.is_empty());
            let lost = if kept > PARKED { queue.clear() } else { queue.expire(now) };
            self.parts.metrics.dropped(id, if kept > PARKED { "receiver_gone" } else { "expired" }, lost);
        }
        // An empty one that is still on the disk goes when that has been seen to.
        state.parked.retain(|_, queue| !lock(queue).is_settled());
        self.journal.changed(false);
    }

    /// Writes what changed, whenever something did.
    async fn write_always(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.journal.now.notified() => {}
                () = self.journal.soon.notified() => {
                    let _ = tokio::time::timeout(BEFORE_WRITING, self.journal.now.notified()).await;
                }
            }
            let stopped = self.journal.stopped.load(Ordering::Acquire);
            let written = self.write().await;
            if stopped {
                return;
            }
            if !written {
                let _ = tokio::time::timeout(WRITE_AGAIN, self.journal.stopping()).await;
                self.journal.changed(true);
            }
        }
    }

    /// Writes what changed; false when the disk did not take it.
    async fn write(&self) -> bool {
        let queues: Vec<(String, Arc<Mutex<Queue>>)> = {
            let state = self.state();
            let running = state.peers.iter().map(|(id, r)| (id.clone(), Arc::clone(&r.peer.queue)));
            running.chain(state.parked.iter().map(|(id, q)| (id.clone(), Arc::clone(q)))).collect()
        };
        let mut changes = Vec::new();
        for (id, queue) in &queues {
            let taken = lock(queue).take_changes();
            let rows =
                taken.into_iter().map(|(key, alert)| store::Change { receiver: id.clone(), key, alert });
            changes.extend(rows);
        }
        if changes.is_empty() {
            return true;
        }
        let ledger = self.parts.ledger.clone();
        let done = tokio::task::spawn_blocking(move || (store::write(&ledger, &changes), changes)).await;
        match done {
            Ok((Ok(()), _)) => {
                self.parts.metrics.durable.set(1);
                true
            }
            Ok((Err(error), changes)) => {
                self.parts.metrics.durable.set(0);
                tracing::error!(%error, "ALERTS THAT WAIT TO BE SENT ARE NOT ON THE DISK: a restart forgets them");
                for (id, queue) in &queues {
                    let own = changes.iter().filter(|c| c.receiver == *id);
                    lock(queue).not_written(own.map(|c| (c.key, c.alert.is_none())));
                }
                false
            }
            // The runtime is ending.
            Err(_) => false,
        }
    }
}

impl Journal {
    async fn stopping(&self) {
        while !self.stopped.load(Ordering::Acquire) {
            self.now.notified().await;
        }
    }
}

/// Looks at the files of receivers until it is aborted.
async fn discover(shared: Arc<Shared>, mut entries: Vec<(usize, Entry)>) {
    let refresh = entries.iter().filter_map(|(_, e)| e.refresh).min().unwrap_or(LOOK_EVERY);
    let look = refresh.min(LOOK_EVERY);
    let mut since_read = Duration::ZERO;
    loop {
        tokio::time::sleep(look).await;
        since_read += look;
        let all = since_read >= refresh;
        if all {
            since_read = Duration::ZERO;
        }
        let mut changed: Vec<(usize, Vec<TargetGroup>)> = Vec::new();
        for (i, entry) in &mut entries {
            if entry.files.refresh(all, &shared.parts.scrape_metrics) {
                changed.push((*i, entry.files.groups()));
            }
        }
        if changed.is_empty() {
            continue;
        }
        let mut state = shared.state();
        for (i, groups) in changed {
            if let Some((settings, found)) = state.entries.get_mut(i) {
                *found = settings.receivers(&groups);
            }
        }
        shared.sync(&mut state, false);
    }
}
