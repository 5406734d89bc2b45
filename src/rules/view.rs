//! Groups, rules and alerts in the JSON shape of Prometheus's `/api/v1/rules` and `/api/v1/alerts`.

use serde::Serialize;

use crate::model::{Labels, Timestamp, format_float};
use crate::template::Time;

use super::alerts::{ActiveAlert, AlertState};
use super::budget::{Level, Policy};
use super::file::{RuleKind, RuleSpec, SigmaSpec};
use super::gate::{Gate, GateState};
use super::group::{Group, Health, Rule};
use super::pages::{EXPLAINED_MS, PageHistory, Tally};

/// A group of `/api/v1/rules`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    pub name: String,
    pub file: String,
    pub rules: Vec<RuleView>,
    /// s.
    pub interval: f64,
    pub limit: usize,
    /// s.
    pub evaluation_time: f64,
    pub last_evaluation: String,
}

/// A rule of `/api/v1/rules`; what a kind does not have is left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    pub name: String,
    pub query: String,
    /// `for`, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<f64>,
    /// As written.
    pub labels: Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Vec<AlertView>>,
    /// Only of sigma rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bands: Option<Vec<BandView>>,
    /// Only of sigma rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<SeriesView>>,
    /// Only of sigma rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordView>,
    /// Only of sigma rules with a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_budget: Option<BudgetView>,
    /// Only of sigma rules that a reload changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateView>,
    pub health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// s.
    pub evaluation_time: f64,
    pub last_evaluation: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// An alert of both pages.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    pub labels: Labels,
    pub annotations: Labels,
    pub state: &'static str,
    pub active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<String>,
    /// With an exponent, as Prometheus prints it.
    pub value: String,
}

/// A band of a sigma rule.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BandView {
    pub sigma: f64,
    /// s.
    #[serde(rename = "for")]
    pub hold: f64,
    pub labels: Labels,
}

/// What a sigma rule's pages were worth.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    /// One sentence.
    pub text: String,
    pub last_30d: TallyView,
    /// Since the rule is known.
    pub all: TallyView,
    pub last_page_at: Option<String>,
}

/// Pages by what people said of them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyView {
    pub pages: u64,
    pub useful: u64,
    pub useless: u64,
    pub unjudged: u64,
    /// The chance that a coin does as well on the judged pages.
    pub coin_p_value: f64,
    /// That chance is below 5 %.
    pub better_than_coin: bool,
}

impl From<Tally> for TallyView {
    fn from(t: Tally) -> Self {
        let p = t.p_value();
        Self {
            pages: t.pages,
            useful: t.useful,
            useless: t.useless,
            unjudged: t.unjudged(),
            coin_p_value: p,
            better_than_coin: p < 0.05,
        }
    }
}

/// How a sigma rule stands with its budget of pages.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetView {
    pub pages: u32,
    /// s.
    pub per: f64,
    pub used: usize,
    /// `open`, `widened` or `spent`.
    pub state: &'static str,
    /// The paging bands are wider by this.
    pub factor: f64,
    /// From which distance on the lowest paging band pages, σ; `null` when no band pages.
    pub pages_from: Option<f64>,
}

/// What the replay of a changed rule found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// `replaying`, `kept`, `over` or `unknown`.
    pub state: GateState,
    /// What pages is a ticket for now.
    pub holds: bool,
    /// Days of history that were replayed.
    pub days: Option<f64>,
    /// Pages in 30 days that the bands ask for.
    pub pages_per_month: Option<f64>,
    pub budget: Option<String>,
}

impl From<&Gate> for GateView {
    fn from(gate: &Gate) -> Self {
        let finding = gate.finding.as_ref();
        Self {
            state: gate.state,
            holds: gate.holds(),
            days: finding.map(|f| f.days),
            pages_per_month: finding.map(|f| f.pages_per_month),
            budget: finding.and_then(|f| f.budget.clone()),
        }
    }
}

