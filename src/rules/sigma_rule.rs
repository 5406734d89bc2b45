//! Sigma rules: a baseline for each series, recorded bands, and the highest firing band as an alert.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{Labels, METRIC_NAME, MetricMetadata, MetricType, Timestamp, format_float, is_stale_nan};
use crate::promql::{Value as QueryValue, VectorSample};
use crate::sigma::{Action, Detector, Evaluation, Judgement, Phase, Record, SeriesState};
use crate::storage::Storage;
use crate::template::Value;

use super::alerting::{At, DUPLICATE};
use super::alerts::{ActiveAlert, AlertBook};
use super::check;
use super::context::{Context, Judged, Paged};
use super::expand::Data;
use super::file::{RuleSpec, SigmaSpec};
use super::pages::{EXPLAINED_MS, PageHistory, PageRecord};

/// The most series of a rule that has no `limit`.
const MAX_SERIES: usize = 10_000;
/// A series that was not seen for so long, or for its window if that is longer, is forgotten, ms.
const FORGET_MS: i64 = 3_600_000;
/// The most points that a baseline learns from history.
const WARM_POINTS: i64 = 2_000;

/// The series that sigma rules record, and what they say.
const RECORDED: [(&str, &str); 5] = [
    (
        "sideband_sigma_zscore",
        "Distance of the value from the centre of its baseline, in standard deviations",
    ),
    ("sideband_sigma_center", "Centre of the baseline, in the unit of the rule's expression"),
    ("sideband_sigma_stddev", "Standard deviation of the baseline, in the unit of the rule's expression"),
    ("sideband_sigma_ready", "Whether the baseline knows enough to judge"),
    ("sideband_sigma_frozen", "Whether the baseline has stopped learning because a band fires"),
];

/// Tells the storage what the recorded series are.
pub(super) fn describe_series(storage: &Storage) {
    for (name, help) in RECORDED {
        let metadata = MetricMetadata { kind: MetricType::Gauge, help: help.to_owned(), unit: String::new() };
        storage.set_metadata(name, metadata);
    }
}

/// Everything that a sigma rule remembers.
#[derive(Debug, Default)]
pub struct SigmaState {
    pub series: HashMap<Labels, Series>,
    pub pages: PageHistory,
    /// History was looked for.
    warmed: bool,
}

/// One series of a sigma rule.
#[derive(Debug)]
pub struct Series {
    pub state: SeriesState,
    /// The last evaluation with a value, ms.
    pub seen: Timestamp,
    pub last: Option<Evaluation>,
    /// It fires, but the budget of pages was spent.
    demoted: bool,
}

impl SigmaState {
    /// A state with series that were stored.
    pub fn restored(
        series: impl IntoIterator<Item = (Labels, SeriesState)>,
        pages: PageHistory,
        now: Timestamp,
    ) -> Self {
        let series = series
            .into_iter()
            .map(|(labels, state)| (labels, Series { state, seen: now, last: None, demoted: false }))
            .collect();
        Self { series, pages, warmed: false }
    }

    /// The rule was changed: baselines go on where the new detector can read them.
    pub fn change(&mut self, before: &Detector, after: &Detector) {
        let old = std::mem::take(&mut self.series);
        for (labels, mut series) in old {
            if let Ok(state) = after.decode(&before.encode(&series.state)) {
                series.state = state;
                self.series.insert(labels, series);
            }
        }
        self.warmed = false;
    }

    /// "This is the new normal", for one series or all: the centre moves to the last value. How many it were.
    pub fn rebase(&mut self, spec: &SigmaSpec, only: Option<&Labels>) -> usize {
        let mut count = 0;
        for (labels, series) in &mut self.series {
            if only.is_some_and(|o| o != labels) {
                continue;
            }
            if let Some(level) = series.last.map(|e| e.judgement.value).filter(|v| v.is_finite()) {
                spec.detector.rebase(&mut series.state, level);
                count += 1;
            }
        }
        count
    }
}

