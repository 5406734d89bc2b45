//! What the web room shows of rooms it does not know by type: small traits, implemented where the parts are wired.
//!
//! The views serialise into the JSON of Prometheus's API, where it has them.

use std::future::Future;
use std::pin::Pin;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::{Labels, Timestamp};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The rule groups as they stand.
pub trait RulesView: Send + Sync {
    /// Every group, in the order of files and groups.
    fn groups(&self) -> Vec<RuleGroupView>;

    /// What a person says of a sigma rule. May read much history; called on threads that may block.
    fn feedback(&self, said: &RuleFeedback) -> Result<FeedbackView, CommandError> {
        Err(CommandError::NotFound(format!("no sigma rule {:?}", said.rule)))
    }
}

/// Was a page worth it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Useful,
    Useless,
}

/// What a time says of what is normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Nothing in it is: it is taken out of what was learnt.
    Incident,
    /// It is, from now on.
    NewNormal,
}

/// What a person says of a sigma rule.
#[derive(Debug, Clone)]
pub struct RuleFeedback {
    /// In this group; in all without one.
    pub group: Option<String>,
    pub rule: String,
    /// Of this series; of all without one.
    pub series: Option<Labels>,
    pub baseline: Baseline,
    /// The interval, ms.
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What a person says of an incident. Says at least one of `verdict` and `baseline`.
#[derive(Debug, Clone, Default)]
pub struct IncidentFeedback {
    pub verdict: Option<Verdict>,
    pub baseline: Option<Baseline>,
    /// The interval, ms; that of the alerts when it is not said.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub by: String,
    /// The address that it came from.
    pub address: String,
    pub comment: String,
}

/// What became of what a person said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FeedbackView {
    /// Sigma rules that it concerns.
    pub rules: usize,
    /// Pages of theirs that were judged.
    pub pages: usize,
    /// Baselines that changed.
    pub baselines: usize,
    /// What could not be done, and why.
    pub notes: Vec<String>,
}

/// A rule group.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleGroupView {
    pub name: String,
    pub file: String,
    pub rules: Vec<RuleView>,
    /// Seconds.
    pub interval: f64,
    pub limit: u64,
    /// Seconds of the last evaluation.
    pub evaluation_time: f64,
    /// 0 when there was none.
    #[serde(serialize_with = "time")]
    pub last_evaluation: Timestamp,
}

/// What kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuleKind {
    #[default]
    Recording,
    Alerting,
    /// An alerting rule to API clients.
    Sigma,
}

/// How an alert stands; ordered by how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    #[default]
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// How the last run of a rule or a scrape went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleHealth {
    #[default]
    Unknown,
    #[serde(rename = "ok")]
    Good,
    #[serde(rename = "err")]
    Bad,
}

/// A rule.
#[derive(Debug, Clone, Default)]
pub struct RuleView {
    pub kind: RuleKind,
    pub name: String,
    pub query: String,
    pub labels: Labels,
    pub annotations: Labels,
    /// Seconds: `for`.
    pub duration: f64,
    /// Seconds.
    pub keep_firing_for: f64,
    pub alerts: Vec<AlertView>,
    pub health: RuleHealth,
    pub last_error: String,
    /// Seconds.
    pub evaluation_time: f64,
    pub last_evaluation: Timestamp,
    /// What a sigma rule adds, as JSON; empty for the others.
    pub sigma: Option<serde_json::Value>,
}

impl RuleView {
    /// The worst state of its alerts.
    pub fn state(&self) -> AlertState {
        self.alerts.iter().map(|a| a.state).max().unwrap_or_default()
    }
}

impl Serialize for RuleView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Rule", 16)?;
        let alerting = self.kind != RuleKind::Recording;
        if alerting {
            s.serialize_field("state", &self.state())?;
        }
        s.serialize_field("name", &self.name)?;
        s.serialize_field("query", &self.query)?;
        if alerting {
            s.serialize_field("duration", &self.duration)?;
            s.serialize_field("keepFiringFor", &self.keep_firing_for)?;
        }
        if alerting || !self.labels.is_empty() {
            s.serialize_field("labels", &self.labels)?;
        }
        if alerting {
            s.serialize_field("annotations", &self.annotations)?;
            s.serialize_field("alerts", &self.alerts)?;
        }
        s.serialize_field("health", &self.health)?;
        if !self.last_error.is_empty() {
            s.serialize_field("lastError", &self.last_error)?;
        }
        s.serialize_field("evaluationTime", &self.evaluation_time)?;
        s.serialize_field("lastEvaluation", &TimeText(self.last_evaluation))?;
        s.serialize_field("type", if alerting { "alerting" } else { "recording" })?;
        if let Some(sigma) = &self.sigma {
            s.serialize_field("sigma", sigma)?;
        }
        s.end()
    }
}

