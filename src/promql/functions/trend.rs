//! Where a series is going: straight lines through samples, and double exponential smoothing.

use crate::promql::error::EvalError;
use crate::promql::range::Points;
use crate::promql::sums::Sum;
use crate::promql::table::ABSENT;
use crate::promql::value::Column;

/// Slope per second, and the value at `origin` (ms), of the line of least squares.
fn line(points: Points<'_>, origin: i64) -> (f64, f64) {
    let first = points.v[0];
    if points.v.iter().all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = points.len() as f64;
    let [mut xs, mut ys, mut xys, mut x2s] = [Sum::default(); 4];
    for s in points.iter() {
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
pub fn deriv(points: Points<'_>) -> f64 {
    if points.len() < 2 { ABSENT } else { line(points, points.t[0]).0 }
}

/// The value `seconds` after `now` (ms).
pub fn predict(points: Points<'_>, now: i64, seconds: f64) -> f64 {
    if points.len() < 2 {
        return ABSENT;
    }
    let (slope, value) = line(points, now);
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
pub fn smooth(values: &[f64], level: f64, trend: f64) -> f64 {
    let [first, second, ..] = values else { return ABSENT };
    let (mut before, mut now) = (0.0, *first);
    let mut slope = second - first;
    for (i, v) in values[1..].iter().enumerate() {
        if i > 0 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let next = level * v + (1.0 - level) * (now + slope);
        before = now;
        now = next;
    }
    now
}