/// What was read for one evaluation.
pub(super) struct Read {
    samples: Vec<VectorSample>,
    /// Learnt from stored samples, for a rule that knows nothing yet.
    history: Vec<(Labels, Vec<(Timestamp, f64)>)>,
}

/// Reads what the evaluation needs: everything that needs no lock. `cold`: the rule knows no series.
pub(super) fn read(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    cold: bool,
    interval_ms: i64,
) -> Result<Read, String> {
    let samples = context.vector(&rule.expr, at.read)?;
    let most = if at.limit > 0 { at.limit } else { MAX_SERIES };
    if samples.len() > most {
        return Err(format!("exceeded limit of {most} with {} series", samples.len()));
    }
    let mut history = Vec::new();
    if cold && !samples.is_empty() {
        let window = spec.detector.config().baseline.window.ms();
        let step = interval_ms.max(window / WARM_POINTS).max(1);
        let end = at.read - step;
        // What cannot be read is not learnt: the rule starts cold.
        if let Ok(output) =
            context.engine.range(context.source, &rule.expr, end - window / step * step, end, step)
            && let QueryValue::Matrix(matrix) = output.value
        {
            for (labels, points) in matrix {
                let points = points.iter().filter(|p| !is_stale_nan(p.v)).map(|p| (p.t, p.v)).collect();
                history.push((labels.without(|n| n == METRIC_NAME), points));
            }
        }
    }
    Ok(Read { samples, history })
}

impl SigmaState {
    /// Does the next evaluation look for history?
    pub(super) fn is_cold(&self) -> bool {
        !self.warmed && self.series.is_empty()
    }
}

/// Moves the rule by one evaluation; gives the series about the bands.
pub(super) fn step(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    read: Read,
    state: &mut SigmaState,
    book: &mut AlertBook,
) -> Result<Vec<(Labels, f64)>, String> {
    let detector = &spec.detector;
    let mut present = HashSet::with_capacity(read.samples.len());
    for sample in &read.samples {
        if !present.insert(sample.labels.without(|n| n == METRIC_NAME)) {
            return Err("the expression gives several series with the same labels".to_owned());
        }
    }
    for (labels, points) in read.history {
        if !points.is_empty() && !state.series.contains_key(&labels) {
            let warm = detector.warm(points, &[]);
            state.series.insert(labels, Series { state: warm, seen: at.ts, last: None, demoted: false });
        }
    }
    // The first evaluation with series is the one that looks for history.
    state.warmed |= !read.samples.is_empty();
    let mut out = Vec::new();
    let mut wanted = Vec::new();
    // While any page of the rule fires, further series join that page and cost no budget.
    let mut paging = state.series.values().any(|s| {
        !s.demoted
            && s.state
                .bands
                .states()
                .iter()
                .enumerate()
                .any(|(i, b)| matches!(b.phase, Phase::Firing { .. }) && band_pages(rule, spec, i))
    });
    for sample in read.samples {
        let labels = sample.labels.without(|n| n == METRIC_NAME);
        let series = state.series.entry(labels.clone()).or_insert_with(|| Series {
            state: detector.start(),
            seen: at.ts,
            last: None,
            demoted: false,
        });
        let evaluation = detector.evaluate(&mut series.state, at.read, sample.v);
        series.seen = at.ts;
        series.last = Some(evaluation);
        let mut paged = Paged::No;
        if evaluation.bands.paged && evaluation.bands.top.is_some_and(|i| band_pages(rule, spec, i)) {
            let zscore = evaluation.judgement.zscore.abs();
            let allowed = paging || state.pages.allows(detector.config().page_budget, at.ts, zscore);
            series.demoted = !allowed;
            paged = if !allowed {
                Paged::HeldBack
            } else if paging {
                Paged::Joined
            } else {
                Paged::Sent
            };
            if allowed && !paging {
                state.pages.push(PageRecord { t: at.ts, zscore, useful: None });
                paging = true;
            }
        }
        if let Some(replay) = context.replay {
            let (state, evaluation) = (&series.state, &evaluation);
            replay.judged(&Judged { rule, spec, t: at.ts, series: &labels, state, evaluation, paged });
        }
        if context.replay.is_none_or(|r| r.is_read(rule)) {
            record(rule, spec, &labels, &evaluation.judgement, &mut out);
        }
        wants(spec, labels, series, &evaluation, &mut wanted);
    }
    let forget = detector.config().baseline.window.ms().max(FORGET_MS);
    state.series.retain(|labels, series| {
        if present.contains(labels) {
            return true;
        }
        let evaluation = detector.absent(&mut series.state, at.read);
        if let Some(replay) = context.replay {
            let (state, evaluation, paged) = (&series.state, &evaluation, Paged::No);
            replay.judged(&Judged { rule, spec, t: at.ts, series: labels, state, evaluation, paged });
        }
        wants(spec, labels.clone(), series, &evaluation, &mut wanted);
        at.ts.saturating_sub(series.seen) < forget
    });
    alerts(context, rule, spec, at, wanted, &state.pages, book)?;
    Ok(out)
}

