//! How far is a value from every value seen before?
//!
//! s = min |x - p| / scale, p the remembered values, scale = max(σ, a share of the largest |x|) + Weber's share of |x - mean|; σ is taken
//! before the sample is learnt. A rule may look at a series in several ways (its samples, their short means); each has a memory.

use super::baseline::{Plan, View};
use super::codec::{DecodeError, Reader, Writer};
use super::gaussian::Moments;
use super::lag::Bucket;

/// Remembered values at the most, of all memories of a series together.
pub(super) const CAPACITY: usize = 128;
/// Beside the moments of the gaussian model there is room for these.
pub(super) const CAPACITY_AS_GATE_OF_GAUSSIAN: usize = 96;
/// With a model that fills the state itself there is room for fewer.
pub(super) const CAPACITY_AS_GATE: usize = 16;
/// A value farther than this many σ from all is worth remembering of its own.
const REMEMBER: f64 = 0.10;
/// The scale is at least this share of the largest |x| seen.
const SCALE_FLOOR: f64 = 0.01;
/// A value that nothing matched for so long is forgotten, ms.
const FORGET_MS: i64 = 30 * 86_400_000;
/// Matches are kept to the second.
const SECOND_MS: i64 = 1_000;

/// Seconds since the epoch, as far as 32 bits go (2106).
fn seconds(t_ms: i64) -> u32 {
    u32::try_from(t_ms.div_euclid(SECOND_MS).max(0)).unwrap_or(u32::MAX)
}

/// One way to look at a series, and what was seen.
#[derive(Debug, Clone, Default, PartialEq)]
struct Memory {
    values: Values,
    spread: Moments,
    /// For a short mean: the mean of what was learnt, which lies behind what is judged by the lag.
    mean: Moments,
}

impl Memory {
    /// What distances are measured in at `x`; `None` when all was 0 so far.
    fn scale(&self, plan: &Plan, x: f64) -> Option<f64> {
        let base = self.spread.stddev().max(plan.floor_ratio * self.values.largest).max(plan.floor);
        (base > 0.0).then(|| base + plan.weber * (x - self.spread.mean()).abs())
    }

    fn learn(&mut self, plan: &Plan, t: i64, x: f64, capacity: usize) {
        self.values.enlarge(x);
        let radius = plan.remember * self.scale(plan, x).unwrap_or(0.0);
        self.values.learn_within(t, x, radius, capacity, plan.forget_ms);
    }
}

/// What the model says of a value: of the first way to look, the nearest remembered value and the scale; of all ways together, the
/// distance, signed as the value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strangeness {
    pub nearest: f64,
    pub scale: f64,
    pub distance: f64,
}

/// The memories of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Novelty {
    memories: Box<[Memory]>,
}

impl Novelty {
    pub fn new(plan: &Plan) -> Self {
        Self { memories: vec![Memory::default(); plan.views.len()].into() }
    }

    fn capacity(&self) -> usize {
        CAPACITY / self.memories.len().max(1)
    }

    /// Values of an event are remembered (so that the same is not novel the next time), and leave the spread alone.
    pub fn learn(&mut self, plan: &Plan, bucket: &Bucket) {
        let capacity = self.capacity();
        for (view, memory) in plan.views.iter().zip(self.memories.iter_mut()) {
            let (mean, m2) = match view.tau_ms {
                None => {
                    for x in bucket.picks() {
                        memory.learn(plan, bucket.t, *x, capacity);
                    }
                    (bucket.mean, bucket.m2)
                }
                Some(tau) => {
                    memory.mean.decay(bucket.t, tau);
                    memory.mean.learn(bucket.n, bucket.mean, 0.0);
                    let mean = memory.mean.mean();
                    memory.learn(plan, bucket.t, mean, capacity);
                    (mean, 0.0)
                }
            };
            if !bucket.event {
                memory.spread.decay(bucket.t, plan.tau_ms);
                memory.spread.learn(bucket.n, mean, m2);
            }
        }
    }

    /// `judged`: what each way sees now. `None` while nothing, or nothing that has a scale, is learnt.
    pub fn judge(&self, views: &[View], plan: &Plan, judged: &[f64]) -> Option<Strangeness> {
        let mut first = None;
        let (mut size, mut signed) = (0.0, 0.0);
        for ((view, memory), x) in views.iter().zip(&self.memories).zip(judged) {
            // No number: what is normal is still known.
            let x = if x.is_nan() { memory.spread.mean() } else { *x };
            let nearest = memory.values.nearest(x)?;
            let Some(scale) = memory.scale(plan, x) else { continue };
            let distance = view.weight * (x - nearest) / scale;
            size += distance.abs();
            signed += distance;
            first.get_or_insert((nearest, scale));
        }
        first.map(|(nearest, scale)| Strangeness { nearest, scale, distance: size.copysign(signed) })
    }

    /// Lets time pass (or go back) without ageing anything.
    pub fn shift_time(&mut self, by_ms: i64) {
        for memory in &mut self.memories {
            memory.spread.shift_time(by_ms);
            memory.mean.shift_time(by_ms);
        }
    }

