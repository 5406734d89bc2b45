//! Alerts come into groups; groups wait, are flushed, and remember what was said of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::filter::Inhibitor;
use super::merge::merge;
use super::outbox::{self, Delivery};
use super::records::Key;
use super::{AlertEntry, Engine, MAX_ALERTS, Now};
use crate::model::{Alert, Fingerprint, Labels, Timestamp};
use crate::paging::config::Integration;
use crate::paging::notification::{Notification, NotifiedAlert, Reason, alert_order};
use crate::paging::route::Route;

/// What an integration was last told of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LogEntry {
    pub at: Timestamp,
    pub firing: BTreeSet<u64>,
    pub resolved: BTreeSet<u64>,
    /// Those of `firing` that have ended while they were muted: nobody was told, and another firing of them is new.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsaid: BTreeSet<u64>,
}

impl LogEntry {
    /// What a message says.
    pub fn of(row: &Delivery) -> Self {
        Self {
            at: row.notification.at,
            firing: row.firing.clone(),
            resolved: row.resolved.clone(),
            unsaid: BTreeSet::new(),
        }
    }
}

/// The alerts of one route that share the labels it groups by.
#[derive(Debug)]
pub struct Group {
    /// Key, and where it goes: unique.
    pub id: String,
    /// As Alertmanager writes it.
    pub key: String,
    pub route: Arc<Route>,
    pub labels: Labels,
    pub alerts: BTreeSet<Fingerprint>,
    /// ms since boot.
    pub next_flush: Timestamp,
    /// The last flush by the wall clock.
    pub flushed_at: Option<Timestamp>,
    /// By integration.
    pub log: BTreeMap<String, LogEntry>,
    /// The incident that it has become, open or closed by hand.
    pub incident: Option<u64>,
}

/// So much a repetition may come early, ms (a tenth of `group_interval` at the most): it goes out with the
/// flush that was meant, though the clocks don't agree to the millisecond.
const REPEAT_SLACK_MS: i64 = 50;

/// Is a notification due, given what was said last, and why? As Alertmanager decides it, in its words.
fn needs_update(
    last: Option<&LogEntry>,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    send_resolved: bool,
    repeat_ms: i64,
    now: Timestamp,
) -> Option<&'static str> {
    let Some(last) = last.filter(|l| !l.firing.is_empty() || firing.is_empty()) else {
        return (!firing.is_empty()).then_some("first notification");
    };
    if !firing.is_subset(&last.firing) || !firing.is_disjoint(&last.unsaid) {
        return Some("new alerts added");
    }
    if firing.is_empty() {
        return (!last.firing.is_empty()).then_some("all alerts resolved");
    }
    if send_resolved && !resolved.is_subset(&last.resolved) {
        return Some("some alerts resolved");
    }
    // Said later than a repetition from now: by a clock that has been put back since.
    let ahead = last.at > now.saturating_add(repeat_ms);
    (ahead || last.at <= now.saturating_sub(repeat_ms)).then_some("repeat interval elapsed")
}

impl Engine {
    /// Where the alerts of a route with these group labels are kept.
    pub(super) fn group_id(route: &Route, key: &str) -> String {
        match &route.escalation_policy {
            Some(policy) => format!("{key}\u{0}policy/{policy}"),
            None => format!("{key}\u{0}receiver/{}", route.receiver),
        }
    }

    pub(super) fn insert(&mut self, now: Now, mut alert: Alert) {
        let fingerprint = alert.fingerprint();
        let resolved = alert.resolved_at(now.wall);
        let mut fresh = true;
        match self.alerts.get(&fingerprint) {
            None if resolved => return self.insert_end(now, alert),
            None if self.alerts.len() >= MAX_ALERTS => {
                self.tallies.alerts_refused += 1;
                return;
            }
            None => {}
            Some(known) => {
                let old = &known.alert;
                let was_resolved = old.resolved_at(now.wall);
                alert = merge(old, alert, now.wall, self.config.resolve_timeout.ms());
                fresh = was_resolved != resolved
                    || old.annotations != alert.annotations
                    || old.starts_at != alert.starts_at;
            }
        }
        let routes = self.config.route.matching(&alert.labels);
        self.put(now, alert, fresh, &routes, false);
    }

