//! What the ledger keeps of the dispatcher: JSON records, one table a kind, each with a version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::groups::{Group, LogEntry};
use super::limits::{NEXT_SUMMARY_MS, Person};
use super::outbox::Delivery;
use super::sent::{Sent, SentLog, sent_at};
use super::{AlertEntry, Engine, Now, RECENT_INCIDENTS};
use crate::model::{Alert, Fingerprint, Labels, Timestamp};
use crate::paging::config::PagingConfig;
use crate::paging::incident::{AlertRecord, Incident};
use crate::paging::matcher::Matchers;
use crate::paging::route::Route;
use crate::paging::silence::{Compiled, Silence};

const ALERTS: &str = "paging.alerts";
const GROUPS: &str = "paging.groups";
const INCIDENTS: &str = "paging.incidents";
const OUTBOX: &str = "paging.outbox";
const SILENCES: &str = "paging.silences";
const PEOPLE: &str = "paging.people";
const META: &str = "paging.meta";
/// Which incidents are open, so that a start need not read all of them: no values.
const OPEN: &str = "paging.open";
/// Which are resolved: when (ms) and how long their records are, big endian.
const RESOLVED: &str = "paging.resolved";

/// What plain routes have sent; only reports read it.
pub const SENT_TABLE: &str = "paging.sent";

/// All tables of the dispatcher that it reads when it starts.
pub const RECORD_TABLES: [&str; 7] = [ALERTS, GROUPS, INCIDENTS, OUTBOX, SILENCES, PEOPLE, META];

/// The shape of the records. A reader refuses what a later version wrote.
const VERSION: u32 = 1;

/// A record that has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Alert(Fingerprint),
    Group(String),
    Incident(u64),
    Delivery(u64),
    Silence(String),
    Person(String),
    Sent(i64),
    Meta,
}

