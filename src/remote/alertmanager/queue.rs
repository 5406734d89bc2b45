//! Alerts that wait for one receiver: each alert once, in its newest state, in the order in which they came.
//!
//! Pure: no I/O, no clock. What changed since the last look is remembered, so that it can be written down.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Alert, Fingerprint, Timestamp};

/// An alert that is older than this was taken as ended by its receiver long ago, ms.
const LONGEST_WAIT_MS: i64 = 24 * 3_600_000;

/// What became of an alert that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pushed {
    /// It says something new: it began to fire, or was resolved. Otherwise it repeats what waits already.
    pub news: bool,
    /// Another one had to go.
    pub dropped: bool,
}

/// An alert under way: which one, and in which state it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    place: u64,
    version: u64,
}

#[derive(Debug)]
struct Entry {
    alert: Alert,
    key: Fingerprint,
    version: u64,
}

/// A bounded queue. An alert that comes again takes the place of what was said of it before.
#[derive(Debug)]
pub(super) struct Queue {
    entries: BTreeMap<u64, Entry>,
    places: HashMap<Fingerprint, u64>,
    /// Places of those that fire: they go first when there is no room, since they will be said again.
    firing: BTreeSet<u64>,
    counter: u64,
    capacity: usize,
    /// What changed since the last [`Queue::take_changes`].
    dirty: BTreeSet<Fingerprint>,
    /// What is written down.
    stored: BTreeSet<Fingerprint>,
}

/// Was it resolved when it was said, rather than valid until some time to come?
pub(super) fn is_resolved(alert: &Alert) -> bool {
    alert.ends_at <= alert.updated_at
}

