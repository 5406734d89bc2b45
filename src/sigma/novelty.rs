//! How far is a value from every value seen before?
//!
//! s = min |x - p| / scale, p the remembered values, scale = σ joined with a share of the largest |x| (the larger, or the geometric
//! mean), + Weber's share of |x - centre|; σ is taken before the sample is learnt. A rule may look at a series in several ways (its
//! samples, their short means); each has a memory. With `unrest`, all is counted 1 + min(4, |long mean - centre| / scale) times:
//! on a day that is unusual anyway, a strange value is more likely to be an incident.

use super::baseline::{Plan, View};
use super::codec::{DecodeError, Reader, Writer};
use super::config::{Floor, Spread};
use super::gaussian::Moments;
use super::lag::Bucket;

/// Remembered values at the most, of all memories of a series together.
pub(super) const CAPACITY: usize = 128;
/// Values of each memory, when there are so many: with several, what waits in the lag takes room, and so does the long mean.
pub(super) fn capacity(memories: usize, nothing_waits: bool, long_mean: bool) -> usize {
    let more = memories.saturating_sub(1);
    let waits = (40 * more).min(CAPACITY / 2) + if long_mean { 8 } else { 0 };
    (CAPACITY - if nothing_waits { 0 } else { waits }) / memories.max(1)
}

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

/// For normal noise σ is 1.25 times the mean absolute deviation (√(π/2)).
const DEVIATION_TO_SIGMA: f64 = 1.25;
/// How long the running median takes to follow at the most, ms.
const MIDDLE_MS: f64 = 42.0 * 3_600_000.0;
/// A sample after a gap does not stand for the whole gap, ms.
const LONGEST_STEP_MS: f64 = 3_600_000.0;

/// Where floor and σ are joined by their mean, σ is at least this share of the floor.
const SIGMA_OF_FLOOR: f64 = 0.1;
/// An unusual day counts a distance this many times more at the most.
const MOST_UNREST: f64 = 4.0;

/// Running median (stochastic approximation: a small step towards every sample) and mean absolute deviation from it: a spread that a few
/// huge values do not blow up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Middle {
    center: f64,
    deviation: f64,
    seen_ms: f64,
    last: Option<i64>,
}

impl Middle {
    fn learn(&mut self, t: i64, values: &[f64], window_ms: f64) {
        let step = self.last.map_or(0.0, |last| t.saturating_sub(last) as f64).clamp(0.0, LONGEST_STEP_MS);
        self.last = Some(t);
        self.seen_ms += step;
        if self.seen_ms == 0.0 {
            self.center = values.first().copied().unwrap_or(0.0);
        }
        let share = if self.seen_ms > 0.0 { step / self.seen_ms } else { 1.0 };
        let n = values.len().max(1) as f64;
        let (mut away, mut side) = (0.0, 0.0);
        for x in values {
            away += (x - self.center).abs() / n;
            side += if *x > self.center {
                1.0 / n
            } else if *x < self.center {
                -1.0 / n
            } else {
                0.0
            };
        }
        self.deviation += (away - self.deviation) * share.max(step / window_ms).min(1.0);
        self.center += side * self.deviation * 0.5 * share.max(step / MIDDLE_MS);
        if !(self.center.is_finite() && self.deviation.is_finite()) {
            *self = Self { last: self.last, ..Self::default() };
        }
    }

    fn encode(&self, out: &mut Writer) {
        for v in [self.center, self.deviation, self.seen_ms] {
            out.f64(v);
        }
        out.i64(self.last.unwrap_or(i64::MIN));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (center, deviation, seen_ms) =
            (from.finite("middle")?, from.finite("deviation")?, from.finite("time")?);
        if deviation < 0.0 || seen_ms < 0.0 {
            return Err(DecodeError::Impossible("deviation"));
        }
        Ok(Self { center, deviation, seen_ms, last: Some(from.i64()?).filter(|&t| t != i64::MIN) })
    }
}

/// Middle and spread, as the rule asks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Variance(Moments),
    Deviation(Middle),
}

impl Scale {
    fn new(plan: &Plan) -> Self {
        match plan.spread {
            Spread::Variance => Self::Variance(Moments::default()),
            Spread::Deviation => Self::Deviation(Middle::default()),
        }
    }

    fn center(&self) -> f64 {
        match self {
            Self::Variance(moments) => moments.mean(),
            Self::Deviation(middle) => middle.center,
        }
    }

