//! What people do to incidents, and who is told of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::groups::integration_id;
use super::incidents::remember;
use super::outbox::Delivery;
use super::records::Key;
use super::{Engine, Now};
use crate::model::Alert;
use crate::paging::incident::{Acknowledgement, Actor, State};
use crate::paging::notification::Reason;

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("no incident {0}")]
    NotFound(u64),
    #[error("incident {0} is resolved")]
    Resolved(u64),
    #[error("incident {0} was reopened after this page was sent: see the newer one")]
    OutOfDate(u64),
}

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckResult {
    Acknowledged,
    /// It was already: by this person, at that time.
    Already(Acknowledgement),
}

impl Engine {
    /// Somebody has it in hand: nobody else is paged. `round` is the loop that a link was made in.
    ///
    /// # Errors
    /// There is no such incident, it is resolved, or the link is from before it was reopened.
    pub fn acknowledge(
        &mut self,
        now: Now,
        id: u64,
        actor: Actor,
        round: Option<u32>,
    ) -> Result<AckResult, CommandError> {
        let firing: BTreeSet<u64> = self.firing(now, id).iter().map(|a| a.fingerprint().0).collect();
        let incident = self.incidents.get_mut(&id).ok_or(CommandError::NotFound(id))?;
        match incident.state {
            State::Resolved => return Err(CommandError::Resolved(id)),
            _ if round.is_some_and(|r| r < incident.links_from) => return Err(CommandError::OutOfDate(id)),
            State::Acknowledged => {
                if let Some(ack) = &mut incident.acknowledged {
                    let before = ack.clone();
                    let remark = actor.told();
                    if !actor.comment.is_empty()
                        && !incident.history.iter().any(|e| e.what.ends_with(&remark))
                    {
                        if ack.actor.by == actor.by {
                            ack.actor.comment = actor.comment;
                        }
                        incident.note(now.wall, format!("comment by {remark}"));
                        self.dirty.insert(Key::Incident(id));
                    }
                    return Ok(AckResult::Already(before));
                }
            }
            State::Triggered => {}
        }
        incident.note(now.wall, format!("acknowledged by {}", actor.told()));
        incident.first_acknowledged.get_or_insert((now.wall, actor.by.clone()));
        incident.acknowledged =
            Some(Acknowledgement { actor, at: now.wall, severity: incident.severity, alerts: firing });
        incident.state = State::Acknowledged;
        incident.early = None;
        incident.due = incident.policy.unack_after_ms.map(|ms| now.boot + ms);
        incident.due_limit_ms = incident.policy.unack_after_ms.unwrap_or_default();
        self.dirty.insert(Key::Incident(id));
        self.tallies.incidents_acknowledged += 1;
        self.cancel_pages(now, id);
        self.tell(now, id, Reason::Acknowledged);
        self.tick(now);
        Ok(AckResult::Acknowledged)
    }

    /// Closes an incident by hand; while its alerts still fire, it is not opened again unless they become worse.
    ///
    /// # Errors
    /// There is no such incident, or it is resolved.
    pub fn resolve(&mut self, now: Now, id: u64, actor: &Actor) -> Result<(), CommandError> {
        let incident = self.incidents.get_mut(&id).ok_or(CommandError::NotFound(id))?;
        if !incident.is_open() {
            return Err(CommandError::Resolved(id));
        }
        incident.closed_by_hand = true;
        incident.closed_by = Some(actor.clone());
        let why = format!("by {}", actor.told());
        self.resolve_incident(now, id, &why);
        self.tick(now);
        Ok(())
    }

