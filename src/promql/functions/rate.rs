//! `rate`, `increase`, `delta`, over plain and over extended ranges.

use super::FunctionId as F;
use crate::model::Sample;
use crate::promql::ast::Extension;
use crate::promql::range::{Bounds, Points, Window, Windows};
use crate::promql::table::ABSENT;

/// What `rate`, `increase` and `delta` need of a window besides its values. It hangs on the timestamps
/// only, which the series of one scrape share.
#[derive(Debug, Clone, Copy)]
struct Extrapolation {
    first: u32,
    /// Equal to `first` when there are fewer than two samples.
    last: u32,
    /// From the first to the last sample, s.
    sampled: f64,
    /// How far the series is taken to reach beyond its samples, s.
    to_start: f64,
    to_end: f64,
    /// What the difference is multiplied by when the counter could have begun that long ago.
    factor: f64,
}

/// `rate`, `increase` and `delta` at every step, extrapolated to the edges of the windows. A window
/// costs the same however many samples it has.
#[derive(Debug)]
pub struct Rates {
    id: F,
    seconds: f64,
    windows: Vec<Extrapolation>,
    /// Before which samples the counter was reset, and its value before that.
    resets: Vec<(u32, f64)>,
}

impl Rates {
    pub fn new(id: F) -> Self {
        Self { id, seconds: 0.0, windows: Vec::new(), resets: Vec::new() }
    }

    /// Fits to new timestamps.
    pub fn fit(&mut self, t: &[i64], bounds: &Bounds, windows: &Windows) {
        self.seconds = windows.range as f64 / 1000.0;
        self.windows.clear();
        for (i, &(from, to)) in bounds.ends.iter().enumerate() {
            let end = windows.ends.at(i);
            let mut e = Extrapolation {
                first: from,
                last: from,
                sampled: 0.0,
                to_start: 0.0,
                to_end: 0.0,
                factor: 0.0,
            };
            if to - from >= 2 {
                let (first, last) = (t[from as usize], t[to as usize - 1]);
                e.last = to - 1;
                e.sampled = (last - first) as f64 / 1000.0;
                e.to_start = (first - (end - windows.range)) as f64 / 1000.0;
                e.to_end = (end - last) as f64 / 1000.0;
                let between = e.sampled / f64::from(to - from - 1);
                // Well beyond the samples' own distance the series is taken to begin or end half a
                // distance away.
                let threshold = between * 1.1;
                if e.to_start >= threshold {
                    e.to_start = between / 2.0;
                }
                if e.to_end >= threshold {
                    e.to_end = between / 2.0;
                }
                e.factor = self.factor(&e, e.to_start);
            }
            self.windows.push(e);
        }
    }

    fn factor(&self, e: &Extrapolation, to_start: f64) -> f64 {
        let factor = (e.sampled + to_start + e.to_end) / e.sampled;
        if self.id == F::Rate { factor / self.seconds } else { factor }
    }

    /// The values at every step of a series with the timestamps last fitted to.
    pub fn of(&mut self, v: &[f64], cells: &mut [f64]) {
        let is_counter = self.id != F::Delta;
        self.resets.clear();
        // Resets are rare: one quick look over all values, then a closer one.
        if is_counter && v.windows(2).fold(false, |any, w| any | (w[1] < w[0])) {
            let pairs = v.windows(2).enumerate().filter(|(_, w)| w[1] < w[0]);
            self.resets.extend(pairs.map(|(i, w)| (i as u32 + 1, w[0])));
        }
        for (cell, e) in cells.iter_mut().zip(&self.windows) {
            *cell = if e.first == e.last {
                ABSENT
            } else {
                self.one(e, is_counter, v[e.first as usize], v[e.last as usize])
            };
        }
    }

