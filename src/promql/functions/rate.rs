//! `rate`, `increase`, `delta`, over plain and over extended ranges.

use super::FunctionId as F;
use crate::model::Sample;
use crate::promql::ast::Extension;
use crate::promql::range::{Window, Windows};
use crate::promql::table::ABSENT;

/// `rate`, `increase` and `delta` at every step, extrapolated to the edges of the windows.
///
/// The places where the counter was reset are found once a series, so that a window costs the same
/// however many samples it has.
pub fn extrapolated(
    id: F,
    all: &[Sample],
    windows: &Windows,
    resets: &mut Vec<(usize, f64)>,
    cells: &mut [f64],
) {
    let is_counter = id != F::Delta;
    resets.clear();
    if is_counter {
        for (i, pair) in all.windows(2).enumerate() {
            if pair[1].v < pair[0].v {
                resets.push((i + 1, pair[0].v));
            }
        }
    }
    let seconds = windows.range as f64 / 1000.0;
    for (cell, window) in cells.iter_mut().zip(windows.iter(all)) {
        *cell = one(&window, is_counter, resets);
        if id == F::Rate && crate::promql::table::present(*cell) {
            *cell /= seconds;
        }
    }
}

#[inline]
fn one(w: &Window<'_>, is_counter: bool, resets: &[(usize, f64)]) -> f64 {
    let [first, .., last] = w.samples else { return ABSENT };
    let mut result = last.v - first.v;
    if !resets.is_empty() {
        let to = w.from + w.samples.len();
        let at = resets.partition_point(|(i, _)| *i <= w.from);
        for (_, before) in resets[at..].iter().take_while(|(i, _)| *i < to) {
            result += before;
        }
    }
    let sampled = (last.t - first.t) as f64 / 1000.0;
    let mut to_start = (first.t - w.start) as f64 / 1000.0;
    let mut to_end = (w.end - last.t) as f64 / 1000.0;
    let between = sampled / (w.samples.len() - 1) as f64;
    // Well beyond the samples' own distance the series is taken to begin or end half a distance away.
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && result > 0.0 && first.v >= 0.0 {
        // A counter is never below zero.
        to_start = to_start.min(sampled * (first.v / result));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    result * ((sampled + to_start + to_end) / sampled)
}

/// Functions of `anchored` and `smoothed` ranges at every step. `all` reaches beyond the windows.
pub fn extended(id: F, all: &[Sample], windows: &Windows, cells: &mut [f64]) {
    let seconds = windows.range as f64 / 1000.0;
    for (cell, w) in cells.iter_mut().zip(windows.iter(all)) {
        let is_counter = matches!(id, F::Rate | F::Increase);
        let Some(points) = edges(all, &w, windows, is_counter) else {
            *cell = ABSENT;
            continue;
        };
        *cell = match id {
            F::Changes | F::Resets => points.count(id),
            F::Rate => points.difference(is_counter) / seconds,
            _ => points.difference(is_counter),
        };
    }
}

/// The samples of an extended window, with those at its edges made up.
pub fn extended_samples(all: &[Sample], w: &Window<'_>, windows: &Windows) -> Vec<Sample> {
    let Some(points) = edges(all, w, windows, false) else { return Vec::new() };
    let inner = points.inner.iter().filter(|x| x.t > w.start && x.t < w.end).copied();
    let left = Sample { t: w.start, v: points.left };
    let right = Sample { t: w.end, v: points.right };
    std::iter::once(left).chain(inner).chain([right]).collect()
}

struct Points<'s> {
    left: f64,
    /// What lies between.
    inner: &'s [Sample],
    right: f64,
}

/// The values at a window's edges: of the last sample before (anchored), or on the line between the
/// neighbours (smoothed).
fn edges<'s>(all: &'s [Sample], w: &Window<'_>, windows: &Windows, is_counter: bool) -> Option<Points<'s>> {
    let smoothed = windows.extension == Extension::Smoothed;
    let lookback = windows.lookback;
    // Only what an independent look from this window could see.
    let seen_from = all.partition_point(|x| x.t <= w.start - lookback);
    let seen_to = all.partition_point(|x| x.t <= w.end + if smoothed { lookback } else { 0 });
    let all = &all[seen_from..seen_to.max(seen_from)];
    let inside = all.partition_point(|x| x.t <= w.start);
    let upto = all.partition_point(|x| x.t <= w.end);
    let before = inside.checked_sub(1).map(|i| all[i]);
    let next = all.get(upto);
    if smoothed {
        // Something at or after the end, or within, must be there to draw a line to.
        if upto == inside && next.is_none() {
            return None;
        }
        let first = all.get(inside)?;
        let left = match before {
            Some(b) if b.t < w.start => on_line(b, *first, w.start, is_counter),
            Some(b) => b.v,
            None => first.v,
        };
        let last = upto.checked_sub(1).map(|i| all[i]);
        let right = match (last, next) {
            (Some(l), _) if l.t == w.end => l.v,
            (Some(l), Some(n)) => on_line(l, *n, w.end, is_counter),
            (Some(l), None) => l.v,
            (None, Some(n)) => n.v,
            (None, None) => return None,
        };
        let end = if last.is_some_and(|l| l.t == w.end) { upto - 1 } else { upto };
        return Some(Points { left, inner: &all[inside..end.max(inside)], right });
    }
    if upto == inside {
        return None;
    }
    let left = before.map_or(all[inside].v, |b| b.v);
    Some(Points { left, inner: &all[inside..upto - 1], right: all[upto - 1].v })
}

/// The value at `t` on the line from `a` to `b`. A counter that was reset between them began at zero.
fn on_line(a: Sample, b: Sample, t: i64, is_counter: bool) -> f64 {
    let from = if is_counter && b.v < a.v { 0.0 } else { a.v };
    from + (b.v - from) * (t - a.t) as f64 / (b.t - a.t) as f64
}

impl Points<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.inner.iter().map(|x| x.v).chain([self.right])
    }

    fn difference(&self, is_counter: bool) -> f64 {
        let mut result = self.right - self.left;
        if is_counter {
            let mut before = self.left;
            for v in self.values() {
                if v < before {
                    result += before;
                }
                before = v;
            }
        }
        result
    }

    fn count(&self, id: F) -> f64 {
        let mut before = self.left;
        let mut n = 0.0;
        for v in self.values() {
            let counts =
                if id == F::Resets { v < before } else { v != before && !(v.is_nan() && before.is_nan()) };
            n += f64::from(u8::from(counts));
            before = v;
        }
        n
    }
}
