//! A group: its rules are evaluated one after the other, and later ones see what earlier ones stored.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::{Alert, Labels, Timestamp, stale_nan};
use crate::storage::SourceId;

use super::alerting::{self, At};
use super::alerts::AlertBook;
use super::context::Context;
use super::file::{GroupSpec, RuleKind, RuleSpec};
use super::recording;
use super::restore::{ForStates, fired_before};
use super::sigma_rule::{self, SigmaState};

/// How long after its first evaluation a group looks for alerts from before the restart, ms.
const RESTORE_MS: i64 = 300_000;

/// Takes the alerts of rules. Called right after each rule, on the thread that evaluates: it must not wait.
pub trait AlertSink: Send + Sync {
    /// Firing and resolved alerts at `now` (ms), never an empty list.
    fn send(&self, alerts: Vec<Alert>, now: Timestamp);
}

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Health {
    #[default]
    Unknown,
    Ok,
    /// The reason.
    Err(String),
}

impl Health {
    /// The word of the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err(_) => "err",
        }
    }

    /// Why the last evaluation failed.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Err(reason) => Some(reason),
            _ => None,
        }
    }
}

/// What a rule remembers between evaluations.
#[derive(Debug, Default)]
pub struct RuleState {
    pub book: AlertBook,
    pub sigma: SigmaState,
    pub health: Health,
    /// Of the last evaluation, s.
    pub duration_s: f64,
    /// When that was, ms.
    pub evaluated_at: Option<Timestamp>,
    /// Alerts from before the start were looked for.
    looked_back: bool,
    /// The series of the last good evaluation, and in which they were: those that are gone are marked stale.
    written: HashMap<Labels, u32>,
    generation: u32,
}

/// A rule of a group.
#[derive(Debug)]
pub struct Rule {
    pub spec: Arc<RuleSpec>,
    state: Mutex<RuleState>,
}

impl Rule {
    /// A rule that was never evaluated.
    pub fn new(spec: Arc<RuleSpec>) -> Self {
        Self { spec, state: Mutex::default() }
    }

    /// What it remembers. Held only for moments: never while an expression is evaluated.
    pub fn state(&self) -> MutexGuard<'_, RuleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    /// Goes on where a rule of the old configuration stood.
    fn take_over(&self, from: &Self) {
        let mut state = std::mem::take(&mut *from.state());
        if let (RuleKind::Sigma(new), RuleKind::Sigma(before)) = (&self.spec.kind, &from.spec.kind) {
            if new.identity != before.identity {
                state.sigma.change(&before.detector, &new.detector);
            }
            if self.spec.expr.to_string() != from.spec.expr.to_string() {
                state.sigma.expression_changed();
            }
        }
        *self.state() = state;
    }
}

/// How an evaluation of a group went.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    pub samples: usize,
    pub failures: usize,
    /// Samples that the storage did not take.
    pub refused: usize,
    pub duration_s: f64,
}

/// Times of a group's evaluations.
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupTimes {
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub outcome: Outcome,
}

/// A group with the state of its rules.
#[derive(Debug)]
pub struct Group {
    pub spec: GroupSpec,
    pub interval_ms: i64,
    pub query_offset_ms: i64,
    /// As whom it writes.
    pub source: SourceId,
    pub rules: Vec<Rule>,
    times: Mutex<GroupTimes>,
    /// Series of rules that a reload took away; marked stale at the next evaluation.
    orphans: Mutex<Vec<Labels>>,
}

impl Group {
    /// A group that was never evaluated. Interval at least 1 ms.
    pub fn new(spec: GroupSpec, interval_ms: i64, query_offset_ms: i64, source: SourceId) -> Self {
        let rules = spec.rules.iter().map(|r| Rule::new(Arc::clone(r))).collect();
        Self {
            spec,
            interval_ms: interval_ms.max(1),
            query_offset_ms,
            source,
            rules,
            times: Mutex::default(),
            orphans: Mutex::default(),
        }
    }

    /// `FILE;GROUP`, as Prometheus calls groups in its metrics.
    pub fn key(&self) -> String {
        key(&self.spec.file, &self.spec.name)
    }

