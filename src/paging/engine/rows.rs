//! The rows of the outbox, and what is asked of them often: which is next, and what else is about the same thing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::outbox::Delivery;
use crate::model::Timestamp;
use crate::paging::config::PagingConfig;
use crate::paging::notification::Reason;

/// Deliveries at the same time to a receiver that is not in the configuration any more.
const PER_RECEIVER: usize = 8;

/// Who is served first: what an escalation sends, then by receiver.
type Queue = (bool, String);

/// Deliveries in the order of their making. Those of one lane go one after the other.
#[derive(Default)]
pub(super) struct Rows {
    rows: BTreeMap<u64, Delivery>,
    lanes: HashMap<String, BTreeSet<u64>>,
    /// Those that nothing but their time and the room at their receiver hold back: the first of each lane.
    waiting: BTreeMap<Queue, BTreeSet<(Timestamp, u64)>>,
    /// Under way, by receiver.
    load: HashMap<String, usize>,
    /// Of plain groups.
    groups: HashMap<String, usize>,
    incidents: HashMap<u64, BTreeSet<u64>>,
}

impl Rows {
    pub fn get(&self, id: u64) -> Option<&Delivery> {
        self.rows.get(&id)
    }

    pub fn contains_key(&self, id: u64) -> bool {
        self.rows.contains_key(&id)
    }

    pub fn values(&self) -> impl Iterator<Item = &Delivery> {
        self.rows.values()
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.rows.keys().copied()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row that is not under way.
    pub fn insert(&mut self, row: Delivery) {
        let id = row.id;
        self.lanes.entry(row.lane.clone()).or_default().insert(id);
        if row.is_plain() {
            *self.groups.entry(row.group.clone()).or_default() += 1;
        }
        for incident in row.incident.iter().chain(&row.incidents) {
            self.incidents.entry(*incident).or_default().insert(id);
        }
        let lane = row.lane.clone();
        self.rows.insert(id, row);
        self.offer(&lane);
    }

    pub fn remove(&mut self, id: u64) -> Option<Delivery> {
        let row = self.rows.remove(&id)?;
        self.withdraw(&row);
        if row.in_flight {
            self.unload(&row.receiver);
        }
        if let Some(lane) = self.lanes.get_mut(&row.lane) {
            lane.remove(&id);
            if lane.is_empty() {
                self.lanes.remove(&row.lane);
            }
        }
        if row.is_plain()
            && let Some(n) = self.groups.get_mut(&row.group)
        {
            *n -= 1;
            if *n == 0 {
                self.groups.remove(&row.group);
            }
        }
        for incident in row.incident.iter().chain(&row.incidents) {
            if let Some(list) = self.incidents.get_mut(incident) {
                list.remove(&id);
                if list.is_empty() {
                    self.incidents.remove(incident);
                }
            }
        }
        self.offer(&row.lane);
        Some(row)
    }

    /// A row sets out.
    pub fn start(&mut self, id: u64) -> Option<&Delivery> {
        let row = self.rows.get(&id)?.place();
        self.withdraw_key(&row, id);
        *self.load.entry(row.receiver).or_default() += 1;
        let row = self.rows.get_mut(&id)?;
        row.in_flight = true;
        row.attempts += 1;
        Some(row)
    }

    /// A row has come back; the caller removes it or says with `change` when it sets out again.
    pub fn back(&mut self, id: u64, change: impl FnOnce(&mut Delivery)) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let was = std::mem::take(&mut row.in_flight);
        change(row);
        let (receiver, lane) = (row.receiver.clone(), row.lane.clone());
        if was {
            self.unload(&receiver);
        }
        self.offer(&lane);
    }

    /// One that is under way is not wanted any more.
    pub fn disown(&mut self, id: u64) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.abandoned = true;
        }
    }

    /// Rows that are due, at most `limit`, as many of each receiver as it takes at once.
    pub fn due(&self, now: Timestamp, limit: usize, config: &PagingConfig) -> Vec<u64> {
        let mut chosen = Vec::new();
        let mut taken: HashMap<&str, usize> = HashMap::new();
        for ((_, receiver), queue) in &self.waiting {
            let taken = taken.entry(receiver).or_default();
            let room = self.room(receiver, config).saturating_sub(*taken).min(limit - chosen.len());
            let before = chosen.len();
            chosen.extend(queue.iter().take_while(|(at, _)| *at <= now).take(room).map(|(_, id)| *id));
            *taken += chosen.len() - before;
        }
        chosen
    }

    /// When the next row can set out.
    pub fn next_at(&self, config: &PagingConfig) -> Option<Timestamp> {
        let free = self.waiting.iter().filter(|((_, receiver), _)| self.room(receiver, config) > 0);
        free.filter_map(|(_, queue)| queue.first()).map(|(at, _)| *at).min()
    }

    /// The rows of a lane, the oldest first.
    pub fn of_lane(&self, lane: &str) -> Vec<u64> {
        self.lanes.get(lane).into_iter().flatten().copied().collect()
    }

    /// The last row of a lane, unless it is not wanted any more.
    pub fn newest(&self, lane: &str) -> Option<&Delivery> {
        let id = self.lanes.get(lane).and_then(BTreeSet::last)?;
        self.rows.get(id).filter(|row| !row.abandoned)
    }

    /// Has a plain group anything to be sent?
    pub fn of_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// The rows about an incident.
    pub fn of_incident(&self, incident: u64) -> impl Iterator<Item = &Delivery> {
        self.incidents.get(&incident).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    fn room(&self, receiver: &str, config: &PagingConfig) -> usize {
        let most = config.receivers.get(receiver).map_or(PER_RECEIVER, |r| r.max_concurrency);
        most.saturating_sub(self.load.get(receiver).copied().unwrap_or_default())
    }

    fn unload(&mut self, receiver: &str) {
        if let Some(n) = self.load.get_mut(receiver) {
            *n -= 1;
            if *n == 0 {
                self.load.remove(receiver);
            }
        }
    }

    /// Puts the first row of a lane among those that wait.
    fn offer(&mut self, lane: &str) {
        let first = self.lanes.get(lane).and_then(BTreeSet::first).and_then(|id| self.rows.get(id));
        let Some(row) = first.filter(|r| !r.in_flight) else { return };
        let (id, key) = (row.id, row.place());
        self.waiting.entry(key.queue()).or_default().insert((key.next_at, id));
    }

    fn withdraw(&mut self, row: &Delivery) {
        self.withdraw_key(&row.place(), row.id);
    }

    fn withdraw_key(&mut self, key: &Place, id: u64) {
        let queue = key.queue();
        if let Some(waiting) = self.waiting.get_mut(&queue) {
            waiting.remove(&(key.next_at, id));
            if waiting.is_empty() {
                self.waiting.remove(&queue);
            }
        }
    }
}

/// Where a row waits.
struct Place {
    receiver: String,
    plain: bool,
    next_at: Timestamp,
}

impl Place {
    fn queue(&self) -> Queue {
        (self.plain, self.receiver.clone())
    }
}

impl Delivery {
    fn place(&self) -> Place {
        Place {
            receiver: self.receiver.clone(),
            plain: self.notification.reason != Reason::Page,
            next_at: self.next_at,
        }
    }

    /// Does it belong to a group of a plain route?
    pub fn is_plain(&self) -> bool {
        self.incident.is_none() && self.incidents.is_empty()
    }

    /// Does it tell of several incidents?
    pub fn is_digest(&self) -> bool {
        !self.incidents.is_empty()
    }
}
