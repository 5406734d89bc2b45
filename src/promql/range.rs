//! Range vectors: windows that slide over a series' samples, which are read once.

use super::ast::{Call, Extension, Node, NodeKind, RangeSelector, Selector, Subquery};
use super::error::EvalError;
use super::eval::{Evaluator, Sink};
use super::functions::{FunctionId as F, over_time, rate, trend};
use super::grid::Grid;
use super::source::Named;
use super::table::{ABSENT, present};
use super::types::ValueType;
use crate::model::{Labels, METRIC_NAME, MatchOp, Sample, is_stale_nan};

/// The windows of a range vector at every step, `(end - range, end]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// The windows' ends.
    pub ends: Grid,
    /// Their length, ms.
    pub range: i64,
    /// The times of evaluation, which `offset` and `@` do not move.
    pub eval: Grid,
    pub extension: Extension,
    /// How far beyond its edges an extended window looks for neighbours, ms.
    pub lookback: i64,
}

/// Samples of a series, oldest first: timestamps (ms) and as many values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Points<'s> {
    pub t: &'s [i64],
    pub v: &'s [f64],
}

impl<'s> Points<'s> {
    pub fn len(&self) -> usize {
        self.t.len()
    }

    pub fn is_empty(&self) -> bool {
        self.t.is_empty()
    }

    /// The `i`-th, `i < len()`.
    pub fn at(&self, i: usize) -> Sample {
        Sample { t: self.t[i], v: self.v[i] }
    }

    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self { t: &self.t[range.clone()], v: &self.v[range] }
    }

    pub fn iter(&self) -> impl Iterator<Item = Sample> + use<'s> {
        self.t.iter().zip(self.v).map(|(t, v)| Sample { t: *t, v: *v })
    }
}

/// Samples that had to be copied.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub t: Vec<i64>,
    pub v: Vec<f64>,
}

impl Columns {
    pub fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
    }

    pub fn push(&mut self, t: i64, v: f64) {
        self.t.push(t);
        self.v.push(v);
    }

    pub fn points(&self) -> Points<'_> {
        Points { t: &self.t, v: &self.v }
    }

    /// The samples without staleness markers; copied only when there are any.
    pub fn without_stale<'s>(&'s mut self, all: Points<'s>) -> Points<'s> {
        if !all.v.iter().any(|v| is_stale_nan(*v)) {
            return all;
        }
        self.clear();
        for x in all.iter().filter(|x| !is_stale_nan(x.v)) {
            self.push(x.t, x.v);
        }
        self.points()
    }
}

/// One window over a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'s> {
    /// The samples in it.
    pub points: Points<'s>,
    /// Exclusive, ms.
    pub start: i64,
    /// Inclusive, ms.
    pub end: i64,
    /// When it is evaluated, ms.
    pub t: i64,
}

/// Where the windows lie in the samples. Series of one scrape have the same timestamps: then it is
/// worked out once for all of them.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    of: Vec<i64>,
    known: bool,
    /// First sample, and the one after the last, of each window.
    pub ends: Vec<(u32, u32)>,
}

impl Bounds {
    /// Fits the bounds to a series; true when they changed.
    pub fn fit(&mut self, t: &[i64], windows: &Windows) -> bool {
        if self.known && self.of == t {
            return false;
        }
        self.known = true;
        self.of.clear();
        self.of.extend_from_slice(t);
        self.ends.clear();
        let (mut from, mut to) = (0, 0);
        for i in 0..windows.ends.count {
            let end = windows.ends.at(i);
            let start = end - windows.range;
            while to < t.len() && t[to] <= end {
                to += 1;
            }
            while from < to && t[from] <= start {
                from += 1;
            }
            self.ends.push((from as u32, to as u32));
        }
        true
    }

    /// The windows over the series last fitted to.
    pub fn windows<'s>(&'s self, all: Points<'s>, windows: &'s Windows) -> impl Iterator<Item = Window<'s>> {
        self.ends.iter().enumerate().map(move |(i, (from, to))| {
            let end = windows.ends.at(i);
            let points = all.part(*from as usize..*to as usize);
            Window { points, start: end - windows.range, end, t: windows.eval.at(i) }
        })
    }
}