    fn sigma(&self) -> f64 {
        match self {
            Self::Variance(moments) => moments.stddev(),
            Self::Deviation(middle) => DEVIATION_TO_SIGMA * middle.deviation,
        }
    }
}

/// One way to look at a series, and what was seen.
#[derive(Debug, Clone, PartialEq)]
struct Memory {
    values: Values,
    scale: Scale,
}

impl Memory {
    /// What distances are measured in at the centre; 0 when all was 0 so far.
    fn base(&self, plan: &Plan) -> f64 {
        let (sigma, floor) = (self.scale.sigma(), plan.floor_ratio * self.values.largest);
        let joined = match plan.floor_joins {
            Floor::Larger => sigma.max(floor),
            Floor::Mean => (sigma.max(SIGMA_OF_FLOOR * floor) * floor).sqrt(),
        };
        joined.max(plan.floor)
    }

    /// What distances are measured in at `x`, for what they are measured in at the centre; `None` when all was 0 so far.
    fn scale(&self, plan: &Plan, base: f64, x: f64) -> Option<f64> {
        (base > 0.0).then(|| base + plan.weber * (x - self.scale.center()).abs())
    }

    fn learn(&mut self, plan: &Plan, t: i64, x: f64, capacity: usize) {
        self.values.enlarge(x);
        let radius = plan.remember * self.scale(plan, self.base(plan), x).unwrap_or(0.0);
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
    /// The short means of what was learnt, one for each way that has one; they lie behind what is judged by the lag.
    means: Box<[Moments]>,
    /// The long mean that tells how unusual these hours are.
    long: Option<Box<Moments>>,
}

impl Novelty {
    pub fn new(plan: &Plan) -> Self {
        let memory = || Memory { values: Values::default(), scale: Scale::new(plan) };
        let means = plan.views.iter().filter(|v| v.tau_ms.is_some()).map(|_| Moments::default());
        Self {
            memories: plan.views.iter().map(|_| memory()).collect(),
            means: means.collect(),
            long: plan.unrest_tau_ms.map(|_| Box::default()),
        }
    }

    /// How many times a distance counts at present; `base` is that of the first memory.
    fn unrest(&self, base: f64) -> f64 {
        let (Some(long), Some(memory)) = (&self.long, self.memories.first()) else {
            return 1.0;
        };
        let away = (long.mean() - memory.scale.center()).abs() / base;
        if away.is_finite() { 1.0 + away.min(MOST_UNREST) } else { 1.0 }
    }

    /// Values of an event are remembered (so that the same is not novel the next time), and leave the spread alone.
    pub fn learn(&mut self, plan: &Plan, bucket: &Bucket) {
        if let (Some(long), Some(tau)) = (&mut self.long, plan.unrest_tau_ms) {
            long.decay(bucket.t, tau);
            long.learn(bucket.n, bucket.mean, 0.0);
        }
        let mut means = self.means.iter_mut();
        for (view, memory) in plan.views.iter().zip(&mut self.memories) {
            let mean = view.tau_ms.and_then(|tau| {
                let mean = means.next()?;
                mean.decay(bucket.t, tau);
                mean.learn(bucket.n, bucket.mean, 0.0);
                Some(mean.mean())
            });
            let one = mean.map(|mean| [mean]);
            let values = one.as_ref().map_or(bucket.picks(), |one| one);
            for x in values {
                memory.learn(plan, bucket.t, *x, plan.remembered);
            }
            match &mut memory.scale {
                _ if bucket.event => {}
                Scale::Variance(moments) => {
                    moments.decay(bucket.t, plan.tau_ms);
                    let m2 = if mean.is_some() { 0.0 } else { bucket.m2 };
                    moments.learn(bucket.n, mean.unwrap_or(bucket.mean), m2);
                }
                Scale::Deviation(middle) => middle.learn(bucket.t, values, plan.window_ms as f64),
            }
        }
    }

