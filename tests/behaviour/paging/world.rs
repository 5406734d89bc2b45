//! A dispatcher with everything around it simulated.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sideband::ledger::{Ledger, SimulatedDisk};
use sideband::model::{Alert, Labels};
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::{Engine, Job, Now, Outcome, RECORD_TABLES};
use sideband::paging::notification::Reason;

pub const SECOND: i64 = 1000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
/// Monday, 23 November 2026, 08:00 UTC.
pub const START: i64 = 1_795_420_800_000;

/// Two people, a team, and the policy of the documentation.
pub const CONFIG: &str = "
route:
  receiver: team
  group_by: [alertname]
  group_wait: 0s
  group_interval: 5m
  repeat_interval: 4h
  escalation_policy: flask
receivers:
- name: team
  webhook_configs: [{url: 'http://team.test/'}]
- name: pager-a
  webhook_configs: [{url: 'http://a.test/'}]
- name: pager-b
  webhook_configs: [{url: 'http://b.test/'}]
users:
- {name: a, receiver: pager-a}
- {name: b, receiver: pager-b}
on_call_schedules:
- {name: primary, rotation: 1w, start: '2026-11-23T09:00:00Z', users: [a, b]}
escalation_policies:
- name: flask
  steps:
  - {notify: [schedule/primary]}
  - {notify: ['schedule/primary:next'], ack_timeout: 5m}
  - {notify: [receiver/team]}
  repeat: 1
";

pub fn config(text: &str) -> Arc<PagingConfig> {
    Arc::new(PagingConfig::parse(Path::new("paging.yml"), text).expect("a good configuration"))
}

/// One attempt that a receiver saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// ms since the start.
    pub at: i64,
    pub receiver: String,
    pub key: String,
    pub reason: Reason,
    pub status: &'static str,
    pub alerts: usize,
    pub arrived: bool,
    /// Number and time of the incident.
    pub incident: Option<(u64, i64)>,
    /// How often there was a crash before, and since boot, ms.
    pub life: u32,
    pub boot: i64,
    /// It was sent when it was written, not later.
    pub fresh: bool,
}

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Works,
    /// Every attempt fails, but might not.
    Down,
    /// Every attempt is refused for good.
    Refuses,
    /// Never answers.
    Hangs,
}

pub struct World {
    pub disk: SimulatedDisk,
    pub ledger: Ledger,
    pub engine: Engine,
    pub now: Now,
    pub moods: BTreeMap<String, Mood>,
    pub seen: Vec<Seen>,
    pub hanging: Vec<Job>,
    pub config: Arc<PagingConfig>,
    /// ms by which the wall clock is off.
    pub skew: i64,
    /// Promises that an attempt has broken.
    pub broken: Vec<String>,
    /// The first failure of the disk is the end: nothing is sent, or happens, after it.
    pub dies: bool,
    pub dead: bool,
    /// The disk may fail: what it does not take goes out from memory.
    pub may_fail: bool,
    pub degraded: bool,
    /// How often it crashed.
    pub life: u32,
}

impl World {
    pub fn new(text: &str) -> Self {
        let config = config(text);
        let disk = SimulatedDisk::default();
        Self {
            ledger: Ledger::on(&disk).unwrap(),
            disk,
            engine: Engine::new(Arc::clone(&config), "test"),
            now: Now { wall: START, boot: 0 },
            moods: BTreeMap::new(),
            seen: Vec::new(),
            hanging: Vec::new(),
            config,
            skew: 0,
            broken: Vec::new(),
            dies: false,
            dead: false,
            may_fail: false,
            degraded: false,
            life: 0,
        }
    }

    /// ms since the start.
    pub fn at(&self) -> i64 {
        self.now.wall - START - self.skew
    }

    pub fn alert(&self, labels: &[(&str, &str)]) -> Alert {
        Alert {
            labels: Labels::from_pairs(labels.iter().copied()),
            annotations: Labels::empty(),
            starts_at: self.now.wall,
            ends_at: self.now.wall + 30 * 24 * HOUR,
            updated_at: self.now.wall,
            generator_url: String::new(),
        }
    }

    pub fn fire(&mut self, labels: &[(&str, &str)]) {
        let alert = self.alert(labels);
        self.engine.alerts(self.now, vec![alert]);
        self.pump();
    }

    pub fn end(&mut self, labels: &[(&str, &str)]) {
        let mut alert = self.alert(labels);
        alert.starts_at -= 1;
        alert.ends_at = self.now.wall;
        self.engine.alerts(self.now, vec![alert]);
        self.pump();
    }

    /// Writes what changed, as the driver does.
    pub fn commit(&mut self) -> bool {
        let changes = self.engine.take_changes(self.now);
        if changes.is_empty() {
            return true;
        }
        self.write(&changes)
    }

    fn write(&self, changes: &[sideband::paging::engine::Change]) -> bool {
        let written = self.ledger.write(|tx| {
            for c in changes {
                match &c.value {
                    Some(v) => tx.put(c.table, &c.key, v)?,
                    None => tx.delete(c.table, &c.key)?,
                }
            }
            Ok(())
        });
        written.is_ok()
    }

