//! Alerting rules: one evaluation of the state machine.

use std::collections::HashSet;

use crate::model::{Labels, METRIC_NAME, Timestamp, lasted};

use super::alerts::{ActiveAlert, AlertBook, AlertState};
use super::context::Context;
use super::expand::Data;
use super::file::{AlertingSpec, RuleSpec};
use super::restore::{Fired, ForStates};

/// How long after a start an alert that fired before it, and whose condition does not hold, is not said to be over: what it reads may not
/// have been scraped yet, ms.
const RETURN_MS: i64 = 60_000;

/// When an evaluation happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// The evaluation's timestamp, ms.
    pub ts: Timestamp,
    /// What it reads and writes at: earlier by the query offset, ms.
    pub read: Timestamp,
    /// The most alerts or series; 0: no limit.
    pub limit: usize,
    /// Time from one evaluation to the next, ms.
    pub interval_ms: i64,
}

/// A series for which the condition holds now.
pub(super) struct Instance {
    labels: Labels,
    annotations: Labels,
    value: f64,
}

pub(super) const DUPLICATE: &str =
    "vector contains metrics with the same labelset after applying alert labels";

/// Evaluates the expression and expands the templates: everything that needs no lock.
pub(super) fn instances(
    context: &Context<'_>,
    rule: &RuleSpec,
    spec: &AlertingSpec,
    at: At,
) -> Result<Vec<Instance>, String> {
    let result = context.vector(&rule.expr, at.read)?;
    let mut instances = Vec::with_capacity(result.len());
    let mut seen = HashSet::with_capacity(result.len());
    for sample in result {
        let data = Data::new(context, &sample.labels, sample.v, &[]);
        let mut labels = sample.labels.to_builder();
        labels.remove(METRIC_NAME);
        for (name, template) in &spec.templates.labels {
            labels.set(name, &data.expand(context, &rule.name, template, at.ts, at.read));
        }
        labels.set("alertname", &rule.name);
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(DUPLICATE.to_owned());
        }
        let annotations = spec
            .templates
            .annotations
            .iter()
            .map(|(name, template)| (name, data.expand(context, &rule.name, template, at.ts, at.read)));
        instances.push(Instance { labels, annotations: Labels::from_pairs(annotations), value: sample.v });
    }
    Ok(instances)
}

/// Takes back the alerts that fired when the last process ended.
pub(super) fn take_back(book: &mut AlertBook, spec: &AlertingSpec, fired: Vec<Fired>, at: At) {
    let until = at.ts + RETURN_MS.max(2 * at.interval_ms);
    for Fired { labels, active_at } in fired {
        let fired_at = active_at.saturating_add(spec.hold.ms()).min(at.ts);
        book.insert(ActiveAlert::returning(labels, active_at, fired_at, until));
    }
}

/// Moves the rule's alerts by one evaluation.
pub(super) fn step(
    book: &mut AlertBook,
    spec: &AlertingSpec,
    instances: Vec<Instance>,
    at: At,
    restored: &ForStates,
) -> Result<(), String> {
    let ts = at.ts;
    let holding: HashSet<Labels> = instances.iter().map(|i| i.labels.clone()).collect();
    for instance in instances {
        if let Some(alert) = book.get_active(&instance.labels) {
            alert.holds(instance.value, instance.annotations);
        } else {
            let active_at = restored.active_at(&instance.labels, ts, spec.hold.ms()).unwrap_or(ts);
            book.insert(ActiveAlert::pending(
                instance.labels,
                instance.annotations,
                instance.value,
                active_at,
            ));
        }
    }
    let keep = spec.keep_firing_for.ms();
    book.settle(ts, |alert| {
        if holding.contains(&alert.labels) {
            alert.keep_firing_since = None;
            return true;
        }
        if alert.is_returning(ts) {
            return true;
        }
        if alert.state != AlertState::Firing || keep == 0 {
            return false;
        }
        let since = *alert.keep_firing_since.get_or_insert(ts);
        !lasted(since, ts, keep)
    });
    let mut active = 0;
    book.for_each(|alert| {
        active += usize::from(alert.state != AlertState::Inactive);
        if alert.state == AlertState::Pending && lasted(alert.active_at, ts, spec.hold.ms()) {
            alert.fire(ts);
        }
    });
    if at.limit > 0 && active > at.limit {
        book.clear();
        return Err(format!("exceeded limit of {} with {active} alerts", at.limit));
    }
    Ok(())
}
