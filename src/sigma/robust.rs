//! Median and scaled median absolute deviation from a bounded, forgetting sketch.
//!
//! The window's values are held as at most 64 clusters in order, each no heavier than 1/28 of the whole (unless its values
//! are all equal). A quantile read off it is therefore off by at most one cluster, 3.6 % of rank, and in practice far less,
//! since neighbours are interpolated. For normal noise 3.6 % of rank at the median is 0.09 σ.

use super::codec::{DecodeError, Reader, Writer};

const CAPACITY: usize = 64;
const HEAVIEST: f64 = 1.0 / 28.0;
/// For normal noise σ = 1.4826 MAD (1 / Φ⁻¹(3/4)).
const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;
/// For normal noise σ = 1.2533 times the mean absolute deviation (√(π/2)).
const MEAN_DEVIATION_TO_SIGMA: f64 = 1.253_314_137_315_5;
/// The MAD of n normal samples is as exact as the standard deviation of 0.37 n (Rousseeuw and Croux 1993).
const MAD_EFFICIENCY: f64 = 0.37;

/// Weighted clusters of values, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sketch {
    means: Vec<f64>,
    weights: Vec<f32>,
    /// Sums of the weights and of their squares as they were learnt, for the effective number of samples.
    w: f64,
    w2: f64,
    /// Time that the weights refer to, ms.
    t: i64,
    /// What [`Sketch::estimate`] says: it changes only when something is learnt.
    known: Option<(f64, f64)>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { means: Vec::new(), weights: Vec::new(), w: 0.0, w2: 0.0, t: 0, known: None }
    }
}

impl Sketch {
    /// Ages the memory to `t`.
    pub fn decay(&mut self, t: i64, tau_ms: f64) {
        if self.w > 0.0 && t > self.t {
            let keep = (-(t.saturating_sub(self.t) as f64) / tau_ms).exp();
            self.w *= keep;
            self.w2 *= keep * keep;
            for w in &mut self.weights {
                *w *= keep as f32;
            }
        }
        self.t = self.t.max(t);
    }

    /// Learns one value that stands for `weight` samples.
    pub fn learn(&mut self, x: f64, weight: f64) {
        self.w += weight;
        self.w2 += weight * weight;
        let at = self.means.partition_point(|m| *m < x);
        if self.means.get(at) == Some(&x) {
            self.weights[at] += weight as f32;
            return;
        }
        if self.means.capacity() == 0 {
            self.means.reserve_exact(CAPACITY);
            self.weights.reserve_exact(CAPACITY);
        } else if self.means.len() >= CAPACITY {
            self.compress();
            return self.insert(x, weight as f32);
        }
        self.means.insert(at, x);
        self.weights.insert(at, weight as f32);
    }

    fn insert(&mut self, x: f64, weight: f32) {
        let at = self.means.partition_point(|m| *m < x);
        self.means.insert(at, x);
        self.weights.insert(at, weight);
    }

    /// Joins neighbours while the joint cluster stays light: any two neighbours of the result outweigh 1/28 together, so at most
    /// 57 are left. Clusters whose weight has faded to nothing go.
    fn compress(&mut self) {
        let total: f64 = self.weights.iter().map(|w| f64::from(*w)).sum();
        let limit = total * HEAVIEST;
        let mut kept = 0usize;
        for i in 0..self.means.len() {
            let (m, w) = (self.means[i], f64::from(self.weights[i]));
            if w <= total * 1e-9 {
                continue;
            }
            if let Some(last) = kept.checked_sub(1) {
                let (m0, w0) = (self.means[last], f64::from(self.weights[last]));
                if w0 + w <= limit {
                    // Never outside the two, whatever the rounding.
                    self.means[last] = (m0 + (m - m0) * (w / (w0 + w))).clamp(m0, m);
                    self.weights[last] = (w0 + w) as f32;
                    continue;
                }
            }
            self.means[kept] = m;
            self.weights[kept] = w as f32;
            kept += 1;
        }
        self.means.truncate(kept);
        self.weights.truncate(kept);
    }

    /// (median, σ from the MAD). When more than half of the values are equal the MAD is 0, and the mean absolute deviation
    /// takes its place (Iglewicz and Hoaglin 1993).
    pub fn estimate(&self) -> Option<(f64, f64)> {
        self.known
    }

    /// To be called when a batch of values was learnt.
    pub fn settle(&mut self) {
        self.known = self.read();
    }

