//! Replays rule files over a history with the code that evaluates them live.
//!
//! What an expression gives is worked out for a long stretch of times at once (a range query costs little more than an instant
//! one); then the rule is moved time by time through these results, as it would have been live.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::model::{Duration, Labels, METRIC_NAME, MatchOp, Matcher, Sample, Timestamp, stale_nan};
use crate::promql::{Engine, EngineOptions, Expr, Source, Value};
use crate::rules::check;
use crate::rules::file::{GroupSpec, RuleFile, RuleKind, RuleSpec};
use crate::rules::{Context, Group, Settings, recorded_labels};
use crate::storage::{SourceId, Storage};

use super::ahead::Ahead;
use super::csv::{CSV_LABEL, CsvRow, ascending};
use super::memory::{Layered, Memory, Written};
use super::plan::{self, Plan};
use super::recorder::{DAY_MS, Recorder, Watch};

/// Results (series times points in time) that are worked out at once, about.
const CELLS: i64 = 1_000_000;
/// Points in time of one stretch.
const MAX_STEPS: i64 = 10_000;
/// Stretches of a whole replay, at least.
const STRETCHES: f64 = 50.0;
const FIRST_STRETCH_MS: i64 = 3_600_000;
const LONGEST_STRETCH_MS: i64 = 7 * DAY_MS;

/// Where the history is.
pub enum History<'h> {
    /// Series that are here.
    Local(&'h dyn Source),
    /// A server that evaluates expressions.
    Remote(&'h dyn Fetch),
}

/// Gives the results of expressions over history.
pub trait Fetch {
    /// The results of `expr` from `start` to `end` (ms), `step` ms apart.
    ///
    /// # Errors
    /// In words.
    fn range(
        &self,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<Vec<(Labels, Vec<Sample>)>, String>;
}

/// How rules are replayed.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// For groups that name none, ms.
    pub interval_ms: i64,
    pub query_offset_ms: i64,
    pub settings: Settings,
    pub lookback_ms: i64,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            interval_ms: crate::rules::DEFAULT_INTERVAL_MS,
            query_offset_ms: 0,
            settings: Settings::default(),
            lookback_ms: 300_000,
        }
    }
}

/// What of a history is replayed, ms: rules learn from `learn_from` on, and events count from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub learn_from: Timestamp,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Why a replay ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("stopped")]
    Stopped,
    #[error("{0}")]
    History(String),
    #[error(
        "rules of these files read what later rules write, so they cannot be replayed over a server's results"
    )]
    Circle,
    #[error("rules record more than {0} samples within the reach of other rules")]
    TooMuchRecorded(usize),
}

/// Is told how much is done, from 0 to 1; says whether to go on.
pub type Progress<'p> = &'p mut dyn FnMut(f64) -> bool;

/// Rule files ready to be replayed, and what was seen so far.
pub struct Replayer {
    pub groups: Vec<GroupSpec>,
    pub plan: Plan,
    /// One for each rule of the plan.
    pub recorders: Vec<Recorder>,
    options: ReplayOptions,
    engine: Engine,
    written: Written,
    /// Histories were files, replayed at the times of their rows.
    pub by_rows: bool,
    reach_ms: Option<i64>,
}

/// One history with the rules' state in it.
struct World<'h> {
    history: &'h History<'h>,
    groups: Vec<Group>,
    recorded: Memory,
    /// For each rule of the plan, the series that it wrote last.
    written: Vec<HashMap<Labels, usize>>,
    /// Takes nothing: rules write to `recorded`.
    scratch: Storage,
}

impl Replayer {
    /// For all alerting and sigma rules of these files, in their order.
    pub fn new(files: &[RuleFile], options: ReplayOptions) -> Self {
        Self::only(files, options, |_, rule| !matches!(rule.kind, RuleKind::Recording))
    }

