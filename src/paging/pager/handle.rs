//! How the rest of the house speaks with paging.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::heartbeat::Heart;
use super::worker::{Call, Input};
use super::{PagerError, Plant};
use crate::ledger::Ledger;
use crate::model::{Alert, Clock, GoTime, Timestamp};
use crate::paging::acklink::{AckClaim, AckLinks, LinkError};
use crate::paging::config::PagingConfig;
use crate::paging::engine::{
    AckResult, AlertView, CommandError, DrillError, DrillRequest, Engine, GroupView, Now, incident_key,
    read_incident,
};
use crate::paging::incident::{Actor, Incident, Verdict};
use crate::paging::metrics::{PagingMetrics, WithReason};
use crate::paging::report::{self, Facts, Report, ReportOptions};
use crate::paging::silence::{Silence, SilenceError};
use crate::paging::view::IncidentView;

/// How long the end waits for the dispatcher's thread.
const FAREWELL: Duration = Duration::from_secs(5);

/// Paging, from outside. Clones speak to the same one.
#[derive(Clone)]
pub struct PagerHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) plant: Arc<Plant>,
    heart: Arc<Heart>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

pub(super) struct Shared {
    tx: SyncSender<Input>,
    metrics: PagingMetrics,
    clock: Arc<dyn Clock>,
    ledger: Ledger,
    durable: Arc<AtomicBool>,
    current: RwLock<Option<Current>>,
}

/// What is in force: the configuration, and what signs links.
type Current = (Arc<PagingConfig>, Option<AckLinks>);

impl Shared {
    pub fn new(
        tx: SyncSender<Input>,
        metrics: PagingMetrics,
        clock: Arc<dyn Clock>,
        ledger: Ledger,
    ) -> Arc<Self> {
        let durable = Arc::new(AtomicBool::new(true));
        Arc::new(Self { tx, metrics, clock, ledger, durable, current: RwLock::new(None) })
    }

    pub fn durable(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.durable)
    }

    pub fn configure(&self, config: &Arc<PagingConfig>, links: Option<AckLinks>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(config), links));
    }

    pub fn metrics(&self) -> &PagingMetrics {
        &self.metrics
    }

    pub fn current(&self) -> &RwLock<Option<Current>> {
        &self.current
    }

    pub fn now(&self) -> Now {
        Now { wall: self.clock.now(), boot: self.clock.boottime() }
    }
}

/// What came of a link.
#[derive(Debug, Clone)]
pub struct LinkedAck {
    pub claim: AckClaim,
    pub result: AckResult,
}

/// Who is on call by a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnCallView {
    pub schedule: String,
    /// Nobody in a gap.
    pub user: Option<String>,
    pub until: Option<String>,
    pub next: Option<String>,
}

impl PagerHandle {
    pub(super) fn new(shared: Arc<Shared>, plant: Plant, heart: Heart, thread: JoinHandle<()>) -> Self {
        Self {
            shared,
            plant: Arc::new(plant),
            heart: Arc::new(heart),
            thread: Arc::new(Mutex::new(Some(thread))),
        }
    }

    /// Hands over alerts, and never waits. `false`: the queue is full or paging has ended, and they were dropped
    /// (and counted); the sender repeats them anyway.
    pub fn alerts(&self, alerts: Vec<Alert>) -> bool {
        let n = alerts.len() as u64;
        let reason = match self.shared.tx.try_send(Input::Alerts(alerts)) {
            Ok(()) => return true,
            Err(TrySendError::Full(_)) => "queue_full",
            Err(TrySendError::Disconnected(_)) => "ended",
        };
        self.shared.metrics.alerts_dropped.get_or_create(&WithReason { reason }).inc_by(n);
        tracing::error!(alerts = n, reason, "paging does not take alerts");
        false
    }

