//! Groups, rules and alerts in the JSON shape of Prometheus's `/api/v1/rules` and `/api/v1/alerts`.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::model::{GoTime, Labels, Order as _, Timestamp, format_float};

use super::alerts::{ActiveAlert, AlertState};
use super::budget::{Level, Policy};
use super::file::{RuleKind, RuleSpec, SigmaSpec};
use super::gate::{Gate, GateState};
use super::group::{Group, Health, Rule};
use super::pages::{EXPLAINED_MS, PageHistory, Tally};
use super::sigma_rule::SigmaState;

/// A group.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    pub name: String,
    pub file: String,
    pub rules: Vec<RuleView>,
    /// s.
    pub interval: f64,
    pub limit: usize,
    /// Of the last evaluation, s.
    pub evaluation_time: f64,
    /// ms; 0 when there was none.
    #[serde(serialize_with = "GoTime::write")]
    pub last_evaluation: Timestamp,
}

/// The kinds of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuleType {
    #[default]
    Recording,
    Alerting,
    /// An alerting rule to clients of the API.
    Sigma,
}

/// A rule.
#[derive(Debug, Clone, Default)]
pub struct RuleView {
    pub kind: RuleType,
    pub name: String,
    pub query: String,
    /// As written.
    pub labels: Labels,
    pub annotations: Labels,
    /// `for`, s.
    pub duration: f64,
    /// s.
    pub keep_firing_for: f64,
    pub alerts: Vec<AlertView>,
    /// Only of sigma rules.
    pub sigma: Option<SigmaView>,
    pub health: Health,
    /// Of the last evaluation, s.
    pub evaluation_time: f64,
    /// ms; 0 when there was none.
    pub last_evaluation: Timestamp,
}

impl RuleView {
    /// The worst state of its alerts.
    pub fn state(&self) -> AlertState {
        self.alerts.iter().map(|a| a.state).max().unwrap_or_default()
    }
}

impl Serialize for RuleView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Rule", 14)?;
        let alerting = self.kind != RuleType::Recording;
        if alerting {
            s.serialize_field("state", self.state().as_str())?;
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
        s.serialize_field("health", self.health.as_str())?;
        if let Some(reason) = self.health.error() {
            s.serialize_field("lastError", reason)?;
        }
        s.serialize_field("evaluationTime", &self.evaluation_time)?;
        s.serialize_field("lastEvaluation", &GoTime::nonzero(self.last_evaluation))?;
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
    /// ms.
    #[serde(serialize_with = "GoTime::write")]
    pub active_at: Timestamp,
    #[serde(serialize_with = "GoTime::write_some", skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<Timestamp>,
    /// With an exponent, as Prometheus prints it.
    #[serde(serialize_with = "with_exponent")]
    pub value: f64,
}

/// What a sigma rule has besides.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SigmaView {
    pub bands: Vec<BandView>,
    pub series: Vec<SeriesView>,
    /// While some series do not know enough to fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningView>,
    pub record: RecordView,
    /// With a budget.
    pub page_budget: Option<BudgetView>,
    /// When a reload changed the rule.
    pub gate: Option<GateView>,
}