    /// For some rules of these files, and the rules whose series they need.
    pub fn only(
        files: &[RuleFile],
        options: ReplayOptions,
        wanted: impl Fn(&GroupSpec, &RuleSpec) -> bool,
    ) -> Self {
        let groups: Vec<GroupSpec> = files.iter().flat_map(|f| f.groups.iter().cloned()).collect();
        let plan = Plan::new(&groups, wanted);
        let rules = || plan.order.iter().map(|(g, r)| &*groups[*g].rules[*r]);
        let recorders = rules().map(Recorder::new).collect();
        let recording = |rule: &&RuleSpec| matches!(rule.kind, RuleKind::Recording);
        let written = Written {
            metrics: rules().filter(recording).map(|r| r.name.clone()).collect(),
            alerts: rules().filter(|r| !recording(r)).map(|r| r.name.clone()).collect(),
        };
        let reach = |rule: &RuleSpec| plan::reach(&rule.expr, options.lookback_ms);
        let reach_ms = rules().map(reach).try_fold(0, |most, r| r.map(|r| r.max(most)));
        let engine = Engine::new(EngineOptions {
            lookback_ms: options.lookback_ms,
            max_steps: usize::try_from(MAX_STEPS).unwrap_or_default() + 1,
            ..EngineOptions::default()
        });
        Self { plan, recorders, engine, written, by_rows: false, reach_ms, groups, options }
    }

    /// The rule of a place in the plan, and its group.
    pub fn rule(&self, place: usize) -> (&GroupSpec, &RuleSpec) {
        let (g, r) = self.plan.order[place];
        (&self.groups[g], &self.groups[g].rules[r])
    }

    /// How often a rule of the plan is evaluated, ms.
    pub fn interval_ms(&self, place: usize) -> i64 {
        self.rule(place).0.interval.map_or(self.options.interval_ms, Duration::ms).max(1)
    }

    /// How much history rules should learn from before anything counts, ms: the longest window of a sigma rule, and what
    /// `min_samples` take.
    pub fn learning_ms(&self) -> i64 {
        let of = |place: usize| match &self.rule(place).1.kind {
            RuleKind::Sigma(spec) => {
                let b = &spec.detector.config().baseline;
                let cold = i64::from(b.min_samples).saturating_mul(self.interval_ms(place));
                b.window.ms().max(cold.saturating_add(b.lag.ms()))
            }
            _ => 0,
        };
        (0..self.plan.order.len()).map(of).max().unwrap_or(0).min(60 * DAY_MS)
    }

    fn world<'h>(&self, history: &'h History<'h>) -> World<'h> {
        let group = |(i, spec): (usize, &GroupSpec)| {
            let interval = spec.interval.map_or(self.options.interval_ms, Duration::ms);
            let offset = spec.query_offset.map_or(self.options.query_offset_ms, Duration::ms);
            Group::new(spec.clone(), interval, offset, SourceId(i as u32))
        };
        World {
            history,
            groups: self.groups.iter().enumerate().map(group).collect(),
            recorded: Memory::default(),
            written: vec![HashMap::new(); self.plan.order.len()],
            scratch: Storage::in_memory(),
        }
    }

