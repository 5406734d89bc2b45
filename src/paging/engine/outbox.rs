//! Deliveries: written down before they are sent, sent until they arrive or cannot.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::groups::{LogEntry, integration_id};
use super::records::Key;
use super::{Engine, Now};
use crate::model::{Fingerprint, Timestamp};
use crate::paging::config::Integration;
use crate::paging::incident::Incident;
use crate::paging::notification::{Notification, Reason};

/// Stands in every message while the ledger takes nothing.
const NOT_DURABLE: &str = "WARNING: sideband cannot write its ledger: this page is in memory only, and a restart \
                           would forget the incident. Look at the disk.";
/// Rows that wait at once; the oldest of plain groups give way.
const MAX_ROWS: usize = 20_000;
/// The first wait after a failure, and the longest.
const BACKOFF_MS: i64 = 1000;
const MAX_BACKOFF_MS: i64 = 60_000;
/// The longest that a receiver may put us off.
const MAX_RETRY_AFTER_MS: i64 = 3_600_000;
/// How long it is tried to say that something is over: whoever was told that it fires would else keep it for good.
const RESOLVED_EXPIRES_MS: i64 = 24 * 3_600_000;

/// One message to one integration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub id: u64,
    /// The idempotency key: the same for every attempt, also after a crash.
    pub key: String,
    pub receiver: String,
    pub kind: String,
    pub index: usize,
    /// Messages about one thing to one integration go one after the other.
    pub lane: String,
    pub group: String,
    pub incident: Option<u64>,
    /// Of a digest: all that it tells of.
    #[serde(default)]
    pub incidents: Vec<u64>,
    /// A digest of pages that the limit of an hour has held back.
    #[serde(default)]
    pub summary: bool,
    pub round: u32,
    pub step: usize,
    pub notification: Arc<Notification>,
    pub firing: BTreeSet<u64>,
    pub resolved: BTreeSet<u64>,
    /// Wall clock.
    pub created_at: Timestamp,
    #[serde(skip)]
    pub attempts: u32,
    /// ms since boot; at once after a restart.
    #[serde(skip)]
    pub next_at: Timestamp,
    #[serde(skip)]
    pub in_flight: bool,
    /// It is not wanted any more, but cannot be called back.
    #[serde(skip)]
    pub abandoned: bool,
    #[serde(skip)]
    pub last_error: String,
    /// It may have arrived, though nobody knows: the answer was lost, or a crash came between.
    #[serde(skip)]
    pub doubtful: bool,
}

/// What is to be sent now.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: u64,
    pub key: String,
    pub receiver: String,
    pub kind: String,
    pub index: usize,
    /// From 1.
    pub attempt: u32,
    /// Of the escalation, from 0.
    pub round: u32,
    pub step: usize,
    pub notification: Arc<Notification>,
    /// When the row was written, ms by the wall clock.
    pub created_at: Timestamp,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// It can be tried again, after so many ms at the earliest if the receiver said so.
    Retry {
        reason: String,
        after_ms: Option<i64>,
    },
    /// The answer was lost: it may have arrived, and is tried again.
    Unsure {
        reason: String,
    },
    /// It will never arrive.
    Final {
        reason: String,
    },
}

impl Delivery {
    /// A row that can set out at once, about nothing yet: the caller says which group or incidents it is about.
    /// What has the same `topic` goes to an integration one after the other.
    pub(super) fn new(
        now: Now,
        id: u64,
        key: String,
        topic: &str,
        receiver: &str,
        integration: &Integration,
        notification: impl Into<Arc<Notification>>,
    ) -> Self {
        Self {
            id,
            key,
            receiver: receiver.to_owned(),
            kind: integration.kind.to_owned(),
            index: integration.index,
            lane: lane(topic, receiver, integration),
            group: String::new(),
            incident: None,
            incidents: Vec::new(),
            summary: false,
            round: 0,
            step: 0,
            notification: notification.into(),
            firing: BTreeSet::new(),
            resolved: BTreeSet::new(),
            created_at: now.wall,
            attempts: 0,
            next_at: now.boot,
            in_flight: false,
            abandoned: false,
            last_error: String::new(),
            doubtful: false,
        }
    }
}

/// Where rows about one thing to one integration queue up.
pub(super) fn lane(topic: &str, receiver: &str, integration: &Integration) -> String {
    format!("{topic}\u{0}{}", integration_id(receiver, integration))
}