/// A row to write; no value: a row to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub table: &'static str,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// A row as it was read: table, key, value.
pub type Stored = (&'static str, Vec<u8>, Vec<u8>);

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    r: T,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    next_id: u64,
    instance: String,
    #[serde(default)]
    last_good_drill: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct GroupRecord {
    id: String,
    /// Wall clock.
    next_flush: Timestamp,
    flushed_at: Option<Timestamp>,
    log: BTreeMap<String, LogEntry>,
    incident: Option<u64>,
}

fn encode<T: Serialize>(r: &T) -> Option<Vec<u8>> {
    // Maps with text keys and plain values: this cannot fail; a record that did would be left as it was.
    serde_json::to_vec(&Versioned { v: VERSION, r }).map_err(|e| tracing::error!(error = %e, "record")).ok()
}

fn decode<T: DeserializeOwned>(table: &str, bytes: &[u8]) -> Option<T> {
    match serde_json::from_slice::<Versioned<T>>(bytes) {
        Ok(record) if record.v == VERSION => Some(record.r),
        Ok(record) => {
            tracing::error!(table, version = record.v, "ledger: a record of an unknown version is left out");
            None
        }
        Err(e) => {
            tracing::error!(table, error = %e, "ledger: a record that cannot be read is left out");
            None
        }
    }
}

impl Engine {
    /// The rows that changed since the last call, to be written in one transaction.
    pub fn take_changes(&mut self, now: Now) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        self.changes(dirty.iter(), now)
    }

    /// Is there anything to write?
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Everything, for a ledger that has missed changes.
    pub fn snapshot(&mut self, now: Now) -> Vec<Change> {
        let mut keys = BTreeSet::from([Key::Meta]);
        keys.extend(self.alerts.keys().map(|f| Key::Alert(*f)));
        keys.extend(self.groups.keys().chain(self.untold.ids()).map(|g| Key::Group(g.clone())));
        keys.extend(self.incidents.keys().map(|i| Key::Incident(*i)));
        keys.extend(self.outbox.keys().map(Key::Delivery));
        keys.extend(self.silences.keys().map(|s| Key::Silence(s.clone())));
        keys.extend(self.people.keys().map(|p| Key::Person(p.clone())));
        keys.extend(self.sent.slots().map(Key::Sent));
        self.dirty.clear();
        self.changes(keys.iter(), now)
    }

    /// Is a row of this table one that the dispatcher does not have any more? Old incidents stay.
    pub fn is_stale(&self, table: &str, key: &[u8]) -> bool {
        let number = || key.try_into().map(u64::from_be_bytes).ok();
        let text = || std::str::from_utf8(key).ok();
        match table {
            ALERTS => number().is_none_or(|n| !self.alerts.contains_key(&Fingerprint(n))),
            GROUPS => text().is_none_or(|t| !self.groups.contains_key(t) && self.untold.get(t).is_none()),
            OUTBOX => number().is_none_or(|n| !self.outbox.contains_key(n)),
            SILENCES => text().is_none_or(|t| !self.silences.contains_key(t)),
            PEOPLE => text().is_none_or(|t| !self.people.contains_key(t)),
            _ => false,
        }
    }

    fn changes<'a>(&self, keys: impl Iterator<Item = &'a Key>, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in keys {
            let Some(change) = self.change(key, now) else { continue };
            if let (Key::Incident(id), Some(value)) = (key, &change.value) {
                let resolved =
                    self.incidents.get(id).filter(|i| !i.is_open()).map(|i| i.resolved_at.unwrap_or(0));
                let size = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
                let length = |at: Timestamp| [at.to_be_bytes().as_slice(), size.as_slice()].concat();
                let key = id.to_be_bytes().to_vec();
                let open = resolved.is_none().then(Vec::new);
                changes.push(Change { table: OPEN, key: key.clone(), value: open });
                changes.push(Change { table: RESOLVED, key, value: resolved.map(length) });
            }
            changes.push(change);
        }
        changes
    }

    fn change(&self, key: &Key, now: Now) -> Option<Change> {
        let on_the_wall = |boot: Timestamp| boot - now.boot + now.wall;
        let change = |table, key: Vec<u8>, value: Option<Option<Vec<u8>>>| match value {
            None => Some(Change { table, key, value: None }),
            Some(encoded) => encoded.map(|v| Change { table, key, value: Some(v) }),
        };
        match key {
            Key::Alert(f) => change(
                ALERTS,
                f.0.to_be_bytes().to_vec(),
                self.alerts.get(f).map(|e| encode(&AlertRecord::from(e.alert.as_ref()))),
            ),
            Key::Group(id) => change(
                GROUPS,
                id.clone().into_bytes(),
                match self.groups.get(id) {
                    Some(g) => Some(encode(&GroupRecord {
                        id: g.id.clone(),
                        next_flush: on_the_wall(g.next_flush),
                        flushed_at: g.flushed_at,
                        log: g.log.clone(),
                        incident: g.incident,
                    })),
                    // One without alerts, of which something is left to say.
                    None => self.untold.get(id).map(|log| {
                        let (id, log) = (id.clone(), log.clone());
                        encode(&GroupRecord { id, next_flush: 0, flushed_at: None, log, incident: None })
                    }),
                },
            ),
            Key::Incident(id) => {
                // One that went out of memory stays in the ledger.
                let incident = self.incidents.get(id)?;
                let mut stored = incident.clone();
                stored.due = incident.due.map(on_the_wall);
                stored.early = incident.early.map(on_the_wall);
                change(INCIDENTS, id.to_be_bytes().to_vec(), Some(encode(&stored)))
            }
            Key::Delivery(id) => {
                let row = self.outbox.get(*id).filter(|d| !d.abandoned);
                change(OUTBOX, id.to_be_bytes().to_vec(), row.map(encode))
            }
            Key::Silence(id) => {
                change(SILENCES, id.clone().into_bytes(), self.silences.get(id).map(|s| encode(&s.silence)))
            }
            Key::Person(name) => change(
                PEOPLE,
                name.clone().into_bytes(),
                self.people.get(name).map(|p| {
                    let mut stored = p.clone();
                    stored.summary_at = p.summary_at.map(on_the_wall);
                    encode(&stored)
                }),
            ),
            // One that went out of memory stays in the ledger.
            Key::Sent(slot) => change(SENT_TABLE, self.sent.key(*slot), Some(encode(self.sent.get(*slot)?))),
            Key::Meta => change(
                META,
                b"meta".to_vec(),
                Some(encode(&Meta {
                    next_id: self.next_id.max(self.reserved),
                    instance: self.instance.clone(),
                    last_good_drill: self.last_good_drill,
                })),
            ),
        }
    }

    /// The dispatcher as the ledger has it. Timers go on where they were, by the wall clock, each at the most
    /// for as long as it was set to; what is overdue is due at once. `instance` is used when the ledger has none.
    pub fn restore(
        config: Arc<PagingConfig>,
        instance: &str,
        rows: impl IntoIterator<Item = Stored>,
        now: Now,
    ) -> Self {
        let mut engine = Self::new(config, instance);
        let mut groups = Vec::new();
        let mut resolved = Vec::new();
        let remaining =
            |wall: Timestamp, limit: i64| now.boot + (wall.saturating_sub(now.wall)).clamp(0, limit.max(0));
        for (table, key, value) in rows {
            match table {
                ALERTS => {
                    let Some(record) = decode::<AlertRecord>(table, &value) else { continue };
                    let mut alert = Alert::from(record);
                    if alert.ends_at > alert.updated_at {
                        // It was firing: whoever sends it needs time to say so again.
                        alert.ends_at = alert.ends_at.max(now.wall + engine.config.resolve_timeout.ms());
                    }
                    let entry = AlertEntry { alert: Arc::new(alert), refs: 0 };
                    engine.alerts.insert(entry.alert.fingerprint(), entry);
                }
                GROUPS => groups.extend(decode::<GroupRecord>(table, &value)),
                INCIDENTS => {
                    let Some(mut incident) = decode::<Incident>(table, &value) else { continue };
                    incident.due = incident.due.map(|t| remaining(t, incident.due_limit_ms));
                    incident.early = incident.early.map(|t| remaining(t, incident.due_limit_ms));
                    if !incident.is_open() {
                        resolved.push((incident.resolved_at, incident.id));
                    }
                    engine.incidents.insert(incident);
                }
                OUTBOX => {
                    let Some(mut row) = decode::<Delivery>(table, &value) else { continue };
                    row.next_at = now.boot;
                    // It may have been on its way when the last process ended.
                    row.doubtful = true;
                    engine.outbox.insert(row);
                }
                SILENCES => {
                    let Some(silence) = decode::<Silence>(table, &value) else { continue };
                    if let Ok(matchers) = silence.compile() {
                        engine.silences.insert(silence.id.clone(), Compiled { silence, matchers });
                    }
                }
                PEOPLE => {
                    let Some(mut person) = decode::<Person>(table, &value) else { continue };
                    person.summary_at = person.summary_at.map(|t| remaining(t, NEXT_SUMMARY_MS));
                    engine.people.insert(person.name.clone(), person);
                }
                META => {
                    if let Some(meta) = decode::<Meta>(table, &value) {
                        engine.next_id = engine.next_id.max(meta.next_id);
                        engine.instance = meta.instance;
                        engine.last_good_drill = meta.last_good_drill;
                    }
                }
                _ => tracing::warn!(table, len = key.len(), "ledger: unknown table"),
            }
        }
        let last = engine.incidents.keys().copied().chain(engine.outbox.keys()).max();
        engine.next_id = engine.next_id.max(last.map_or(0, |id| id + 1));
        engine.reserved = engine.next_id;
        // No two processes start in one millisecond.
        engine.sent = SentLog::new(u64::try_from(now.wall).unwrap_or(0));
        resolved.sort_unstable();
        let surplus = resolved.len().saturating_sub(RECENT_INCIDENTS);
        for (_, id) in resolved.into_iter().take(surplus) {
            engine.incidents.remove(id);
        }
        engine.restore_groups(groups, now, remaining);
        engine
    }

    fn restore_groups(
        &mut self,
        records: Vec<GroupRecord>,
        now: Now,
        remaining: impl Fn(Timestamp, i64) -> Timestamp,
    ) {
        let records: BTreeMap<String, GroupRecord> = records.into_iter().map(|r| (r.id.clone(), r)).collect();
        self.forget_drill_alerts();
        self.regroup(now, &records.keys().cloned().collect());
        self.adopt_orphans(now);
        for (id, group) in &mut self.groups {
            let Some(record) = records.get(id) else { continue };
            let limit =
                if record.flushed_at.is_some() { group.route.group_interval } else { group.route.group_wait };
            group.next_flush = remaining(record.next_flush, limit.ms());
            group.flushed_at = record.flushed_at;
            group.log.clone_from(&record.log);
            group.incident = record.incident;
        }
        for (id, record) in records {
            if self.groups.contains_key(&id) {
                continue;
            }
            // It stays if something is left to say of it.
            self.dirty.insert(Key::Group(id.clone()));
            self.dirty.extend(self.untold.keep(id, record.log).map(Key::Group));
        }
        let unheld: Vec<Fingerprint> =
            self.alerts.iter().filter(|(_, e)| e.refs == 0).map(|(f, _)| *f).collect();
        for fingerprint in unheld {
            self.alerts.remove(&fingerprint);
            self.dirty.insert(Key::Alert(fingerprint));
        }
        self.abandon_orphans();
    }

    /// Open incidents whose route is gone go on with the alerts that they remember.
    fn adopt_orphans(&mut self, now: Now) {
        let orphans: Vec<Incident> = self
            .incidents
            .values()
            .filter(|i| i.is_open() && !self.groups.contains_key(&i.group))
            .cloned()
            .collect();
        for incident in orphans {
            let mut fingerprints = BTreeSet::new();
            for record in incident.alerts {
                let mut alert = Alert::from(record);
                if alert.ends_at > alert.updated_at {
                    alert.ends_at = alert.ends_at.max(now.wall + self.config.resolve_timeout.ms());
                }
                let fingerprint = alert.fingerprint();
                let entry =
                    self.alerts.entry(fingerprint).or_insert(AlertEntry { alert: Arc::new(alert), refs: 0 });
                entry.refs += 1;
                fingerprints.insert(fingerprint);
            }
            let root = &self.config.route;
            let route = Route {
                id: "orphan".to_owned(),
                key: incident.key.clone(),
                receiver: incident.receiver.clone(),
                escalation_policy: Some(incident.policy.name.clone()),
                group_by: BTreeSet::new(),
                group_by_all: false,
                group_wait: root.group_wait,
                group_interval: root.group_interval,
                repeat_interval: root.repeat_interval,
                mute_time_intervals: Vec::new(),
                active_time_intervals: Vec::new(),
                labels: BTreeMap::new(),
                matchers: Matchers::default(),
                continues: false,
                children: Vec::new(),
            };
            let group = Group {
                id: incident.group.clone(),
                key: incident.key,
                next_flush: now.boot + route.group_interval.ms(),
                route: Arc::new(route),
                labels: Labels::from_pairs(&incident.group_labels),
                alerts: fingerprints,
                flushed_at: None,
                log: BTreeMap::new(),
                incident: Some(incident.id),
            };
            self.dirty.insert(Key::Group(incident.group.clone()));
            self.groups.insert(incident.group, group);
        }
    }

    /// Writes all incidents again, for a ledger without the lists of them.
    pub fn list_incidents_anew(&mut self) {
        let keys = self.incidents.keys().map(|id| Key::Incident(*id));
        self.dirty.extend(keys);
    }

    /// The identity of the ledger.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// An incident out of the ledger that is not in memory any more: its table, its key, and how to read it.