/// Takes the series of a range vector one by one: labels, whether the name is to be dropped, all the
/// samples that any window needs, the windows.
pub(super) type SeriesSink<'s> =
    &'s mut dyn FnMut(Named<'_>, bool, Points<'_>, &Windows) -> Result<(), EvalError>;

impl Evaluator<'_> {
    /// The series of a range vector.
    pub fn windows_of(&mut self, node: &Node, grid: Grid, sink: SeriesSink<'_>) -> Result<(), EvalError> {
        match &node.unwrap_parens().kind {
            NodeKind::Range(r) => match &r.of.kind {
                NodeKind::Selector(s) => self.range_selector(r, s, grid, sink),
                _ => Err(EvalError::failed("ranges only allowed for vector selectors")),
            },
            NodeKind::Subquery(s) => self.subquery(s, grid, sink),
            _ => Err(EvalError::failed("expected a range vector")),
        }
    }

    fn range_selector(
        &mut self,
        r: &RangeSelector,
        s: &Selector,
        grid: Grid,
        sink: SeriesSink<'_>,
    ) -> Result<(), EvalError> {
        let ends = grid.shifted(self.asked.resolve(&s.shift)?);
        let range = self.asked.positive(&r.range)?;
        let lookback = self.options.lookback_ms;
        let windows = Windows { ends, range, eval: grid, extension: s.extension, lookback };
        let (before, after) = match s.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (lookback, 0),
            Extension::Smoothed => (lookback, lookback),
        };
        let min_t = ends.start.saturating_sub(range).saturating_sub(before).saturating_add(1);
        let max_t = ends.end().saturating_add(after);
        let set = self.source.select(&s.matchers, min_t, max_t)?;
        let mut kept = Columns::default();
        self.each_series(&*set, min_t, max_t, &mut |i, t, v| {
            let points = kept.without_stale(Points { t, v });
            if points.is_empty() { Ok(()) } else { sink(Named::of(&*set, i), false, points, &windows) }
        })
    }

    fn subquery(&mut self, s: &Subquery, grid: Grid, sink: SeriesSink<'_>) -> Result<(), EvalError> {
        let ends = grid.shifted(self.asked.resolve(&s.shift)?);
        let range = self.asked.positive(&s.range)?;
        let step = match &s.step {
            Some(step) => self.asked.positive(step)?,
            None => self.options.subquery_step_ms.max(1),
        };
        // Multiples of the step, after the open left end of the first window.
        let open = ends.start.saturating_sub(range);
        let start = (open.div_euclid(step) + 1) * step;
        let steps = (ends.end() - start).div_euclid(step) + 1;
        let count = usize::try_from(steps).unwrap_or_default();
        if count == 0 {
            return Ok(());
        }
        self.check_size(1, count)?;
        let inner = Grid { start, step, count };
        let windows = Windows { ends, range, eval: grid, extension: Extension::None, lookback: 0 };
        let table = self.vector(&s.of, inner)?;
        let mut columns = Columns::default();
        for (row, cells) in table.iter() {
            columns.clear();
            for (i, v) in cells.iter().enumerate().filter(|(_, v)| present(**v)) {
                columns.push(inner.at(i), *v);
            }
            if !columns.t.is_empty() {
                sink((&row.labels).into(), row.drop_name, columns.points(), &windows)?;
            }
        }
        Ok(())
    }

    /// A function of a range vector, row by row.
    pub fn range_function(&mut self, c: &Call, grid: Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let id = c.function.id;
        let Some(at) = c.function.args.iter().position(|a| *a == ValueType::Matrix) else {
            return Err(EvalError::failed("expected a range vector"));
        };
        let mut params = Vec::new();
        for (i, arg) in c.args.iter().enumerate().filter(|(i, _)| *i != at) {
            debug_assert!(i < 3);
            params.push(self.scalar(arg, grid)?);
        }
        let arg = &c.args[at];
        check_extension(c, arg)?;
        let keeps_name = matches!(id, F::LastOverTime | F::FirstOverTime);
        let mut cells = vec![ABSENT; grid.count];
        let mut scratch = Vec::new();
        let mut bounds = Bounds::default();
        let mut rates = rate::Rates::new(id);
        let mut uncounted: Vec<String> = Vec::new();
        let counter = matches!(id, F::Rate | F::Increase);
        let (one_name, mut named) = (has_one_name(arg), false);
        let mut any = false;
        self.windows_of(arg, grid, &mut |labels, dropped, points, windows| {
            let changed = bounds.fit(points.t, windows);
            match id {
                _ if windows.extension != Extension::None => {
                    rate::extended(id, points, windows, &mut cells);
                }
                F::Rate | F::Increase | F::Delta => {
                    if changed {
                        rates.fit(points.t, &bounds, windows);
                    }
                    rates.of(points.v, &mut cells);
                }
                _ => {
                    let windows = bounds.windows(points, windows);
                    for (i, (cell, window)) in cells.iter_mut().zip(windows).enumerate() {
                        let param = |n: usize| params.get(n).map_or(0.0, |p| p.at(i));
                        *cell = over_time::of(id, &window, &param, &mut scratch);
                    }
                }
            }
            if cells.iter().any(|v| present(*v)) {
                any = true;
                if counter && !dropped && !(one_name && named) {
                    note_uncounted(&labels, &mut uncounted);
                    named = true;
                }
                sink(labels, dropped || !keeps_name, &cells)?;
            }
            Ok(())
        })?;
        // Where there is nothing to work on, no parameter is wrong.
        if any && id == F::QuantileOverTime {
            let bad = (0..grid.count).map(|i| params[0].at(i)).find(|q| !(0.0..=1.0).contains(q));
            if let Some(q) = bad {
                self.notes.invalid_quantile(c.args[0].span, q);
            }
        }
        if any && id == F::DoubleExponentialSmoothing {
            trend::check_factors(&params, grid.count)?;
        }
        for name in uncounted {
            self.notes.info(
                arg.span,
                format!(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
                ),
            );
        }
        Ok(())
    }

    /// A range vector by itself, at one time.
    pub fn range_vector(&mut self, node: &Node, t: i64) -> Result<Vec<(Labels, Vec<Sample>)>, EvalError> {
        let mut out: Vec<(Labels, Vec<Sample>)> = Vec::new();
        let mut held = 0;
        let max = self.options.max_samples;
        let mut bounds = Bounds::default();
        self.windows_of(node, Grid::instant(t), &mut |labels, dropped, points, windows| {
            bounds.fit(points.t, windows);
            for window in bounds.windows(points, windows) {
                let samples: Vec<Sample> = if windows.extension == Extension::None {
                    window.points.iter().collect()
                } else {
                    rate::extended_samples(points, &window, windows)
                };
                held += samples.len();
                if held > max {
                    return Err(EvalError::TooManySamples);
                }
                if !samples.is_empty() {
                    let labels =
                        if dropped { super::value::without_reserved(&labels) } else { labels.clone() };
                    out.push((labels, samples));
                }
            }
            Ok(())
        })?;
        out.sort_by(|a, b| a.0.cmp(&b.0));
        if out.windows(2).any(|w| w[0].0 == w[1].0) {
            return Err(super::table::same_labels());
        }
        Ok(out)
    }
}