    /// `judged`: what each way sees now. `None` while nothing, or nothing that has a scale, is learnt.
    pub fn judge(&mut self, views: &[View], plan: &Plan, judged: &[f64]) -> Option<Strangeness> {
        let (mut first, mut first_base) = (None, f64::NAN);
        let (mut size, mut signed) = (0.0, 0.0);
        for ((view, memory), x) in views.iter().zip(&mut self.memories).zip(judged) {
            // No number: what is normal is still known.
            let x = if x.is_nan() { memory.scale.center() } else { *x };
            let nearest = memory.values.nearest(x)?;
            let base = memory.base(plan);
            if first_base.is_nan() {
                first_base = base;
            }
            let Some(scale) = memory.scale(plan, base, x) else { continue };
            let distance = view.weight * (x - nearest) / scale;
            size += distance.abs();
            signed += distance;
            first.get_or_insert((nearest, scale));
        }
        let (nearest, scale) = first?;
        Some(Strangeness { nearest, scale, distance: (size * self.unrest(first_base)).copysign(signed) })
    }

    /// Lets time pass (or go back) without ageing anything.
    pub fn shift_time(&mut self, by_ms: i64) {
        for memory in &mut self.memories {
            match &mut memory.scale {
                Scale::Variance(moments) => moments.shift_time(by_ms),
                Scale::Deviation(middle) => middle.last = middle.last.map(|t| t.saturating_add(by_ms)),
            }
        }
        for mean in self.means.iter_mut().chain(self.long.as_deref_mut()) {
            mean.shift_time(by_ms);
        }
    }

    /// `level` was always there.
    pub fn rebase(&mut self, plan: &Plan, t: i64, level: f64) {
        for memory in &mut self.memories {
            memory.learn(plan, t, level, plan.remembered);
        }
        for mean in self.means.iter_mut().chain(self.long.as_deref_mut()) {
            mean.rebase(level);
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.memories)
            + size_of_val(&*self.means)
            + self.long.as_ref().map_or(0, |long| size_of_val(&**long))
            + self.memories.iter().map(|m| m.values.heap_bytes()).sum::<usize>()
    }

    /// What the bytes hold: the number of memories, and the highest bit for a long mean.
    fn kind(&self) -> u8 {
        u8::try_from(self.memories.len()).unwrap_or(0x7f) | if self.long.is_some() { 0x80 } else { 0 }
    }

    pub fn encode(&self, out: &mut Writer) {
        out.u8(self.kind());
        for memory in &self.memories {
            memory.values.encode(out);
            match &memory.scale {
                Scale::Variance(moments) => {
                    out.u8(0);
                    moments.encode(out);
                }
                Scale::Deviation(middle) => {
                    out.u8(1);
                    middle.encode(out);
                }
            }
        }
        for mean in self.means.iter().chain(self.long.as_deref()) {
            mean.encode(out);
        }
    }

    /// For the same plan.
    pub fn decode(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut novelty = Self::new(plan);
        if from.u8()? != novelty.kind() {
            return Err(DecodeError::OtherModel);
        }
        for memory in &mut novelty.memories {
            memory.values = Values::decode(from)?;
            match (from.u8()?, &mut memory.scale) {
                (0, Scale::Variance(moments)) => *moments = Moments::decode(from)?,
                (1, Scale::Deviation(middle)) => *middle = Middle::decode(from)?,
                _ => return Err(DecodeError::OtherModel),
            }
        }
        for mean in novelty.means.iter_mut().chain(novelty.long.as_deref_mut()) {
            *mean = Moments::decode(from)?;
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
    found: Found,
}

/// What was looked for last, and where it was: a value is judged first, and learnt a sample later.
#[derive(Debug, Clone, Copy)]
struct Found {
    x: f64,
    index: usize,
}

impl Found {
    /// Equal to nothing that can be looked for.
    const NOTHING: Self = Self { x: f64::NAN, index: 0 };
}

impl Default for Found {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl PartialEq for Found {
    /// It saves time and changes nothing.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Values {
    /// The scale that distances are measured in: σ, but at least 1 % of the largest |x|. 0 when all was 0 so far.
    pub fn scale(&self, sigma: f64) -> f64 {
        sigma.max(SCALE_FLOOR * self.largest)
    }

    /// The remembered value nearest to `x`.
    pub fn nearest(&mut self, x: f64) -> Option<f64> {
        self.nearest_index(x).map(|i| f64::from(self.values[i].0))
    }

    fn nearest_index(&mut self, x: f64) -> Option<usize> {
        if self.found.x != x {
            self.found = self.search(x).map_or(Found::NOTHING, |index| Found { x, index });
        }
        (self.found.x == x).then_some(self.found.index)
    }

    fn search(&self, x: f64) -> Option<usize> {
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
        self.found = Found::NOTHING;
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
        Ok(Self { values, largest, found: Found::NOTHING })
    }
}
