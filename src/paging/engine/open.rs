//! The incidents in memory: by number, and the last of each group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::paging::incident::Incident;

/// Incidents by number. Those who look share them; a change makes a copy only while somebody looks.
#[derive(Default)]
pub(super) struct Incidents {
    map: BTreeMap<u64, Arc<Incident>>,
    last: HashMap<String, u64>,
}

impl Incidents {
    pub fn get(&self, id: &u64) -> Option<&Incident> {
        self.map.get(id).map(Arc::as_ref)
    }

    pub fn shared(&self) -> impl DoubleEndedIterator<Item = &Arc<Incident>> {
        self.map.values()
    }

    pub fn get_mut(&mut self, id: &u64) -> Option<&mut Incident> {
        self.map.get_mut(id).map(Arc::make_mut)
    }

    pub fn contains_key(&self, id: &u64) -> bool {
        self.map.contains_key(id)
    }

    pub fn keys(&self) -> impl Iterator<Item = &u64> {
        self.map.keys()
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.map.values().map(Arc::as_ref)
    }

    pub fn insert(&mut self, incident: Incident) {
        let last = self.last.entry(incident.group.clone()).or_default();
        *last = incident.id.max(*last);
        self.map.insert(incident.id, Arc::new(incident));
    }

    pub fn remove(&mut self, id: u64) {
        if let Some(incident) = self.map.remove(&id)
            && self.last.get(&incident.group) == Some(&id)
        {
            self.last.remove(&incident.group);
        }
    }

    /// The last incident of a group, open or not.
    pub fn of_group(&self, group: &str) -> Option<&Incident> {
        self.last.get(group).and_then(|id| self.get(id))
    }
}