    /// Holds an alert in its groups under these routes; `fresh`: it says something new. Resolved ones make new groups only
    /// when they are to be `kept`.
    pub(super) fn put(&mut self, now: Now, alert: Alert, fresh: bool, routes: &[Arc<Route>], kept: bool) {
        let fingerprint = alert.fingerprint();
        let alert = Arc::new(alert);
        if fresh || kept {
            self.dirty.insert(Key::Alert(fingerprint));
        }
        let refs = self.alerts.get(&fingerprint).map_or(0, |e| e.refs);
        self.alerts.insert(fingerprint, AlertEntry { alert: Arc::clone(&alert), refs });
        if alert.resolved_at(now.wall) && refs == 0 && !kept {
            self.alerts.remove(&fingerprint);
            return;
        }
        for route in routes {
            self.join(now, route, fingerprint, &alert, fresh, kept);
        }
    }

    /// Puts an alert into its group under a route. One that is resolved makes no new group, unless it is to be `kept`
    /// (the group was there before a restart).
    fn join(
        &mut self,
        now: Now,
        route: &Arc<Route>,
        fingerprint: Fingerprint,
        alert: &Alert,
        fresh: bool,
        kept: bool,
    ) {
        let labels = route.group_labels(&alert.labels);
        let key = route.group_key(&labels);
        let id = Self::group_id(route, &key);
        let resolved = alert.resolved_at(now.wall);
        if !self.groups.contains_key(&id) {
            if resolved && !kept {
                return;
            }
            let group = Group {
                id: id.clone(),
                key,
                route: Arc::clone(route),
                labels,
                alerts: BTreeSet::new(),
                next_flush: now.boot + route.group_wait.ms(),
                flushed_at: None,
                log: self.untold.take(&id),
                incident: None,
            };
            self.dirty.insert(Key::Group(id.clone()));
            self.groups.insert(id.clone(), group);
        }
        let severity = self.config.severities.rank(alert.labels.get("severity").unwrap_or_default());
        let worse = |incident: Option<u64>| {
            let incident = incident.and_then(|i| self.incidents.get(&i));
            incident.is_some_and(|i| severity > i.severity)
        };
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.alerts.insert(fingerprint)
            && let Some(entry) = self.alerts.get_mut(&fingerprint)
        {
            entry.refs += 1;
        }
        // It has waited elsewhere already.
        let waited = group.flushed_at.is_none() && alert.starts_at + route.group_wait.ms() < now.wall;
        if !resolved && (waited || (fresh && worse(group.incident))) {
            group.next_flush = group.next_flush.min(now.boot);
        }
    }

    pub(super) fn flush_groups(&mut self, now: Now) {
        let due: Vec<String> =
            self.groups.values().filter(|g| g.next_flush <= now.boot).map(|g| g.id.clone()).collect();
        if due.is_empty() {
            return;
        }
        let inhibitor = self.inhibitor(now);
        for id in due {
            self.flush(now, &inhibitor, &id);
            self.settle(now, &id);
        }
    }

    pub(super) fn flush(&mut self, now: Now, inhibitor: &Inhibitor, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.next_flush = now.boot + group.route.group_interval.ms().max(1);
        group.flushed_at = Some(now.wall);
        let route = Arc::clone(&group.route);
        self.dirty.insert(Key::Group(id.to_owned()));
        let alerts = self.group_alerts(id);
        let active = self.unmuted(inhibitor, &route, &alerts, now);
        if route.escalation_policy.is_some() {
            self.flush_incident(now, id, &alerts, &active);
            return;
        }
        if active.len() < alerts.len() {
            self.pass_over(now, id, &alerts, &active);
        }
        if active.is_empty() {
            self.hush(id, &route);
        } else {
            self.flush_plain(now, id, &route, &active);
        }
    }