/// Series that are cold: nothing of them fires.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LearningView {
    /// How many series there are, and how many of them are ready.
    pub series: usize,
    pub ready: usize,
    /// Until the slowest of the others is ready, about, when samples go on as they should, s.
    pub seconds: f64,
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
    #[serde(serialize_with = "last_page")]
    pub last_page_at: Option<Timestamp>,
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn last_page<S: Serializer>(t: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    t.map(|t| GoTime(Some(t))).serialize(serializer)
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
    /// How far out noise may be of itself, σ, when that is what `pages_from` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
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

/// As Go's `FormatFloat(v, 'e', -1, 64)`.
fn exponent_text(v: f64) -> String {
    if !v.is_finite() {
        return format_float(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn with_exponent<S: Serializer>(v: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&exponent_text(*v))
}

fn alert(alert: &ActiveAlert) -> AlertView {
    AlertView {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        state: alert.state,
        active_at: alert.active_at,
        keep_firing_since: alert.keep_firing_since,
        value: alert.value,
    }
}

/// The groups, in the order of files and groups.
pub fn groups<'a>(groups: impl Iterator<Item = &'a Group>) -> Vec<GroupView> {
    let view = |group: &Group| {
        let times = group.times();
        GroupView {
            name: group.spec.name.clone(),
            file: group.spec.file.display().to_string(),
            rules: group.rules.iter().map(|r| rule(r, group.interval_ms)).collect(),
            interval: group.interval_ms as f64 / 1000.0,
            limit: group.spec.limit,
            evaluation_time: times.outcome.duration_s,
            last_evaluation: times.last.unwrap_or_default(),
        }
    };
    groups.map(view).collect()
}

fn rule(rule: &Rule, interval_ms: i64) -> RuleView {
    let spec = &rule.spec;
    let state = rule.state();
    let mut view = RuleView {
        name: spec.name.clone(),
        query: spec.expr.to_string(),
        labels: spec.labels.clone(),
        annotations: spec.annotations(),
        alerts: state.book.active().into_iter().map(alert).collect(),
        health: state.health.clone(),
        evaluation_time: state.duration_s,
        last_evaluation: state.evaluated_at.unwrap_or_default(),
        ..RuleView::default()
    };
    match &spec.kind {
        RuleKind::Recording => {}
        RuleKind::Alerting(a) => {
            view.kind = RuleType::Alerting;
            view.duration = a.hold.as_secs_f64();
            view.keep_firing_for = a.keep_firing_for.as_secs_f64();
        }
        RuleKind::Sigma(s) => {
            view.kind = RuleType::Sigma;
            view.keep_firing_for = s.detector.config().keep_firing_for.as_secs_f64();
            view.sigma = Some(sigma(spec, s, &state.sigma, view.last_evaluation, interval_ms));
        }
    }
    view
}

fn sigma(
    rule: &RuleSpec,
    spec: &SigmaSpec,
    state: &SigmaState,
    now: Timestamp,
    interval_ms: i64,
) -> SigmaView {
    let bands = spec.detector.config().bands.iter().zip(&spec.bands);
    let band = |(band, labels): (&crate::sigma::Band, &Labels)| BandView {
        sigma: band.sigma,
        hold: band.for_.as_secs_f64(),
        labels: labels.clone(),
    };
    SigmaView {
        bands: bands.map(band).collect(),
        series: series(state),
        learning: learning(spec, state, interval_ms),
        record: record(&state.pages, now),
        page_budget: budget(rule, spec, &state.pages, now),
        gate: state.gate.as_ref().map(GateView::from),
    }
}

fn record(pages: &PageHistory, now: Timestamp) -> RecordView {
    RecordView {
        text: pages.sentence(now),
        last_30d: pages.tally(now, EXPLAINED_MS).into(),
        all: pages.tally_all().into(),
        last_page_at: pages.last().map(|p| p.t),
    }
}

fn budget(rule: &RuleSpec, spec: &SigmaSpec, pages: &PageHistory, now: Timestamp) -> Option<BudgetView> {
    let policy = Policy::of(rule, spec);
    let budget = policy.budget?;
    let level = Level::of(&policy, pages, now);
    let (from, noise) = (level.from(&policy), level.noise.get(policy.first().0).copied().unwrap_or(0.0));
    Some(BudgetView {
        pages: budget.pages,
        per: budget.per.as_secs_f64(),
        used: pages.used(budget, now),
        state: match level {
            Level { spent: true, .. } => "spent",
            Level { factor, .. } if factor >= 1.05 || noise > 0.0 => "widened",
            _ => "open",
        },
        factor: level.factor,
        pages_from: Some(from).filter(|v| v.is_finite()),
        noise: (from == noise && noise > 0.0).then_some(noise),
    })
}

/// `None` when every series that has a value is ready.
fn learning(spec: &SigmaSpec, state: &SigmaState, interval_ms: i64) -> Option<LearningView> {
    let baseline = &spec.detector.config().baseline;
    let (mut count, mut ready, mut longest) = (0, 0, 0);
    for judgement in state.series.values().filter_map(|s| Some(s.last?.judgement)) {
        count += 1;
        // What waits in the lag will be learnt, but the first sample that is learnt has waited for all of it.
        let waits = if judgement.samples == 0 { (baseline.lag.ms() - judgement.age_ms).max(0) } else { 0 };
        let lacks = i64::from(baseline.min_samples).saturating_sub_unsigned(judgement.samples).max(0);
        let young = baseline.min_time.ms().saturating_sub(judgement.age_ms).max(0);
        if lacks == 0 && young == 0 {
            ready += 1;
            continue;
        }
        longest = longest.max(waits.saturating_add(lacks.saturating_mul(interval_ms)).max(young));
    }
    (ready < count).then(|| LearningView { series: count, ready, seconds: longest as f64 / 1000.0 })
}

/// The most series of one rule that a page shows.
const SHOWN: usize = 1000;

fn series(state: &SigmaState) -> Vec<SeriesView> {
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
    series.order_by(|a, b| a.labels.cmp(&b.labels));
    series.truncate(SHOWN);
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_prometheus() {
        for (v, text) in [
            (1.0, "1e+00"),
            (0.0, "0e+00"),
            (-120.0, "-1.2e+02"),
            (1234.5, "1.2345e+03"),
            (0.00012, "1.2e-04"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(exponent_text(v), text);
        }
    }

    #[test]
    fn rules_have_prometheus_shape() {
        let recording = RuleView { name: "a:b".into(), query: "up".into(), ..RuleView::default() };
        assert_eq!(
            serde_json::to_string(&recording).unwrap(),
            r#"{"name":"a:b","query":"up","health":"unknown","evaluationTime":0.0,"lastEvaluation":"0001-01-01T00:00:00Z","type":"recording"}"#
        );
        let alerting = RuleView {
            kind: RuleType::Sigma,
            name: "X".into(),
            health: Health::Err("why".into()),
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
        assert_eq!((json["health"].as_str(), json["lastError"].as_str()), (Some("err"), Some("why")));
        assert_eq!(json["alerts"][0]["value"], "1e+00");
        assert_eq!(json["alerts"][0]["activeAt"], "1970-01-01T00:00:01Z");
    }
}
