//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` over classic histograms.

use std::collections::HashMap;

use super::FunctionId as F;
use crate::model::{Labels, format_float_exposition, format_float_go, parse_float};
use crate::promql::ast::Call;
use crate::promql::error::EvalError;
use crate::promql::eval::Evaluator;
use crate::promql::grid::Grid;
use crate::promql::histogram::{Bucket, Levelled, fraction, quantile};
use crate::promql::table::{ABSENT, RowLabels, Table, present};
use crate::promql::value::Column;

/// The rows of one histogram, with their upper bounds, in ascending order.
struct Histogram {
    labels: RowLabels,
    rows: Vec<(f64, usize)>,
}

enum Asked {
    Quantiles(Vec<Column>, String),
    Quantile(Column),
    Fraction(Column, Column),
}

/// A function over all the histograms of a vector.
pub fn classic(e: &mut Evaluator<'_>, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let scalar = |e: &mut Evaluator<'_>, i: usize| e.scalar(&c.args[i], grid);
    let (asked, vector) = match c.function.id {
        F::HistogramQuantile => (Asked::Quantile(scalar(e, 0)?), 1),
        F::HistogramFraction => (Asked::Fraction(scalar(e, 0)?, scalar(e, 1)?), 2),
        _ => {
            let mut quantiles = Vec::new();
            for i in 2..c.args.len() {
                quantiles.push(scalar(e, i)?);
            }
            (Asked::Quantiles(quantiles, e.string(&c.args[1])?), 0)
        }
    };
    warn_of_quantiles(e, c, &asked, grid);
    let table = e.vector(&c.args[vector], grid)?;
    let span = c.args[vector].span;
    let histograms = group(e, &table, span);
    let mut out = Table::new(grid.count);
    let mut levelled: Vec<Option<Levelling>> = Vec::new();
    for h in &histograms {
        let mut note = None;
        match &asked {
            Asked::Quantile(q) => {
                one(&table, h, h.labels.clone(), &mut out, &mut note, |k, b| quantile(q.at(k), b));
            }
            Asked::Fraction(low, high) => {
                one(&table, h, h.labels.clone(), &mut out, &mut note, |k, b| {
                    fraction(low.at(k), high.at(k), b)
                });
            }
            Asked::Quantiles(quantiles, label) => {
                if h.labels.labels.get(label).is_some() {
                    return Err(EvalError::failed(format!(
                        "label {label:?} already exists in the input of histogram_quantiles"
                    )));
                }
                for q in quantiles {
                    each_quantile(&table, h, q, label, &mut out, &mut note);
                }
            }
        }
        levelled.push(note);
    }
    for (h, note) in histograms.iter().zip(levelled) {
        if let Some(note) = note {
            let name = h.labels.labels.metric_name();
            e.notes.info(span, note.text(name, grid));
        }
    }
    e.dropped(out.joined()?)
}

/// What was levelled, over all steps.
struct Levelling {
    low: f64,
    high: f64,
    most: f64,
    steps: usize,
    first: usize,
    last: usize,
}

impl Levelling {
    fn text(&self, name: &str, grid: Grid) -> String {
        let time = |k: usize| {
            jiff::Timestamp::from_millisecond(grid.at(k)).map(|t| t.to_string()).unwrap_or_default()
        };
        let mut text = format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name {name:?}, from buckets {} to {}, with a max diff of {}",
            format_float_go(self.low),
            format_float_go(self.high),
            format_float_go(self.most),
        );
        if self.steps > 1 {
            text +=
                &format!(", over {} samples from {} to {}", self.steps, time(self.first), time(self.last));
        }
        text
    }
}

fn warn_of_quantiles(e: &mut Evaluator<'_>, c: &Call, asked: &Asked, grid: Grid) {
    let (quantiles, first): (&[Column], usize) = match asked {
        Asked::Quantile(q) => (std::slice::from_ref(q), 0),
        Asked::Quantiles(qs, _) => (qs, 2),
        Asked::Fraction(..) => return,
    };
    for (i, q) in quantiles.iter().enumerate() {
        let bad = (0..grid.count).map(|k| q.at(k)).find(|q| !(0.0..=1.0).contains(q));
        if let Some(bad) = bad {
            e.notes.invalid_quantile(c.args[first + i].span, bad);
        }
    }
}

/// Finds the histograms: rows that differ in `le` only.
fn group(e: &mut Evaluator<'_>, table: &Table, span: crate::promql::token::Span) -> Vec<Histogram> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut found: Vec<Histogram> = Vec::new();
    for (i, row) in table.rows.iter().enumerate() {
        let le = row.labels.get("le").unwrap_or_default();
        let Some(upper) = parse_float(le) else {
            let name = row.labels.metric_name();
            e.notes.warn(
                span,
                format!(
                    "bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {name:?}"
                ),
            );
            continue;
        };
        let labels = e.visible(&row.labels, row.drop_name).without(|n| n == "le");
        let at = *places.entry(labels.clone()).or_insert_with(|| {
            let labels = RowLabels { labels, drop_name: row.drop_name };
            found.push(Histogram { labels, rows: Vec::new() });
            found.len() - 1
        });
        found[at].rows.push((upper, i));
    }
    for h in &mut found {
        h.rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    found
}

/// Adds a histogram's row: `f` is given the buckets of each step that has any.
fn one(
    table: &Table,
    h: &Histogram,
    labels: RowLabels,
    out: &mut Table,
    note: &mut Option<Levelling>,
    f: impl Fn(usize, &mut Vec<Bucket>) -> (f64, Levelled),
) {
    let mut cells = vec![ABSENT; table.width];
    let mut buckets = Vec::with_capacity(h.rows.len());
    for (k, cell) in cells.iter_mut().enumerate() {
        buckets.clear();
        for (upper, row) in &h.rows {
            let count = table.cells[row * table.width + k];
            if present(count) {
                buckets.push(Bucket { upper: *upper, count });
            }
        }
        if buckets.is_empty() {
            continue;
        }
        let (v, levelled) = f(k, &mut buckets);
        *cell = v;
        if let Some((low, high, most)) = levelled.forced {
            let n = note.get_or_insert(Levelling { low, high, most, steps: 0, first: k, last: k });
            n.low = n.low.min(low);
            n.high = n.high.max(high);
            n.most = n.most.max(most);
            n.steps += 1;
            n.last = k;
        }
    }
    out.push(labels, &cells);
}

/// A float as OpenMetrics writes it in labels: whole numbers as `1.0`.
fn with_point(v: f64) -> String {
    let text = format_float_exposition(v);
    if v.is_finite() && !text.contains(['.', 'e']) { text + ".0" } else { text }
}

/// One row for each value that the quantile takes over the steps.
fn each_quantile(
    table: &Table,
    h: &Histogram,
    q: &Column,
    label: &str,
    out: &mut Table,
    note: &mut Option<Levelling>,
) {
    let mut values: Vec<f64> = (0..table.width).map(|k| q.at(k)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup_by(|a, b| a.to_bits() == b.to_bits());
    for value in values {
        let labels = h.labels.labels.to_builder().set(label, &with_point(value)).build();
        let labels = RowLabels { labels, drop_name: h.labels.drop_name };
        one(table, h, labels, out, note, |k, b| {
            if q.at(k).to_bits() == value.to_bits() {
                quantile(value, b)
            } else {
                (ABSENT, Levelled::default())
            }
        });
    }
}