impl Engine {
    /// Rows that are due, at most `limit`, and never two of one lane. They count as under way until
    /// [`delivered`](Self::delivered) is told. Call it only after the changes are in the ledger.
    pub fn take_sends(&mut self, now: Now, limit: usize) -> Vec<Job> {
        let durable = self.durable;
        let notification = |n: &Arc<Notification>| {
            if durable {
                return Arc::clone(n);
            }
            let mut told = n.as_ref().clone();
            told.notes.insert(0, NOT_DURABLE.to_owned());
            Arc::new(told)
        };
        let mut jobs = Vec::new();
        for id in self.outbox.due(now.boot, limit, &self.config) {
            let Some(d) = self.outbox.start(id) else { continue };
            jobs.push(Job {
                id,
                key: d.key.clone(),
                receiver: d.receiver.clone(),
                kind: d.kind.clone(),
                index: d.index,
                attempt: d.attempts,
                round: d.round,
                step: d.step,
                notification: notification(&d.notification),
                created_at: d.created_at,
            });
        }
        jobs
    }

    /// What became of a delivery. An unknown one is ignored.
    pub fn delivered(&mut self, now: Now, id: u64, outcome: &Outcome) {
        let Some(d) = self.outbox.get(id) else { return };
        let doubtful = d.doubtful || matches!(outcome, Outcome::Unsure { .. });
        let again = match (outcome, outcome.retry()) {
            (_, Some((reason, after_ms))) if !d.abandoned => {
                let over = d.notification.reason != Reason::Page && d.notification.status() == "resolved";
                let expired = over && now.wall - d.created_at > RESOLVED_EXPIRES_MS;
                self.tallies.deliveries_expired += u64::from(expired);
                (!expired).then(|| (reason.to_owned(), now.boot + wait(d.id, d.attempts, after_ms)))
            }
            _ => None,
        };
        let row = d.clone();
        match again {
            Some((reason, at)) => self.outbox.back(id, |d| {
                d.last_error = reason;
                d.next_at = at;
                d.doubtful = doubtful;
            }),
            None => {
                self.outbox.remove(id);
                self.dirty.insert(Key::Delivery(id));
                if doubtful && *outcome != Outcome::Delivered {
                    self.perhaps_arrived(&row);
                }
            }
        }
        if row.is_plain() {
            if *outcome == Outcome::Delivered {
                self.count_sent(now, &row);
            }
            if *outcome == Outcome::Delivered
                && let Some(group) = self.groups.get_mut(&row.group)
            {
                let lane = format!("{}/{}/{}", row.receiver, row.kind, row.index);
                group.log.insert(lane, LogEntry::of(&row));
                self.dirty.insert(Key::Group(row.group.clone()));
            }
            self.settle(now, &row.group);
            return;
        }
        for incident in row.incident.iter().chain(&row.incidents) {
            self.incident_outcome(now, *incident, &row, outcome);
            self.finish_drill(now, *incident);
        }
        let due =
            |i: &u64| self.incidents.get(i).and_then(Incident::next_at).is_some_and(|at| at <= now.boot);
        if row.incident.iter().chain(&row.incidents).any(due) {
            self.run_incidents(now);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a row is made of")]
    pub(super) fn enqueue_group(
        &mut self,
        now: Now,
        group: &str,
        receiver: &str,
        integration: &Integration,
        notification: Notification,
        firing: &BTreeSet<u64>,
        resolved: &BTreeSet<u64>,
    ) {
        let lane = lane(group, receiver, integration);
        // What is still under way says the same, or it is out of date.
        let same = |d: &&Delivery| d.firing == *firing && d.resolved == *resolved;
        if let Some(row) = self.outbox.newest(&lane).filter(same) {
            let id = row.id;
            // What nobody can have seen is brought up to date; the rest stays as it is, since its key does.
            if !row.in_flight && !row.doubtful {
                self.outbox.back(id, |d| d.notification = Arc::new(notification));
                self.dirty.insert(Key::Delivery(id));
            }
            return;
        }
        self.abandon_lane(&lane);
        let id = self.id();
        let key = format!("{}-n{id}", self.instance);
        self.push(Delivery {
            group: group.to_owned(),
            firing: firing.clone(),
            resolved: resolved.clone(),
            ..Delivery::new(now, id, key, group, receiver, integration, notification)
        });
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        if self.outbox.len() >= MAX_ROWS {
            let oldest = self.outbox.values().find(|d| d.is_plain() && !d.in_flight).map(|d| d.id);
            if let Some(id) = oldest {
                self.outbox.remove(id);
                self.dirty.insert(Key::Delivery(id));
                self.tallies.deliveries_dropped += 1;
            }
        }
        self.dirty.insert(Key::Delivery(delivery.id));
        self.outbox.insert(delivery);
    }

    /// Takes all rows of a lane back.
    pub(super) fn abandon_lane(&mut self, lane: &str) {
        for id in self.outbox.of_lane(lane) {
            self.abandon(id);
        }
    }

    /// Takes back what says of groups that are gone that they fire; what says that they are over still goes out.
    pub(super) fn abandon_orphans(&mut self) {
        let orphan = |d: &&Delivery| d.is_plain() && !self.groups.contains_key(&d.group);
        let rows = self.outbox.values().filter(orphan).filter(|d| !d.firing.is_empty());
        let ids: Vec<u64> = rows.map(|d| d.id).collect();
        for id in ids {
            self.abandon(id);
        }
    }

    /// Takes a row back; one that is under way is not tried again.
    pub(super) fn abandon(&mut self, id: u64) {
        let Some(d) = self.outbox.get(id) else { return };
        if d.in_flight {
            self.outbox.disown(id);
        } else if let Some(row) = self.outbox.remove(id)
            && row.doubtful
        {
            self.perhaps_arrived(&row);
        }
        self.dirty.insert(Key::Delivery(id));
    }

    /// A row goes of which nobody knows whether it arrived: whoever may have it is told of the end.
    fn perhaps_arrived(&mut self, row: &Delivery) {
        let integration = format!("{}/{}/{}", row.receiver, row.kind, row.index);
        if row.is_plain()
            && let Some(group) = self.groups.get_mut(&row.group)
        {
            // Whatever holds is to be said anew.
            let entry = group.log.entry(integration).or_default();
            entry.at = Timestamp::MIN;
            entry.firing.extend(&row.firing);
            self.dirty.insert(Key::Group(row.group.clone()));
            return;
        }
        if row.summary || !(row.is_digest() || row.notification.reason == Reason::Page) {
            return;
        }
        for id in row.incident.iter().chain(&row.incidents) {
            if let Some(incident) = self.incidents.get_mut(id) {
                incident.perhaps_reached.insert(integration.clone());
                self.dirty.insert(Key::Incident(*id));
            }
        }
    }

    /// Rows that wait or are under way, for metrics.
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// Says whether what is decided is written down; while it is not, every message tells.
    pub fn set_durable(&mut self, now: Now, durable: bool) {
        if self.durable && !durable {
            // Numbers that are given from now on may be forgotten: no later process gives them to something else.
            self.next_id = self.next_id.max(u64::try_from(now.wall / 1000).unwrap_or(0));
        }
        self.durable = durable;
    }

    /// The keys of the deliveries that are written down, for tests and views.
    pub fn pending(&self) -> impl Iterator<Item = &Delivery> {
        self.outbox.values()
    }
}

impl Outcome {
    /// Is it to be tried again: why, and after how many ms at the earliest?
    pub(super) fn retry(&self) -> Option<(&str, Option<i64>)> {
        match self {
            Self::Retry { reason, after_ms } => Some((reason, *after_ms)),
            Self::Unsure { reason } => Some((reason, None)),
            Self::Delivered | Self::Final { .. } => None,
        }
    }
}

/// The wait before the next attempt: doubling, spread by a fifth so that many rows don't come at once, and never
/// less than the receiver asked for.
fn wait(id: u64, attempts: u32, after_ms: Option<i64>) -> i64 {
    let doubled = BACKOFF_MS << attempts.saturating_sub(1).min(10);
    let base = doubled.min(MAX_BACKOFF_MS);
    let bytes = [id.to_le_bytes(), u64::from(attempts).to_le_bytes()].concat();
    let text = String::from_utf8_lossy(&bytes);
    let spread = Fingerprint::of(std::iter::once((text.as_ref(), ""))).0 % 400;
    let jittered = base * (800 + i64::try_from(spread).unwrap_or(0)) / 1000;
    jittered.max(after_ms.unwrap_or(0).clamp(0, MAX_RETRY_AFTER_MS))
}
