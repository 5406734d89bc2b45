//! Escalation: one step after the other, until somebody has it in hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::filter::Inhibitor;
use super::groups::integration_id;
use super::incidents::reopened;
use super::limits::rules_of;
use super::outbox::{Delivery, Outcome};
use super::quiet::{Digest, quiet_for};
use super::records::Key;
use super::{Engine, Now};
use crate::model::{Alert, Timestamp};
use crate::paging::config::{Integration, PagingConfig, Target};
use crate::paging::incident::{Arrival, Fate, Incident, Notified, State};
use crate::paging::notification::{Notification, Reason};

/// A step that could not be delivered yet makes way for the next one after this, ms.
const EARLY_MS: i64 = 30_000;
/// How often a muted incident looks whether it still is, ms.
const MUTED_MS: i64 = 30_000;
/// The shortest wait after the last loop, ms.
const MIN_REPEAT_MS: i64 = 60_000;
/// The longest wait after the last loop when all who were told refused the page for good, ms.
const UNREACHED_MS: i64 = 300_000;
/// Notified persons that an incident remembers by name.
const MAX_NOTIFIED: usize = 1000;

/// Somebody whom a step tells.
struct Told<'a> {
    target: &'a Target,
    user: Option<String>,
    receiver: String,
}

impl Engine {
    /// Fires every step that is due.
    pub(super) fn run_incidents(&mut self, now: Now) {
        let due = |i: &Incident| i.is_open() && i.next_at().is_some_and(|at| at <= now.boot);
        let mut ids: Vec<u64> = self.incidents.values().filter(|i| due(i)).map(|i| i.id).collect();
        if ids.is_empty() {
            return;
        }
        let waited = |i: &Incident| i.quiet && quiet_for(&self.config, i, now).is_none();
        if ids.iter().any(|id| self.incidents.get(id).is_some_and(waited)) {
            // Those that waited are told of together.
            let all: BTreeSet<u64> = ids.into_iter().chain(self.released(now)).collect();
            ids = all.into_iter().collect();
        }
        let inhibitor = self.inhibitor(now);
        let mut digest = Digest::default();
        for id in ids {
            // A step with nobody to notify makes way at once; a whole loop of them waits.
            let steps = self.incidents.get(&id).map_or(0, |i| i.policy.steps.len());
            for _ in 0..=steps {
                let Some(incident) = self.incidents.get(&id) else { break };
                if !incident.is_open() || !(due(incident) || waited_too(&self.config, incident, now)) {
                    break;
                }
                self.run_incident(now, id, &inhibitor, &mut digest);
            }
        }
        self.send_digest(now, digest);
    }

