//! Groups that are gone without a word: their receivers know that they fired, and not that they are over.
//!
//! An alert that ends while it is silenced, say, is not spoken of. When its group comes back, what fires is told as
//! something new, and that all is over is told also if nothing of it was. Whoever says again that such an alert is over
//! (Prometheus does so for 15 minutes) brings the group back: if the silence is over by then, its receivers hear of it.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::LogEntry;
use super::{Engine, Now};
use crate::model::{Alert, Timestamp};
use crate::paging::route::Route;

/// Groups that are remembered; those that were told of longest ago give way.
const MAX_GROUPS: usize = 1000;
/// Alerts that are remembered of each.
const MAX_ALERTS: usize = 50;

/// What was told last, by group and integration: something fires.
#[derive(Default)]
pub(super) struct Untold(BTreeMap<String, BTreeMap<String, LogEntry>>);

impl Untold {
    /// Remembers what a group that goes leaves open; gives the id of one that it gives way to.
    pub fn keep(&mut self, id: String, mut log: BTreeMap<String, LogEntry>) -> Option<String> {
        log.retain(|_, entry| !entry.firing.is_empty());
        if log.is_empty() {
            return None;
        }
        for entry in log.values_mut() {
            while entry.firing.len() > MAX_ALERTS {
                entry.firing.pop_last();
            }
            entry.resolved = BTreeSet::new();
            entry.unsaid = BTreeSet::new();
        }
        self.0.insert(id, log);
        let told = |log: &BTreeMap<String, LogEntry>| log.values().map(|entry| entry.at).max();
        if self.0.len() <= MAX_GROUPS {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|(_, log)| told(log)).map(|(id, _)| id.clone())?;
        self.0.remove(&oldest);
        Some(oldest)
    }

    pub fn get(&self, id: &str) -> Option<&BTreeMap<String, LogEntry>> {
        self.0.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The log with which a group comes back: what was told is so long ago that it is due again.
    pub fn take(&mut self, id: &str) -> BTreeMap<String, LogEntry> {
        let mut log = self.0.remove(id).unwrap_or_default();
        for entry in log.values_mut() {
            entry.at = Timestamp::MIN;
        }
        log
    }
}

impl Engine {
    /// Takes an alert that is over and not held any more, where somebody was told that it fires and not that it is over.
    pub(super) fn insert_end(&mut self, now: Now, alert: Alert) {
        let fingerprint = alert.fingerprint();
        let owed = |route: &Route| {
            let id = Self::group_id(route, &route.group_key(&route.group_labels(&alert.labels)));
            let log = self.groups.get(&id).map(|g| &g.log).or_else(|| self.untold.get(&id));
            log.is_some_and(|log| log.values().any(|entry| entry.firing.contains(&fingerprint.0)))
        };
        let mut routes = self.config.route.matching(&alert.labels);
        routes.retain(|route| owed(route));
        if !routes.is_empty() {
            self.put(now, alert, false, &routes, true);
        }
    }
}
