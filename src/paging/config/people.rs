//! Users, escalation policies and what else is ours in the file, checked and resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{
    AcknowledgeConfig, File, HeartbeatConfig, HistoryConfig, PolicyConfig, QuietConfig, StepConfig,
};
use crate::model::yaml::{FileError, Spanned};
use crate::model::{Duration, Secret, tree};
use crate::net::http::HttpClientConfig;
use crate::paging::schedule::Schedule;

/// How long somebody has to acknowledge when the step does not say.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(300);
const MAX_STEPS: usize = 64;
const MAX_TARGETS: usize = 32;
/// Pages in an hour when the file does not say.
const PAGES_PER_HOUR: u32 = 20;
/// Bytes of history that are kept at least.
const MIN_HISTORY: u64 = 1 << 20;
/// What fires again within this reopens its incident, when the policy does not say.
const FLAP_WINDOW: Duration = Duration::from_secs(900);

/// Somebody who can be paged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub receiver: String,
    /// Pages in an hour before further ones are summed up; 0: no limit.
    pub pages_per_hour: u32,
}

/// Whom a step notifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    User(String),
    Receiver(String),
    /// Who is on call at that moment.
    Schedule(String),
    /// Who comes after that, and was not yet notified in this loop.
    Next(String),
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let target = match kind {
            "user" => Self::User(name.to_owned()),
            "receiver" => Self::Receiver(name.to_owned()),
            "schedule" => match name.strip_suffix(":next") {
                Some(name) => Self::Next(name.to_owned()),
                None => Self::Schedule(name.to_owned()),
            },
            _ => return None,
        };
        (!name.is_empty()).then_some(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user/{name}"),
            Self::Receiver(name) => write!(f, "receiver/{name}"),
            Self::Schedule(name) => write!(f, "schedule/{name}"),
            Self::Next(name) => write!(f, "schedule/{name}:next"),
        }
    }
}

/// One step of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub notify: Vec<Target>,
    /// Milliseconds until the next step when nobody acknowledges (or the automation has not helped).
    pub timeout_ms: i64,
    pub automation: bool,
}

/// What brings an acknowledged incident back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReopenOn {
    /// An alert fires that is more severe than any at the acknowledgement.
    SeverityIncrease,
    /// An alert fires that was not in the incident at the acknowledgement.
    NewAlert,
}

/// Who is notified in which order. Incidents keep the policy that they began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub steps: Vec<Step>,
    pub repeat: u32,
    pub reopen_on: Vec<ReopenOn>,
    pub unack_after_ms: Option<i64>,
    #[serde(default)]
    pub quiet_hours: Option<QuietHours>,
    /// What fires again so soon after its incident was resolved (ms) reopens that incident.
    #[serde(default)]
    pub flap_window_ms: i64,
}

/// When incidents of some severities wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    pub severities: Vec<String>,
    /// Names of time intervals: quiet within any of them …
    pub during: Vec<String>,
    /// … and whenever none of these holds.
    pub outside: Vec<String>,
}

/// How long resolved incidents are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub time_ms: i64,
    /// Bytes of records.
    pub size: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { time_ms: 400 * 86_400_000, size: 64 << 20 }
    }
}

/// The order of severities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severities(BTreeMap<String, u32>);

impl Default for Severities {
    fn default() -> Self {
        Self::from_list(&["info|none", "ticket|warning", "page|critical|error|emergency"])
    }
}

impl Severities {
    fn from_list<T: AsRef<str>>(list: &[T]) -> Self {
        let ranked = (1..).zip(list);
        Self(tree(
            ranked.flat_map(|(rank, names)| {
                names.as_ref().split('|').map(move |n| (n.trim().to_owned(), rank))
            }),
        ))
    }

    /// The rank of a severity, larger is worse; 0 when it has none.
    pub fn rank(&self, severity: &str) -> u32 {
        self.0.get(severity).copied().unwrap_or_default()
    }

    /// Is nothing more severe than this?
    fn is_worst(&self, severity: &str) -> bool {
        self.0.get(severity).is_some_and(|rank| Some(rank) == self.0.values().max())
    }
}

/// Where to say regularly that sideband lives.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub url: Option<Secret>,
    pub url_file: Option<PathBuf>,
    pub interval: Duration,
    pub http: HttpClientConfig,
}

/// How people acknowledge from a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AckSettings {
    /// Without a slash at the end.
    pub external_url: Option<String>,
    pub key_file: Option<PathBuf>,
    pub expires: Duration,
}

/// Everything of ours that refers to each other.
pub(super) struct People {
    pub users: BTreeMap<String, User>,
    pub schedules: BTreeMap<String, Schedule>,
    pub policies: BTreeMap<String, Policy>,
}

/// Notes an error at a place.
type Errors<'a> = &'a mut dyn FnMut(&Spanned<String>, String);

