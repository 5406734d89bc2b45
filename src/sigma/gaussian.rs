//! Exponentially weighted mean and variance, with the small-sample band of Student's t.

use super::codec::{DecodeError, Reader, Writer};

/// Weighted moments of everything learnt. A sample's weight is e^(-age/τ) with τ = window/2: then the memory's mean age
/// and its effective number of samples are those of a flat window of that length.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    /// Sum of weights.
    w: f64,
    /// Sum of squared weights.
    w2: f64,
    mean: f64,
    /// Weighted sum of squared distances from the mean.
    s: f64,
    /// Time that the weights refer to, ms.
    t: i64,
}

impl Moments {
    /// Ages the memory to `t`.
    pub fn decay(&mut self, t: i64, tau_ms: f64) {
        if self.w > 0.0 && t > self.t {
            let keep = (-(t.saturating_sub(self.t) as f64) / tau_ms).exp();
            self.w *= keep;
            self.w2 *= keep * keep;
            self.s *= keep;
        }
        self.t = self.t.max(t);
    }

    /// Learns `n` samples at once from their mean and sum of squared distances (Chan, Golub and LeVeque 1979).
    pub fn learn(&mut self, n: u32, mean: f64, m2: f64) {
        let n = f64::from(n);
        let total = self.w + n;
        let d = mean - self.mean;
        self.mean += d * (n / total);
        self.s += m2 + d * d * (self.w * n / total);
        self.w = total;
        self.w2 += n;
        if !(self.mean.is_finite() && self.s.is_finite()) {
            // Values whose squares leave the range of a float: start again rather than stay broken.
            *self = Self { t: self.t, ..Self::default() };
        }
    }

    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Lets time pass (or go back) without ageing anything.
    pub fn shift_time(&mut self, by_ms: i64) {
        self.t = self.t.saturating_add(by_ms);
    }

    /// Moves the centre and leaves the spread.
    pub fn rebase(&mut self, level: f64) {
        self.mean = level;
    }

    /// Kish's effective number of samples, (Σw)²/Σw².
    pub fn effective(&self) -> f64 {
        if self.w2 > 0.0 { self.w * self.w / self.w2 } else { 0.0 }
    }

    /// Unbiased standard deviation of the weighted samples.
    pub fn stddev(&self) -> f64 {
        let dof = self.w - if self.w > 0.0 { self.w2 / self.w } else { 0.0 };
        if dof > 0.0 && self.s > 0.0 { (self.s / dof).sqrt() } else { 0.0 }
    }

    pub fn encode(&self, out: &mut Writer) {
        for v in [self.w, self.w2, self.mean, self.s] {
            out.f64(v);
        }
        out.i64(self.t);
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (w, w2) = (from.finite("weight")?, from.finite("weight")?);
        let (mean, s) = (from.finite("mean")?, from.finite("moment")?);
        if w < 0.0 || w2 < 0.0 || s < 0.0 {
            return Err(DecodeError::Impossible("moment"));
        }
        Ok(Self { w, w2, mean, s, t: from.i64()? })
    }
}

/// The σ at which the stretch of Student's t is taken.
const STRETCH_AT: f64 = 3.0;

/// How much wider a standard deviation estimated from `n` samples must be drawn so that a *new* normal sample lies beyond
/// 3 of them as rarely as beyond 3 true ones: √(1+1/n) for the centre's own error, and the quantile of Student's t with
/// n-1 degrees of freedom by Wallace's approximation (1959), which at 3σ is good to 3 % at 4 degrees and to 1 % from 10 upwards.
pub(super) fn student_stretch(n: f64) -> f64 {
    let dof = (n - 1.0).max(1.0);
    if n > 400.0 {
        // The first terms of both expansions; the rest is below 1e-4.
        return 1.0 + (STRETCH_AT * STRETCH_AT + 1.0) / (4.0 * dof) + 0.5 / n;
    }
    let c = STRETCH_AT * (8.0 * dof + 3.0) / (8.0 * dof + 1.0);
    let t = (dof * (c * c / dof).exp_m1()).sqrt();
    t / STRETCH_AT * (1.0 + 1.0 / n.max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

    #[test]
    fn the_stretch_is_that_of_students_t() {
        let tail = Normal::standard().cdf(3.0);
        for n in [5.0, 8.0, 15.0, 50.0, 240.0, 399.0, 401.0, 5_000.0] {
            let t = StudentsT::new(0.0, 1.0, n - 1.0).unwrap().inverse_cdf(tail);
            let want = t / 3.0 * (1.0 + 1.0 / n).sqrt();
            let tolerance = if n < 10.0 { 0.03 } else { 0.01 };
            assert!(
                (student_stretch(n) / want - 1.0).abs() < tolerance,
                "{n}: {} {want}",
                student_stretch(n)
            );
        }
    }

    #[test]
    fn batches_are_worth_their_samples() {
        let values = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0];
        let (mut single, mut batch) = (Moments::default(), Moments::default());
        for v in values {
            single.learn(1, v, 0.0);
        }
        let mean = 4.5;
        batch.learn(6, mean, values.iter().map(|v| (v - mean) * (v - mean)).sum());
        assert!((single.mean() - 4.5).abs() < 1e-12 && (single.stddev() - batch.stddev()).abs() < 1e-12);
        assert!((single.stddev() - 7.5f64.sqrt()).abs() < 1e-12, "the unbiased one: {}", single.stddev());
    }
}
