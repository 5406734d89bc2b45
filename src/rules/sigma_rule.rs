//! Sigma rules: a baseline for each series, recorded bands, and the highest firing band as an alert.

use std::collections::{HashMap, HashSet};

use crate::model::{Labels, METRIC_NAME, MetricMetadata, MetricType, Timestamp};
use crate::promql::VectorSample;
use crate::sigma::{Action, Detector, Evaluation, Judgement, Phase, Record, SeriesState};
use crate::storage::Storage;

use super::alerting::At;
use super::alerts::AlertBook;
use super::budget::Policy;
use super::check;
use super::context::{Context, Judged};
use super::file::{RuleSpec, SigmaSpec};
use super::gate::Gate;
use super::pages::PageHistory;
use super::relearn::{self, History, Incidents, Span};
use super::round::Round;
use super::sigma_alert;
use super::standing::SeriesPages;
use super::warm_start::Asking;

/// The most series of a rule that has no `limit`.
const MAX_SERIES: usize = 10_000;
/// A series that was not seen for so long, or for its window if that is longer, is forgotten, ms.
const FORGET_MS: i64 = 3_600_000;

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
    /// What people called incidents.
    pub incidents: Incidents,
    pub(super) asking: Asking,
    /// The rule was changed by a reload.
    pub gate: Option<Gate>,
    /// History was looked for.
    warmed: bool,
    /// The expression was changed: what history says of the new one takes the place of what is known.
    relearn: bool,
}

/// One series of a sigma rule.
#[derive(Debug)]
pub struct Series {
    pub state: SeriesState,
    /// The last evaluation with a value, ms.
    pub seen: Timestamp,
    pub last: Option<Evaluation>,
    pub pages: SeriesPages,
    /// It began here, and nobody else was asked for its past.
    pub(super) fresh: bool,
}

impl Series {
    fn new(state: SeriesState, seen: Timestamp) -> Self {
        Self { state, seen, last: None, pages: SeriesPages::default(), fresh: true }
    }
}

impl SigmaState {
    /// A state with series that were stored.
    pub fn restored(
        series: impl IntoIterator<Item = (Labels, SeriesState, SeriesPages)>,
        pages: PageHistory,
        incidents: Incidents,
        now: Timestamp,
    ) -> Self {
        let series = series
            .into_iter()
            .map(|(labels, state, pages)| (labels, Series { pages, fresh: false, ..Series::new(state, now) }))
            .collect();
        Self { series, pages, incidents, ..Self::default() }
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
        if before.config().baseline != after.config().baseline {
            self.forget_noise();
        }
        self.warmed = false;
    }

    /// The expression was changed, and what it means perhaps: history of the new one is looked for, and where there is enough of it,
    /// it is learnt in the place of what is known.
    pub fn expression_changed(&mut self) {
        (self.warmed, self.relearn) = (false, true);
        self.forget_noise();
    }

    fn forget_noise(&mut self) {
        self.pages.forget_noise();
        self.series.values_mut().for_each(|s| s.pages.forget_noise());
    }

    /// "This is the new normal", for one series or all: the centre moves to the level of the last values, where they are known, or else to the
    /// last one. How many it were.
    pub fn rebase(&mut self, spec: &SigmaSpec, only: Option<&Labels>, history: &History) -> usize {
        let mut count = 0;
        for (labels, series) in &mut self.series {
            if only.is_some_and(|o| o != labels) {
                continue;
            }
            let last = series.last.map(|e| e.judgement.value).filter(|v| v.is_finite());
            let points = history.iter().find(|(l, _)| l == labels).map_or(&[][..], |(_, points)| points);
            if let Some(level) = last.map(|v| present_level(&series.state, points).unwrap_or(v)) {
                spec.detector.rebase(&mut series.state, level);
                count += 1;
            }
        }
        count
    }
}

/// Values before the last that say where a series is when nothing of it has crossed a band.
const LAST_VALUES: usize = 5;