/// Checks names and references.
pub(super) fn people(
    file: &File,
    receivers: &BTreeSet<String>,
    intervals: &BTreeMap<String, Vec<crate::paging::time_interval::TimeInterval>>,
    error: Errors<'_>,
) -> People {
    let mut users = BTreeMap::new();
    for u in &file.users {
        if !receivers.contains(&u.receiver.value) {
            error(&u.receiver, format!("user {:?}: no receiver {:?}", u.name.value, u.receiver.value));
        }
        let user = User {
            name: u.name.value.clone(),
            receiver: u.receiver.value.clone(),
            pages_per_hour: u.pages_per_hour.or(file.pages_per_hour).unwrap_or(PAGES_PER_HOUR),
        };
        if users.insert(u.name.value.clone(), user).is_some() {
            error(&u.name, format!("user {:?} is not unique", u.name.value));
        }
    }
    let mut schedules = BTreeMap::new();
    for s in &file.on_call_schedules {
        match Schedule::from_config(s, &users, intervals) {
            Ok(schedule) => {
                if schedules.insert(s.name.value.clone(), schedule).is_some() {
                    error(&s.name, format!("on-call schedule {:?} is not unique", s.name.value));
                }
            }
            Err((place, why)) => error(place, format!("on-call schedule {:?}: {why}", s.name.value)),
        }
    }
    let mut policies = BTreeMap::new();
    for p in &file.escalation_policies {
        let mut policy = policy(p, receivers, &users, &schedules, error);
        policy.quiet_hours = p.quiet_hours.as_ref().map(|q| quiet(q, &p.name, intervals, file, error));
        if policies.insert(p.name.value.clone(), policy).is_some() {
            error(&p.name, format!("escalation policy {:?} is not unique", p.name.value));
        }
    }
    People { users, schedules, policies }
}

fn policy(
    p: &PolicyConfig,
    receivers: &BTreeSet<String>,
    users: &BTreeMap<String, User>,
    schedules: &BTreeMap<String, Schedule>,
    error: Errors<'_>,
) -> Policy {
    let name = &p.name.value;
    if p.steps.is_empty() || p.steps.len() > MAX_STEPS {
        error(&p.name, format!("escalation policy {name:?} has {} steps: 1 to {MAX_STEPS}", p.steps.len()));
    }
    let mut steps = Vec::new();
    for step in &p.steps {
        let mut notify = Vec::new();
        if step.notify.is_empty() || step.notify.len() > MAX_TARGETS {
            error(&p.name, format!("escalation policy {name:?}: a step notifies 1 to {MAX_TARGETS} targets"));
        }
        for text in &step.notify {
            let Some(target) = Target::parse(&text.value) else {
                error(
                    text,
                    format!(
                        "{:?} is no user/NAME, receiver/NAME, schedule/NAME or schedule/NAME:next",
                        text.value
                    ),
                );
                continue;
            };
            match &target {
                Target::User(_) | Target::Schedule(_) | Target::Next(_) if automation(step) => {
                    error(text, format!("an automation is a receiver, not a person: {:?}", text.value));
                }
                Target::User(n) if !users.contains_key(n) => error(text, format!("no user {n:?}")),
                Target::Receiver(n) if !receivers.contains(n) => error(text, format!("no receiver {n:?}")),
                Target::Schedule(n) | Target::Next(n) if !schedules.contains_key(n) => {
                    // A schedule with an error of its own has been reported.
                    error(text, format!("no on-call schedule {n:?} (or it has errors)"));
                }
                Target::Next(n) if schedules.get(n).is_some_and(|s| s.people().len() < 2) => error(
                    text,
                    format!("on-call schedule {n:?} has one person only: there is nobody else for :next"),
                ),
                _ => {}
            }
            notify.push(target);
        }
        steps.push(Step { notify, timeout_ms: timeout(step, error, &p.name), automation: automation(step) });
    }
    if !steps.is_empty() && steps.iter().all(|s| s.automation) {
        error(&p.name, format!("escalation policy {name:?} wakes nobody: every step is an automation"));
    }
    let mut reopen_on = Vec::new();
    match &p.reopen_on {
        None => reopen_on.push(ReopenOn::SeverityIncrease),
        Some(words) => {
            for word in words {
                match word.value.as_str() {
                    "severity_increase" => reopen_on.push(ReopenOn::SeverityIncrease),
                    "new_alert" => reopen_on.push(ReopenOn::NewAlert),
                    other => {
                        error(word, format!("reopen_on: {other:?} is no severity_increase or new_alert"))
                    }
                }
            }
        }
    }
    Policy {
        name: name.clone(),
        steps,
        repeat: p.repeat.unwrap_or_default(),
        reopen_on,
        unack_after_ms: p.unack_after.map(Duration::ms),
        quiet_hours: None,
        flap_window_ms: p.flap_window.unwrap_or(FLAP_WINDOW).ms(),
    }
}