    /// When it was evaluated, and how that went.
    pub fn times(&self) -> GroupTimes {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates all rules as of `ts` (ms).
    pub fn evaluate(&self, context: &Context<'_>, sink: &dyn AlertSink, ts: Timestamp) -> Outcome {
        let started = Instant::now();
        let first = {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            *times.first.get_or_insert(ts)
        };
        let restoring = ts.saturating_sub(first) <= RESTORE_MS;
        let at = At {
            ts,
            read: ts.saturating_sub(self.query_offset_ms),
            limit: self.spec.limit,
            interval_ms: self.interval_ms,
        };
        let mut outcome = Outcome::default();
        for rule in &self.rules {
            let started = Instant::now();
            let result = self.run(context, rule, at, restoring);
            let mut state = rule.state();
            state.duration_s = started.elapsed().as_secs_f64();
            state.evaluated_at = Some(ts);
            match result {
                Ok(series) => {
                    state.health = Health::Ok;
                    let delay = context.settings.resend_delay_ms;
                    let mut due = state.book.due(ts, delay, self.interval_ms);
                    if !due.is_empty() {
                        let link = generator_url(context, &rule.spec);
                        due.iter_mut().for_each(|a| a.generator_url.clone_from(&link));
                    }
                    outcome.samples += series.len();
                    outcome.refused += self.store(context, &mut state, series, at.read);
                    drop(state);
                    if !due.is_empty() {
                        sink.send(due, ts);
                    }
                }
                Err(reason) => {
                    outcome.failures += 1;
                    tracing::warn!(
                        group = self.spec.name,
                        rule = rule.spec.name,
                        error = reason,
                        "evaluating a rule failed"
                    );
                    state.health = Health::Err(reason);
                }
            }
        }
        self.mark_orphans(context, at.read);
        outcome.duration_s = started.elapsed().as_secs_f64();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.last = Some(ts);
        times.outcome = outcome;
        outcome
    }

    /// Evaluates one rule as of `ts` (ms) and stores nothing: gives the series that it would write.
    ///
    /// # Errors
    /// The evaluation's.
    pub fn evaluate_rule(
        &self,
        context: &Context<'_>,
        rule: &Rule,
        ts: Timestamp,
    ) -> Result<Vec<(Labels, f64)>, String> {
        let at = At {
            ts,
            read: ts.saturating_sub(self.query_offset_ms),
            limit: self.spec.limit,
            interval_ms: self.interval_ms,
        };
        self.run(context, rule, at, false)
    }

    /// Evaluates one rule; gives the series that it writes.
    fn run(
        &self,
        context: &Context<'_>,
        rule: &Rule,
        at: At,
        restoring: bool,
    ) -> Result<Vec<(Labels, f64)>, String> {
        let spec = &rule.spec;
        match &spec.kind {
            RuleKind::Recording => recording::evaluate(context, spec, at),
            RuleKind::Alerting(alerting) => {
                let instances = alerting::instances(context, spec, alerting, at)?;
                let restored = if restoring && !instances.is_empty() {
                    ForStates::find(context.storage, &spec.name, at.ts, context.settings.outage_tolerance_ms)
                } else {
                    ForStates::default()
                };
                let mut state = rule.state();
                if restoring && !std::mem::replace(&mut state.looked_back, true) {
                    let most = context.settings.outage_tolerance_ms;
                    let fired = fired_before(context.storage, &spec.name, at.ts, most);
                    alerting::take_back(&mut state.book, alerting, fired, at);
                }
                alerting::step(&mut state.book, alerting, instances, at, &restored)?;
                let mut series = Vec::new();
                state.book.series(&mut series);
                Ok(series)
            }
            RuleKind::Sigma(sigma) => {
                let cold = rule.state().sigma.is_cold();
                let read = sigma_rule::read(context, spec, sigma, at, cold, self.interval_ms)?;
                let mut state = rule.state();
                let RuleState { sigma: remembered, book, .. } = &mut *state;
                let mut series = sigma_rule::step(context, spec, sigma, at, read, remembered, book)?;
                book.series(&mut series);
                Ok(series)
            }
        }
    }

    /// Writes a rule's series and marks those that are gone. How many samples were refused.
    fn store(
        &self,
        context: &Context<'_>,
        state: &mut RuleState,
        series: Vec<(Labels, f64)>,
        t: Timestamp,
    ) -> usize {
        if series.is_empty() && state.written.is_empty() {
            return 0;
        }
        state.generation = state.generation.wrapping_add(1);
        let generation = state.generation;
        let mut refused = 0;
        let mut appender = context.storage.appender(self.source);
        let mut append = |labels: &Labels, v: f64| {
            let done = appender.series(labels).and_then(|id| appender.append(id, t, v));
            if let Err(e) = done {
                refused += 1;
                tracing::debug!(group = self.spec.name, series = %labels, error = %e, "a rule's sample was refused");
            }
        };
        for (labels, v) in series {
            append(&labels, v);
            state.written.insert(labels, generation);
        }
        state.written.retain(|labels, last| {
            if *last != generation {
                append(labels, stale_nan());
            }
            *last == generation
        });
        appender.commit(t);
        refused
    }

    fn mark_orphans(&self, context: &Context<'_>, t: Timestamp) {
        let orphans = std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner));
        mark_stale(context.storage, self.source, &orphans, t);
    }

    /// Takes over the state of the rules that are in the old group too: of the same kind, name and labels. A sigma rule goes on also
    /// with other labels, and with another name when all else stayed: its baselines are by the labels of the series, which these
    /// edits leave alone.
    pub fn take_over(&self, old: &Self) {
        let mut left: Vec<&Rule> = old.rules.iter().collect();
        let mut new: Vec<&Rule> = self.rules.iter().collect();
        for same in [same_rule, same_sigma_name, renamed_sigma] {
            new.retain(|rule| {
                let Some(i) = left.iter().position(|o| same(&rule.spec, &o.spec)) else { return true };
                rule.take_over(left.remove(i));
                false
            });
        }
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in left {
            orphans.extend(rule.state().written.drain().map(|(labels, _)| labels));
        }
        let times = old.times();
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
    }

    /// The series that it wrote last, for when it is taken away.
    pub fn written(&self) -> Vec<Labels> {
        self.rules.iter().flat_map(|r| r.state().written.keys().cloned().collect::<Vec<_>>()).collect()
    }
}

