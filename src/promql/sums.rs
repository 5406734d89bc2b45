//! Sums, means and variances that lose no digits (Kahan's summation with Neumaier's improvement).

/// A sum with the part that floats could not hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub sum: f64,
    pub rest: f64,
}

impl Sum {
    /// The sum of all the values. As adding one by one, in less time.
    pub fn of(values: &[f64]) -> Self {
        let mut all = Self::default();
        for &v in values {
            let t = all.sum + v;
            let (large, small) = if all.sum.abs() >= v.abs() { (all.sum, v) } else { (v, all.sum) };
            all.rest += (large - t) + small;
            all.sum = t;
        }
        // What has left the finite once does not come back: nothing had to be looked at on the way.
        if !all.sum.is_finite() {
            all = Self::default();
            values.iter().for_each(|v| all.add(*v));
        }
        all
    }

    #[inline]
    pub fn add(&mut self, v: f64) {
        let t = self.sum + v;
        if t.is_infinite() {
            self.rest = 0.0;
        } else if self.sum.abs() >= v.abs() {
            self.rest += (self.sum - t) + v;
        } else {
            self.rest += (v - t) + self.sum;
        }
        self.sum = t;
    }

    #[inline]
    pub fn value(self) -> f64 {
        self.sum + self.rest
    }
}

/// A mean: a sum until that would overflow, then corrected value by value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    acc: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// The mean of all the values.
    pub fn of(values: &[f64]) -> Self {
        let acc = Sum::of(values);
        if acc.sum.is_finite() {
            return Self { acc, count: values.len() as f64, incremental: false };
        }
        let mut mean = Self::default();
        values.iter().for_each(|v| mean.add(*v));
        mean
    }

    #[inline]
    pub fn add(&mut self, v: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.acc;
            next.add(v);
            if self.count == 1.0 || !next.sum.is_infinite() {
                self.acc = next;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.acc.sum /= before;
            self.acc.rest /= before;
        }
        let q = (self.count - 1.0) / self.count;
        self.acc.sum *= q;
        self.acc.rest *= q;
        self.acc.add(v / self.count);
    }

    pub fn value(self) -> f64 {
        if self.incremental {
            return self.acc.value();
        }
        self.acc.sum / self.count + self.acc.rest / self.count
    }

    pub fn count(self) -> f64 {
        self.count
    }
}

/// The population variance, by Welford's method.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Variance {
    pub fn add(&mut self, v: f64) {
        self.count += 1.0;
        let delta = v - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (v - self.mean.value()));
    }

    /// NaN when there was nothing, or anything not finite.
    pub fn value(self) -> f64 {
        self.squares.value() / self.count
    }

    pub fn count(self) -> f64 {
        self.count
    }
}

/// The q-quantile by linear interpolation; `values` is sorted in place, NaN first.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| nan_first(*a, *b));
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Ascending, NaN before everything.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_is_as_one_by_one() {
        for values in [
            vec![],
            vec![-0.0],
            vec![1.0, 1e100, 1.0, -1e100, 0.1],
            vec![f64::MAX, f64::MAX, -f64::MAX, 3.0],
            vec![1.0, f64::INFINITY, 2.0],
            vec![f64::INFINITY, f64::NEG_INFINITY, 2.0],
            vec![f64::INFINITY],
            vec![1.0, f64::NAN, 2.0],
        ] {
            let (mut sum, mut mean) = (Sum::default(), Mean::default());
            for v in &values {
                sum.add(*v);
                mean.add(*v);
            }
            for (one, all) in
                [(sum.value(), Sum::of(&values).value()), (mean.value(), Mean::of(&values).value())]
            {
                assert!(
                    one.to_bits() == all.to_bits() || one.is_nan() && all.is_nan(),
                    "{values:?}: {one} {all}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_lost() {
        let mut s = Sum::default();
        for v in [1.0, 1e100, 1.0, -1e100] {
            s.add(v);
        }
        assert_eq!(s.value(), 2.0);
        let mut m = Mean::default();
        for v in [f64::MAX, f64::MAX, f64::MAX] {
            m.add(v);
        }
        assert!((m.value() / f64::MAX - 1.0).abs() < 1e-12);
        let mut v = Variance::default();
        v.add(f64::INFINITY);
        assert!(v.value().is_nan());
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
    }
}
