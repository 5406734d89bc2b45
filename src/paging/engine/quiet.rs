//! Quiet hours: incidents that can wait do, and are told of together when the quiet is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outbox::Delivery;
use super::records::Key;
use super::{Engine, Now};
use crate::model::Timestamp;
use crate::paging::config::PagingConfig;
use crate::paging::incident::{Fate, Incident, State};
use crate::paging::notification::{DIGEST, Notification, NotifiedAlert, Reason};
use crate::paging::time_interval::TimeInterval;

/// How often a waiting incident looks at the clock, which may have been put right, ms.
const LOOK_MS: i64 = 900_000;
/// Alerts and incidents that a digest lists.
const MAX_LISTED: usize = 100;

/// The pages of incidents whose quiet is over, by integration.
#[derive(Default)]
pub(super) struct Digest {
    rows: BTreeMap<String, Vec<Delivery>>,
}

impl Digest {
    pub fn add(&mut self, row: Delivery) {
        self.rows.entry(format!("{}/{}/{}", row.receiver, row.kind, row.index)).or_default().push(row);
    }
}

/// How long an incident has to wait from now on, ms; `None` when it has not.
pub(super) fn quiet_for(config: &PagingConfig, incident: &Incident, now: Now) -> Option<i64> {
    let quiet = incident.policy.quiet_hours.as_ref()?;
    // Word and rank: what became worse does not wait any longer.
    if !quiet.severities.contains(&incident.severity_name) {
        return None;
    }
    // An interval that a reload took away holds nobody back.
    let holds = |names: &[String]| named(config, names).any(|i| i.contains(now.wall));
    let known = quiet.outside.iter().all(|n| config.time_intervals.contains_key(n));
    let waits = holds(&quiet.during) || (!quiet.outside.is_empty() && known && !holds(&quiet.outside));
    if !waits {
        return None;
    }
    let all = named(config, &quiet.during).chain(named(config, &quiet.outside));
    let edge = all.filter_map(|i| i.next_edge(now.wall)).min().unwrap_or(Timestamp::MAX);
    Some(edge.saturating_sub(now.wall).clamp(1, LOOK_MS))
}

fn named<'a>(config: &'a PagingConfig, names: &'a [String]) -> impl Iterator<Item = &'a TimeInterval> {
    names.iter().filter_map(|n| config.time_intervals.get(n)).flatten()
}

impl Engine {
    /// Other incidents that waited and need not any more, now that one of them is told of.
    pub(super) fn released(&self, now: Now) -> Vec<u64> {
        let over = |i: &&Incident| i.quiet && i.is_open() && quiet_for(&self.config, i, now).is_none();
        self.incidents.values().filter(over).map(|i| i.id).collect()
    }

    /// Sends what was collected: one page where there is one, one digest where there are several.
    pub(super) fn send_digest(&mut self, now: Now, digest: Digest) {
        for (integration, mut rows) in digest.rows {
            if rows.len() == 1 {
                self.push(rows.remove(0));
                continue;
            }
            let id = self.id();
            let incidents: Vec<u64> = rows.iter().filter_map(|r| r.incident).collect();
            for row in &rows {
                let incident = row.incident.and_then(|i| self.incidents.get_mut(&i));
                if let Some(incident) = incident
                    && incident.deliveries.remove(&row.id).is_some()
                {
                    incident.deliveries.insert(id, Fate::Pending);
                }
            }
            let text = "Digest: these waited for the end of the quiet hours";
            let notification = self.summary(now, &incidents, text);
            let first = &rows[0];
            self.tallies.digests += 1;
            let row = Delivery {
                id,
                key: format!("{}-d{id}", self.instance),
                lane: format!("d\u{0}{integration}"),
                incident: None,
                incidents,
                notification: Arc::new(notification),
                ..first.clone()
            };
            self.push(row);
        }
    }

    /// Leaves out of a digest what nobody has to be told of any more.
    pub(super) fn shorten_digest(&mut self, now: Now, id: u64) {
        let Some(mut row) = self.outbox.remove(id) else { return };
        row.incidents.retain(|i| self.incidents.get(i).is_some_and(|i| i.state == State::Triggered));
        let headline =
            row.notification.notes.first().and_then(|n| n.rsplit_once(": ")).map(|(text, _)| text.to_owned());
        row.notification = Arc::new(self.summary(now, &row.incidents, &headline.unwrap_or_default()));
        self.dirty.insert(Key::Delivery(id));
        self.outbox.insert(row);
    }

    /// One message about several incidents.
    pub(super) fn summary(&self, now: Now, incidents: &[u64], headline: &str) -> Notification {
        let known: Vec<&Incident> = incidents.iter().filter_map(|i| self.incidents.get(i)).collect();
        let mut notes = vec![format!("{headline}: {} incidents", known.len())];
        notes.extend(known.iter().take(MAX_LISTED).map(|i| line(i)));
        if known.len() > MAX_LISTED {
            notes.push(format!("and {} more", known.len() - MAX_LISTED));
        }
        let mut seen = BTreeSet::new();
        let alerts: Vec<NotifiedAlert> = known
            .iter()
            .flat_map(|i| &i.alerts)
            .filter(|a| a.ends_at > now.wall)
            .map(|a| NotifiedAlert::new(&a.clone().into(), now.wall))
            .filter(|a| seen.insert(a.fingerprint.clone()))
            .take(MAX_LISTED)
            .collect();
        let firing: usize = known.iter().map(|i| i.alert_count).sum();
        let numbers: Vec<String> = incidents.iter().map(u64::to_string).collect();
        Notification {
            reason: Reason::Group,
            why: DIGEST.to_owned(),
            receiver: known.first().map(|i| i.receiver.clone()).unwrap_or_default(),
            group_key: format!("digest:{}", numbers.join(",")),
            group_labels: BTreeMap::new(),
            more: firing.saturating_sub(alerts.len()),
            alerts,
            route_labels: BTreeMap::new(),
            incident: None,
            at: now.wall,
            valid_ms: known.first().map_or(0, |i| 2 * i.repeat_interval_ms),
            notes,
        }
    }
}

fn line(i: &Incident) -> String {
    let labels: Vec<&str> = i.group_labels.values().map(String::as_str).collect();
    let severity = if i.severity_name.is_empty() { "no severity" } else { &i.severity_name };
    format!("incident {} ({severity}): {}, {} alerts", i.id, labels.join(" "), i.alert_count)
}