/// A series of a sigma rule. Numbers that are not known yet are `null`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeriesView {
    pub labels: Labels,
    pub value: Option<f64>,
    pub center: Option<f64>,
    pub stddev: Option<f64>,
    pub zscore: Option<f64>,
    pub ready: bool,
    pub frozen: bool,
    pub samples: u64,
}

/// Which rules are wanted.
#[derive(Debug, Clone, Default)]
pub struct RuleFilter {
    /// `type=alert` or `type=record` of the API, or `sigma`.
    pub kind: Option<RuleType>,
    /// Only these; empty: all.
    pub rule_names: Vec<String>,
    pub group_names: Vec<String>,
    pub files: Vec<String>,
    pub exclude_alerts: bool,
}

/// The kinds of rules that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleType {
    Recording,
    Alerting,
    Sigma,
}

impl RuleFilter {
    fn group(&self, group: &Group) -> bool {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        among(&self.group_names, &group.spec.name)
            && among(&self.files, &group.spec.file.display().to_string())
    }

    fn rule(&self, rule: &Rule) -> bool {
        let kind = match rule.spec.kind {
            RuleKind::Recording => RuleType::Recording,
            RuleKind::Alerting(_) => RuleType::Alerting,
            RuleKind::Sigma(_) => RuleType::Sigma,
        };
        self.kind.is_none_or(|k| k == kind)
            && (self.rule_names.is_empty() || self.rule_names.contains(&rule.spec.name))
    }
}

/// RFC 3339; Go's zero time when it never was.
fn time(t: Option<Timestamp>) -> String {
    t.map_or_else(Time::zero, Time::from_ms).format("2006-01-02T15:04:05.999999999Z07:00")
}