    fn run_incident(&mut self, now: Now, id: u64, inhibitor: &Inhibitor, digest: &mut Digest) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        self.dirty.insert(Key::Incident(id));
        if incident.state == State::Acknowledged {
            reopened(incident, now, "the acknowledgement has run out");
            self.tallies.incidents_reopened += 1;
            return;
        }
        if incident.is_own_drill() && incident.is_exhausted() {
            self.resolve_incident(now, id, "the drill is over");
            return;
        }
        let group_id = incident.group.clone();
        let Some(group) = self.groups.get(&group_id) else {
            // Its alerts are not known any more (they were lost with the ledger): what it remembers is paged.
            self.fire(now, id, None, digest);
            return;
        };
        let route = Arc::clone(&group.route);
        let all = self.group_alerts(&group_id);
        if all.iter().all(|a| a.resolved_at(now.wall)) {
            match self.hold(now, id, &all) {
                Some(ms) => self.postpone(now, id, ms.min(MUTED_MS)),
                None => self.resolve_incident(now, id, "all alerts are resolved"),
            }
            return;
        }
        let active = self.unmuted(inhibitor, &route, &all, now);
        if active.iter().all(|a| a.resolved_at(now.wall)) {
            self.postpone(now, id, MUTED_MS);
            return;
        }
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let automatic = incident.policy.steps.get(incident.step).is_some_and(|s| s.automation);
        if !automatic && let Some(ms) = quiet_for(&self.config, incident, now) {
            if !incident.quiet {
                incident.quiet = true;
                incident.note(now.wall, "waits for the end of the quiet hours");
            }
            self.postpone(now, id, ms);
            return;
        }
        self.fire(now, id, Some(&active), digest);
    }

    /// The next step comes later than it was due.
    fn postpone(&mut self, now: Now, id: u64, ms: i64) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.due = Some(now.boot + ms);
            incident.due_limit_ms = ms;
            incident.early = None;
        }
    }

    fn fire(&mut self, now: Now, id: u64, active: Option<&[Arc<Alert>]>, digest: &mut Digest) {
        let config = Arc::clone(&self.config);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        if let Some(at) = incident.next_at() {
            self.tallies.lateness_ms += (now.boot - at).max(0);
            self.tallies.steps_fired += 1;
        }
        if incident.step == 0 {
            incident.notified_in_loop.clear();
            incident.loop_began = now.wall;
        }
        let waited = std::mem::take(&mut incident.quiet);
        let (round, number) = (incident.round, incident.step);
        let Some(step) = incident.policy.steps.get(number).cloned() else {
            // Not in a policy that was checked.
            incident.due = None;
            return;
        };
        let mut told = targets(&config, incident, &step.notify, now);
        let Some(base) = self.notification(now, id, active, Reason::Page) else { return };
        let drill = base.incident.as_ref().is_some_and(|i| i.drill);
        let rules = rules_of(&base.alerts);
        let mut held = 0;
        told.retain(|t| {
            let Some(user) = t.user.as_deref().filter(|_| !drill && !waited) else { return true };
            let admitted = self.admit(now, user, &rules, id);
            if !admitted && let Some(incident) = self.incidents.get_mut(&id) {
                held += 1;
                incident.note(
                    now.wall,
                    format!("loop {}, step {}: {user} ({}) is over the limit of pages an hour: held back for a summary",
                        round + 1, number + 1, t.target),
                );
            }
            admitted
        });
        let rows = self.page(now, id, &told, &base, step.automation);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        for t in &told {
            if incident.notified.len() < MAX_NOTIFIED {
                incident.notified.push(Notified {
                    round,
                    step: number,
                    target: t.target.to_string(),
                    user: t.user.clone(),
                    receiver: t.receiver.clone(),
                    automation: step.automation,
                    at: now.wall,
                    arrivals: Vec::new(),
                });
            }
            let place = format!("loop {}, step {}", round + 1, number + 1);
            incident.note(
                now.wall,
                match &t.user {
                    Some(user) => format!("{place}: {user} ({}) notified by {}", t.target, t.receiver),
                    None if step.automation => format!("{place}: automation {} started", t.target),
                    None => format!("{place}: {} notified", t.target),
                },
            );
        }
        let nobody = rows.is_empty() && held == 0;
        if nobody {
            incident.note(now.wall, format!("step {} had nobody to notify", number + 1));
            self.tallies.steps_empty += 1;
        }
        incident.deliveries = rows.iter().map(|row| (row.id, Fate::Pending)).collect();
        incident.early = None;
        incident.due_limit_ms = if nobody { 0 } else { step.timeout_ms };
        incident.step += 1;
        if incident.step >= incident.policy.steps.len() {
            incident.step = 0;
            incident.round += 1;
            if incident.is_exhausted() {
                let wait = incident.repeat_interval_ms.max(MIN_REPEAT_MS).max(step.timeout_ms);
                incident.due_limit_ms = wait;
                incident
                    .note(now.wall, "that was the last step: if nobody acknowledges, it begins again later");
                self.tallies.exhausted += 1;
            }
        }
        incident.due = Some(now.boot + incident.due_limit_ms);
        self.dirty.insert(Key::Incident(id));
        for row in rows {
            if waited { digest.add(row) } else { self.push(row) }
        }
    }

    /// The rows of a step. Pages of earlier steps that did not get through to the same place are taken back: the
    /// new one says the same, and more.
    fn page(
        &mut self,
        now: Now,
        id: u64,
        told: &[Told<'_>],
        base: &Notification,
        automation: bool,
    ) -> Vec<Delivery> {
        let config = Arc::clone(&self.config);
        let Some((round, number)) = self.incidents.get(&id).map(|i| (i.round, i.step)) else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for (nth, t) in told.iter().enumerate() {
            let Some(receiver) = config.receivers.get(&t.receiver) else { continue };
            for integration in &receiver.integrations {
                let mut notification = base.clone();
                if let Some(part) = &mut notification.incident {
                    part.round = round + 1;
                    part.step = number + 1;
                    part.user.clone_from(&t.user);
                    part.target = t.target.to_string();
                    part.automation = automation;
                }
                // With the receiver: after a crash on a broken disk the step may be somebody else's.
                let key = format!(
                    "{}-i{id}-{round}-{number}-{nth}-{}{}-{}",
                    self.instance, integration.kind, integration.index, t.receiver
                );
                let row = self.row(now, id, key, &t.receiver, integration, notification);
                let row = Delivery { round, step: number, ..row };
                let page = |d: &&Delivery| d.notification.reason == Reason::Page;
                let older = self.outbox.of_lane(&row.lane);
                let older: Vec<u64> =
                    older.iter().filter_map(|i| self.outbox.get(*i)).filter(page).map(|d| d.id).collect();
                let name = integration_id(&t.receiver, integration);
                for earlier in older {
                    self.abandon(earlier);
                    if let Some(incident) = self.incidents.get_mut(&id) {
                        incident.note(
                            now.wall,
                            format!("the page to {name} that did not get through gives way to a new one"),
                        );
                    }
                }
                rows.push(row);
            }
        }
        rows
    }

    /// A row about an incident.
    pub(super) fn row(
        &mut self,
        now: Now,
        incident: u64,
        key: String,
        receiver: &str,
        integration: &Integration,
        notification: Notification,
    ) -> Delivery {
        let id = self.id();
        let group = self.incidents.get(&incident).map(|i| i.group.clone()).unwrap_or_default();
        let topic = format!("i{incident}");
        let row = Delivery::new(now, id, key, &topic, receiver, integration, notification);
        Delivery { group, incident: Some(incident), ..row }
    }

    /// What became of a delivery of an incident.
    pub(super) fn incident_outcome(&mut self, now: Now, id: u64, row: &Delivery, outcome: &Outcome) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let integration = format!("{}/{}/{}", row.receiver, row.kind, row.index);
        let first = row.attempts == 1;
        arrival(incident, row, &integration, now.wall, outcome);
        match outcome {
            Outcome::Delivered => {
                // A summary makes nobody wait for the end.
                if !row.summary {
                    incident.reached.insert(integration.clone());
                }
                let word = match (row.summary, row.is_digest(), row.notification.reason) {
                    (true, ..) => "summary",
                    (_, true, _) => "digest",
                    (_, _, Reason::Page) => "page",
                    _ => "message",
                };
                incident
                    .note(now.wall, format!("{word} delivered to {integration} (attempt {})", row.attempts));
            }
            Outcome::Retry { reason, .. } | Outcome::Unsure { reason } if first => {
                incident.note(now.wall, format!("{integration} did not take it ({reason}): trying again"));
            }
            // The ledger need not know of every attempt.
            Outcome::Retry { .. } | Outcome::Unsure { .. } => return,
            Outcome::Final { reason } => {
                incident.note(now.wall, format!("{integration} will not take it: {reason}"));
            }
        }
        self.dirty.insert(Key::Incident(id));
        if incident.state != State::Triggered {
            return;
        }
        let Some(fate) = incident.deliveries.get_mut(&row.id) else { return };
        *fate = match outcome {
            Outcome::Delivered => Fate::Delivered,
            Outcome::Retry { .. } | Outcome::Unsure { .. } => Fate::Pending,
            Outcome::Final { .. } => Fate::Failed,
        };
        let any = |f: Fate| incident.deliveries.values().any(|d| *d == f);
        if any(Fate::Delivered) {
            incident.early = None;
        } else if incident.is_exhausted() {
            // The loops are done: a failure is no reason to hurry through them again. When nobody could be told at
            // all, somebody will repair the receivers sooner than in hours.
            incident.early = None;
            let soon = now.boot + UNREACHED_MS;
            if !any(Fate::Pending) && incident.reached.is_empty() && incident.due.is_none_or(|due| due > soon)
            {
                incident.due = Some(soon);
                incident.due_limit_ms = UNREACHED_MS;
            }
        } else if !any(Fate::Pending) {
            incident.early = Some(now.boot);
            incident.note(now.wall, "nobody was told by this step: the next one comes at once");
        } else if incident.early.is_none() {
            incident.early = Some(now.boot + EARLY_MS);
        }
    }
}