    /// Replays a history on the grid of each group's interval.
    ///
    /// # Errors
    /// See [`ReplayError`]. A rule that fails is none: its failures are counted.
    pub fn over_grid(
        &mut self,
        history: &History<'_>,
        window: Window,
        progress: Progress<'_>,
    ) -> Result<(), ReplayError> {
        let remote = matches!(history, History::Remote(_));
        if self.plan.stepwise && remote {
            return Err(ReplayError::Circle);
        }
        let mut world = self.world(history);
        self.recorders.iter_mut().for_each(|r| r.start(window.from, window.to));
        let finest = (0..self.plan.order.len()).map(|p| self.interval_ms(p)).min().unwrap_or(60_000);
        let total = window.to.saturating_sub(window.learn_from).max(1) as f64;
        let (mut at, mut width) = (window.learn_from, FIRST_STRETCH_MS.min(finest * MAX_STEPS));
        while at <= window.to {
            if !progress(at.saturating_sub(window.learn_from) as f64 / total) {
                return Err(ReplayError::Stopped);
            }
            let end = at.saturating_add(width).min(window.to.saturating_add(1));
            let most = if self.plan.stepwise {
                self.step_by_step(&mut world, at, end)?;
                1
            } else {
                let mut most = 1;
                for place in 0..self.plan.order.len() {
                    let step = self.interval_ms(place);
                    let first = at.div_euclid(step) * step + if at.rem_euclid(step) == 0 { 0 } else { step };
                    let times: Vec<Timestamp> =
                        (first..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).collect();
                    most = most.max(self.stretch(&mut world, place, &times, Some(step), &mut |_, _| {})?);
                }
                most
            };
            at = end;
            if let Some(reach) = self.reach_ms {
                world.recorded.trim(at.saturating_sub(reach));
            }
            let steps = (CELLS / i64::try_from(most).unwrap_or(i64::MAX).max(1)).clamp(20, MAX_STEPS);
            // And not so long that nobody sees it move.
            let seen = (total / STRETCHES) as i64;
            width = finest.saturating_mul(steps).min(LONGEST_STRETCH_MS).min(seen).max(finest);
        }
        self.finish();
        progress(1.0);
        Ok(())
    }

