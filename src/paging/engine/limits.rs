//! How often one person is paged: pages beyond the limit of an hour are held back and summed up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::outbox::{Delivery, lane};
use super::records::Key;
use super::{Engine, Now};
use crate::model::Timestamp;
use crate::paging::notification::NotifiedAlert;

/// What the limit counts in, ms.
const HOUR_MS: i64 = 3_600_000;
/// The first summary comes this long after the first page that was held back; further ones are this far apart.
const FIRST_SUMMARY_MS: i64 = 60_000;
pub(super) const NEXT_SUMMARY_MS: i64 = 600_000;
/// Incidents of which a summary can tell.
const MAX_HELD: usize = 1000;
/// Rules that are remembered of one page.
const MAX_RULES: usize = 50;

/// What a person was paged with in the last hour, and what was held back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Person {
    pub name: String,
    /// Times by the wall clock, and the rules with their severities.
    pages: VecDeque<(Timestamp, BTreeSet<String>)>,
    /// Incidents that wait for the next summary.
    held: BTreeSet<u64>,
    held_pages: u32,
    /// When it is due, ms; in the ledger by the wall clock, in memory since boot.
    pub summary_at: Option<Timestamp>,
    last_summary: Option<Timestamp>,
}

/// The rules (with their severities) that a page is about.
pub(super) fn rules_of(alerts: &[NotifiedAlert]) -> BTreeSet<String> {
    let name = |a: &NotifiedAlert| {
        let label = |n: &str| a.labels.get(n).map(String::as_str).unwrap_or_default();
        format!("{}\u{0}{}", label("alertname"), label("severity"))
    };
    let mut rules: BTreeSet<String> = alerts.iter().map(name).collect();
    while rules.len() > MAX_RULES {
        rules.pop_last();
    }
    rules
}

impl Engine {
    /// May this person be paged about these rules now? If so it is counted; if not it will be summed up. The
    /// first page of a rule in an hour always goes out.
    pub(super) fn admit(&mut self, now: Now, user: &str, rules: &BTreeSet<String>, incident: u64) -> bool {
        let limit = self.config.users.get(user).map_or(0, |u| u.pages_per_hour) as usize;
        if limit == 0 {
            return true;
        }
        let person = self.people.entry(user.to_owned()).or_default();
        user.clone_into(&mut person.name);
        // Times in the future were written before the clock was put back.
        person.pages.retain(|(at, _)| (now.wall - HOUR_MS..=now.wall).contains(at));
        let known = |rule: &String| person.pages.iter().any(|(_, rules)| rules.contains(rule));
        let admitted = person.pages.len() < limit || !rules.iter().all(known);
        if admitted {
            person.pages.push_back((now.wall, rules.clone()));
        } else {
            if person.held.len() < MAX_HELD {
                person.held.insert(incident);
            }
            person.held_pages += 1;
            self.tallies.pages_held += 1;
            if person.summary_at.is_none() {
                let since = person.last_summary.map_or(i64::MAX, |at| now.wall.saturating_sub(at).max(0));
                let wait = (NEXT_SUMMARY_MS.saturating_sub(since)).max(FIRST_SUMMARY_MS);
                person.summary_at = Some(now.boot + wait);
            }
        }
        self.dirty.insert(Key::Person(user.to_owned()));
        admitted
    }

    pub(super) fn next_summary(&self) -> Option<Timestamp> {
        self.people.values().filter_map(|p| p.summary_at).min()
    }

    /// Sends the summaries that are due, and forgets whom nothing is known of.
    pub(super) fn run_summaries(&mut self, now: Now) {
        let due = |p: &&Person| p.summary_at.is_some_and(|at| at <= now.boot);
        let names: Vec<String> = self.people.values().filter(due).map(|p| p.name.clone()).collect();
        for name in names {
            self.summarize(now, &name);
        }
        let idle = |p: &Person| {
            p.summary_at.is_none() && p.pages.back().is_none_or(|(at, _)| now.wall - at > 2 * HOUR_MS)
        };
        if self.people.values().any(idle) {
            let dirty = &mut self.dirty;
            self.people.retain(|name, p| {
                let idle = idle(p);
                if idle {
                    dirty.insert(Key::Person(name.clone()));
                }
                !idle
            });
        }
    }

    fn summarize(&mut self, now: Now, name: &str) {
        let Some(person) = self.people.get_mut(name) else { return };
        let mut held = std::mem::take(&mut person.held);
        let pages = std::mem::take(&mut person.held_pages);
        person.summary_at = None;
        person.last_summary = Some(now.wall);
        self.dirty.insert(Key::Person(name.to_owned()));
        let config = Arc::clone(&self.config);
        let receiver = config.users.get(name).and_then(|u| config.receivers.get(&u.receiver));
        let Some(receiver) = receiver else { return };
        // A summary that has not got through yet becomes part of this one.
        let topic = format!("s{name}");
        let mine = |i| self.outbox.of_lane(&lane(&topic, &receiver.name, i));
        let older: Vec<u64> = receiver.integrations.iter().flat_map(mine).collect();
        for id in older {
            if let Some(row) = self.outbox.get(id).filter(|r| !r.in_flight) {
                held.extend(&row.incidents);
                self.abandon(id);
            }
        }
        // What is over by now wakes nobody.
        let open: Vec<u64> =
            held.into_iter().filter(|i| self.incidents.get(i).is_some_and(|i| i.is_open())).collect();
        if open.is_empty() {
            return;
        }
        let headline = format!("{pages} pages to {name} were held back by the limit of an hour");
        let notification = Arc::new(self.summary(now, &open, &headline));
        for id in &open {
            if let Some(incident) = self.incidents.get_mut(id) {
                incident.note(now.wall, format!("in a summary of what was held back from {name}"));
                self.dirty.insert(Key::Incident(*id));
            }
        }
        for integration in &receiver.integrations {
            let id = self.id();
            let key = format!("{}-s{id}", self.instance);
            let row =
                Delivery::new(now, id, key, &topic, &receiver.name, integration, Arc::clone(&notification));
            self.push(Delivery { incidents: open.clone(), summary: true, ..row });
        }
    }
}

/// All that is known of persons.
pub(super) type People = BTreeMap<String, Person>;
