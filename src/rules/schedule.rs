//! When groups are evaluated: told of commits and of the time, it says what is to run. No I/O, no clock.
//!
//! A group runs once per interval, at timestamps on a grid. The grid's phase is locked to the sources that
//! the group reads: to the one after which the longest pause follows, so that an evaluation happens right
//! after samples came and sees all that belong to its interval. At a timestamp of the grid it waits for the
//! sources that are expected to commit by then, but not longer than a deadline; a source that has been
//! silent for a while is not waited for.

use std::collections::{BTreeSet, HashMap};

use crate::model::{JITTER_MS, Timestamp};
use crate::storage::{Commit, SourceId};

/// The shortest deadline, ms.
const LEAST_WAIT_MS: i64 = 250;
/// The most phases that are looked at for one source.
const MAX_EVENTS: i64 = 64;

/// What is known of a source's rhythm.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    last: Timestamp,
    period: Option<i64>,
    /// How much later than its timestamp a commit comes, smoothed, ms.
    lateness: i64,
}

impl Rhythm {
    fn period(&self, default: i64) -> i64 {
        self.period.unwrap_or(default).max(1)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    interval: i64,
    /// Groups that read the past do not wait for the present.
    waits: bool,
    sources: BTreeSet<SourceId>,
    /// The next timestamp of the grid.
    slot: Timestamp,
    /// The last one that was run.
    last: Option<Timestamp>,
    running: bool,
}

/// A group to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// As given to [`Scheduler::set_groups`].
    pub group: usize,
    /// The timestamp of the evaluation, ms.
    pub ts: Timestamp,
    /// Timestamps of the grid that were passed over.
    pub missed: u64,
}

/// A group as the scheduler knows it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Tells the same group after a reload.
    pub key: String,
    /// ms, at least 1.
    pub interval: i64,
    /// Does it wait for the sources that it reads?
    pub waits: bool,
}

/// Decides when groups run.
#[derive(Debug, Default)]
pub struct Scheduler {
    keys: Vec<String>,
    groups: Vec<Entry>,
    sources: HashMap<SourceId, Rhythm>,
}

/// The first time after `t` that is on the grid.
fn after(t: Timestamp, interval: i64, phase: i64) -> Timestamp {
    t + 1 + (phase - t - 1).rem_euclid(interval)
}

/// How far apart two phases are.
fn apart(a: i64, b: i64, interval: i64) -> i64 {
    let d = (a - b).rem_euclid(interval);
    d.min(interval - d)
}

/// A phase that spreads groups over the interval, as long as nothing better is known.
fn seed(key: &str, interval: i64) -> i64 {
    let hash = crate::model::Fingerprint::of([(key, "")].into_iter()).0;
    (hash % interval.unsigned_abs().max(1)) as i64
}

impl Scheduler {
    /// Takes a new list of groups. One with the key and interval of an old one keeps its grid.
    pub fn set_groups(&mut self, now: Timestamp, plans: Vec<Plan>) {
        let mut old: HashMap<String, Entry> =
            std::mem::take(&mut self.keys).into_iter().zip(std::mem::take(&mut self.groups)).collect();
        for plan in plans {
            let interval = plan.interval.max(1);
            let entry = match old.remove(&plan.key) {
                Some(entry) if entry.interval == interval => {
                    Entry { running: false, waits: plan.waits, ..entry }
                }
                _ => Entry {
                    interval,
                    waits: plan.waits,
                    sources: BTreeSet::new(),
                    slot: after(now - 1, interval, seed(&plan.key, interval)),
                    last: None,
                    running: false,
                },
            };
            self.keys.push(plan.key);
            self.groups.push(entry);
        }
    }

    /// Does it know this source's rhythm?
    pub fn knows(&self, source: SourceId) -> bool {
        self.sources.contains_key(&source)
    }