    /// Replays one CSV file, at the times of its rows, as the series `metric{file="NAME"}`, with rules that know nothing of other
    /// files. Gives the highest score of any sigma rule for each row.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn over_rows(&mut self, metric: &str, name: &str, rows: &[CsvRow]) -> Result<Vec<f64>, ReplayError> {
        self.by_rows = true;
        let times = ascending(rows);
        let mut memory = Memory::default();
        let place = memory.series(&Labels::from_pairs([(METRIC_NAME, metric), (CSV_LABEL, name)]));
        for (t, row) in times.iter().zip(rows) {
            memory.push(place, *t, row.v);
        }
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(Vec::new()) };
        self.recorders.iter_mut().for_each(|r| r.start(*first, *last));
        let mut scores = vec![0.0; rows.len()];
        let history = History::Local(&memory);
        let mut world = self.world(&history);
        if self.plan.stepwise {
            for (i, t) in times.iter().enumerate() {
                for place in 0..self.plan.order.len() {
                    let mut take = |_: usize, score: f64| scores[i] = f64::max(scores[i], score);
                    self.stretch(&mut world, place, &[*t], None, &mut take)?;
                }
            }
            self.finish();
            return Ok(scores);
        }
        for place in 0..self.plan.order.len() {
            let mut take = |i: usize, score: f64| scores[i] = f64::max(scores[i], score);
            self.stretch(&mut world, place, &times, None, &mut take)?;
        }
        self.finish();
        Ok(scores)
    }

    fn finish(&mut self) {
        for (recorder, (g, r)) in self.recorders.iter_mut().zip(&self.plan.order) {
            recorder.finish(matches!(self.groups[*g].rules[*r].kind, RuleKind::Sigma(_)));
        }
    }

    /// Every time on its own, all rules at it in their order.
    fn step_by_step(
        &mut self,
        world: &mut World<'_>,
        from: Timestamp,
        end: Timestamp,
    ) -> Result<(), ReplayError> {
        let mut due: Vec<(Timestamp, usize)> = Vec::new();
        for place in 0..self.plan.order.len() {
            let step = self.interval_ms(place);
            let first = from.div_euclid(step) * step + if from.rem_euclid(step) == 0 { 0 } else { step };
            due.extend((first..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(|t| (t, place)));
        }
        due.sort_unstable();
        for (t, place) in due {
            self.stretch(world, place, &[t], None, &mut |_, _| {})?;
        }
        Ok(())
    }

    /// Moves one rule through some times. `scored` gets the index of each time and the highest score at it. Gives how many series
    /// the expression had.
    fn stretch(
        &mut self,
        world: &mut World<'_>,
        place: usize,
        times: &[Timestamp],
        step: Option<i64>,
        scored: &mut dyn FnMut(usize, f64),
    ) -> Result<usize, ReplayError> {
        if times.is_empty() {
            return Ok(1);
        }
        let (g, r) = self.plan.order[place];
        let group = &world.groups[g];
        let (rule, offset) = (&group.rules[r], group.query_offset_ms);
        let spec = std::sync::Arc::clone(&rule.spec);
        let read = self.plan.read.contains(&(g, r));
        let nothing = Memory::default();
        let below: &dyn Source = match world.history {
            History::Local(source) => *source,
            History::Remote(_) => &nothing,
        };
        let layered = Layered { history: below, recorded: &world.recorded, written: &self.written };
        let ahead = self.ahead(world, &layered, &spec, times, step, offset)?;
        let rows = ahead.as_ref().map_or(1, Ahead::len);
        if let (RuleKind::Recording, Some(ahead)) = (&spec.kind, &ahead)
            && let Some(step) = step
            && let Some(labels) = renamed(&spec, ahead, group.spec.limit)
        {
            let times = (times[0] - offset, times[times.len() - 1] - offset);
            record_rows(&mut world.recorded, &mut world.written[place], &labels, ahead, times, step)?;
            return Ok(rows);
        }
        let recorder = &mut self.recorders[place];
        let watch = Watch {
            recorder: RefCell::new(recorder),
            ahead: ahead.map(RefCell::new),
            expr: &spec.expr,
            read,
        };
        let context = Context {
            engine: &self.engine,
            source: &layered,
            storage: &world.scratch,
            settings: &self.options.settings,
            replay: Some(&watch),
        };
        let mut out = Vec::new();
        for (i, t) in times.iter().enumerate() {
            let result = group.evaluate_rule(&context, rule, *t);
            let mut recorder = watch.recorder.borrow_mut();
            recorder.evaluations += 1;
            match result {
                Ok(series) => {
                    if read {
                        out.push((*t - offset, series));
                    }
                    if let RuleKind::Alerting(_) = spec.kind {
                        for alert in rule.state().book.iter().filter(|a| a.fired_at == Some(*t)) {
                            recorder.fired(&alert.labels, *t, check::pages(&alert.labels));
                        }
                    }
                }
                Err(reason) => recorder.failed(&reason),
            }
            scored(i, std::mem::take(&mut recorder.score));
        }
        for (t, series) in out {
            record(&mut world.recorded, &mut world.written[place], t, series)?;
        }
        Ok(rows)
    }

    /// The results of the rule's expression at all the times, where they can be had at once.
    fn ahead(
        &self,
        world: &World<'_>,
        layered: &Layered<'_>,
        spec: &RuleSpec,
        times: &[Timestamp],
        step: Option<i64>,
        offset: i64,
    ) -> Result<Option<Ahead>, ReplayError> {
        let (first, last) = (times[0] - offset, times[times.len() - 1] - offset);
        let nameless = |rows| {
            let ahead = Ahead::new(rows);
            if matches!(spec.kind, RuleKind::Sigma(_)) { ahead.nameless() } else { ahead }
        };
        let Some(step) = step else {
            // Rows of a file: a selector gives what the file and the rules have at these very times.
            let History::Local(_) = world.history else { return Ok(None) };
            if times.len() < 2 || offset != 0 {
                return Ok(None);
            }
            let Some(matchers) = plan::plain_selector(&spec.expr) else { return Ok(None) };
            let mut rows = Vec::new();
            let set =
                layered.select(matchers, first, last).map_err(|e| ReplayError::History(e.to_string()))?;
            let labels: Vec<Labels> = (0..set.len()).map(|i| set.labels(i).clone()).collect();
            set.read(first, last, &mut |i, t, v| {
                let samples = t.iter().zip(v).map(|(t, v)| Sample { t: *t, v: *v }).collect();
                rows.push((labels[i].clone(), samples));
            });
            return Ok(Some(nameless(rows)));
        };
        if let History::Remote(fetch) = world.history
            && !self.is_local(spec)
        {
            let rows = fetch.range(&spec.expr, first, last, step).map_err(ReplayError::History)?;
            return Ok(Some(nameless(rows)));
        }
        if !plan::same_in_a_range(&spec.expr) {
            return Ok(None);
        }
        // What fails over all times may still succeed at most of them, so failing here is no failure yet.
        match self.engine.range(layered, &spec.expr, first, last, step).map(|o| o.value) {
            Ok(Value::Matrix(rows)) => Ok(Some(nameless(rows))),
            _ => Ok(None),
        }
    }

    /// Does the rule read nothing but what the replayed rules write?
    fn is_local(&self, spec: &RuleSpec) -> bool {
        let selectors = spec.expr.selectors();
        let named = |m: &Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal;
        !selectors.is_empty()
            && selectors.iter().all(|selector| {
                let mut rules = self.plan.order.iter().map(|(g, r)| &self.groups[*g].rules[*r]);
                selector.iter().any(named) && rules.any(|rule| plan::may_read(selector, rule))
            })
    }
}

