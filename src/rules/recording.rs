//! Recording rules: the result of an expression under a new name.

use std::collections::HashSet;

use crate::model::{Labels, METRIC_NAME};

use super::alerting::At;
use super::context::Context;
use super::file::RuleSpec;

/// Evaluates the rule; gives the series to store.
pub(super) fn evaluate(context: &Context<'_>, rule: &RuleSpec, at: At) -> Result<Vec<(Labels, f64)>, String> {
    let result = context.vector(&rule.expr, at.read)?;
    if at.limit > 0 && result.len() > at.limit {
        return Err(format!("exceeded limit of {} with {} series", at.limit, result.len()));
    }
    let mut series = Vec::with_capacity(result.len());
    let mut seen = HashSet::with_capacity(result.len());
    for sample in result {
        let labels = recorded_labels(rule, &sample.labels);
        if !seen.insert(labels.clone()) {
            return Err(
                "vector contains metrics with the same labelset after applying rule labels".to_owned()
            );
        }
        series.push((labels, sample.v));
    }
    Ok(series)
}

/// The labels under which a series of the expression's result is stored.
pub fn recorded_labels(rule: &RuleSpec, of: &Labels) -> Labels {
    let mut labels = of.to_builder();
    labels.set(METRIC_NAME, &rule.name);
    for (name, value) in rule.labels.iter() {
        labels.set(name, value);
    }
    labels.build()
}
