//! What is known of an incident, as the ledger keeps it and the API shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Alert, Labels, Timestamp};
use crate::paging::config::Policy;

/// History entries that are kept of one incident; the oldest after the first few go.
const MAX_HISTORY: usize = 500;
/// Of those, how many of the beginning always stay.
const KEEP_FIRST: usize = 50;

/// The label of an alert that makes its incident a drill.
pub const DRILL_LABEL: &str = "sideband_drill";
/// How the groups of drills that were started here begin.
pub(super) const DRILL_GROUP: &str = "drill/";

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Somebody is to be reached.
    #[default]
    Triggered,
    /// Somebody has it in hand.
    Acknowledged,
    Resolved,
}

impl State {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// Characters of a comment that are kept.
const MAX_COMMENT: usize = 1000;

/// Who did something, by what way, and what they said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person, as well as it is known.
    pub by: String,
    /// `api`, `link`, `ui`, `pagerduty`, …
    pub via: String,
    /// The address that it came from, when there is one.
    pub from: String,
    /// May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl Actor {
    /// Somebody who says nothing.
    pub fn new(by: impl Into<String>, via: impl Into<String>, from: impl Into<String>) -> Self {
        Self { by: by.into(), via: via.into(), from: from.into(), comment: String::new() }
    }

    /// The same with a comment, of which the first 1000 characters are kept.
    #[must_use]
    pub fn saying(self, comment: &str) -> Self {
        Self { comment: comment.trim().chars().take(MAX_COMMENT).collect(), ..self }
    }

    /// For the history: `ben (api, from ::1): rolling back`.
    pub(super) fn told(&self) -> String {
        let Self { by, via, from, comment } = self;
        let from = if from.is_empty() { String::new() } else { format!(", from {from}") };
        let comment = if comment.is_empty() { String::new() } else { format!(": {comment}") };
        format!("{by} ({via}{from}){comment}")
    }
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub actor: Actor,
    pub at: Timestamp,
    /// The worst severity at that moment, and the alerts that were known.
    pub severity: u32,
    pub alerts: BTreeSet<u64>,
}

/// Was it worth it?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Useful,
    Useless,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Useful => "useful",
            Self::Useless => "useless",
        }
    }
}

/// What a person said of an incident; the last one who says something is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub verdict: Verdict,
    pub actor: Actor,
    pub at: Timestamp,
    pub comment: String,
}

/// What became of a page at one integration of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// As logs name it: receiver, kind, index.
    pub integration: String,
    /// When it was taken; `None` while it was not.
    pub at: Option<Timestamp>,
    pub attempts: u32,
    /// Why the last attempt failed; empty when it was taken.
    pub error: String,
}

/// Somebody, or something, that was notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    #[serde(rename = "loop")]
    pub round: u32,
    pub step: usize,
    /// As the policy names it.
    pub target: String,
    pub user: Option<String>,
    pub receiver: String,
    pub automation: bool,
    pub at: Timestamp,
    /// What is known of the delivery, by integration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrivals: Vec<Arrival>,
}

impl Notified {
    /// When the first of the integrations took it.
    pub fn arrived_at(&self) -> Option<Timestamp> {
        self.arrivals.iter().filter_map(|a| a.at).min()
    }

    /// Whom it went to, for people: the person, or else the target.
    pub fn whom(&self) -> &str {
        self.user.as_deref().unwrap_or(&self.target)
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub what: String,
}

/// What became of one delivery of the step that was fired last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    Pending,
    Delivered,
    Failed,
}

/// An alert as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub generator_url: String,
}

impl From<&Alert> for AlertRecord {
    fn from(a: &Alert) -> Self {
        Self {
            labels: a.labels.to_map(),
            annotations: a.annotations.to_map(),
            starts_at: a.starts_at,
            ends_at: a.ends_at,
            updated_at: a.updated_at,
            generator_url: a.generator_url.clone(),
        }
    }
}

impl From<AlertRecord> for Alert {
    fn from(r: AlertRecord) -> Self {
        Self {
            labels: Labels::from_pairs(r.labels),
            annotations: Labels::from_pairs(r.annotations),
            starts_at: r.starts_at,
            ends_at: r.ends_at,
            updated_at: r.updated_at,
            generator_url: r.generator_url,
        }
    }
}

