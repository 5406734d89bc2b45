//! Functions of the samples of one window.

use super::FunctionId as F;
use super::trend;
use crate::promql::range::{Points, Window};
use crate::promql::sums::{Mean, Sum, Variance, quantile};
use crate::promql::table::ABSENT;

/// The value of a function of a window; [`ABSENT`] when it needs more samples than there are.
pub fn of(id: F, w: &Window<'_>, param: &dyn Fn(usize) -> f64, scratch: &mut Vec<f64>) -> f64 {
    let points = w.points;
    let Points { t, v } = points;
    let (Some(&first), Some(&last)) = (v.first(), v.last()) else { return ABSENT };
    let end = v.len() - 1;
    let seconds = |i: usize| t[i] as f64 / 1000.0;
    match id {
        F::LastOverTime => last,
        F::FirstOverTime => first,
        F::PresentOverTime => 1.0,
        F::CountOverTime => v.len() as f64,
        F::SumOverTime => {
            let mut sum = Sum::default();
            v.iter().for_each(|v| sum.add(*v));
            sum.value()
        }
        F::AvgOverTime => {
            let mut mean = Mean::default();
            v.iter().for_each(|v| mean.add(*v));
            mean.value()
        }
        F::StddevOverTime | F::StdvarOverTime => {
            let mut variance = Variance::default();
            v.iter().for_each(|v| variance.add(*v));
            if id == F::StddevOverTime { variance.value().sqrt() } else { variance.value() }
        }
        F::MinOverTime => v[extreme(v, |v, best| v < best)],
        F::MaxOverTime => v[extreme(v, |v, best| v > best)],
        F::TsOfMinOverTime => seconds(extreme(v, |v, best| v <= best)),
        F::TsOfMaxOverTime => seconds(extreme(v, |v, best| v >= best)),
        F::TsOfFirstOverTime => seconds(0),
        F::TsOfLastOverTime => seconds(end),
        F::QuantileOverTime => {
            scratch.clear();
            scratch.extend_from_slice(v);
            quantile(param(0), scratch)
        }
        F::MadOverTime => {
            if v.iter().any(|v| v.is_nan()) {
                return f64::NAN;
            }
            scratch.clear();
            scratch.extend_from_slice(v);
            let median = quantile(0.5, scratch);
            scratch.iter_mut().for_each(|v| *v = (*v - median).abs());
            quantile(0.5, scratch)
        }
        F::Changes => count_pairs(v, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        F::Resets => count_pairs(v, |a, b| b < a),
        F::Irate | F::Idelta => last_two(id, points),
        F::Deriv => trend::deriv(points),
        F::PredictLinear => trend::predict(points, w.t, param(0)),
        F::DoubleExponentialSmoothing => trend::smooth(v, param(0), param(1)),
        _ => ABSENT,
    }
}

/// The place of the value that is better than all before; NaN loses to everything.
fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate().skip(1) {
        if better(*v, values[best]) || values[best].is_nan() {
            best = i;
        }
    }
    best
}

fn count_pairs(values: &[f64], counts: impl Fn(f64, f64) -> bool) -> f64 {
    values.windows(2).filter(|w| counts(w[0], w[1])).count() as f64
}

fn last_two(id: F, points: Points<'_>) -> f64 {
    let ([.., before, last], [.., from, to]) = (points.v, points.t) else { return ABSENT };
    if to <= from {
        return ABSENT;
    }
    if id == F::Idelta {
        return last - before;
    }
    // After a reset the counter began at zero.
    let gained = if last < before { *last } else { last - before };
    gained / ((to - from) as f64 / 1000.0)
}