/// Does an alert of this band page? The severity of a band is its own, or the rule's.
pub fn band_pages(rule: &RuleSpec, spec: &SigmaSpec, band: usize) -> bool {
    let own = spec.bands.get(band).filter(|l| l.get("severity").is_some());
    let alerts = spec.detector.band(band).is_some_and(|b| b.action == Action::Alert);
    alerts && check::pages(own.unwrap_or(&rule.labels))
}

/// The series about the band that the rule records.
fn record(rule: &RuleSpec, spec: &SigmaSpec, labels: &Labels, j: &Judgement, out: &mut Vec<(Labels, f64)>) {
    let flag = |b: bool| if b { 1.0 } else { 0.0 };
    let all = [
        ("sideband_sigma_zscore", j.zscore),
        ("sideband_sigma_center", j.center),
        ("sideband_sigma_stddev", j.stddev),
        ("sideband_sigma_ready", flag(j.ready)),
        ("sideband_sigma_frozen", flag(j.frozen)),
    ];
    let recorded = match spec.detector.config().record {
        Record::All => &all[..],
        Record::Zscore => &all[..1],
        Record::None => &[],
    };
    let mut builder = labels.to_builder();
    builder.set("rule", &rule.name);
    for (name, value) in recorded.iter().filter(|(_, v)| !v.is_nan()) {
        builder.set(METRIC_NAME, name);
        out.push((builder.build(), *value));
    }
}

/// A band that is to be an alert.
struct Wanted {
    series: Labels,
    band: usize,
    judgement: Judgement,
    active_at: Timestamp,
    /// `None` while it is pending.
    fired_at: Option<Timestamp>,
    demoted: bool,
    known: bool,
}

/// The highest firing band of a series, and the pending ones above it.
fn wants(
    spec: &SigmaSpec,
    labels: Labels,
    series: &Series,
    evaluation: &Evaluation,
    wanted: &mut Vec<Wanted>,
) {
    let bands = &spec.detector.config().bands;
    let top = evaluation.bands.top;
    for (i, state) in series.state.bands.states().iter().enumerate() {
        if bands[i].action != Action::Alert || top.is_some_and(|t| i < t) {
            continue;
        }
        let (active_at, fired_at) = match state.phase {
            Phase::Firing { active, since, .. } => (active, Some(since)),
            Phase::Pending { since } => (since, None),
            Phase::Inactive => continue,
        };
        // A series without a value now keeps the numbers of its last one.
        let known = evaluation.judgement.value.is_finite();
        let judgement = if known {
            evaluation.judgement
        } else {
            series.last.map_or(evaluation.judgement, |e| e.judgement)
        };
        wanted.push(Wanted {
            series: labels.clone(),
            band: i,
            judgement,
            active_at,
            fired_at,
            demoted: series.demoted,
            known,
        });
    }
}