/// The stored labels of all rows, if they differ and are not too many.
fn renamed(spec: &RuleSpec, ahead: &Ahead, limit: usize) -> Option<Vec<Labels>> {
    let labels: Vec<Labels> = ahead.rows().map(|(labels, _)| recorded_labels(spec, labels)).collect();
    let distinct: HashSet<&Labels> = labels.iter().collect();
    (distinct.len() == labels.len() && (limit == 0 || labels.len() <= limit)).then_some(labels)
}

fn push(recorded: &mut Memory, place: usize, t: Timestamp, v: f64) -> Result<(), ReplayError> {
    if recorded.push(place, t, v) {
        Ok(())
    } else {
        Err(ReplayError::TooMuchRecorded(super::memory::MAX_SAMPLES))
    }
}

/// Stores the series of one evaluation, and the end of those that are gone.
fn record(
    recorded: &mut Memory,
    written: &mut HashMap<Labels, usize>,
    t: Timestamp,
    series: Vec<(Labels, f64)>,
) -> Result<(), ReplayError> {
    let mut before = std::mem::take(written);
    for (labels, v) in series {
        let place = before.remove(&labels).unwrap_or_else(|| recorded.series(&labels));
        push(recorded, place, t, v)?;
        written.insert(labels, place);
    }
    before.into_values().try_for_each(|place| push(recorded, place, t, stale_nan()))
}

/// The same for all evaluations from the first to the last time, a row a series.
fn record_rows(
    recorded: &mut Memory,
    written: &mut HashMap<Labels, usize>,
    labels: &[Labels],
    ahead: &Ahead,
    (first, last): (Timestamp, Timestamp),
    step: i64,
) -> Result<(), ReplayError> {
    let mut before = std::mem::take(written);
    for (labels, (_, samples)) in labels.iter().zip(ahead.rows()) {
        let known = before.remove(labels);
        let place = known.unwrap_or_else(|| recorded.series(labels));
        // When it would have been written next, if it had a value.
        let mut due = known.map(|_| first);
        for sample in samples {
            if let Some(due) = due.filter(|due| *due < sample.t) {
                push(recorded, place, due, stale_nan())?;
            }
            push(recorded, place, sample.t, sample.v)?;
            due = Some(sample.t.saturating_add(step));
        }
        match due.filter(|due| *due <= last) {
            Some(due) => push(recorded, place, due, stale_nan())?,
            None => drop(written.insert(labels.clone(), place)),
        }
    }
    before.into_values().try_for_each(|place| push(recorded, place, first, stale_nan()))
}
