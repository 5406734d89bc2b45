//! The dispatcher as a pure state machine: alerts, answers and the time go in, ledger changes and deliveries
//! come out. It reads no clock and does no I/O.
//!
//! Whoever drives it calls an input, writes [`Engine::take_changes`] to the ledger in one transaction, and only
//! then sends what [`Engine::take_sends`] gives.

mod commands;
mod drill;
mod escalate;
mod filter;
mod groups;
mod incidents;
mod judge;
mod limits;
mod merge;
mod open;
mod outbox;
mod quiet;
mod records;
mod rows;
mod sent;
mod untold;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Alert, Fingerprint, Timestamp};
use crate::paging::config::PagingConfig;
use crate::paging::incident::Incident;
use crate::paging::silence::{Compiled, Silence, SilenceError};

pub use commands::{AckResult, CommandError};
pub use drill::{DrillError, DrillRequest};
pub use groups::Group;
pub use outbox::{Delivery, Job, Outcome};
pub use records::{
    Change, INCIDENT_TABLES, RECORD_TABLES, SENT_TABLE, Stored, incident_key, read_incident, read_resolved,
    read_sent, verify,
};
pub use sent::{Sent, sent_at};
pub use views::{AlertView, FiringNow, GroupView, api_time};

/// Alerts that are held at once; more are refused and counted.
pub const MAX_ALERTS: usize = 50_000;
/// Resolved incidents that stay in memory; the ledger has the others.
pub const RECENT_INCIDENTS: usize = 200;
/// The same, when they may still flap.
const MAX_RECENT_INCIDENTS: usize = 2000;

/// Numbers that a process reserves at once. A transaction that fails may have given some of them to pages that go out all the
/// same; a process after a crash skips them, so that no key and no link ever means two things.
const RESERVED_IDS: u64 = 1000;

/// One moment on both clocks, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the epoch; may jump.
    pub wall: Timestamp,
    /// Since boot; never jumps. All timers use it.
    pub boot: Timestamp,
}

/// What happened, for metrics and logs; read and reset by the driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    pub alerts_received: u64,
    pub alerts_refused: u64,
    pub incidents_triggered: u64,
    pub incidents_acknowledged: u64,
    pub incidents_resolved: u64,
    pub incidents_reopened: u64,
    /// Escalations that ran out of steps without an acknowledgement.
    pub exhausted: u64,
    pub deliveries_dropped: u64,
    pub deliveries_expired: u64,
    /// Pages that the limit of an hour held back, and digests after quiet hours.
    pub pages_held: u64,
    pub digests: u64,
    /// Steps that had nobody to notify.
    pub steps_empty: u64,
    /// Milliseconds between a step's due time and its firing, added up, and the steps.
    pub lateness_ms: i64,
    pub steps_fired: u64,
}

struct AlertEntry {
    alert: Arc<Alert>,
    /// Groups that hold it.
    refs: usize,
}

/// The dispatcher's whole state.
pub struct Engine {
    config: Arc<PagingConfig>,
    /// Makes keys differ from those of another ledger.
    instance: String,
    next_id: u64,
    /// Numbers below this one are given by no later process: the ledger says so beforehand.
    reserved: u64,
    alerts: HashMap<Fingerprint, AlertEntry>,
    groups: BTreeMap<String, Group>,
    incidents: open::Incidents,
    people: limits::People,
    outbox: rows::Rows,
    untold: untold::Untold,
    silences: BTreeMap<String, Compiled>,
    sent: sent::SentLog,
    dirty: BTreeSet<records::Key>,
    durable: bool,
    /// When every step of a drill was last delivered, ms by the wall clock.
    pub(super) last_good_drill: Option<Timestamp>,
    /// What happened since the driver last looked.
    pub tallies: Tallies,
}

impl Engine {
    /// An empty dispatcher. `instance` is a short text that no other ledger has.
    pub fn new(config: Arc<PagingConfig>, instance: impl Into<String>) -> Self {
        Self {
            config,
            instance: instance.into(),
            next_id: 1,
            reserved: 1,
            alerts: HashMap::new(),
            groups: BTreeMap::new(),
            incidents: open::Incidents::default(),
            people: limits::People::new(),
            outbox: rows::Rows::default(),
            untold: untold::Untold::default(),
            silences: BTreeMap::new(),
            sent: sent::SentLog::default(),
            dirty: BTreeSet::new(),
            durable: true,
            last_good_drill: None,
            tallies: Tallies::default(),
        }
    }

    pub fn config(&self) -> &Arc<PagingConfig> {
        &self.config
    }

    /// Alerts, as their sender sees them now. What does not fit any more is counted and left out.
    pub fn alerts(&mut self, now: Now, alerts: Vec<Alert>) {
        self.tallies.alerts_received += alerts.len() as u64;
        for alert in alerts {
            self.insert(now, alert);
        }
        self.tick(now);
    }

    /// Does whatever is due.
    pub fn tick(&mut self, now: Now) {
        self.flush_groups(now);
        self.run_incidents(now);
        self.run_summaries(now);
        self.expire(now);
    }