fn check_extension(c: &Call, arg: &Node) -> Result<(), EvalError> {
    let NodeKind::Range(r) = &arg.unwrap_parens().kind else { return Ok(()) };
    let NodeKind::Selector(s) = &r.of.kind else { return Ok(()) };
    let (name, allowed, ok) = match s.extension {
        Extension::None => return Ok(()),
        Extension::Anchored => {
            ("anchored", "changes, delta, increase, rate, resets", c.function.id.takes_anchored())
        }
        Extension::Smoothed => ("smoothed", "delta, increase, rate", c.function.id.takes_smoothed()),
    };
    if ok {
        return Ok(());
    }
    let function = c.function.name;
    Err(EvalError::failed(format!("{name} modifier can only be used with: {allowed} - not with {function}")))
}

/// Does a range selector fix the metric's name?
pub(super) fn has_one_name(arg: &Node) -> bool {
    let NodeKind::Range(r) = &arg.unwrap_parens().kind else { return false };
    let NodeKind::Selector(s) = &r.of.kind else { return false };
    s.matchers.iter().any(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal)
}

/// Remembers the name of a metric that is no counter by its name.
fn note_uncounted(labels: &Labels, uncounted: &mut Vec<String>) {
    let name = labels.metric_name();
    let counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
    if !name.is_empty() && !counter && uncounted.len() < 100 && !uncounted.iter().any(|n| n == name) {
        uncounted.push(name.to_owned());
    }
}