/// Writes down what became of a page at an integration, beside the notification that it belongs to.
fn arrival(incident: &mut Incident, row: &Delivery, integration: &str, at: Timestamp, outcome: &Outcome) {
    if row.summary || !(row.is_digest() || row.notification.reason == Reason::Page) {
        return;
    }
    let of = |n: &&mut Notified| n.round == row.round && n.step == row.step && n.receiver == row.receiver;
    let Some(notified) = incident.notified.iter_mut().rev().find(of) else { return };
    let known = notified.arrivals.iter().position(|a| a.integration == integration);
    let known = known.unwrap_or_else(|| {
        let integration = integration.to_owned();
        notified.arrivals.push(Arrival { integration, at: None, attempts: 0, error: String::new() });
        notified.arrivals.len() - 1
    });
    let Some(arrival) = notified.arrivals.get_mut(known) else { return };
    arrival.attempts = row.attempts;
    match outcome {
        Outcome::Delivered => {
            arrival.at.get_or_insert(at);
            arrival.error.clear();
        }
        Outcome::Retry { reason, .. } | Outcome::Unsure { reason } | Outcome::Final { reason } => {
            arrival.error.clone_from(reason)
        }
    }
}

/// Does it wait for quiet hours that are over?
fn waited_too(config: &PagingConfig, incident: &Incident, now: Now) -> bool {
    incident.quiet && incident.state == State::Triggered && quiet_for(config, incident, now).is_none()
}