    /// `level` was always there.
    pub fn rebase(&mut self, plan: &Plan, t: i64, level: f64) {
        let capacity = self.capacity();
        for memory in &mut self.memories {
            memory.mean.rebase(level);
            memory.learn(plan, t, level, capacity);
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.memories) + self.memories.iter().map(|m| m.values.heap_bytes()).sum::<usize>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.u8(u8::try_from(self.memories.len()).unwrap_or(u8::MAX));
        for memory in &self.memories {
            memory.values.encode(out);
            memory.spread.encode(out);
            memory.mean.encode(out);
        }
    }

    pub fn decode(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if usize::from(from.u8()?) != plan.views.len() {
            return Err(DecodeError::OtherModel);
        }
        let mut novelty = Self::new(plan);
        for memory in &mut novelty.memories {
            memory.values = Values::decode(from)?;
            memory.spread = Moments::decode(from)?;
            memory.mean = Moments::decode(from)?;
        }
        Ok(novelty)
    }
}

/// A sorted memory of values, each with the second of its last match.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values {
    /// Single precision: the scale's floor is 1 % of the largest value, so 1e-7 of it does not matter.
    values: Vec<(f32, u32)>,
    largest: f64,
}

impl Values {
    /// The scale that distances are measured in: σ, but at least 1 % of the largest |x|. 0 when all was 0 so far.
    pub fn scale(&self, sigma: f64) -> f64 {
        sigma.max(SCALE_FLOOR * self.largest)
    }

    /// The remembered value nearest to `x`.
    pub fn nearest(&self, x: f64) -> Option<f64> {
        self.nearest_index(x).map(|i| f64::from(self.values[i].0))
    }

    fn nearest_index(&self, x: f64) -> Option<usize> {
        let at = self.values.partition_point(|(v, _)| f64::from(*v) < x);
        let distance = |i: usize| self.values.get(i).map(|(v, _)| (f64::from(*v) - x).abs());
        match (at.checked_sub(1).and_then(|i| Some((i, distance(i)?))), distance(at)) {
            (Some((i, below)), Some(above)) => Some(if below <= above { i } else { at }),
            (Some((i, _)), None) => Some(i),
            (None, Some(_)) => Some(at),
            (None, None) => None,
        }
    }

    /// Counts `x` for the largest |x|.
    pub fn enlarge(&mut self, x: f64) {
        self.largest = self.largest.max(x.abs());
    }

    /// Remembers `x`, or that its neighbour within 0.10 σ was seen again.
    pub fn learn(&mut self, t: i64, x: f64, sigma: f64, capacity: usize) {
        self.enlarge(x);
        self.learn_within(t, x, REMEMBER * self.scale(sigma), capacity, FORGET_MS);
    }

    /// Remembers `x`, or that its neighbour within `radius` was seen again. Full: what was not matched for `forget_ms` leaves, or else
    /// the least recently matched.
    pub fn learn_within(&mut self, t: i64, x: f64, radius: f64, capacity: usize, forget_ms: i64) {
        let stored = x as f32;
        if !stored.is_finite() {
            return;
        }
        let second = seconds(t);
        if let Some(i) = self.nearest_index(x)
            && (f64::from(self.values[i].0) - x).abs() <= radius
        {
            self.values[i].1 = self.values[i].1.max(second);
            return;
        }
        self.forget(t, forget_ms);
        if self.values.len() >= capacity
            && let Some(oldest) = (0..self.values.len()).min_by_key(|&i| self.values[i].1)
        {
            self.values.remove(oldest);
        }
        if self.values.len() == self.values.capacity() {
            let more = self.values.len().clamp(8, 32).min(capacity.saturating_sub(self.values.len()).max(1));
            self.values.reserve_exact(more);
        }
        let at = self.values.partition_point(|(v, _)| *v < stored);
        self.values.insert(at, (stored, second));
    }

    /// Lets go of what was not matched for so long.
    fn forget(&mut self, t: i64, forget_ms: i64) {
        let oldest = seconds(t.saturating_sub(forget_ms));
        self.values.retain(|(_, seen)| *seen >= oldest);
    }

    pub fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<(f32, u32)>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.f64(self.largest);
        out.u8(u8::try_from(self.values.len()).unwrap_or(u8::MAX));
        for (v, seen) in &self.values {
            out.f32(*v);
            out.u32(*seen);
        }
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let largest = from.finite("value")?;
        let len = usize::from(from.u8()?);
        if len > CAPACITY {
            return Err(DecodeError::Impossible("memory"));
        }
        let mut values: Vec<(f32, u32)> = Vec::with_capacity(len);
        for _ in 0..len {
            let (v, seen) = (from.f32()?, from.u32()?);
            if !v.is_finite() || values.last().is_some_and(|(last, _)| *last > v) {
                return Err(DecodeError::Impossible("remembered value"));
            }
            values.push((v, seen));
        }
        Ok(Self { values, largest })
    }
}
