//! Where a series is going: straight lines through samples, and double exponential smoothing.

use crate::model::Sample;
use crate::promql::error::EvalError;
use crate::promql::sums::Sum;
use crate::promql::table::ABSENT;
use crate::promql::value::Column;

/// Slope per second, and the value at `origin` (ms), of the line of least squares.
fn line(samples: &[Sample], origin: i64) -> (f64, f64) {
    let first = samples[0].v;
    if samples.iter().all(|x| x.v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = samples.len() as f64;
    let [mut xs, mut ys, mut xys, mut x2s] = [Sum::default(); 4];
    for s in samples {
        let x = (s.t - origin) as f64 / 1000.0;
        xs.add(x);
        ys.add(s.v);
        xys.add(x * s.v);
        x2s.add(x * x);
    }
    let (x, y, xy, x2) = (xs.value(), ys.value(), xys.value(), x2s.value());
    let slope = (xy - x * y / n) / (x2 - x * x / n);
    (slope, y / n - slope * x / n)
}

/// The slope per second.
pub fn deriv(samples: &[Sample]) -> f64 {
    if samples.len() < 2 { ABSENT } else { line(samples, samples[0].t).0 }
}

/// The value `seconds` after `now` (ms).
pub fn predict(samples: &[Sample], now: i64, seconds: f64) -> f64 {
    if samples.len() < 2 {
        return ABSENT;
    }
    let (slope, value) = line(samples, now);
    slope * seconds + value
}

/// Both factors must be between 0 and 1.
pub fn check_factors(params: &[Column], steps: usize) -> Result<(), EvalError> {
    for (param, (name, sign)) in params.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
        for i in 0..steps {
            let v = param.at(i);
            if !(v > 0.0 && v < 1.0) {
                return Err(EvalError::failed(format!(
                    "invalid {name} factor. Expected: 0 < {sign} < 1, got: {v:.6}"
                )));
            }
        }
    }
    Ok(())
}

/// Double exponential smoothing with a factor for the level and one for the trend.
pub fn smooth(samples: &[Sample], level: f64, trend: f64) -> f64 {
    let [first, second, ..] = samples else { return ABSENT };
    let (mut before, mut now) = (0.0, first.v);
    let mut slope = second.v - first.v;
    for (i, x) in samples[1..].iter().enumerate() {
        if i > 0 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let next = level * x.v + (1.0 - level) * (now + slope);
        before = now;
        now = next;
    }
    now
}