fn same_rule(a: &RuleSpec, b: &RuleSpec) -> bool {
    a.type_name() == b.type_name() && a.name == b.name && a.labels == b.labels
}

fn same_sigma_name(a: &RuleSpec, b: &RuleSpec) -> bool {
    matches!((&a.kind, &b.kind), (RuleKind::Sigma(_), RuleKind::Sigma(_))) && a.name == b.name
}

fn renamed_sigma(a: &RuleSpec, b: &RuleSpec) -> bool {
    match (&a.kind, &b.kind) {
        (RuleKind::Sigma(x), RuleKind::Sigma(y)) => {
            x.identity == y.identity && a.expr.to_string() == b.expr.to_string()
        }
        _ => false,
    }
}

/// Writes staleness markers.
pub(super) fn mark_stale(
    storage: &crate::storage::Storage,
    source: SourceId,
    series: &[Labels],
    t: Timestamp,
) {
    if series.is_empty() {
        return;
    }
    let mut appender = storage.appender(source);
    for labels in series {
        // A series that has a newer sample needs no marker.
        let _ = appender.series(labels).and_then(|id| appender.append(id, t, stale_nan()));
    }
    appender.commit(t);
}

/// `FILE;GROUP`
pub fn key(file: &Path, group: &str) -> String {
    format!("{};{group}", file.display())
}

/// Where a person sees the rule's expression.
fn generator_url(context: &Context<'_>, rule: &RuleSpec) -> String {
    let expr = crate::model::query_encode(&rule.expr.to_string());
    format!("{}/graph?g0.expr={expr}&g0.tab=1", context.settings.external_url)
}
