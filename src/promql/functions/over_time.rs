//! Functions of the samples of one window.

use super::FunctionId as F;
use super::trend;
use crate::model::Sample;
use crate::promql::range::Window;
use crate::promql::sums::{Mean, Sum, Variance, quantile};
use crate::promql::table::ABSENT;

/// The value of a function of a window that has samples; [`ABSENT`] when it needs more.
pub fn of(id: F, w: &Window<'_>, param: &dyn Fn(usize) -> f64, scratch: &mut Vec<f64>) -> f64 {
    let samples = w.samples;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return ABSENT };
    let values = || samples.iter().map(|x| x.v);
    match id {
        F::LastOverTime => last.v,
        F::FirstOverTime => first.v,
        F::PresentOverTime => 1.0,
        F::CountOverTime => samples.len() as f64,
        F::SumOverTime => {
            let mut sum = Sum::default();
            values().for_each(|v| sum.add(v));
            sum.value()
        }
        F::AvgOverTime => {
            let mut mean = Mean::default();
            values().for_each(|v| mean.add(v));
            mean.value()
        }
        F::StddevOverTime | F::StdvarOverTime => {
            let mut variance = Variance::default();
            values().for_each(|v| variance.add(v));
            if id == F::StddevOverTime { variance.value().sqrt() } else { variance.value() }
        }
        F::MinOverTime => extreme(samples, |v, best| v < best).v,
        F::MaxOverTime => extreme(samples, |v, best| v > best).v,
        F::TsOfMinOverTime => extreme(samples, |v, best| v <= best).t as f64 / 1000.0,
        F::TsOfMaxOverTime => extreme(samples, |v, best| v >= best).t as f64 / 1000.0,
        F::TsOfFirstOverTime => first.t as f64 / 1000.0,
        F::TsOfLastOverTime => last.t as f64 / 1000.0,
        F::QuantileOverTime => {
            scratch.clear();
            scratch.extend(values());
            quantile(param(0), scratch)
        }
        F::MadOverTime => {
            if samples.iter().any(|x| x.v.is_nan()) {
                return f64::NAN;
            }
            scratch.clear();
            scratch.extend(values());
            let median = quantile(0.5, scratch);
            scratch.iter_mut().for_each(|v| *v = (*v - median).abs());
            quantile(0.5, scratch)
        }
        F::Changes => count_pairs(samples, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        F::Resets => count_pairs(samples, |a, b| b < a),
        F::Irate | F::Idelta => last_two(id, samples),
        F::Deriv => trend::deriv(samples),
        F::PredictLinear => trend::predict(samples, w.t, param(0)),
        F::DoubleExponentialSmoothing => trend::smooth(samples, param(0), param(1)),
        _ => ABSENT,
    }
}

/// The sample whose value is better than all before; NaN loses to everything.
fn extreme(samples: &[Sample], better: impl Fn(f64, f64) -> bool) -> Sample {
    let mut best = samples[0];
    for x in &samples[1..] {
        if better(x.v, best.v) || best.v.is_nan() {
            best = *x;
        }
    }
    best
}

fn count_pairs(samples: &[Sample], counts: impl Fn(f64, f64) -> bool) -> f64 {
    samples.windows(2).filter(|w| counts(w[0].v, w[1].v)).count() as f64
}

fn last_two(id: F, samples: &[Sample]) -> f64 {
    let [.., before, last] = samples else { return ABSENT };
    let interval = last.t - before.t;
    if interval <= 0 {
        return ABSENT;
    }
    if id == F::Idelta {
        return last.v - before.v;
    }
    // After a reset the counter began at zero.
    let gained = if last.v < before.v { last.v } else { last.v - before.v };
    gained / (interval as f64 / 1000.0)
}
