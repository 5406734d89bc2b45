//! What sigma rules learn from stored history: a warm start, and the baseline again without an incident.

use std::collections::HashMap;

use crate::model::{Labels, METRIC_NAME, Timestamp, is_stale_nan};
use crate::promql::Value as QueryValue;
use crate::sigma::{Phase, SeriesState};

use super::budget::Policy;
use super::context::Context;
use super::file::{RuleSpec, SigmaSpec};
use super::group::{Group, Rule};
use super::pages::PageHistory;
use super::round::told;
use super::sigma_rule::SigmaState;
use super::standing::SeriesPages;

/// The most points that a baseline learns from history.
const WARM_POINTS: i64 = 2_000;
/// The most points of all series of a rule together; with more series each learns from fewer.
const WARM_TOTAL: i64 = 4_000_000;
/// Incidents that are remembered of a rule.
const INCIDENTS: usize = 100;

/// Series and their points, oldest first.
pub type History = Vec<(Labels, Vec<(Timestamp, f64)>)>;

/// The range and step of history that a rule learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
    pub step: i64,
}

impl Span {
    /// As far back as the window reaches, up to `end`, in steps that are multiples of nothing but at least the interval; `series`
    /// is about how many there are. All ms.
    pub fn of(spec: &SigmaSpec, end: Timestamp, interval_ms: i64, series: usize) -> Self {
        let window = spec.detector.config().baseline.window.ms();
        let series = i64::try_from(series).unwrap_or(i64::MAX).max(1);
        let points = WARM_POINTS.min(WARM_TOTAL / series).max(16);
        let step = interval_ms.max(window / points).max(1);
        Self { start: end - window / step * step, end, step }
    }
}

/// Reads what an expression gave in the past.
pub(super) fn read(context: &Context<'_>, rule: &RuleSpec, span: Span) -> Result<History, String> {
    let Span { start, end, step } = span;
    let output =
        context.engine.range(context.source, &rule.expr, start, end, step).map_err(|e| e.to_string())?;
    let QueryValue::Matrix(matrix) = output.value else { return Ok(History::new()) };
    let series = matrix.into_iter().map(|(labels, points)| {
        let points = points.iter().filter(|p| !is_stale_nan(p.v)).map(|p| (p.t, p.v)).collect();
        (labels.without(|n| n == METRIC_NAME), points)
    });
    Ok(series.collect())
}

/// Learns one series from its points, without what is `out`; and what its noise is like, into `noise`.
pub(super) fn warm(
    (policy, spec): (&Policy, &SigmaSpec),
    points: Vec<(Timestamp, f64)>,
    out: &[(Timestamp, Timestamp)],
    noise: &mut PageHistory,
) -> SeriesState {
    let mut series = SeriesPages::default();
    spec.detector.warm_seen(points, out, |t, evaluation| {
        let (distance, settled) = told(&spec.detector, &evaluation.judgement);
        series.watch(policy, noise, t, distance, settled);
    })
}

/// An interval that a person called an incident: nothing in it is normal.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Of this series; of all without one.
    pub series: Option<Labels>,
    /// Both inclusive, ms.
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The incidents of a rule, oldest first, bounded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Incidents(Vec<Incident>);

impl Incidents {
    /// Remembers one; those that ended more than `window_ms` before it are of no use any more.
    pub fn add(&mut self, incident: Incident, window_ms: i64) {
        if self.0.contains(&incident) {
            return;
        }
        self.0.retain(|i| incident.to.saturating_sub(i.to) <= window_ms);
        if self.0.len() >= INCIDENTS {
            self.0.remove(0);
        }
        self.0.push(incident);
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Incident> {
        self.0.iter()
    }

    /// The intervals of one series.
    pub fn of(&self, series: &Labels) -> Vec<(Timestamp, Timestamp)> {
        let mine = self.0.iter().filter(|i| i.series.as_ref().is_none_or(|s| s == series));
        mine.map(|i| (i.from, i.to)).collect()
    }
}

/// What learning again did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Relearnt {
    /// Baselines that are new.
    pub series: usize,
    /// Those for which the history was too short: they stay as they are.
    pub too_short: usize,
}

/// What there was to know of a series before, taken while the rule is held.
struct Known {
    out: Vec<(Timestamp, Timestamp)>,
    learnt: u64,
}

fn known(state: &SigmaState, labels: &Labels, spec: &SigmaSpec) -> Option<Known> {
    let series = state.series.get(labels)?;
    let mut out = state.incidents.of(labels);
    // What fires now is not normal either.
    let firing = series.state.bands.states().iter().filter_map(|b| match b.phase {
        Phase::Firing { active, .. } => Some(active),
        _ => None,
    });
    out.extend(firing.min().map(|since| (since, Timestamp::MAX)));
    Some(Known { out, learnt: learnt(spec, &series.state) })
}

/// Samples that a baseline has learnt.
pub(super) fn learnt(spec: &SigmaSpec, state: &SeriesState) -> u64 {
    let mut copy = state.clone();
    let t = Timestamp::MIN;
    spec.detector.evaluate(&mut copy, t, f64::NAN).judgement.samples
}

/// What a history is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Worth {
    /// A baseline is replaced when the history is at least so long, as a share of what the baseline knows.
    pub least: f64,
    /// It has a point for each evaluation, so it tells of the rule's noise as well.
    pub dense: bool,
}

/// Puts baselines learnt from `history` in the place of those of a rule, without incidents and what fires now. A baseline that
/// knows more than `1 / least` times as much as the history tells stays. Holds the rule for moments only.
pub(super) fn relearn(
    group: &Group,
    rule: &Rule,
    spec: &SigmaSpec,
    history: History,
    only: Option<&Labels>,
    now: Timestamp,
    Worth { least, dense }: Worth,
) -> Relearnt {
    let mut done = Relearnt::default();
    let window = spec.detector.config().baseline.window.ms();
    let mut wanted: HashMap<Labels, Known> = {
        let state = &rule.state().sigma;
        let names = history.iter().map(|(l, _)| l).filter(|l| only.is_none_or(|o| o == *l));
        names.filter_map(|l| Some((l.clone(), known(state, l, spec)?))).collect()
    };
    let policy = Policy::of(&rule.spec, spec);
    let mut noise = PageHistory::default();
    for (labels, points) in history {
        let Some(known) = wanted.remove(&labels) else { continue };
        let (Some(first), Some(last)) = (points.first().map(|p| p.0), points.last().map(|p| p.0)) else {
            continue;
        };
        // So long it has been learning, as far as the window reaches.
        let learning =
            i64::try_from(known.learnt).unwrap_or(i64::MAX).saturating_mul(group.interval_ms).min(window);
        let warm = warm((&policy, spec), points, &known.out, &mut noise);
        let long = last.saturating_sub(first) as f64;
        let ready = u64::from(spec.detector.config().baseline.min_samples);
        if long < learning as f64 * least || learnt(spec, &warm) < ready.min(known.learnt).max(2) {
            done.too_short += 1;
            continue;
        }
        if let Some(series) = rule.state().sigma.series.get_mut(&labels) {
            spec.detector.relearnt(&mut series.state, warm, now);
            done.series += 1;
        }
    }
    if dense {
        rule.state().sigma.pages.learn_noise(noise);
    }
    done
}