/// Makes the rule's alerts what is wanted.
fn alerts(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    wanted: Vec<Wanted>,
    pages: &PageHistory,
    book: &mut AlertBook,
) -> Result<(), String> {
    let mut holding = BTreeSet::new();
    for want in wanted {
        let (labels, annotations) = describe(context, rule, spec, at, &want, pages);
        if !holding.insert(labels.clone()) {
            return Err(DUPLICATE.to_owned());
        }
        if let Some(alert) = book.get_active(&labels) {
            if want.known {
                alert.value = want.judgement.value;
                alert.annotations = annotations;
            }
        } else {
            book.insert(ActiveAlert::pending(
                labels.clone(),
                annotations,
                want.judgement.value,
                want.active_at,
            ));
        }
        if let (Some(alert), Some(fired_at)) = (book.get_active(&labels), want.fired_at)
            && alert.fired_at.is_none()
        {
            alert.fire(fired_at);
        }
    }
    book.settle(at.ts, |alert| holding.contains(&alert.labels));
    Ok(())
}

/// Labels and annotations of a band's alert.
fn describe(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &SigmaSpec,
    at: At,
    want: &Wanted,
    pages: &PageHistory,
) -> (Labels, Labels) {
    let j = &want.judgement;
    let band = format_float(spec.detector.band(want.band).map_or(f64::NAN, |b| b.sigma));
    let (firings, useful) = pages.count(at.ts, EXPLAINED_MS);
    let more = [
        ("$center", "Center", Value::Float(j.center)),
        ("$stddev", "Stddev", Value::Float(j.stddev)),
        ("$zscore", "Zscore", Value::Float(j.zscore)),
        ("$band", "Band", Value::from(band.as_str())),
        ("$samples", "Samples", Value::Uint(j.samples)),
        ("$firings", "Firings", Value::Uint(firings as u64)),
        ("$useful", "Useful", Value::Uint(useful as u64)),
    ];
    let data = Data::new(context, &want.series, j.value, &more);
    let mut labels = want.series.to_builder();
    for (name, template) in &spec.templates.labels {
        labels.set(name, &data.expand(context, &rule.name, template, at.ts, at.read));
    }
    if let Some(own) = spec.bands.get(want.band) {
        for (name, value) in own.iter() {
            labels.set(name, value);
        }
    }
    labels.set("band", &band).set("alertname", &rule.name);
    let mut annotations = Labels::empty().to_builder();
    annotations.set("explanation", &explanation(j, &band, firings, useful));
    if want.demoted {
        labels.set("severity", DEMOTED);
        let budget = spec.detector.config().page_budget;
        let budget = budget.map_or_else(String::new, |b| format!("{} per {}", b.pages, b.per));
        annotations.set("page_budget", &format!("spent ({budget}): this would have been a page"));
    }
    for (name, template) in &spec.templates.annotations {
        annotations.set(name, &data.expand(context, &rule.name, template, at.ts, at.read));
    }
    (labels.build(), annotations.build())
}

/// The severity of a page that the budget does not allow.
const DEMOTED: &str = "ticket";

/// Why the alert is there, in one sentence of numbers.
fn explanation(j: &Judgement, band: &str, firings: usize, useful: usize) -> String {
    let four = |v: f64| {
        // Four digits are what a person reads.
        let magnitude = if v == 0.0 { 0 } else { v.abs().log10().floor().clamp(-300.0, 300.0) as i32 };
        let digits = (3 - magnitude).clamp(0, 12).unsigned_abs() as usize;
        let text = format!("{v:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    format!(
        "value {} is {}σ from its normal {} (σ {}, learnt from {} samples); band {band}σ. Pages of this rule in 30 days: {firings}, marked useful: {useful}.",
        four(j.value),
        four(j.zscore),
        four(j.center),
        four(j.stddev),
        j.samples,
    )
}