    /// Remembers the ends that are not spoken of, since their alerts are muted.
    fn pass_over(&mut self, now: Now, id: &str, alerts: &[Arc<Alert>], active: &[Arc<Alert>]) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let spoken: BTreeSet<Fingerprint> = active.iter().map(|a| a.fingerprint()).collect();
        let over = alerts.iter().filter(|a| a.resolved_at(now.wall)).map(|a| a.fingerprint());
        for fingerprint in over.filter(|f| !spoken.contains(f)) {
            for entry in group.log.values_mut().filter(|e| e.firing.contains(&fingerprint.0)) {
                entry.unsaid.insert(fingerprint.0);
            }
        }
    }

    /// The alerts of a group in Alertmanager's order.
    pub(super) fn group_alerts(&self, id: &str) -> Vec<Arc<Alert>> {
        let members = self.groups.get(id).map(|g| &g.alerts).into_iter().flatten();
        let alerts: Vec<&Arc<Alert>> = members.filter_map(|f| self.alerts.get(f)).map(|e| &e.alert).collect();
        let labels: Vec<&Labels> = alerts.iter().map(|a| &a.labels).collect();
        alert_order(&labels).into_iter().map(|i| Arc::clone(alerts[i])).collect()
    }

    fn flush_plain(&mut self, now: Now, id: &str, route: &Route, active: &[Arc<Alert>]) {
        let config = Arc::clone(&self.config);
        let Some(receiver) = config.receivers.get(&route.receiver) else { return };
        let (over, on): (Vec<&Arc<Alert>>, Vec<&Arc<Alert>>) =
            active.iter().partition(|a| a.resolved_at(now.wall));
        let fingerprints = |list: &[&Arc<Alert>]| list.iter().map(|a| a.fingerprint().0).collect();
        let (firing, resolved): (BTreeSet<u64>, BTreeSet<u64>) = (fingerprints(&on), fingerprints(&over));
        let slack = (route.group_interval.ms() / 10).min(REPEAT_SLACK_MS);
        let repeat = route.repeat_interval.ms() - slack;
        for integration in &receiver.integrations {
            let name = integration_id(&receiver.name, integration);
            let lane = outbox::lane(id, &receiver.name, integration);
            let Some(group) = self.groups.get_mut(id) else { return };
            // What is under way, or may have arrived, counts as said.
            let newest = self.outbox.newest(&lane);
            let unseen = newest.is_some_and(|d| !d.in_flight && !d.doubtful);
            let perhaps = newest.filter(|_| !unseen).map(LogEntry::of);
            let last = perhaps.as_ref().or(group.log.get(&name));
            let mut why = needs_update(last, &firing, &resolved, integration.send_resolved, repeat, now.wall);
            if why.is_none() && unseen && integration.send_resolved && firing.is_empty() {
                // It fired and ended while its receiver was away, which is at least told at the end.
                why = Some("all alerts resolved");
            }
            let Some(why) = why else {
                // What waits is not true any more, and nobody has seen it.
                if unseen {
                    self.abandon_lane(&lane);
                }
                continue;
            };
            if !integration.send_resolved && firing.is_empty() {
                // Nothing to say, and nothing to be said again.
                self.abandon_lane(&lane);
                let entry = LogEntry { at: now.wall, resolved: resolved.clone(), ..LogEntry::default() };
                if let Some(group) = self.groups.get_mut(id) {
                    group.log.insert(name, entry);
                }
                continue;
            }
            let alerts = active
                .iter()
                .filter(|a| integration.send_resolved || !a.resolved_at(now.wall))
                .map(|a| NotifiedAlert::new(a, now.wall))
                .collect();
            let notification = Notification {
                reason: Reason::Group,
                why: why.to_owned(),
                receiver: receiver.name.clone(),
                group_key: group.key.clone(),
                group_labels: owned(&group.labels),
                alerts,
                route_labels: route.labels.clone(),
                incident: None,
                at: now.wall,
                valid_ms: route.repeat_interval.ms() + 2 * route.group_interval.ms(),
                more: 0,
                notes: Vec::new(),
            };
            self.enqueue_group(now, id, &receiver.name, integration, notification, &firing, &resolved);
        }
    }

    /// All its alerts are muted: what waits is not sent any more.
    fn hush(&mut self, id: &str, route: &Route) {
        let config = Arc::clone(&self.config);
        for integration in config.receivers.get(&route.receiver).iter().flat_map(|r| &r.integrations) {
            self.abandon_lane(&outbox::lane(id, &route.receiver, integration));
        }
    }

    /// Forgets alerts that are over and of which nothing is left to say, and groups without alerts.
    pub(super) fn settle(&mut self, now: Now, id: &str) {
        let Some(group) = self.groups.get(id) else { return };
        if self.outbox.of_group(id) {
            return;
        }
        let flushed = group.flushed_at.unwrap_or(Timestamp::MIN);
        let open = group.incident.and_then(|i| self.incidents.get(&i)).is_some_and(|i| i.is_open());
        let over: Vec<Fingerprint> = group
            .alerts
            .iter()
            .filter(|f| {
                self.alerts.get(f).is_none_or(|e| e.alert.resolved_at(now.wall) && e.alert.ends_at <= flushed)
            })
            .copied()
            .collect();
        if !open {
            for fingerprint in over {
                self.leave(id, fingerprint);
            }
        }
        self.forget_empty(id);
    }

    /// A group without alerts goes; that its receivers were not told of the end is remembered.
    fn forget_empty(&mut self, id: &str) {
        if self.groups.get(id).is_some_and(|g| g.alerts.is_empty())
            && let Some(group) = self.groups.remove(id)
        {
            let gone = self.untold.keep(group.id, group.log);
            self.dirty.extend(gone.map(Key::Group));
            self.dirty.insert(Key::Group(id.to_owned()));
        }
    }

    fn leave(&mut self, id: &str, fingerprint: Fingerprint) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if !group.alerts.remove(&fingerprint) {
            return;
        }
        if let Some(entry) = self.alerts.get_mut(&fingerprint) {
            entry.refs = entry.refs.saturating_sub(1);
            if entry.refs == 0 {
                self.alerts.remove(&fingerprint);
                self.dirty.insert(Key::Alert(fingerprint));
            }
        }
    }

    /// Puts all alerts into the groups of the present routes.
    /// Groups in `known` are made also for alerts that are resolved.
    pub(super) fn regroup(&mut self, now: Now, known: &BTreeSet<String>) {
        let before: BTreeSet<String> = self.groups.keys().cloned().collect();
        let mut routed: BTreeSet<(String, Fingerprint)> = BTreeSet::new();
        let drills = self.drill_alerts();
        let alerts: Vec<(Fingerprint, Arc<Alert>)> = self
            .alerts
            .iter()
            .filter(|(f, _)| !drills.contains(f))
            .map(|(f, e)| (*f, Arc::clone(&e.alert)))
            .collect();
        for (fingerprint, alert) in alerts {
            for route in self.config.route.matching(&alert.labels) {
                let labels = route.group_labels(&alert.labels);
                let id = Self::group_id(&route, &route.group_key(&labels));
                routed.insert((id.clone(), fingerprint));
                if let Some(group) = self.groups.get_mut(&id) {
                    group.route = Arc::clone(&route);
                    // A shorter interval holds at once.
                    let longest =
                        if group.flushed_at.is_some() { route.group_interval } else { route.group_wait };
                    group.next_flush = group.next_flush.min(now.boot + longest.ms());
                }
                self.join(now, &route, fingerprint, &alert, false, known.contains(&id));
            }
        }
        for id in before {
            let Some(group) = self.groups.get(&id) else { continue };
            // A live incident keeps its alerts until they are over, whatever became of its route.
            if group.incident.and_then(|i| self.incidents.get(&i)).is_some_and(|i| i.is_open()) {
                continue;
            }
            let strays: Vec<Fingerprint> =
                group.alerts.iter().filter(|f| !routed.contains(&(id.clone(), **f))).copied().collect();
            for fingerprint in strays {
                self.leave(&id, fingerprint);
            }
            self.forget_empty(&id);
        }
        // Their alerts are told of elsewhere.
        self.abandon_orphans();
    }
}

pub(super) fn owned(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// The identity of an integration in logs and lanes.
pub(super) fn integration_id(receiver: &str, integration: &Integration) -> String {
    format!("{receiver}/{}/{}", integration.kind, integration.index)
}
