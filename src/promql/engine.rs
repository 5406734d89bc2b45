//! Runs queries against a source.

use std::sync::Arc;

use super::ast::{Expr, NodeKind};
use super::error::EvalError;
use super::eval::Evaluator;
use super::grid::{Asked, Grid};
use super::group_memo::GroupMemos;
use super::source::Source;
use super::table::{Table, present};
use super::value::{Column, QueryOutput, Val, Value, VectorSample};
use crate::model::{Labels, Sample, Timestamp};

/// How queries are run.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How old a sample may be and still count as the present value, ms.
    pub lookback_ms: i64,
    /// A query that would hold more samples than this in memory at once is refused.
    pub max_samples: usize,
    /// A range query over more points in time than this is refused.
    pub max_steps: usize,
    /// The step of a subquery that names none, ms.
    pub subquery_step_ms: i64,
    /// Metric names that functions drop stay visible until the final result.
    pub delayed_name_removal: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            max_samples: 50_000_000,
            max_steps: 11_000,
            subquery_step_ms: 60_000,
            delayed_name_removal: false,
        }
    }
}

/// Evaluates expressions. Cheap to clone; holds no data but what speeds up the next evaluation.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
    group_memos: Arc<GroupMemos>,
}

impl Engine {
    pub fn new(options: EngineOptions) -> Self {
        Self { options, group_memos: Arc::default() }
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The result at one time, ms. A range vector is given as it stands, with its samples' own times.
    ///
    /// # Errors
    /// The data made an operation impossible, or a limit was reached.
    pub fn instant(&self, source: &dyn Source, expr: &Expr, t: Timestamp) -> Result<QueryOutput, EvalError> {
        let asked = Asked { start: t, end: t, step: 0 };
        let mut evaluator = Evaluator::new(source, &self.options, &self.group_memos, asked, false);
        let node = expr.root().unwrap_parens();
        let value = if matches!(node.kind, NodeKind::Range(_) | NodeKind::Subquery(_)) {
            Value::Matrix(evaluator.range_vector(node, t)?)
        } else {
            match evaluator.eval(node, Grid::instant(t))? {
                Val::Scalar(column) => Value::Scalar(column.at(0)),
                Val::String(s) => Value::String(s),
                Val::Vector(table) => Value::Vector(vector(table.settled()?, t)),
            }
        };
        Ok(QueryOutput { value, annotations: evaluator.notes.finish(expr.text()) })
    }

    /// The results from `start` to `end` (ms, both included), `step` ms apart; a matrix.
    ///
    /// # Errors
    /// As [`Self::instant`]; or there would be too many steps; or the expression gives neither a
    /// vector nor a scalar.
    pub fn range(
        &self,
        source: &dyn Source,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<QueryOutput, EvalError> {
        if step <= 0 {
            return Err(EvalError::BadRange(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .into(),
            ));
        }
        if end < start {
            return Err(EvalError::BadRange("end timestamp must not be before start time".into()));
        }
        let steps = end.checked_sub(start).map_or(i64::MAX, |length| length / step);
        let count = usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1);
        if count > self.options.max_steps {
            return Err(EvalError::BadRange(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                self.options.max_steps
            )));
        }
        let asked = Asked { start, end, step };
        let mut evaluator = Evaluator::new(source, &self.options, &self.group_memos, asked, true);
        let grid = Grid { start, step, count };
        let rows = match evaluator.eval(expr.root(), grid)? {
            Val::Vector(table) => matrix(&table.settled()?, grid),
            Val::Scalar(column) => {
                let samples = (0..count).map(|i| Sample { t: grid.at(i), v: column.at(i) }).collect();
                vec![(Labels::empty(), samples)]
            }
            Val::String(_) => {
                let kind = expr.value_type();
                return Err(EvalError::BadRange(format!(
                    "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
                )));
            }
        };
        Ok(QueryOutput { value: Value::Matrix(rows), annotations: evaluator.notes.finish(expr.text()) })
    }
}

fn vector(table: Table, t: Timestamp) -> Vec<VectorSample> {
    table
        .rows
        .into_iter()
        .zip(table.cells)
        .filter(|(_, v)| present(*v))
        .map(|(row, v)| VectorSample { labels: row.labels, t, v })
        .collect()
}

fn matrix(table: &Table, grid: Grid) -> Vec<(Labels, Vec<Sample>)> {
    let mut rows: Vec<(Labels, Vec<Sample>)> = table
        .iter()
        .map(|(row, cells)| {
            let samples = cells
                .iter()
                .enumerate()
                .filter(|(_, v)| present(**v))
                .map(|(i, v)| Sample { t: grid.at(i), v: *v })
                .collect();
            (row.labels.clone(), samples)
        })
        .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// Kept for scalars that were computed at one step of several.
pub(super) fn scalar_column(val: Val) -> Result<Column, EvalError> {
    match val {
        Val::Scalar(column) => Ok(column),
        _ => Err(EvalError::failed("expected a scalar")),
    }
}