    #[inline]
    fn one(&self, e: &Extrapolation, is_counter: bool, first: f64, last: f64) -> f64 {
        let mut result = last - first;
        if !self.resets.is_empty() {
            let at = self.resets.partition_point(|(i, _)| *i <= e.first);
            for (_, before) in self.resets[at..].iter().take_while(|(i, _)| *i <= e.last) {
                result += before;
            }
        }
        // A counter is never below zero: it cannot have begun before it was.
        if is_counter && result > 0.0 && first >= 0.0 && e.sampled * first < e.to_start * result {
            return result * self.factor(e, e.sampled * (first / result));
        }
        result * e.factor
    }
}

/// Functions of `anchored` and `smoothed` ranges at every step. `all` reaches beyond the windows.
pub fn extended(id: F, all: Points<'_>, windows: &Windows, cells: &mut [f64]) {
    let seconds = windows.range as f64 / 1000.0;
    for (i, cell) in cells.iter_mut().enumerate() {
        let end = windows.ends.at(i);
        let w = Window { points: all, start: end - windows.range, end, t: windows.eval.at(i) };
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
pub fn extended_samples(all: Points<'_>, w: &Window<'_>, windows: &Windows) -> Vec<Sample> {
    let Some(points) = edges(all, w, windows, false) else { return Vec::new() };
    let inner = points.inner.iter().filter(|x| x.t > w.start && x.t < w.end);
    let left = Sample { t: w.start, v: points.left };
    let right = Sample { t: w.end, v: points.right };
    std::iter::once(left).chain(inner).chain([right]).collect()
}

struct Edges<'s> {
    left: f64,
    /// What lies between.
    inner: Points<'s>,
    right: f64,
}

/// The values at a window's edges: of the last sample before (anchored), or on the line between the
/// neighbours (smoothed).
fn edges<'s>(all: Points<'s>, w: &Window<'_>, windows: &Windows, is_counter: bool) -> Option<Edges<'s>> {
    let smoothed = windows.extension == Extension::Smoothed;
    let lookback = windows.lookback;
    // Only what an independent look from this window could see.
    let seen_from = all.t.partition_point(|t| *t <= w.start - lookback);
    let seen_to = all.t.partition_point(|t| *t <= w.end + if smoothed { lookback } else { 0 });
    let all = all.part(seen_from..seen_to.max(seen_from));
    let inside = all.t.partition_point(|t| *t <= w.start);
    let upto = all.t.partition_point(|t| *t <= w.end);
    let before = inside.checked_sub(1).map(|i| all.at(i));
    let next = (upto < all.len()).then(|| all.at(upto));
    if smoothed {
        // Something at or after the end, or within, must be there to draw a line to.
        if upto == inside && next.is_none() {
            return None;
        }
        let first = (inside < all.len()).then(|| all.at(inside))?;
        let left = match before {
            Some(b) if b.t < w.start => on_line(b, first, w.start, is_counter),
            Some(b) => b.v,
            None => first.v,
        };
        let last = upto.checked_sub(1).map(|i| all.at(i));
        let right = match (last, next) {
            (Some(l), _) if l.t == w.end => l.v,
            (Some(l), Some(n)) => on_line(l, n, w.end, is_counter),
            (Some(l), None) => l.v,
            (None, Some(n)) => n.v,
            (None, None) => return None,
        };
        let end = if last.is_some_and(|l| l.t == w.end) { upto - 1 } else { upto };
        return Some(Edges { left, inner: all.part(inside..end.max(inside)), right });
    }
    if upto == inside {
        return None;
    }
    let left = before.map_or(all.v[inside], |b| b.v);
    Some(Edges { left, inner: all.part(inside..upto - 1), right: all.v[upto - 1] })
}

/// The value at `t` on the line from `a` to `b`. A counter that was reset between them began at zero.
fn on_line(a: Sample, b: Sample, t: i64, is_counter: bool) -> f64 {
    let from = if is_counter && b.v < a.v { 0.0 } else { a.v };
    from + (b.v - from) * (t - a.t) as f64 / (b.t - a.t) as f64
}

impl Edges<'_> {
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