    /// A new configuration. Groups that still have a route keep their timers and what was sent; incidents stay
    /// on the policy that they began with.
    pub fn reload(&mut self, now: Now, config: Arc<PagingConfig>) {
        self.config = config;
        self.regroup(now, &BTreeSet::new());
        self.tick(now);
    }

    /// When [`tick`](Self::tick) has something to do next, ms since boot.
    pub fn next_due(&self) -> Option<Timestamp> {
        let groups = self.groups.values().map(|g| g.next_flush);
        let incidents = self.incidents.values().filter(|i| i.is_open()).filter_map(Incident::next_at);
        groups.chain(incidents).chain(self.outbox.next_at(&self.config)).chain(self.next_summary()).min()
    }

    /// Adds a silence under a `fresh` id, or changes the one with its id; returns the id. One that may not be changed
    /// so ends, and a new one takes its place.
    ///
    /// # Errors
    /// It makes no sense, there are too many, or none has its id.
    pub fn post_silence(
        &mut self,
        now: Now,
        mut silence: Silence,
        fresh: String,
    ) -> Result<String, SilenceError> {
        silence.compile()?;
        if silence.ends_at <= now.wall {
            return Err(SilenceError::Past);
        }
        let old = match self.silences.get(&silence.id) {
            Some(old) => Some(&old.silence),
            None if silence.id.is_empty() => None,
            None => return Err(SilenceError::NotFound(silence.id)),
        };
        let mut replaced = None;
        if !old.is_some_and(|old| old.may_become(&silence, now.wall)) {
            replaced = old.map(|old| old.id.clone());
            silence.id = fresh;
            silence.starts_at = silence.starts_at.max(now.wall);
        }
        let id = silence.id.clone();
        self.set_silence(now, silence)?;
        // Only then: what both mute is not spoken of in between.
        if let Some(old) = replaced {
            self.expire_silence(now, &old)?;
        }
        Ok(id)
    }

    /// Adds a silence, or puts it in the place of the one with its id.
    ///
    /// # Errors
    /// It makes no sense, or there are too many.
    pub fn set_silence(&mut self, now: Now, mut silence: Silence) -> Result<(), SilenceError> {
        let matchers = silence.compile()?;
        if silence.ends_at <= now.wall {
            return Err(SilenceError::Past);
        }
        if !self.silences.contains_key(&silence.id)
            && self.silences.len() >= crate::paging::silence::MAX_SILENCES
        {
            return Err(SilenceError::TooMany);
        }
        silence.updated_at = now.wall;
        self.dirty.insert(records::Key::Silence(silence.id.clone()));
        self.silences.insert(silence.id.clone(), Compiled { silence, matchers });
        self.tick(now);
        Ok(())
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn expire_silence(&mut self, now: Now, id: &str) -> Result<(), SilenceError> {
        let found = self.silences.get_mut(id).ok_or_else(|| SilenceError::NotFound(id.to_owned()))?;
        let silence = &mut found.silence;
        if silence.ends_at > now.wall {
            silence.ends_at = now.wall;
            silence.starts_at = silence.starts_at.min(now.wall);
            silence.updated_at = now.wall;
            self.dirty.insert(records::Key::Silence(id.to_owned()));
        }
        self.tick(now);
        Ok(())
    }

    /// All silences that are still remembered.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values().map(|c| &c.silence)
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if self.next_id > self.reserved {
            self.reserved = self.next_id + RESERVED_IDS;
            self.dirty.insert(records::Key::Meta);
        }
        id
    }

    /// At an orderly end: the next process goes on with the next number.
    pub fn give_back_ids(&mut self) {
        self.reserved = self.next_id;
        self.dirty.insert(records::Key::Meta);
    }

    /// Forgets what is over.
    fn expire(&mut self, now: Now) {
        let old = |c: &Compiled| c.silence.ends_at + crate::paging::silence::RETENTION_MS <= now.wall;
        let gone: Vec<String> =
            self.silences.iter().filter(|(_, c)| old(c)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.silences.remove(&id);
            self.dirty.insert(records::Key::Silence(id));
        }
        self.forget_resolved(now);
    }

    /// Old incidents go out of memory: the ledger keeps them until they are too old. One that has changes which
    /// are not yet written, that a group still refers to, or that may be reopened, stays.
    fn forget_resolved(&mut self, now: Now) {
        let resolved = self.incidents.values().filter(|i| !i.is_open()).count();
        if resolved <= RECENT_INCIDENTS {
            return;
        }
        let held: BTreeSet<u64> = self.groups.values().filter_map(|g| g.incident).collect();
        let over = resolved - RECENT_INCIDENTS;
        let few = resolved <= MAX_RECENT_INCIDENTS;
        let flaps =
            |i: &Incident| few && i.resolved_at.is_some_and(|at| now.wall - at < i.policy.flap_window_ms);
        let go: Vec<u64> = self
            .incidents
            .values()
            .filter(|i| !i.is_open() && !held.contains(&i.id) && !flaps(i))
            .filter(|i| !self.dirty.contains(&records::Key::Incident(i.id)))
            .map(|i| i.id)
            .take(over)
            .collect();
        for id in go {
            self.incidents.remove(id);
        }
    }
}
