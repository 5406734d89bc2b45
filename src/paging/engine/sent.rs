//! What routes without an escalation policy have sent: nobody acknowledges it, so that there is no incident to count. One record
//! for each quarter of an hour in which something was sent, so that a report can tell days and hours in any location.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outbox::Delivery;
use super::records::Key;
use super::{Engine, Now};
use crate::model::Timestamp;

/// What a record counts, ms.
const SLOT_MS: i64 = 900_000;
/// Records that stay in memory, for a ledger that takes nothing for a while: those of a day.
const KEEP: usize = 96;
/// Names that a record tells apart; what comes after them is in the total alone.
const MAX_NAMES: usize = 100;

/// Notifications that arrived in a quarter of an hour and told of something that fires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub total: u64,
    pub receivers: BTreeMap<String, u64>,
    /// By the names of the rules. A notification with alerts of several rules counts for each of them.
    pub rules: BTreeMap<String, u64>,
}

/// The records of this process, by slot.
#[derive(Debug, Default)]
pub(super) struct SentLog {
    slots: BTreeMap<i64, Sent>,
    /// Another process may have counted in the same quarter of an hour: each has records of its own.
    process: u64,
}

impl SentLog {
    pub fn new(process: u64) -> Self {
        Self { process, ..Self::default() }
    }

    pub fn get(&self, slot: i64) -> Option<&Sent> {
        self.slots.get(&slot)
    }

    pub fn slots(&self) -> impl Iterator<Item = i64> {
        self.slots.keys().copied()
    }

    /// The key of a record in the ledger.
    pub fn key(&self, slot: i64) -> Vec<u8> {
        [(slot * SLOT_MS).to_be_bytes(), self.process.to_be_bytes()].concat()
    }
}

/// When the quarter of an hour of a record began, ms.
pub fn sent_at(key: &[u8]) -> Option<Timestamp> {
    let (at, process) = key.split_at_checked(8)?;
    let at = Timestamp::from_be_bytes(at.try_into().ok()?);
    (process.len() == 8).then_some(at)
}

impl Engine {
    /// Counts a notification of a plain route that has arrived.
    pub(super) fn count_sent(&mut self, now: Now, row: &Delivery) {
        let n = &row.notification;
        if n.status() != "firing" {
            return;
        }
        let slot = now.wall.div_euclid(SLOT_MS);
        let sent = self.sent.slots.entry(slot).or_default();
        sent.total += 1;
        count(&mut sent.receivers, &row.receiver);
        let firing = n.alerts.iter().filter(|a| a.ends_at.is_none());
        let mut rules: Vec<&str> =
            firing.filter_map(|a| a.labels.get("alertname")).map(String::as_str).collect();
        rules.sort_unstable();
        rules.dedup();
        for rule in rules {
            count(&mut sent.rules, rule);
        }
        while self.sent.slots.len() > KEEP {
            self.sent.slots.pop_first();
        }
        self.dirty.insert(Key::Sent(slot));
    }
}

fn count(of: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(n) = of.get_mut(name) {
        *n += 1;
    } else if of.len() < MAX_NAMES {
        of.insert(name.to_owned(), 1);
    }
}