fn quiet(
    q: &QuietConfig,
    policy: &Spanned<String>,
    intervals: &BTreeMap<String, Vec<crate::paging::time_interval::TimeInterval>>,
    file: &File,
    error: Errors<'_>,
) -> QuietHours {
    let order = severities(file);
    for severity in &q.severities {
        let name = &severity.value;
        if order.rank(name) == 0 {
            error(severity, format!("quiet_hours: {name:?} is none of the severities"));
        } else if order.is_worst(name) {
            error(severity, format!("quiet_hours: {name:?} is the worst severity, and never waits"));
        }
    }
    let mut named = |list: &Option<Vec<Spanned<String>>>| -> Vec<String> {
        let list = list.as_deref().unwrap_or_default();
        for name in list.iter().filter(|n| !intervals.contains_key(&n.value)) {
            error(name, format!("quiet_hours: no time interval {:?}", name.value));
        }
        list.iter().map(|n| n.value.clone()).collect()
    };
    let (during, outside) = (named(&q.during), named(&q.outside));
    if q.severities.is_empty() || (during.is_empty() && outside.is_empty()) {
        error(
            policy,
            format!(
                "escalation policy {:?}: quiet_hours needs severities, and time intervals under during or outside",
                policy.value
            ),
        );
    }
    QuietHours { severities: q.severities.iter().map(|s| s.value.clone()).collect(), during, outside }
}

pub(super) fn history(path: &Path, c: &HistoryConfig) -> Result<History, FileError> {
    let mut history = History::default();
    if let Some(time) = &c.time {
        if time.value.is_zero() {
            return Err(FileError::at(path, time, "history: the time must be more than 0"));
        }
        history.time_ms = time.value.ms();
    }
    if let Some(size) = &c.size {
        history.size = crate::model::parse_size(&size.value)
            .map_err(|e| FileError::at(path, size, format!("history: {e}")))?;
        if history.size < MIN_HISTORY {
            return Err(FileError::at(path, size, "history: at least 1MB"));
        }
    }
    Ok(history)
}

fn automation(step: &StepConfig) -> bool {
    step.automation.is_some_and(|b| b.0)
}

fn timeout(step: &StepConfig, error: Errors<'_>, name: &Spanned<String>) -> i64 {
    let own = match (automation(step), &step.timeout, &step.ack_timeout) {
        (true, Some(own), None) | (_, None, Some(own)) => Some(own.value),
        (_, None, None) => None,
        (_, Some(_), _) => {
            error(
                name,
                "`timeout` belongs to a step with `automation: true`, alone; others have ack_timeout"
                    .to_owned(),
            );
            None
        }
    };
    if own.is_some_and(Duration::is_zero) {
        error(name, "ack_timeout must be more than 0".to_owned());
    }
    own.unwrap_or(ACK_TIMEOUT).ms()
}

pub(super) fn severities(file: &File) -> Severities {
    file.severities.as_deref().map_or_else(Severities::default, Severities::from_list)
}

pub(super) fn heartbeat(
    path: &Path,
    config: &Spanned<HeartbeatConfig>,
    base: &Path,
    global: Option<&HttpClientConfig>,
) -> Result<Heartbeat, FileError> {
    let c = &config.value;
    let bad = |why: &str| FileError::at(path, config, format!("heartbeat: {why}"));
    match (&c.url, &c.url_file) {
        (None, None) => return Err(bad("one of url or url_file must be configured")),
        (Some(_), Some(_)) => return Err(bad("at most one of url & url_file must be configured")),
        _ => {}
    }
    let interval = c.interval.unwrap_or(Duration::from_secs(60));
    if interval.ms() < 1000 {
        return Err(bad("the interval is less than 1s"));
    }
    let http = c.http_config.clone().or_else(|| global.cloned()).unwrap_or_default();
    http.validate().map_err(|e| bad(&e))?;
    Ok(Heartbeat {
        url: c.url.as_ref().map(|u| u.0.clone()),
        url_file: c.url_file.as_ref().map(|f| base.join(f)),
        interval,
        http,
    })
}

pub(super) fn acknowledge(path: &Path, c: &AcknowledgeConfig, base: &Path) -> Result<AckSettings, FileError> {
    let expires = c.expires.unwrap_or(Duration::from_secs(24 * 3600));
    if let (Some(key), true) = (&c.key_file, expires.is_zero()) {
        return Err(FileError::at(path, key, "acknowledge: expires must be more than 0"));
    }
    Ok(AckSettings {
        external_url: c.external_url.as_ref().map(|u| u.value.0.trim_end_matches('/').to_owned()),
        key_file: c.key_file.as_ref().map(|f| base.join(&f.value)),
        expires,
    })
}