/// As Go's `FormatFloat(v, 'e', -1, 64)`.
fn with_exponent(v: f64) -> String {
    if !v.is_finite() {
        return format_float(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn alert(alert: &ActiveAlert) -> AlertView {
    AlertView {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        state: alert.state.as_str(),
        active_at: time(Some(alert.active_at)),
        keep_firing_since: alert.keep_firing_since.map(|t| time(Some(t))),
        value: with_exponent(alert.value),
    }
}

/// The groups with the rules that pass; a group of which no rule passes is left out, unless all is asked for.
pub fn groups<'a>(groups: impl Iterator<Item = &'a Group>, filter: &RuleFilter) -> Vec<GroupView> {
    let asks = filter.kind.is_some() || !filter.rule_names.is_empty();
    let views = groups.filter(|g| filter.group(g)).map(|group| {
        let times = group.times();
        GroupView {
            name: group.spec.name.clone(),
            file: group.spec.file.display().to_string(),
            rules: group.rules.iter().filter(|r| filter.rule(r)).map(|r| rule(r, filter)).collect(),
            interval: group.interval_ms as f64 / 1000.0,
            limit: group.spec.limit,
            evaluation_time: times.outcome.duration_s,
            last_evaluation: time(times.last),
        }
    });
    views.filter(|g| !asks || !g.rules.is_empty()).collect()
}

fn rule(rule: &Rule, filter: &RuleFilter) -> RuleView {
    let spec = &rule.spec;
    let state = rule.state();
    let alerting = !matches!(spec.kind, RuleKind::Recording);
    let (health, last_error) = match &state.health {
        Health::Unknown => ("unknown", None),
        Health::Ok => ("ok", None),
        Health::Err(reason) => ("err", Some(reason.clone())),
    };
    let mut view = RuleView {
        state: alerting.then(|| state.book.state().as_str()),
        name: spec.name.clone(),
        query: spec.expr.to_string(),
        duration: None,
        keep_firing_for: None,
        labels: spec.labels.clone(),
        annotations: alerting.then(|| spec.annotations()),
        alerts: (alerting && !filter.exclude_alerts)
            .then(|| state.book.active().into_iter().map(alert).collect()),
        bands: None,
        series: None,
        record: None,
        page_budget: None,
        gate: None,
        health,
        last_error,
        evaluation_time: state.duration_s,
        last_evaluation: time(state.evaluated_at),
        kind: spec.type_name(),
    };
    match &spec.kind {
        RuleKind::Recording => {}
        RuleKind::Alerting(a) => {
            view.duration = Some(a.hold.as_secs_f64());
            view.keep_firing_for = Some(a.keep_firing_for.as_secs_f64());
        }
        RuleKind::Sigma(s) => {
            let config = s.detector.config();
            view.keep_firing_for = Some(config.keep_firing_for.as_secs_f64());
            let bands = config.bands.iter().zip(&s.bands);
            let bands = bands.map(|(band, labels)| BandView {
                sigma: band.sigma,
                hold: band.for_.as_secs_f64(),
                labels: labels.clone(),
            });
            view.bands = Some(bands.collect());
            view.series = Some(series(&state.sigma));
            let now = state.evaluated_at.unwrap_or_default();
            view.record = Some(record(&state.sigma.pages, now));
            view.gate = state.sigma.gate.as_ref().map(GateView::from);
            view.page_budget = budget(spec, s, &state.sigma.pages, now);
        }
    }
    view
}

fn record(pages: &PageHistory, now: Timestamp) -> RecordView {
    RecordView {
        text: pages.sentence(now),
        last_30d: pages.tally(now, EXPLAINED_MS).into(),
        all: pages.tally_all().into(),
        last_page_at: pages.last().map(|p| time(Some(p.t))),
    }
}

fn budget(rule: &RuleSpec, spec: &SigmaSpec, pages: &PageHistory, now: Timestamp) -> Option<BudgetView> {
    let policy = Policy::of(rule, spec);
    let budget = policy.budget?;
    let level = Level::of(&policy, pages, now);
    Some(BudgetView {
        pages: budget.pages,
        per: budget.per.as_secs_f64(),
        used: pages.used(budget, now),
        state: match level {
            Level { spent: true, .. } => "spent",
            Level { factor, .. } if factor >= 1.05 => "widened",
            _ => "open",
        },
        factor: level.factor,
        pages_from: Some(level.from(policy.lowest())).filter(|v| v.is_finite()),
    })
}

/// The most series of one rule that a page shows.
const SHOWN: usize = 1000;

fn series(state: &super::sigma_rule::SigmaState) -> Vec<SeriesView> {
    let known = |v: f64| Some(v).filter(|v| v.is_finite());
    let mut series: Vec<SeriesView> = state
        .series
        .iter()
        .filter_map(|(labels, series)| {
            let j = series.last?.judgement;
            Some(SeriesView {
                labels: labels.clone(),
                value: known(j.value),
                center: known(j.center),
                stddev: known(j.stddev),
                zscore: known(j.zscore),
                ready: j.ready,
                frozen: j.frozen,
                samples: j.samples,
            })
        })
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series.truncate(SHOWN);
    series
}

/// Everything that is pending or firing.
pub(super) fn alerts<'a>(groups: impl Iterator<Item = &'a Group>) -> Vec<AlertView> {
    let mut views = Vec::new();
    for rule in groups.flat_map(|g| &g.rules) {
        let state = rule.state();
        if state.book.state() != AlertState::Inactive {
            views.extend(state.book.active().into_iter().map(alert));
        }
    }
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_times_are_those_of_prometheus() {
        for (v, text) in [
            (1.0, "1e+00"),
            (0.0, "0e+00"),
            (1234.5, "1.2345e+03"),
            (0.00012, "1.2e-04"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(with_exponent(v), text);
        }
        assert_eq!(time(None), "0001-01-01T00:00:00Z");
        assert_eq!(time(Some(1_500)), "1970-01-01T00:00:01.5Z");
    }
}