/// Whom a step tells now, each receiver once. Persons are noted as notified in this loop.
fn targets<'a>(
    config: &PagingConfig,
    incident: &mut Incident,
    notify: &'a [Target],
    now: Now,
) -> Vec<Told<'a>> {
    let mut told: Vec<Told<'a>> = Vec::new();
    let mut seen = BTreeSet::new();
    for target in notify {
        let (user, receiver) = match person(config, incident, target, now) {
            _ if matches!(target, Target::Receiver(_)) => {
                let Target::Receiver(receiver) = target else { continue };
                (None, receiver.clone())
            }
            Some(name) => match config.users.get(&name) {
                Some(user) => (Some(name), user.receiver.clone()),
                None => {
                    incident.note(now.wall, format!("{target}: there is no user {name} any more"));
                    continue;
                }
            },
            None => {
                incident.note(now.wall, format!("step {}: nobody for {target}", incident.step + 1));
                continue;
            }
        };
        if let Some(user) = &user
            && !incident.notified_in_loop.contains(user)
        {
            incident.notified_in_loop.push(user.clone());
        }
        if seen.insert(receiver.clone()) {
            told.push(Told { target, user, receiver });
        }
    }
    told
}

/// The person that a target means now.
fn person(config: &PagingConfig, incident: &Incident, target: &Target, now: Now) -> Option<String> {
    let before = |u: &str| incident.notified_in_loop.iter().any(|b| b == u);
    let name = match target {
        Target::Receiver(_) => None,
        Target::User(name) => Some(name.as_str()),
        Target::Next(name) => config.schedules.get(name)?.next(now.wall, before),
        Target::Schedule(name) => {
            let schedule = config.schedules.get(name)?;
            let on_call = schedule.on_call(now.wall)?;
            // Whom a handover has put on call since the loop began, and who was paged before that, is not paged
            // again for it. (A policy that names the same schedule twice means it.)
            let handed_over = schedule.on_call(incident.loop_began) != Some(on_call);
            if before(on_call) && handed_over { schedule.next(now.wall, before) } else { Some(on_call) }
        }
    };
    name.map(str::to_owned)
}