    pub(super) fn resolve_incident(&mut self, now: Now, id: u64, why: &str) {
        self.end_drill(now, id);
        let Some(incident) = self.incidents.get(&id).filter(|i| i.is_open()) else {
            // Closed by hand before, and now it is really over.
            self.unlink(id);
            return;
        };
        let group = incident.group.clone();
        let all = self.group_alerts(&group);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        if !all.is_empty() {
            remember(incident, &all);
        }
        incident.note(now.wall, format!("resolved: {why}"));
        if incident.woke_nobody() && incident.notified.iter().any(|n| n.automation) {
            incident.note(now.wall, "it repaired itself: an automation ran, and nobody was woken");
        }
        incident.state = State::Resolved;
        incident.resolved_at = Some(now.wall);
        incident.due = None;
        incident.early = None;
        let by_hand = incident.closed_by_hand;
        self.dirty.insert(Key::Incident(id));
        self.tallies.incidents_resolved += 1;
        self.cancel_pages(now, id);
        self.tell(now, id, Reason::Resolved);
        if !by_hand || all.iter().all(|a| a.resolved_at(now.wall)) {
            self.unlink(id);
        }
        self.settle(now, &group);
    }

    fn unlink(&mut self, id: u64) {
        for group in self.groups.values_mut().filter(|g| g.incident == Some(id)) {
            group.incident = None;
            self.dirty.insert(Key::Group(group.id.clone()));
        }
    }

    fn firing(&self, now: Now, id: u64) -> Vec<Arc<Alert>> {
        let group = self.incidents.get(&id).map(|i| i.group.clone()).unwrap_or_default();
        self.group_alerts(&group).into_iter().filter(|a| !a.resolved_at(now.wall)).collect()
    }

    fn cancel_pages(&mut self, now: Now, id: u64) {
        let page = |d: &&Delivery| d.incident == Some(id) && d.notification.reason == Reason::Page;
        let rows: Vec<u64> = self.outbox.of_incident(id).filter(page).map(|d| d.id).collect();
        for row in rows {
            self.abandon(row);
        }
        // A digest goes as long as anything in it is still to be taken.
        let wanted = |i: &u64| self.incidents.get(i).is_some_and(|i| i.state == State::Triggered);
        let idle = |d: &&Delivery| d.is_digest() && !d.incidents.iter().any(wanted);
        let rows: Vec<u64> = self.outbox.of_incident(id).filter(idle).map(|d| d.id).collect();
        for row in rows {
            self.abandon(row);
        }
        // What is left of the others tells no more of this one, unless somebody may have it already.
        let waits = |d: &&Delivery| d.is_digest() && !d.in_flight && !d.doubtful;
        let rows: Vec<u64> = self.outbox.of_incident(id).filter(waits).map(|d| d.id).collect();
        for row in rows {
            self.shorten_digest(now, row);
        }
    }

    /// Tells everybody who has been paged what became of it: that it is over, and, to those who keep a state of
    /// their own, that it was acknowledged.
    fn tell(&mut self, now: Now, id: u64, reason: Reason) {
        let config = Arc::clone(&self.config);
        let Some(incident) = self.incidents.get(&id) else { return };
        let round = incident.round;
        // What is on its way now will have arrived.
        let under_way: Vec<String> = self
            .outbox
            .of_incident(id)
            .filter(|d| d.incident == Some(id) && d.in_flight && d.notification.reason == Reason::Page)
            .map(|d| format!("{}/{}/{}", d.receiver, d.kind, d.index))
            .collect();
        let mut reached = incident.reached.clone();
        reached.extend(under_way);
        // Better told of the end of something unheard of than left with something that has no end.
        reached.extend(incident.perhaps_reached.iter().cloned());
        let base = self.notification(now, id, None, reason);
        let Some(base) = base else { return };
        for receiver in config.receivers.values() {
            for integration in &receiver.integrations {
                let name = integration_id(&receiver.name, integration);
                let wanted = match reason {
                    Reason::Acknowledged => integration.follows_acknowledgements(),
                    _ => integration.send_resolved,
                };
                if !wanted || !reached.contains(&name) {
                    continue;
                }
                let word = if reason == Reason::Resolved { "resolved" } else { "acknowledged" };
                let key = format!(
                    "{}-i{id}-{word}-{}-{}-{}{}",
                    self.instance, self.next_id, receiver.name, integration.kind, integration.index
                );
                let row = self.row(now, id, key, &receiver.name, integration, base.clone());
                self.push(Delivery { round, ..row });
            }
        }
    }
}