/// An active alert.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: Labels,
    pub state: AlertState,
    #[serde(serialize_with = "time")]
    pub active_at: Timestamp,
    #[serde(serialize_with = "time_of_some", skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<Timestamp>,
    #[serde(serialize_with = "scientific")]
    pub value: f64,
}

/// The targets as they stand.
pub trait TargetsView: Send + Sync {
    /// Every target that is scraped.
    fn active(&self) -> Vec<TargetView>;
    /// Targets that relabelling dropped.
    fn dropped(&self) -> Vec<DroppedTargetView>;
}

/// A target that is scraped.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    pub discovered_labels: Labels,
    pub labels: Labels,
    /// The job.
    pub scrape_pool: String,
    pub scrape_url: String,
    pub global_url: String,
    /// Empty when the last scrape was good.
    pub last_error: String,
    #[serde(serialize_with = "time")]
    pub last_scrape: Timestamp,
    /// Seconds.
    pub last_scrape_duration: f64,
    pub health: TargetHealth,
    /// Durations as text.
    pub scrape_interval: String,
    pub scrape_timeout: String,
}

/// Did the last scrape work?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    #[default]
    Unknown,
    Up,
    Down,
}

impl TargetHealth {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTargetView {
    pub discovered_labels: Labels,
    pub scrape_pool: String,
}

/// Incidents: reading them and what a person does about them. Every method may wait for the disk; they are
/// called on threads that may block.
pub trait Incidents: Send + Sync {
    /// Incidents, newest first. Resolved ones only when asked for.
    fn list(&self, resolved_too: bool, limit: usize) -> Result<Vec<IncidentView>, CommandError>;
    /// One incident.
    fn get(&self, id: &str) -> Result<IncidentView, CommandError>;
    /// Somebody takes it over, from an address. Repeating it is harmless.
    fn acknowledge(
        &self,
        id: &str,
        by: &str,
        from: &str,
        comment: &str,
    ) -> Result<IncidentView, CommandError>;
    /// Somebody says that it is over. Repeating it is harmless.
    fn resolve(&self, id: &str, by: &str, from: &str, comment: &str) -> Result<IncidentView, CommandError>;
    /// Somebody says what it was worth, or what it says of what is normal. The last word counts.
    fn judge(&self, id: &str, said: &IncidentFeedback) -> Result<IncidentView, CommandError>;
    /// What a feedback link is about. Changes nothing.
    fn read_judge_token(&self, token: &str) -> Result<TokenView, CommandError>;
    /// Judges by a feedback link.
    fn judge_by_token(&self, token: &str, said: &IncidentFeedback) -> Result<TokenView, CommandError>;
    /// What a signed link is about. Changes nothing.
    fn read_token(&self, token: &str) -> Result<TokenView, CommandError>;
    /// Acknowledges by a signed link.
    fn acknowledge_by_token(&self, token: &str, from: &str) -> Result<TokenView, CommandError>;
}

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense as things stand.
    #[error("{0}")]
    Conflict(String),
    /// A link that is not genuine, or not any more.
    #[error("{0}")]
    BadToken(String),
    #[error("{0}")]
    Failed(String),
}

/// How an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    #[default]
    Triggered,
    Acknowledged,
    Resolved,
}

impl IncidentState {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// An incident.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentView {
    pub id: String,
    pub state: IncidentState,
    /// One line for a person.
    pub title: String,
    /// Empty when the alerts say nothing of it.
    pub severity: String,
    /// The labels that its alerts are grouped by.
    pub group_labels: Labels,
    pub escalation_policy: String,
    /// Counted from 1.
    pub step: u32,
    #[serde(rename = "loop")]
    pub round: u32,
    /// Who was notified, in order.
    pub notified: Vec<String>,
    /// When the next step is due, if one is.
    #[serde(serialize_with = "time_of_some", skip_serializing_if = "Option::is_none")]
    pub next_step_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    pub started_at: Timestamp,
    #[serde(serialize_with = "time_of_some", skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acknowledged_by: String,
    #[serde(serialize_with = "time_of_some", skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// By what way and from which address: `link from 192.0.2.1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acknowledged_via: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resolved_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<JudgedView>,
    /// What became of the feedback of this very request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<FeedbackView>,
    pub alerts: Vec<IncidentAlertView>,
    /// Who was paged, and what became of it, in order.
    pub pages: Vec<PageView>,
    /// What happened, in order.
    pub history: Vec<HistoryView>,
    pub drill: bool,
    /// Every step of the policy was carried out, and taken by everything that it was sent to.
    pub delivered: bool,
}