    /// Hands over alerts of somebody who will not repeat them. When this returns they are in the ledger, as
    /// far as the disk takes anything.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn keep_alerts(&self, alerts: Vec<Alert>) -> Result<(), PagerError> {
        self.call(move |engine, now| engine.alerts(now, alerts)).await
    }

    /// Acknowledges an incident. When this returns, it is in the ledger.
    ///
    /// # Errors
    /// See [`CommandError`]; the outer one when paging has ended.
    pub async fn acknowledge(
        &self,
        id: u64,
        actor: Actor,
    ) -> Result<Result<AckResult, CommandError>, PagerError> {
        self.call(move |engine, now| engine.acknowledge(now, id, actor, None)).await
    }

    /// What a link says, without acting on it: for showing it to a person first.
    ///
    /// # Errors
    /// See [`LinkError`]; also when links are not configured.
    pub fn check_link(&self, token: &str) -> Result<AckClaim, LinkError> {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        let links = current.as_ref().and_then(|(_, links)| links.as_ref()).ok_or(LinkError::Malformed)?;
        links.verify(token, self.shared.clock.now())
    }

    /// Acknowledges by a link that [`check_link`](Self::check_link) accepts. `from` is the address that it was used
    /// from, `comment` what the person said to it. Doing it again is harmless.
    ///
    /// # Errors
    /// See [`CommandError`]; the outer one when paging has ended.
    pub async fn acknowledge_by_link(
        &self,
        claim: AckClaim,
        from: String,
        comment: &str,
    ) -> Result<Result<LinkedAck, CommandError>, PagerError> {
        let actor = Actor::new(claim.person.as_str(), "link", from).saying(comment);
        let (id, round) = (claim.incident, claim.round);
        let done = self.call(move |engine, now| engine.acknowledge(now, id, actor, Some(round))).await?;
        Ok(done.map(|result| LinkedAck { claim, result }))
    }

    /// What a feedback link says; it is good for nothing else.
    ///
    /// # Errors
    /// See [`LinkError`]; also when links are not configured.
    pub fn check_judge_link(&self, token: &str) -> Result<AckClaim, LinkError> {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        let links = current.as_ref().and_then(|(_, links)| links.as_ref()).ok_or(LinkError::Malformed)?;
        links.verify_judge(token, self.shared.clock.now())
    }

    /// Records what a person says of an incident, also of an old one. The last word counts.
    ///
    /// # Errors
    /// See [`CommandError`]; the outer one when paging has ended.
    pub async fn judge(
        &self,
        id: u64,
        verdict: Verdict,
        actor: Actor,
        comment: String,
    ) -> Result<Result<(), CommandError>, PagerError> {
        let stored = self.stored_incident(id).await;
        self.call(move |engine, now| engine.judge(now, id, verdict, actor, comment, stored)).await
    }

    /// An incident as the ledger has it.
    async fn stored_incident(&self, id: u64) -> Option<Incident> {
        let (shared, (table, key)) = (Arc::clone(&self.shared), incident_key(id));
        let read = move || shared.ledger.get(table, &key);
        let row = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).flatten();
        row.and_then(|bytes| read_incident(&bytes))
    }

    /// Closes an incident by hand.
    ///
    /// # Errors
    /// See [`CommandError`]; the outer one when paging has ended.
    pub async fn resolve(&self, id: u64, actor: Actor) -> Result<Result<(), CommandError>, PagerError> {
        self.call(move |engine, now| engine.resolve(now, id, &actor)).await
    }

    /// The incidents, the newest first: all that are open, and the last that were resolved.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn incidents(&self) -> Result<Vec<IncidentView>, PagerError> {
        self.newest_incidents(true, usize::MAX).await
    }

    /// As [`incidents`](Self::incidents), at most `limit`, and perhaps without those that are resolved. The views
    /// are made here: the dispatcher only hands out what it has.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn newest_incidents(
        &self,
        resolved_too: bool,
        limit: usize,
    ) -> Result<Vec<IncidentView>, PagerError> {
        let (recent, now) = self.call(|engine, now| (engine.recent(), now)).await?;
        let wanted = recent.iter().filter(|i| resolved_too || i.is_open()).take(limit);
        Ok(wanted.map(|i| IncidentView::new(i, now)).collect())
    }

    /// One incident, also an old one.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn incident(&self, id: u64) -> Result<Option<IncidentView>, PagerError> {
        let now = self.shared.now();
        Ok(self.record(id).await?.map(|i| IncidentView::new(&i, now)))
    }

    /// One incident as the ledger keeps it, also an old one.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn record(&self, id: u64) -> Result<Option<Incident>, PagerError> {
        let recent = self.call(move |engine, _| engine.incident(id).cloned()).await?;
        if recent.is_some() {
            return Ok(recent);
        }
        Ok(self.stored_incident(id).await)
    }

    /// A report over the incidents of the ledger; reading them all may take a second.
    ///
    /// # Errors
    /// Paging has ended, or the ledger cannot be read.
    pub async fn report(&self, options: ReportOptions) -> Result<Report, String> {
        let recent = self
            .call(|engine, _| engine.incidents().map(Facts::from).collect::<Vec<_>>())
            .await
            .map_err(|e| e.to_string())?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || report::of_ledger(&shared.ledger, &recent, options))
            .await
            .map_err(|_| "the report was given up".to_owned())?
            .map_err(|e| e.to_string())
    }

    /// Begins a drill: its incident, as it is in the ledger now.
    ///
    /// # Errors
    /// See [`DrillError`]; the outer one when paging has ended.
    pub async fn drill(
        &self,
        request: DrillRequest,
    ) -> Result<Result<Option<Incident>, DrillError>, PagerError> {
        self.call(move |engine, now| engine.drill(now, &request).map(|id| engine.incident(id).cloned())).await
    }

    /// The alerts that fire.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn active_alerts(&self) -> Result<Vec<AlertView>, PagerError> {
        Ok(self.call(|engine, now| engine.firing_now(now)).await?.alert_views())
    }

    /// The groups of alerts.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn groups(&self) -> Result<Vec<GroupView>, PagerError> {
        Ok(self.call(|engine, now| engine.firing_now(now)).await?.group_views())
    }

    /// All silences.
    ///
    /// # Errors
    /// Paging has ended.
    pub async fn silences(&self) -> Result<Vec<Silence>, PagerError> {
        self.call(|engine, _| engine.silences().cloned().collect()).await
    }

    /// Makes a silence, or changes the one with its id; returns the id, which is a new one for an empty one, and
    /// when the old silence ends and another takes its place.
    ///
    /// # Errors
    /// See [`SilenceError`]; the outer one when paging has ended.
    pub async fn set_silence(&self, silence: Silence) -> Result<Result<String, SilenceError>, PagerError> {
        self.call(move |engine, now| engine.post_silence(now, silence, new_uuid())).await
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// See [`SilenceError`]; the outer one when paging has ended.
    pub async fn expire_silence(&self, id: String) -> Result<Result<(), SilenceError>, PagerError> {
        self.call(move |engine, now| engine.expire_silence(now, &id)).await
    }

    /// Takes a new configuration, all or nothing.
    ///
    /// # Errors
    /// A receiver or the key cannot be used (the old configuration stays), or paging has ended.
    pub async fn reload(&self, config: PagingConfig) -> Result<(), PagerError> {
        let config = Arc::new(config);
        let (links, transport) = self.plant.build(&config)?;
        let (answer, done) = oneshot::channel();
        let input = Input::Reload(
            Arc::clone(&config),
            transport,
            Box::new(move || {
                let _ = answer.send(());
            }),
        );
        self.submit(input).await?;
        done.await.map_err(|_| PagerError::Ended)?;
        self.shared.configure(&config, links);
        self.heart.configure(&tokio::runtime::Handle::current(), &config);
        Ok(())
    }

    /// Does the ledger take what is written? While it does not, pages go out from memory.
    pub fn is_durable(&self) -> bool {
        self.shared.durable.load(Ordering::Relaxed)
    }

    /// The ledger's identity, with which every key begins.
    pub fn instance(&self) -> &str {
        &self.plant.instance
    }

    /// The configuration in use.
    pub fn config(&self) -> Option<Arc<PagingConfig>> {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|(config, _)| Arc::clone(config))
    }

    /// Who is on call at `at` (ms), by schedule.
    pub fn on_call(&self, at: Timestamp) -> Vec<OnCallView> {
        self.config().map(|config| OnCallView::all(&config, at)).unwrap_or_default()
    }

    /// Ends: what was taken in is written; what is not sent yet goes out after the next start.
    pub async fn shutdown(&self) {
        self.heart.stop();
        if self.submit(Input::Stop).await.is_err() {
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            if tokio::time::timeout(FAREWELL, joined).await.is_err() {
                tracing::error!("paging did not end in {FAREWELL:?}");
            }
        }
    }

    async fn submit(&self, mut input: Input) -> Result<(), PagerError> {
        loop {
            match self.shared.tx.try_send(input) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(PagerError::Ended),
                Err(TrySendError::Full(back)) => {
                    input = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// Runs on the dispatcher's thread; the answer comes after the transaction.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Engine, Now) -> T + Send + 'static,
    ) -> Result<T, PagerError> {
        let (answer, done) = oneshot::channel();
        let call: Call = Box::new(move |engine, now| {
            let value = f(engine, now);
            Box::new(move || {
                let _ = answer.send(value);
            })
        });
        self.submit(Input::Call(call)).await?;
        done.await.map_err(|_| PagerError::Ended)
    }
}

impl OnCallView {
    /// Of every schedule of a configuration.
    pub fn all(config: &PagingConfig, at: Timestamp) -> Vec<Self> {
        let view = |s: &crate::paging::schedule::Schedule| {
            let until = s.next_change(at);
            Self {
                schedule: s.name.clone(),
                user: s.on_call(at).map(str::to_owned),
                until: until.map(|t| GoTime(Some(t)).to_string()),
                next: until.and_then(|t| s.on_call(t)).map(str::to_owned),
            }
        };
        config.schedules.values().map(view).collect()
    }
}

/// A random UUID, version 4.
fn new_uuid() -> String {
    use ring::rand::SecureRandom as _;
    let mut b = [0u8; 16];
    if ring::rand::SystemRandom::new().fill(&mut b).is_err() {
        b = (crate::model::SystemClock.now().unsigned_abs() as u128).to_be_bytes();
    }
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let n = u128::from_be_bytes(b);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        n >> 80 & 0xffff,
        n >> 64 & 0xffff,
        n >> 48 & 0xffff,
        n & 0xffff_ffff_ffff
    )
}
