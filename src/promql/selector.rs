//! Instant selectors: the newest sample that is not too old, at every step.

use super::ast::{Extension, Node, NodeKind, Selector};
use super::error::EvalError;
use super::eval::{Evaluator, Sink};
use super::grid::Grid;
use super::range::{Columns, Points};
use super::source::SeriesSet;
use super::table::{ABSENT, RowLabels, Table};
use crate::model::{Matcher, Sample, is_stale_nan};

/// As [`super::source::Each`], and it may fail.
type TryEach<'f> = &'f mut dyn FnMut(usize, &[i64], &[f64]) -> Result<(), EvalError>;

impl Evaluator<'_> {
    /// The rows of a selector.
    pub fn instant_selector(&mut self, s: &Selector, grid: Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        if s.extension != Extension::None {
            return self.smoothed_selector(s, grid, sink);
        }
        self.looked_back(s, grid, |sample| sample.v, sink)
    }

    fn looked_back(
        &mut self,
        s: &Selector,
        grid: Grid,
        value: impl Fn(Sample) -> f64,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let shifted = grid.shifted(self.asked.resolve(&s.shift)?);
        self.newest(&s.matchers, shifted, value, sink)
    }

    /// The times (s) of the newest samples, instead of their values.
    pub fn sample_times(&mut self, matchers: &[Matcher], at: Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        self.newest(matchers, at, |x| x.t as f64 / 1000.0, sink)
    }

    fn newest(
        &mut self,
        matchers: &[Matcher],
        shifted: Grid,
        value: impl Fn(Sample) -> f64,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let lookback = self.options.lookback_ms;
        // The left end is open: a sample exactly as old as the lookback is too old.
        let (min_t, max_t) = (shifted.start.saturating_sub(lookback - 1), shifted.end());
        let set = self.source.select(matchers, min_t, max_t)?;
        if shifted.step == 0 || shifted.count == 1 {
            let mut cells = vec![ABSENT; shifted.count];
            for i in 0..set.len() {
                if let Some(sample) = set.last(i, min_t, max_t).filter(|x| !is_stale_nan(x.v)) {
                    cells.fill(value(sample));
                    sink(set.labels(i), false, &cells)?;
                }
            }
            return Ok(());
        }
        let mut cells = vec![ABSENT; shifted.count];
        self.each_series(&*set, min_t, max_t, &mut |i, t, v| {
            let (mut next, mut any) = (0, false);
            for (k, cell) in cells.iter_mut().enumerate() {
                let now = shifted.at(k);
                while t.get(next).is_some_and(|t| *t <= now) {
                    next += 1;
                }
                *cell = ABSENT;
                if next > 0 && t[next - 1] > now - lookback && !is_stale_nan(v[next - 1]) {
                    *cell = value(Sample { t: t[next - 1], v: v[next - 1] });
                    any = true;
                }
            }
            if any { sink(set.labels(i), false, &cells) } else { Ok(()) }
        })
    }

    /// Reads the series of a set one by one, as long as nothing goes wrong.
    pub fn each_series(
        &self,
        set: &dyn SeriesSet,
        min_t: i64,
        max_t: i64,
        each: TryEach<'_>,
    ) -> Result<(), EvalError> {
        let mut result = Ok(());
        let max = self.options.max_samples;
        set.read(min_t, max_t, &mut |i, t, v| {
            if result.is_ok() {
                result = if t.len() > max { Err(EvalError::TooManySamples) } else { each(i, t, v) };
            }
        });
        result
    }

    /// `timestamp()`: of a selector the samples' own times, of anything else the time of evaluation.
    pub fn timestamp(&mut self, arg: &Node, grid: Grid) -> Result<Table, EvalError> {
        let mut table = Table::new(grid.count);
        if let NodeKind::Selector(s) = &arg.unwrap_parens().kind
            && s.extension == Extension::None
        {
            self.looked_back(s, grid, |x| x.t as f64 / 1000.0, &mut |labels, _, cells| {
                table.push(RowLabels::new(labels.clone()), cells);
                Ok(())
            })?;
        } else {
            table = self.vector(arg, grid)?;
            for i in 0..table.len() {
                for (k, cell) in table.row_mut(i).iter_mut().enumerate() {
                    if super::table::present(*cell) {
                        *cell = grid.at(k) as f64 / 1000.0;
                    }
                }
            }
        }
        self.dropped(table)
    }

    /// `smoothed`: on the straight line between the samples before and after each step.
    fn smoothed_selector(&mut self, s: &Selector, grid: Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        if s.extension == Extension::Anchored {
            return Err(EvalError::failed("anchored modifier can only be used with range vector selectors"));
        }
        let shifted = grid.shifted(self.asked.resolve(&s.shift)?);
        let lookback = self.options.lookback_ms;
        let (min_t, max_t) =
            (shifted.start.saturating_sub(lookback - 1), shifted.end().saturating_add(lookback));
        let set = self.source.select(&s.matchers, min_t, max_t)?;
        let mut cells = vec![ABSENT; grid.count];
        let mut kept = Columns::default();
        self.each_series(&*set, min_t, max_t, &mut |i, t, v| {
            let points = kept.without_stale(Points { t, v });
            let mut any = false;
            for (k, cell) in cells.iter_mut().enumerate() {
                let now = shifted.at(k);
                let after = points.t.partition_point(|t| *t <= now);
                let before = after.checked_sub(1).map(|b| points.at(b)).filter(|b| b.t > now - lookback);
                let after =
                    (after < points.len()).then(|| points.at(after)).filter(|a| a.t <= now + lookback);
                *cell = match (before, after) {
                    (Some(b), Some(a)) if b.t < now => {
                        b.v + (a.v - b.v) * (now - b.t) as f64 / (a.t - b.t) as f64
                    }
                    (Some(b), _) => b.v,
                    _ => ABSENT,
                };
                any |= super::table::present(*cell);
            }
            if any { sink(set.labels(i), false, &cells) } else { Ok(()) }
        })
    }
}