/// Where a series is now, of values that end at the last one: the median of those since a band was crossed, since a single one is mostly noise.
fn present_level(state: &SeriesState, points: &[(Timestamp, f64)]) -> Option<f64> {
    let crossed = state.bands.states().iter().filter_map(|b| match b.phase {
        Phase::Firing { active, .. } => Some(active),
        Phase::Pending { since } => Some(since),
        Phase::Inactive => None,
    });
    let from = crossed.min().map_or(points.len().saturating_sub(LAST_VALUES), |since| {
        points.partition_point(|(t, _)| *t < since)
    });
    let mut values: Vec<f64> = points.get(from..)?.iter().map(|p| p.1).filter(|v| v.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What was read for one evaluation.
pub(super) struct Read {
    samples: Vec<VectorSample>,
    /// Learnt from stored samples, for a rule that knows nothing yet.
    history: History,
    /// It has a point for each evaluation.
    dense: bool,
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
    let (mut history, mut dense) = (History::new(), false);
    if cold && !samples.is_empty() {
        let (end, one) = (at.read, interval_ms.max(1));
        // What cannot be read is not learnt: the rule starts cold.
        let span = Span::of(spec, end - one, one, samples.len());
        dense = span.step <= one;
        history = relearn::read(context, rule, span).unwrap_or_default();
    }
    Ok(Read { samples, history, dense })
}

impl SigmaState {
    /// Does the next evaluation look for history?
    pub(super) fn is_cold(&self) -> bool {
        !self.warmed && (self.series.is_empty() || self.relearn)
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
    let mut policy = Policy::of(rule, spec);
    let mut noise = PageHistory::default();
    for (labels, points) in read.history {
        let incidents = state.incidents.of(&labels);
        match state.series.get_mut(&labels) {
            _ if points.is_empty() => {}
            None => {
                let warm = relearn::warm((&policy, spec), points, &incidents, &mut noise);
                state.series.insert(labels, Series::new(warm, at.ts));
            }
            Some(series) if state.relearn => {
                let warm = relearn::warm((&policy, spec), points, &incidents, &mut noise);
                if relearn::learnt(spec, &warm) >= u64::from(detector.config().baseline.min_samples) {
                    detector.relearnt(&mut series.state, warm, at.read);
                }
            }
            Some(_) => {}
        }
    }
    if read.dense {
        state.pages.learn_noise(noise);
    }
    // The first evaluation with series is the one that looks for history.
    if !read.samples.is_empty() {
        (state.warmed, state.relearn) = (true, false);
    }
    let mut out = Vec::new();
    let mut wanted = Vec::new();
    let held = state.gate.as_ref().filter(|g| g.holds()).map(Gate::sentence);
    if held.is_some() {
        // What does not page costs no budget.
        policy.bands.fill(None);
    }
    let paging = state.series.values().any(|s| s.pages.pages());
    let SigmaState { series: known, pages, .. } = state;
    let mut round = Round::new(&policy, pages, at.ts, paging, context.replay.is_some());
    for sample in read.samples {
        let labels = sample.labels.without(|n| n == METRIC_NAME);
        let series = known.entry(labels.clone()).or_insert_with(|| Series::new(detector.start(), at.ts));
        let evaluation = detector.evaluate(&mut series.state, at.read, sample.v);
        series.seen = at.ts;
        series.last = Some(evaluation);
        let decision = round.see(detector, &mut series.pages, &evaluation, || labels.fingerprint().0);
        if let Some(replay) = context.replay {
            let (state, evaluation) = (&series.state, &evaluation);
            replay.judged(&Judged { rule, spec, t: at.ts, series: &labels, state, evaluation, decision });
        }
        if context.replay.is_none_or(|r| r.is_read(rule)) {
            record(rule, spec, &labels, &evaluation.judgement, &mut out);
        }
        sigma_alert::wants(spec, labels, series, &evaluation, &mut wanted);
    }
    let forget = detector.config().baseline.window.ms().max(FORGET_MS).max(policy.after.quiet_ms);
    known.retain(|labels, series| {
        if present.contains(labels) {
            return true;
        }
        let evaluation = detector.absent(&mut series.state, at.read);
        let decision = round.see(detector, &mut series.pages, &evaluation, || 0);
        if let Some(replay) = context.replay {
            let (state, evaluation) = (&series.state, &evaluation);
            replay.judged(&Judged { rule, spec, t: at.ts, series: labels, state, evaluation, decision });
        }
        sigma_alert::wants(spec, labels.clone(), series, &evaluation, &mut wanted);
        at.ts.saturating_sub(series.seen) < forget
    });
    let pages = &state.pages;
    sigma_alert::alerts(context, rule, spec, at, wanted, (pages, held.as_deref()), book)?;
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