/// Somebody, or something, that was notified.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageView {
    /// Counted from 1.
    pub step: u32,
    #[serde(rename = "loop")]
    pub round: u32,
    /// As the policy names it.
    pub target: String,
    /// Empty when the target is no person.
    pub user: String,
    pub receiver: String,
    pub automation: bool,
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    /// By integration.
    pub arrivals: Vec<ArrivalView>,
}

/// What became of a page at an integration.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalView {
    pub integration: String,
    /// When it was taken.
    #[serde(serialize_with = "time_of_some", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A line of an incident's history.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HistoryView {
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    pub what: String,
}

/// What a person said of an incident.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JudgedView {
    /// `useful` or `useless`.
    pub verdict: String,
    pub by: String,
    #[serde(serialize_with = "time")]
    pub at: Timestamp,
    pub comment: String,
}

/// An alert of an incident.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentAlertView {
    pub labels: Labels,
    pub annotations: Labels,
    pub firing: bool,
    #[serde(serialize_with = "time")]
    pub starts_at: Timestamp,
    pub generator_url: String,
}

/// What a signed link says.
#[derive(Debug, Clone, Default)]
pub struct TokenView {
    /// Whom the page was sent to.
    pub person: String,
    /// In which step and loop, counted from 1.
    pub step: u32,
    pub round: u32,
    pub incident: IncidentView,
}

/// The process: what it was started with and what can be done to it.
pub trait Lifecycle: Send + Sync {
    /// Reads the configuration anew, all or nothing; the error names file, line and column.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Begins an orderly end.
    fn quit(&self);
    /// Is everything started?
    fn ready(&self) -> bool;
    /// The configuration as it is in force, secrets hidden.
    fn config_yaml(&self) -> String;
    /// Facts about the process.
    fn runtime(&self) -> RuntimeView;
    /// The URLs of the Alertmanagers that alerts are sent to.
    fn alertmanagers(&self) -> (Vec<String>, Vec<String>) {
        Default::default()
    }
}

/// Facts about the process.
#[derive(Debug, Clone, Default)]
pub struct RuntimeView {
    pub started_at: Timestamp,
    pub last_reload_ok: bool,
    pub last_reload_at: Timestamp,
    /// As text: `24h or 64MiB`.
    pub storage_retention: String,
}

/// RFC 3339 in UTC; the zero time of Go when there is none.
pub fn time_text(t: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(t) {
        Ok(at) if t != 0 => at.to_string(),
        _ => "0001-01-01T00:00:00Z".to_owned(),
    }
}

struct TimeText(Timestamp);

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time_text(self.0))
    }
}

fn time<S: Serializer>(t: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    TimeText(*t).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn time_of_some<S: Serializer>(t: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    t.map(TimeText).serialize(serializer)
}

/// As Go prints a float with the verb `e` and the fewest digits: `1.5e+00`.
pub fn scientific_text(v: f64) -> String {
    if !v.is_finite() {
        return crate::model::format_float(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn scientific<S: Serializer>(v: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&scientific_text(*v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (v, expect) in [
            (0.0, "0e+00"),
            (1.5, "1.5e+00"),
            (-120.0, "-1.2e+02"),
            (1e-7, "1e-07"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(scientific_text(v), expect);
        }
        assert_eq!(time_text(1_500), "1970-01-01T00:00:01.5Z");
        assert_eq!(time_text(0), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn rules_have_prometheus_shape() {
        let recording = RuleView { name: "a:b".into(), query: "up".into(), ..RuleView::default() };
        assert_eq!(
            serde_json::to_string(&recording).unwrap(),
            r#"{"name":"a:b","query":"up","health":"unknown","evaluationTime":0.0,"lastEvaluation":"0001-01-01T00:00:00Z","type":"recording"}"#
        );
        let alerting = RuleView {
            kind: RuleKind::Sigma,
            name: "X".into(),
            health: RuleHealth::Good,
            alerts: vec![AlertView {
                state: AlertState::Firing,
                value: 1.0,
                active_at: 1000,
                ..AlertView::default()
            }],
            ..RuleView::default()
        };
        let json = serde_json::to_value(&alerting).unwrap();
        assert_eq!((json["state"].as_str(), json["type"].as_str()), (Some("firing"), Some("alerting")));
        assert_eq!(json["alerts"][0]["value"], "1e+00");
        assert_eq!(json["alerts"][0]["activeAt"], "1970-01-01T00:00:01Z");
    }
}