    /// Writes what changed, or, after a failure, everything.
    fn keep(&mut self) -> bool {
        if self.degraded && self.ledger.tables().is_ok() {
            let mut changes = Vec::new();
            for table in RECORD_TABLES {
                for (key, _) in self.ledger.scan(table, &[], None).unwrap_or_default() {
                    if self.engine.is_stale(table, &key) {
                        changes.push(sideband::paging::engine::Change { table, key, value: None });
                    }
                }
            }
            changes.extend(self.engine.snapshot(self.now));
            self.degraded = !self.write(&changes);
        } else if self.degraded || !self.commit() {
            self.degraded = true;
        }
        self.engine.set_durable(self.now, !self.degraded);
        !self.degraded
    }

    /// Commits and sends until nothing is left to do now.
    pub fn pump(&mut self) {
        while !self.dead {
            let written = self.keep();
            self.dead = self.dies && !written;
            if self.dead {
                return;
            }
            assert!(written || self.may_fail, "the disk works");
            let jobs = self.engine.take_sends(self.now, 1000);
            if jobs.is_empty() {
                return;
            }
            // What is given out together is under way together: how one ends is too late for the others.
            for job in &jobs {
                self.still_wanted(job);
            }
            for job in jobs {
                self.attempt(job);
            }
        }
    }

    /// Nobody is paged for what is acknowledged or over when it is given out.
    pub fn still_wanted(&mut self, job: &Job) {
        let incident = job.notification.incident.as_ref().and_then(|i| self.engine.incident(i.id));
        if job.notification.reason == Reason::Page
            && let Some(i) = incident.filter(|i| i.state != sideband::paging::incident::State::Triggered)
        {
            self.broken.push(format!("a page of an incident that is {:?}: {}", i.state, job.key));
        }
    }

    /// An attempt that reaches its receiver.
    pub fn note(&mut self, job: &Job) {
        let mood = self.moods.get(&job.receiver).copied().unwrap_or(Mood::Works);
        self.seen.push(Seen {
            at: self.at(),
            receiver: job.receiver.clone(),
            key: job.key.clone(),
            reason: job.notification.reason,
            status: job.notification.status(),
            alerts: job.notification.alerts.len(),
            arrived: mood == Mood::Works,
            incident: job.notification.incident.as_ref().map(|i| (i.id, i.triggered_at)),
            life: self.life,
            boot: self.now.boot,
            fresh: job.created_at == self.now.wall && job.attempt == 1,
        });
    }

    fn attempt(&mut self, job: Job) {
        let mood = self.moods.get(&job.receiver).copied().unwrap_or(Mood::Works);
        self.note(&job);
        let outcome = match mood {
            Mood::Works => Outcome::Delivered,
            Mood::Down => Outcome::Retry { reason: "down".to_owned(), after_ms: None },
            Mood::Refuses => Outcome::Final { reason: "refused".to_owned() },
            Mood::Hangs => return self.hanging.push(job),
        };
        self.engine.delivered(self.now, job.id, &outcome);
    }

    /// Lets time pass, stopping wherever something is due.
    pub fn pass(&mut self, ms: i64) {
        let end = self.now.boot + ms;
        loop {
            let next = self.engine.next_due().unwrap_or(i64::MAX).clamp(self.now.boot, end);
            let step = next - self.now.boot;
            self.now.boot += step;
            self.now.wall += step;
            self.engine.tick(self.now);
            self.pump();
            if self.now.boot >= end || self.dead {
                return;
            }
            if self.engine.next_due().is_some_and(|d| d <= self.now.boot) {
                // Something waits for what hangs.
                self.now.boot += SECOND;
                self.now.wall += SECOND;
            }
        }
    }

    /// `kill -9`, and a start `down` ms later on a machine that has rebooted.
    pub fn crash(&mut self, down: i64) {
        self.disk.crash(|_| false);
        self.life += 1;
        self.degraded = false;
        self.may_fail = false;
        self.ledger = Ledger::on(&self.disk).unwrap();
        self.now = Now { wall: self.now.wall + down, boot: 5 };
        self.hanging.clear();
        let mut rows = Vec::new();
        for table in RECORD_TABLES {
            rows.extend(self.ledger.scan(table, &[], None).unwrap().into_iter().map(|(k, v)| (table, k, v)));
        }
        self.engine = Engine::restore(Arc::clone(&self.config), "other", rows, self.now);
        self.engine.tick(self.now);
        self.pump();
    }

    /// What is wrong in the ledger.
    pub fn verify(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in self.ledger.tables().expect("a disk that works") {
            let list = self.ledger.scan(&table, &[], None).expect("a disk that works");
            rows.extend(list.into_iter().map(|(key, value)| (table.clone(), key, value)));
        }
        sideband::paging::engine::verify(&rows)
    }

    /// Receivers that were paged, with the times in seconds, the first attempt of each key only.
    pub fn pages(&self) -> Vec<(&str, i64)> {
        let mut keys = std::collections::BTreeSet::new();
        self.seen
            .iter()
            .filter(|s| s.reason == Reason::Page && keys.insert(s.key.as_str()))
            .map(|s| (s.receiver.as_str(), s.at / SECOND))
            .collect()
    }

    /// The only incident.
    pub fn incident(&self) -> sideband::paging::incident::Incident {
        self.engine.incidents().last().expect("an incident").clone()
    }

    pub fn ack(&mut self, by: &str) {
        let id = self.incident().id;
        let actor = sideband::paging::incident::Actor::new(by, "api", "");
        let _ = self.engine.acknowledge(self.now, id, actor, None);
        self.pump();
    }
}
