//! Groups that are gone without a word: their receivers know that they fired, and not that they are over.
//!
//! An alert that ends while it is silenced, say, is not spoken of. When its group comes back, what fires is told as
//! something new, and that all is over is told also if nothing of it was.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::{Group, LogEntry};
use crate::model::Timestamp;

/// Groups that are remembered; those that were told of longest ago give way.
const MAX_GROUPS: usize = 1000;

/// The integrations that were not told of the end, by group, and when they were last told of it.
#[derive(Default)]
pub(super) struct Untold(BTreeMap<String, (Timestamp, BTreeSet<String>)>);

impl Untold {
    /// Remembers what a group that goes leaves open.
    pub fn keep(&mut self, group: Group) {
        let open = || group.log.iter().filter(|(_, entry)| !entry.firing.is_empty());
        let Some(at) = open().map(|(_, entry)| entry.at).max() else { return };
        let integrations = open().map(|(name, _)| name.clone()).collect();
        self.0.insert(group.id, (at, integrations));
        if self.0.len() > MAX_GROUPS
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| id.clone())
        {
            self.0.remove(&oldest);
        }
    }

    /// The log with which a group comes back: something fired, long ago, and it was nothing that fires now.
    pub fn take(&mut self, id: &str) -> BTreeMap<String, LogEntry> {
        let entry =
            || LogEntry { at: Timestamp::MIN, firing: BTreeSet::from([0]), resolved: BTreeSet::new() };
        let (_, integrations) = self.0.remove(id).unwrap_or_default();
        let mut log = BTreeMap::new();
        for name in integrations {
            log.insert(name, entry());
        }
        log
    }
}