pub fn incident_key(id: u64) -> (&'static str, [u8; 8]) {
    (INCIDENTS, id.to_be_bytes())
}

/// Reads an incident's record.
pub fn read_incident(bytes: &[u8]) -> Option<Incident> {
    decode(INCIDENTS, bytes)
}

/// Reads a record of what plain routes have sent: when its quarter of an hour began (ms), and what it counts.
pub fn read_sent(key: &[u8], value: &[u8]) -> Option<(Timestamp, Sent)> {
    Some((sent_at(key)?, decode(SENT_TABLE, value)?))
}

/// The tables by which incidents are found: those that are open, and those that are resolved.
pub const INCIDENT_TABLES: (&str, &str, &str) = (INCIDENTS, OPEN, RESOLVED);

/// What the ledger knows of a resolved incident: its number, when it was resolved (ms), how long its record is.
pub fn read_resolved(key: &[u8], value: &[u8]) -> Option<(u64, Timestamp, u64)> {
    let id = u64::from_be_bytes(key.try_into().ok()?);
    let (at, size) = value.split_at_checked(8)?;
    let (at, size) = (at.try_into().ok()?, size.try_into().ok()?);
    Some((id, Timestamp::from_be_bytes(at), u64::from(u32::from_be_bytes(size))))
}