/// An incident: an alert group under an escalation policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: u64,
    /// The group's key, as Alertmanager writes it.
    pub key: String,
    /// The group that it belongs to.
    pub group: String,
    pub group_labels: BTreeMap<String, String>,
    /// The route's receiver: the name that messages carry.
    pub receiver: String,
    /// The policy as it was when the incident began.
    pub policy: Policy,
    /// How long to wait, after the last loop, before going through the steps again, ms.
    pub repeat_interval_ms: i64,
    pub state: State,
    /// The worst severity so far: its rank and its word.
    pub severity: u32,
    pub severity_name: String,
    pub triggered_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub acknowledged: Option<Acknowledgement>,
    #[serde(default)]
    pub judged: Option<Judged>,
    /// The first acknowledgement, also when it was reopened later.
    #[serde(default)]
    pub first_acknowledged: Option<(Timestamp, String)>,
    /// The loop (from 0) and the step that come next.
    #[serde(rename = "loop")]
    pub round: u32,
    pub step: usize,
    /// When the next step is due, ms; in the ledger by the wall clock, in memory since boot.
    pub due: Option<Timestamp>,
    /// The longest that `due` can be away.
    pub due_limit_ms: i64,
    /// The next step comes earlier than `due`, because this one did not get through.
    pub early: Option<Timestamp>,
    /// Links of loops before this one do not count any more.
    pub links_from: u32,
    /// Persons notified in this loop.
    pub notified_in_loop: Vec<String>,
    pub notified: Vec<Notified>,
    /// The deliveries of the step that was fired last, by outbox row.
    pub deliveries: BTreeMap<u64, Fate>,
    /// Integrations that a page has arrived at.
    pub reached: BTreeSet<String>,
    /// Integrations that may have a page of which nobody knows whether it arrived.
    #[serde(default)]
    pub perhaps_reached: BTreeSet<String>,
    /// When this loop began, by the wall clock.
    #[serde(default)]
    pub loop_began: Timestamp,
    /// The next step waits for the end of the quiet hours.
    #[serde(default)]
    pub quiet: bool,
    /// How often it fired again soon after it was resolved.
    #[serde(default)]
    pub flaps: u32,
    /// Closed by a person while alerts were still firing.
    pub closed_by_hand: bool,
    /// Who closed it.
    #[serde(default)]
    pub closed_by: Option<Actor>,
    pub drill: bool,
    /// The alerts at the last change, at most [`MAX_ALERTS`], and how many there were.
    pub alerts: Vec<AlertRecord>,
    pub alert_count: usize,
    pub history: Vec<Entry>,
}

/// Alerts that an incident keeps of its own.
pub const MAX_ALERTS: usize = 100;

impl Incident {
    /// Adds to the history, which is bounded.
    pub fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(KEEP_FIRST);
        }
        self.history.push(Entry { at, what: what.into() });
    }

    /// When the next step comes.
    pub fn next_at(&self) -> Option<Timestamp> {
        match (self.due, self.early) {
            (Some(due), Some(early)) => Some(due.min(early)),
            (due, _) => due,
        }
    }

    /// Have all loops been gone through since it began, or was reopened?
    pub fn is_exhausted(&self) -> bool {
        self.round.saturating_sub(self.links_from) > self.policy.repeat
    }

    /// Was only an automation told of it?
    pub fn woke_nobody(&self) -> bool {
        self.notified.iter().all(|n| n.automation)
    }

    /// When it last began to need somebody: triggered, or reopened.
    pub fn opened_at(&self) -> Timestamp {
        let reopened = self.history.iter().rev().find(|e| e.what.starts_with("reopened"));
        reopened.map_or(self.triggered_at, |e| e.at)
    }

    pub fn is_open(&self) -> bool {
        self.state != State::Resolved
    }

    /// A drill that was started here (not by an alert from elsewhere): it ends by itself.
    pub fn is_own_drill(&self) -> bool {
        self.drill && self.group.starts_with(DRILL_GROUP)
    }

    /// Was every step of the policy carried out, and taken by every integration that it was sent to? Steps that an
    /// acknowledgement has made needless do not count: whoever acknowledges has seen it.
    pub fn is_delivered(&self) -> bool {
        let seen = self.first_acknowledged.is_some();
        (0..self.policy.steps.len()).all(|step| {
            let mut of_step = self.notified.iter().filter(|n| n.step == step).peekable();
            (of_step.peek().is_some() || seen)
                && of_step
                    .all(|n| (!n.arrivals.is_empty() || seen) && n.arrivals.iter().all(|a| a.at.is_some()))
        })
    }
}