    /// Says which sources a group reads (its own is none of them).
    pub fn set_sources(&mut self, now: Timestamp, group: usize, sources: BTreeSet<SourceId>) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        if entry.sources != sources {
            entry.sources = sources;
            self.lock(now, group);
        }
    }

    /// A source committed samples.
    pub fn committed(&mut self, now: Timestamp, commit: Commit) {
        let t = commit.t.min(now);
        let lateness = now - t;
        match self.sources.get_mut(&commit.source) {
            Some(rhythm) if t > rhythm.last => {
                let step = t - rhythm.last;
                // After a pause the old period holds until the next step confirms another.
                rhythm.period = match rhythm.period {
                    Some(p) if step > p + p / 2 && step % p <= JITTER_MS => Some(p),
                    _ => Some(step),
                };
                rhythm.lateness += (lateness - rhythm.lateness) / 2;
                rhythm.last = t;
            }
            // The clock was set back, or two commits have one timestamp.
            Some(rhythm) if t < rhythm.last - JITTER_MS => {
                *rhythm = Rhythm { last: t, period: None, lateness }
            }
            Some(_) => {}
            None => {
                self.sources.insert(commit.source, Rhythm { last: t, period: None, lateness });
                for group in 0..self.groups.len() {
                    if self.groups[group].sources.contains(&commit.source) {
                        self.lock(now, group);
                    }
                }
            }
        }
    }

    /// Forgets sources that committed nothing for so long (ms) that they are gone.
    pub fn forget_silent(&mut self, now: Timestamp, silence: i64) {
        self.sources.retain(|_, r| now - r.last < silence);
    }

    /// The sources of a group that still commit.
    fn awake(&self, now: Timestamp, entry: &Entry) -> impl Iterator<Item = &Rhythm> {
        entry
            .sources
            .iter()
            .filter_map(|s| self.sources.get(s))
            .filter(move |r| now - r.last <= r.period(entry.interval).saturating_mul(5) / 2 + JITTER_MS)
    }

    /// The phase that follows the group's sources best; `None` when none has a rhythm that fits.
    fn best_phase(&self, now: Timestamp, entry: &Entry) -> Option<i64> {
        let interval = entry.interval;
        let mut events: Vec<i64> = Vec::new();
        for rhythm in self.awake(now, entry) {
            let mut period = rhythm.period(interval);
            // A timestamp may wobble by a few ms.
            if apart(period, 0, interval) <= JITTER_MS && period > interval / 2 {
                period = interval;
            }
            if interval % period == 0 {
                let times = (interval / period).min(MAX_EVENTS);
                events.extend((0..times).map(|i| (rhythm.last + i * period).rem_euclid(interval)));
            } else if period % interval == 0 {
                events.push(rhythm.last.rem_euclid(interval));
            }
        }
        events.sort_unstable();
        // Events closer than the jitter are one: the latest of them stands for all.
        let mut distinct: Vec<i64> = Vec::new();
        for e in events {
            match distinct.last_mut() {
                Some(last) if e - *last <= JITTER_MS => *last = e,
                _ => distinct.push(e),
            }
        }
        let current = entry.slot.rem_euclid(interval);
        let pause = |i: usize| match distinct[(i + 1) % distinct.len()] - distinct[i] {
            d if d <= 0 => d + interval,
            d => d,
        };
        let longest = (0..distinct.len()).map(pause).max()?;
        let best = (0..distinct.len()).filter(|&i| pause(i) + JITTER_MS >= longest);
        // Of several that are as good: the one that is the grid already, or else comes next.
        best.min_by_key(|&i| {
            let phase = distinct[i];
            if apart(phase, current, interval) <= JITTER_MS { -1 } else { (phase - now).rem_euclid(interval) }
        })
        .map(|i| distinct[i])
    }

    /// Moves the grid of a group to its sources, if it is not there already.
    fn lock(&mut self, now: Timestamp, group: usize) {
        let entry = &self.groups[group];
        if entry.running || !entry.waits {
            return;
        }
        let Some(phase) = self.best_phase(now, entry) else { return };
        let interval = entry.interval;
        if apart(phase, entry.slot.rem_euclid(interval), interval) <= JITTER_MS && entry.last.is_some() {
            return;
        }
        let slot = match entry.last {
            // Nothing was evaluated yet: what is there is evaluated at once.
            None => after(now - interval, interval, phase),
            Some(last) => after(last + interval / 2, interval, phase),
        };
        self.groups[group].slot = slot;
    }

    /// How long a group waits for its sources, ms.
    fn deadline(&self, now: Timestamp, entry: &Entry) -> Timestamp {
        let late = self.awake(now, entry).map(|r| r.lateness).max().unwrap_or_default();
        let most = (entry.interval / 4).max(1);
        entry.slot + (2 * late + 100).max(LEAST_WAIT_MS).min(most)
    }

    /// Is some source expected to commit samples for the group's next timestamp?
    fn expects(&self, now: Timestamp, entry: &Entry) -> bool {
        entry.waits
            && self.awake(now, entry).any(|r| r.last + r.period(entry.interval) <= entry.slot + JITTER_MS)
    }

    /// The next group to run now, which then counts as running.
    pub fn next(&mut self, now: Timestamp) -> Option<Due> {
        for group in 0..self.groups.len() {
            let entry = &self.groups[group];
            if entry.running {
                continue;
            }
            // The clock was set back: the grid starts again.
            if entry.slot - now > 2 * entry.interval {
                let slot = after(now - 1, entry.interval, entry.slot.rem_euclid(entry.interval));
                let entry = &mut self.groups[group];
                (entry.slot, entry.last) = (slot, None);
            }
            let entry = &self.groups[group];
            if now < entry.slot || (self.expects(now, entry) && now < self.deadline(now, entry)) {
                continue;
            }
            let missed = (now - entry.slot) / entry.interval;
            let slot = entry.slot + missed * entry.interval;
            // A sample that came a few ms after the grid's time is meant to be seen.
            let newest = self.awake(now, entry).map(|r| r.last).filter(|t| *t <= slot + JITTER_MS).max();
            let ts = newest.map_or(slot, |t| t.max(slot)).min(now);
            let entry = &mut self.groups[group];
            entry.slot = slot;
            entry.running = true;
            return Some(Due { group, ts, missed: missed.unsigned_abs() });
        }
        None
    }

    /// A group that [`Scheduler::next`] gave is done.
    pub fn finished(&mut self, now: Timestamp, group: usize) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        entry.running = false;
        entry.last = Some(entry.slot);
        entry.slot += entry.interval;
        self.lock(now, group);
    }

    /// When to ask [`Scheduler::next`] again if no commit comes before.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.groups.iter().filter(|e| !e.running);
        idle.map(|e| if now < e.slot { e.slot } else { self.deadline(now, e) }).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1000;

    fn plan(key: &str, interval: i64) -> Plan {
        Plan { key: key.to_owned(), interval, waits: true }
    }

    /// A world of sources with periods, phases and delays; gives (wall time, timestamp) of the runs of group 0.
    fn simulate(
        scheduler: &mut Scheduler,
        from: Timestamp,
        until: Timestamp,
        sources: &[(u32, i64, i64, i64)],
    ) -> Vec<(Timestamp, Timestamp)> {
        let mut runs = Vec::new();
        for now in from..until {
            for (id, period, phase, delay) in sources {
                if (now - delay).rem_euclid(*period) == *phase {
                    scheduler.committed(now, Commit { source: SourceId(*id), t: now - delay });
                }
            }
            while let Some(due) = scheduler.next(now) {
                assert_eq!(due.missed, 0);
                runs.push((now, due.ts));
                scheduler.finished(now, due.group);
            }
        }
        runs
    }

    fn with_sources(interval: i64, sources: &[(u32, i64, i64, i64)]) -> Vec<(Timestamp, Timestamp)> {
        let mut scheduler = Scheduler::default();
        scheduler.set_groups(0, vec![plan("g", interval)]);
        scheduler.set_sources(0, 0, sources.iter().map(|s| SourceId(s.0)).collect());
        simulate(&mut scheduler, 0, 120 * S, sources)
    }

    #[test]
    fn runs_right_after_the_scrape_on_a_grid() {
        // (interval, sources (id, period, phase, delay), phase of the timestamps, most ms after the timestamp)
        for (interval, sources, phase, late) in [
            (15 * S, vec![(1, 15 * S, 3 * S, 40)], 3 * S, 40),
            (15 * S, vec![(1, 15 * S, 3 * S, 40), (2, 15 * S, 9 * S, 5)], 9 * S, 5),
            (15 * S, vec![(1, 5 * S, 2 * S, 7)], -1, 7),
            // The rhythm of the slow source is known after its second commit; until then it is waited for once.
            (30 * S, vec![(1, 15 * S, 4 * S, 7), (2, 60 * S, 33 * S, 3)], -1, LEAST_WAIT_MS),
            (5 * S, vec![(1, 5 * S, 0, 300)], 0, 300),
            (15 * S, vec![], -1, 0),
        ] {
            let runs = with_sources(interval, &sources);
            let steady = &runs[2.min(runs.len())..];
            assert!(steady.len() >= (90 * S / interval) as usize - 1, "{interval} {sources:?}: {runs:?}");
            for pair in steady.windows(2) {
                assert_eq!(pair[1].1 - pair[0].1, interval, "{sources:?}: {runs:?}");
            }
            for (wall, ts) in steady {
                assert!(phase < 0 || ts.rem_euclid(interval) == phase, "{sources:?}: {runs:?}");
                assert!((0..=late).contains(&(wall - ts)), "{sources:?}: {runs:?}");
            }
        }
    }

    #[test]
    fn the_first_commit_starts_the_group_at_once() {
        let mut scheduler = Scheduler::default();
        scheduler.set_groups(0, vec![plan("g", 15 * S)]);
        assert_eq!(scheduler.next(0), None);
        scheduler.committed(2_030, Commit { source: SourceId(1), t: 2_000 });
        scheduler.set_sources(2_030, 0, [SourceId(1)].into());
        assert_eq!(scheduler.next(2_030), Some(Due { group: 0, ts: 2_000, missed: 0 }));
    }

    #[test]
    fn a_source_that_fails_to_come_delays_by_the_deadline_only() {
        let mut scheduler = Scheduler::default();
        scheduler.set_groups(0, vec![plan("g", 10 * S)]);
        scheduler.set_sources(0, 0, [SourceId(1), SourceId(2)].into());
        let both = [(1, 10 * S, 2 * S, 5), (2, 10 * S, 3 * S, 5)];
        simulate(&mut scheduler, 0, 40 * S, &both);
        // The second one hangs: the first evaluation waits, and soon nobody does.
        let runs = simulate(&mut scheduler, 40 * S, 100 * S, &both[..1]);
        let waits: Vec<i64> = runs.iter().map(|(wall, ts)| wall - ts).collect();
        assert_eq!(runs[0].1, 43 * S);
        assert!(waits[0] == LEAST_WAIT_MS && *waits.last().unwrap() <= 5, "{runs:?}");
        for pair in runs.windows(2) {
            let gap = pair[1].1 - pair[0].1;
            assert!((5 * S..=15 * S).contains(&gap), "{runs:?}");
        }
    }

    #[test]
    fn what_was_slept_over_is_counted_and_the_grid_stays() {
        let mut scheduler = Scheduler::default();
        scheduler.set_groups(0, vec![plan("g", 10 * S)]);
        let first = (0..).find_map(|now| scheduler.next(now)).unwrap();
        scheduler.finished(first.ts, 0);
        let due = scheduler.next(first.ts + 35 * S).unwrap();
        assert_eq!((due.ts, due.missed), (first.ts + 30 * S, 2));
        assert_eq!(scheduler.next(first.ts + 36 * S), None, "it is running");
        scheduler.finished(first.ts + 36 * S, 0);
        assert_eq!(scheduler.wake_at(first.ts + 36 * S), Some(first.ts + 40 * S));
        // A clock set back by an hour does not stop the group for an hour.
        let back = first.ts - 3_600 * S;
        let due = (0..11 * S).find_map(|ms| scheduler.next(back + ms)).unwrap();
        assert!(due.ts <= back + 10 * S);
    }

    #[test]
    fn a_reload_keeps_the_grid() {
        let mut scheduler = Scheduler::default();
        scheduler.set_groups(0, vec![plan("a", 10 * S), plan("g", 10 * S)]);
        scheduler.set_sources(0, 1, [SourceId(1)].into());
        simulate(&mut scheduler, 0, 30 * S, &[(1, 10 * S, 4 * S, 5)]);
        scheduler.set_groups(30 * S, vec![plan("g", 10 * S)]);
        let runs = simulate(&mut scheduler, 30 * S, 60 * S, &[(1, 10 * S, 4 * S, 5)]);
        assert_eq!(runs.iter().map(|r| r.1).collect::<Vec<_>>(), [34 * S, 44 * S, 54 * S]);
    }
}