/// Everything that is wrong in the records of a ledger, a line each. Tables of others are not looked at.
pub fn verify(rows: &[(String, Vec<u8>, Vec<u8>)]) -> Vec<String> {
    fn each<T: DeserializeOwned>(
        rows: &[(String, Vec<u8>, Vec<u8>)],
        table: &str,
        wrong: &mut Vec<String>,
    ) -> Vec<(Vec<u8>, T)> {
        let mut out = Vec::new();
        for (_, key, value) in rows.iter().filter(|(t, ..)| t == table) {
            match serde_json::from_slice::<Versioned<T>>(value) {
                Ok(record) if record.v == VERSION => out.push((key.clone(), record.r)),
                Ok(record) => wrong.push(format!("{table} {key:?}: unknown version {}", record.v)),
                Err(e) => wrong.push(format!("{table} {key:?}: {e}")),
            }
        }
        out
    }
    let mut wrong = Vec::new();
    let incidents = each::<Incident>(rows, INCIDENTS, &mut wrong);
    let groups = each::<GroupRecord>(rows, GROUPS, &mut wrong);
    let outbox = each::<Delivery>(rows, OUTBOX, &mut wrong);
    let meta = each::<Meta>(rows, META, &mut wrong);
    each::<AlertRecord>(rows, ALERTS, &mut wrong);
    each::<Person>(rows, PEOPLE, &mut wrong);
    for (key, silence) in each::<Silence>(rows, SILENCES, &mut wrong) {
        if let Err(e) = silence.compile() {
            wrong.push(format!("silence {}: {e}", String::from_utf8_lossy(&key)));
        }
    }
    let index = |table: &str| -> BTreeSet<Vec<u8>> {
        rows.iter().filter(|(t, ..)| t == table).map(|(_, key, _)| key.clone()).collect()
    };
    let (open, resolved) = (index(OPEN), index(RESOLVED));
    let next_id = meta.first().map_or(0, |(_, m)| m.next_id);
    let mut known = BTreeSet::new();
    for (key, i) in &incidents {
        let id = i.id;
        known.insert(id);
        let mut check = |fine: bool, what: &str| {
            if !fine {
                wrong.push(format!("incident {id}: {what}"));
            }
        };
        check(*key == id.to_be_bytes(), "it stands under another number");
        check(id < next_id, "its number will be given again");
        check(open.contains(key) == i.is_open(), "the list of open incidents is wrong about it");
        check(resolved.contains(key) != i.is_open(), "the list of resolved incidents is wrong about it");
        check(i.is_open() || i.resolved_at.is_some(), "it is resolved, but not since when");
        let waits = i.state != crate::paging::incident::State::Triggered || i.next_at().is_some();
        check(waits, "nobody has taken it, and nothing comes next");
        check(i.step < i.policy.steps.len().max(1), "its step is not in its policy");
    }
    for key in open.union(&resolved).filter(|k| !incidents.iter().any(|(key, _)| key == *k)) {
        wrong.push(format!("incident {key:?} is listed, but not there"));
    }
    for (_, g) in groups {
        if g.incident.is_some_and(|i| !known.contains(&i)) {
            wrong.push(format!("group {:?}: its incident is not there", g.id));
        }
    }
    let mut keys = BTreeSet::new();
    for (key, d) in &outbox {
        if *key != d.id.to_be_bytes() || d.id >= next_id {
            wrong.push(format!(
                "delivery {}: it stands under another number, or its own will be given again",
                d.id
            ));
        }
        if !keys.insert(&d.key) {
            wrong.push(format!("delivery {}: another one has its key {}", d.id, d.key));
        }
        if let Some(i) = d.incident.iter().chain(&d.incidents).find(|i| !known.contains(i)) {
            wrong.push(format!("delivery {}: its incident {i} is not there", d.id));
        }
    }
    wrong
}