impl Queue {
    /// An empty one for so many alerts, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            places: HashMap::new(),
            firing: BTreeSet::new(),
            counter: 0,
            capacity: capacity.max(1),
            dirty: BTreeSet::new(),
            stored: BTreeSet::new(),
        }
    }

    /// What an earlier process left behind, the oldest first.
    pub fn restored(capacity: usize, alerts: Vec<Alert>) -> Self {
        let mut queue = Self::new(capacity);
        for alert in alerts {
            queue.stored.insert(alert.fingerprint());
            queue.push(alert);
        }
        // What did not fit stays dirty, and is taken off the disk.
        queue.dirty.retain(|key| !queue.places.contains_key(key));
        queue
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes an alert in.
    pub fn push(&mut self, alert: Alert) -> Pushed {
        let key = alert.fingerprint();
        self.counter += 1;
        self.dirty.insert(key);
        let version = self.counter;
        if let Some(&place) = self.places.get(&key)
            && let Some(entry) = self.entries.get_mut(&place)
        {
            let before = (is_resolved(&entry.alert), entry.alert.starts_at);
            let news = before != (is_resolved(&alert), alert.starts_at);
            self.mark(place, &alert);
            self.entries.insert(place, Entry { alert, key, version });
            return Pushed { news, dropped: false };
        }
        let dropped = self.entries.len() >= self.capacity && {
            let victim = self.firing.first().or_else(|| self.entries.keys().next()).copied();
            victim.is_some_and(|place| self.remove(place))
        };
        let place = version;
        self.mark(place, &alert);
        self.places.insert(key, place);
        self.entries.insert(place, Entry { alert, key, version });
        Pushed { news: true, dropped }
    }

    fn mark(&mut self, place: u64, alert: &Alert) {
        if is_resolved(alert) {
            self.firing.remove(&place);
        } else {
            self.firing.insert(place);
        }
    }

    fn remove(&mut self, place: u64) -> bool {
        let Some(entry) = self.entries.remove(&place) else { return false };
        self.firing.remove(&place);
        self.places.remove(&entry.key);
        self.dirty.insert(entry.key);
        true
    }

    /// The first `n` alerts. They stay until [`Queue::done`].
    pub fn batch(&self, n: usize) -> Vec<(Taken, Alert)> {
        let first = self.entries.iter().take(n);
        first.map(|(&place, e)| (Taken { place, version: e.version }, e.alert.clone())).collect()
    }

    /// Takes off what was delivered or refused, but not what says something else by now.
    pub fn done(&mut self, taken: impl Iterator<Item = Taken>) {
        for taken in taken {
            if self.entries.get(&taken.place).is_some_and(|e| e.version == taken.version) {
                self.remove(taken.place);
            }
        }
    }

    /// Forgets what nobody has repeated for a day; how many.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let old = |e: &Entry| now.saturating_sub(e.alert.updated_at) > LONGEST_WAIT_MS;
        let places: Vec<u64> = self.entries.iter().filter(|(_, e)| old(e)).map(|(p, _)| *p).collect();
        places.into_iter().filter(|place| self.remove(*place)).count()
    }

    /// Forgets everything; how many.
    pub fn clear(&mut self) -> usize {
        let places: Vec<u64> = self.entries.keys().copied().collect();
        places.into_iter().filter(|place| self.remove(*place)).count()
    }

    /// Is it empty, and nothing of it on the disk?
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty() && self.stored.is_empty()
    }

    /// What is to be written down, or (`None`) taken off the disk. It counts as written from here on, until
    /// [`Queue::not_written`] says otherwise.
    pub fn take_changes(&mut self) -> Vec<(Fingerprint, Option<Alert>)> {
        let mut changes = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let alert = self.places.get(&key).and_then(|place| self.entries.get(place));
            match alert {
                Some(entry) => {
                    self.stored.insert(key);
                    changes.push((key, Some(entry.alert.clone())));
                }
                // What came and went between two looks never touches the disk.
                None if self.stored.remove(&key) => changes.push((key, None)),
                None => {}
            }
        }
        changes
    }

    /// These changes could not be written: they are changes still.
    pub fn not_written(&mut self, changes: impl Iterator<Item = (Fingerprint, bool)>) {
        for (key, gone) in changes {
            if gone {
                self.stored.insert(key);
            }
            self.dirty.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn alert(name: &str, at: Timestamp, resolved: bool) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Labels::default(),
            starts_at: 0,
            ends_at: if resolved { at } else { at + 1000 },
            updated_at: at,
            generator_url: String::new(),
        }
    }

    fn names(queue: &Queue) -> Vec<(String, bool)> {
        queue.batch(100).iter().map(|(_, a)| (a.name().to_owned(), is_resolved(a))).collect()
    }

    #[test]
    fn an_alert_waits_once_in_its_newest_state() {
        let mut queue = Queue::new(10);
        assert!(queue.push(alert("a", 1, false)).news);
        assert!(queue.push(alert("b", 1, false)).news);
        assert!(!queue.push(alert("a", 2, false)).news, "only repeated");
        assert!(queue.push(alert("a", 3, true)).news);
        assert_eq!(names(&queue), [("a".to_owned(), true), ("b".to_owned(), false)]);
    }

    #[test]
    fn what_changed_under_way_stays() {
        let mut queue = Queue::new(10);
        queue.push(alert("a", 1, false));
        queue.push(alert("b", 1, false));
        let taken: Vec<Taken> = queue.batch(2).into_iter().map(|(t, _)| t).collect();
        queue.push(alert("a", 2, true));
        queue.done(taken.into_iter());
        assert_eq!(names(&queue), [("a".to_owned(), true)]);
    }

    #[test]
    fn a_full_queue_loses_what_will_be_said_again() {
        let mut queue = Queue::new(3);
        queue.push(alert("gone", 1, true));
        queue.push(alert("fires", 1, false));
        queue.push(alert("fires too", 1, false));
        assert!(queue.push(alert("ended", 1, true)).dropped);
        assert_eq!(queue.len(), 3);
        assert!(names(&queue).contains(&("gone".to_owned(), true)));
        queue.push(alert("x", 1, true));
        assert!(queue.push(alert("y", 1, true)).dropped, "then the oldest");
        assert_eq!(names(&queue).iter().map(|n| n.0.as_str()).collect::<Vec<_>>(), ["ended", "x", "y"]);
    }

    #[test]
    fn only_what_waits_is_written() {
        let mut queue = Queue::new(10);
        queue.push(alert("quick", 1, false));
        let taken: Vec<Taken> = queue.batch(1).into_iter().map(|(t, _)| t).collect();
        queue.done(taken.into_iter());
        assert!(queue.take_changes().is_empty());
        queue.push(alert("slow", 1, false));
        let written = queue.take_changes();
        assert!(matches!(written.as_slice(), [(_, Some(_))]));
        assert!(queue.take_changes().is_empty());
        queue.not_written(written.iter().map(|(k, a)| (*k, a.is_none())));
        assert_eq!(queue.take_changes().len(), 1, "written again after a failure");
        let taken: Vec<Taken> = queue.batch(1).into_iter().map(|(t, _)| t).collect();
        queue.done(taken.into_iter());
        assert!(matches!(queue.take_changes().as_slice(), [(_, None)]));
    }

    #[test]
    fn what_an_earlier_process_left_is_there_and_not_written_twice() {
        let mut queue =
            Queue::restored(2, vec![alert("a", 1, true), alert("b", 2, true), alert("c", 3, true)]);
        assert_eq!(names(&queue).iter().map(|n| n.0.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert!(matches!(queue.take_changes().as_slice(), [(_, None)]), "the one too many leaves the disk");
        assert_eq!(queue.expire(LONGEST_WAIT_MS + 3), 1);
        assert_eq!(queue.len(), 1);
    }
}