    fn read(&self) -> Option<(f64, f64)> {
        let median =
            weighted_median(self.means.iter().copied().zip(self.weights.iter().copied()), self.total())?;
        // Distances from the median ascend on both sides of it: merge the two sides.
        let above = self.means.partition_point(|m| *m < median);
        let (mut low, mut high) = (above, above);
        let distances = std::iter::from_fn(|| {
            let down = low.checked_sub(1).map(|i| (median - self.means[i], i));
            let up = self.means.get(high).map(|m| (m - median, high));
            let (distance, i) = match (down, up) {
                (Some(d), Some(u)) if d.0 <= u.0 => d,
                (Some(d), None) => d,
                (_, u) => u?,
            };
            if i < above {
                low -= 1
            } else {
                high += 1
            }
            Some((distance, self.weights[i]))
        });
        let mad = weighted_median(distances, self.total())?;
        if mad > 0.0 {
            return Some((median, MAD_TO_SIGMA * mad));
        }
        let sum: f64 =
            self.means.iter().zip(&self.weights).map(|(m, w)| (m - median).abs() * f64::from(*w)).sum();
        Some((median, MEAN_DEVIATION_TO_SIGMA * sum / self.total()))
    }

    fn total(&self) -> f64 {
        self.weights.iter().map(|w| f64::from(*w)).sum()
    }

    /// Samples that a standard deviation of the same exactness would come from.
    pub fn effective(&self) -> f64 {
        if self.w2 > 0.0 { 1.0 + MAD_EFFICIENCY * (self.w * self.w / self.w2 - 1.0) } else { 0.0 }
    }

    pub fn shift_time(&mut self, by_ms: i64) {
        self.t = self.t.saturating_add(by_ms);
    }

    /// Moves the centre and leaves the spread.
    pub fn rebase(&mut self, level: f64) {
        if let Some((median, _)) = self.estimate() {
            for m in &mut self.means {
                *m += level - median;
            }
        }
        self.settle();
    }

    pub fn heap_bytes(&self) -> usize {
        self.means.capacity() * size_of::<f64>() + self.weights.capacity() * size_of::<f32>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.f64(self.w);
        out.f64(self.w2);
        out.i64(self.t);
        out.u8(u8::try_from(self.means.len()).unwrap_or(u8::MAX));
        for (m, w) in self.means.iter().zip(&self.weights) {
            out.f64(*m);
            out.f32(*w);
        }
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut sketch =
            Self { w: from.finite("weight")?, w2: from.finite("weight")?, t: from.i64()?, ..Self::default() };
        let len = usize::from(from.u8()?);
        if len > CAPACITY || sketch.w < 0.0 || sketch.w2 < 0.0 {
            return Err(DecodeError::Impossible("sketch"));
        }
        sketch.means.reserve_exact(CAPACITY);
        sketch.weights.reserve_exact(CAPACITY);
        for _ in 0..len {
            let (m, w) = (from.finite("value")?, from.f32()?);
            if !(w.is_finite() && w >= 0.0) || sketch.means.last().is_some_and(|last| *last > m) {
                return Err(DecodeError::Impossible("cluster"));
            }
            sketch.means.push(m);
            sketch.weights.push(w);
        }
        sketch.settle();
        Ok(sketch)
    }
}

/// The value in the middle of the weight, interpolated between the middles of the two clusters round it. A cluster heavier than
/// joining allows is many equal values: nothing is interpolated inside it.
fn weighted_median(ascending: impl Iterator<Item = (f64, f32)>, total: f64) -> Option<f64> {
    let half = total / 2.0;
    let mut passed = 0.0;
    let mut before: Option<(f64, f64)> = None;
    for (x, w) in ascending {
        let w = f64::from(w);
        let (from, to) = if w > total * HEAVIEST * 1.001 {
            (passed, passed + w)
        } else {
            (passed + w / 2.0, passed + w / 2.0)
        };
        if to >= half {
            return Some(match before {
                Some((x0, to0)) if from > half && from > to0 => x0 + (x - x0) * ((half - to0) / (from - to0)),
                _ => x,
            });
        }
        passed += w;
        before = Some((x, to));
    }
    before.map(|(x, _)| x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_stated_error() {
        // A known order in a scrambled sequence; the exact rank of what the sketch calls median and MAD.
        for (prime, power) in [(7_919u64, 1.0), (104_729, 3.0), (15_485_863, 0.3)] {
            let values: Vec<f64> = (1..4_000u64)
                .map(|i| ((i * prime) % 1_000_003) as f64 / 1_000_003.0)
                .map(|u| u.powf(power))
                .collect();
            let mut sketch = Sketch::default();
            for v in &values {
                sketch.learn(*v, 1.0);
            }
            sketch.settle();
            assert!(sketch.means.len() <= CAPACITY);
            let (median, sigma) = sketch.estimate().unwrap();
            let rank = |at: f64, of: &dyn Fn(f64) -> f64| {
                values.iter().filter(|v| of(**v) < at).count() as f64 / values.len() as f64
            };
            assert!((rank(median, &|v| v) - 0.5).abs() < HEAVIEST, "{power}: {}", rank(median, &|v| v));
            let mad = rank(sigma / MAD_TO_SIGMA, &|v| (v - median).abs());
            assert!((mad - 0.5).abs() < HEAVIEST, "{power}: {mad}");
        }
    }
}
