//! One series' memory of what is normal, and the guard rails round it.
//!
//! A sample is judged against what was learnt *before* it, waits in the lag, and is learnt only when it is older than
//! the lag and no band fired meanwhile. So no sample is in its own window (where |z| ≤ √(n-1) however strange it is),
//! and an event does not teach the baseline that it is normal.

use crate::model::Timestamp;

use super::codec::{DecodeError, Reader, Writer};
use super::config::{Config, Floor, Model, Spread};
use super::gaussian::Moments;
use super::lag::{Bucket, Lag};
use super::memory::Memory;
use super::novelty;

/// What a baseline needs of its rule, computed once for all series.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) model: Model,
    pub(super) window_ms: i64,
    pub(super) tau_ms: f64,
    pub(super) seasons_ms: Vec<i64>,
    lag_ms: i64,
    lag_width: i64,
    min_samples: u32,
    min_time_ms: i64,
    pub(super) floor: f64,
    pub(super) floor_ratio: f64,
    pub(super) floor_joins: Floor,
    /// Of the mean that tells how unusual these hours are; none when nobody asks.
    pub(super) unrest_tau_ms: Option<f64>,
    pub(super) spread: Spread,
    pub(super) weber: f64,
    pub(super) remember: f64,
    pub(super) forget_ms: i64,
    /// Values that each memory of novelty holds.
    pub(super) remembered: usize,
    freeze_max_ms: i64,
    counter: bool,
    /// What is judged; at least one.
    pub(super) views: Vec<View>,
    /// Values to remember for bands that ask for novelty beside another model; 0: none does.
    gate_values: usize,
}

/// One way to look at a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// Its distance counts this many times.
    pub weight: f64,
    /// Of the short mean; none for the sample itself.
    pub tau_ms: Option<f64>,
}

impl Plan {
    /// From a checked configuration.
    pub fn new(rule: &Config) -> Self {
        let config = &rule.baseline;
        let window_ms = config.window.ms().max(1);
        let gated = config.model != Model::Novelty && rule.bands.iter().any(|b| b.gate.is_some());
        let small = matches!(config.model, Model::Gaussian);
        Self {
            model: config.model,
            seasons_ms: config.seasonality.iter().map(|d| d.ms()).collect(),
            gate_values: match (gated, small) {
                (false, _) => 0,
                (true, true) => novelty::CAPACITY_AS_GATE_OF_GAUSSIAN,
                (true, false) => novelty::CAPACITY_AS_GATE,
            },
            window_ms,
            tau_ms: window_ms as f64 / 2.0,
            lag_ms: config.lag.ms(),
            lag_width: Lag::width(config.lag.ms()),
            min_samples: config.min_samples.max(2),
            min_time_ms: config.min_time.ms(),
            floor: config.stddev_floor,
            floor_ratio: config.stddev_floor_ratio,
            floor_joins: config.floor,
            unrest_tau_ms: (!config.unrest.is_zero()).then(|| config.unrest.ms().max(1) as f64 / 2.0),
            freeze_max_ms: config.freeze_max.ms(),
            counter: config.counter,
            spread: config.spread,
            weber: config.weber,
            remember: config.remember,
            forget_ms: config.forget.ms(),
            remembered: novelty::capacity(
                rule.judge.terms.len(),
                config.lag.is_zero() && config.freeze_max.is_zero(),
                !config.unrest.is_zero(),
            ),
            views: rule
                .judge
                .terms
                .iter()
                .map(|term| View {
                    weight: term.weight,
                    tau_ms: term.mean.map(|mean| mean.ms().max(1) as f64 / 2.0),
                })
                .collect(),
        }
    }
}

impl Plan {
    /// Does anything ask which values were there before?
    fn remembers_events(&self) -> bool {
        self.gate_values > 0 || self.model == Model::Novelty
    }
}

/// What is said about one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// What was judged: the sample, or its rate (`counter`) or short mean (`judge`). Unit of the expression.
    pub value: f64,
    /// What is normal; NaN while nothing is learnt.
    pub center: f64,
    /// One σ after floors and the small-sample stretch; the band's edges are `center ± k·stddev`.
    pub stddev: f64,
    /// (value - center) / stddev, signed; NaN while it can't be said.
    pub zscore: f64,
    /// May bands act on this? False while cold, for a sample that is no number, and without any scale.
    pub ready: bool,
    /// Is learning stopped?
    pub frozen: bool,
    /// Samples learnt since the baseline started (or started again after a gap longer than the window).
    pub samples: u64,
    /// Time since the baseline started, ms.
    pub age_ms: i64,
    /// How unlike every remembered value, in σ; only for the model `novelty` or a gate on it.
    pub novelty: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Freeze {
    /// Learning goes on.
    No,
    /// Stopped at this time, ms.
    Since(Timestamp),
    /// It was stopped as long as allowed; it learns although the band still fires.
    Spent,
}

/// The streaming state of one series. At most 2 KiB, in memory as well as encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    memory: Memory,
    lag: Lag,
    learnt: u64,
    /// Of the first sample and the last, ms.
    started: Option<Timestamp>,
    last_t: Option<Timestamp>,
    freeze: Freeze,
    /// Last sample of a raw counter.
    counter: Option<(Timestamp, f64)>,
    /// The short means of `judge`, one a view that has one.
    means: Box<[Moments]>,
    /// The values remembered for bands that ask for novelty beside another model.
    seen: Option<novelty::Values>,
}

/// Ways to look at a series at the most (`config` refuses more).
const MAX_VIEWS: usize = 3;

/// Version of the encoded form; another one is refused, and the baseline starts cold or warm from history.
const VERSION: u8 = 2;

impl Baseline {
    /// A baseline that knows nothing yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            memory: Memory::new(plan),
            lag: Lag::default(),
            learnt: 0,
            started: None,
            last_t: None,
            freeze: Freeze::No,
            counter: None,
            means: plan.views.iter().filter(|v| v.tau_ms.is_some()).map(|_| Moments::default()).collect(),
            seen: (plan.gate_values > 0).then(novelty::Values::default),
        }
    }

    /// Judges a sample, and lets it wait to be learnt. NaN, infinities and the stale marker are neither judged nor learnt.
    /// A time at or before the last one is judged and not learnt again; when the clock was set back by more than the lag, the
    /// baseline goes on from there with what it knows.
    pub fn observe(&mut self, plan: &Plan, t: Timestamp, x: f64) -> Judgement {
        let Some(x) = self.measured(plan, t, x) else {
            return self.judge(plan, t, &[f64::NAN; MAX_VIEWS]);
        };
        let fresh = self.advance(plan, t);
        let judged = self.seen_as(plan, t, x, fresh);
        // A model that knows sums waits with the samples and makes the means again; the others learn what is judged.
        let x = if plan.model == Model::Novelty { x } else { judged[0] };
        if let Freeze::Since(since) = self.freeze
            && t.saturating_sub(since) >= plan.freeze_max_ms
        {
            self.end_freeze(t, Freeze::Spent);
        }
        let learning = !matches!(self.freeze, Freeze::Since(_));
        if learning {
            while let Some(bucket) = self.lag.pop_due(plan.lag_width, plan.lag_ms, t) {
                self.learn(plan, &bucket);
            }
        }
        let judgement = self.judge(plan, t, &judged);
        if fresh && (learning || plan.remembers_events()) {
            self.lag.push(plan.lag_width, t, x, !learning);
        }
        judgement
    }

    /// What each view sees in the sample.
    fn seen_as(&mut self, plan: &Plan, t: Timestamp, x: f64, fresh: bool) -> [f64; MAX_VIEWS] {
        let mut judged = [x; MAX_VIEWS];
        let mut means = self.means.iter_mut();
        for (view, judged) in plan.views.iter().zip(&mut judged) {
            if let Some((tau, mean)) = view.tau_ms.and_then(|tau| Some((tau, means.next()?))) {
                if fresh {
                    mean.decay(t, tau);
                    mean.learn(1, x, 0.0);
                }
                *judged = mean.mean();
            }
        }
        judged
    }

    /// Learns what has waited long enough. Values that were part of an event are remembered (so that the same peak is not novel
    /// the next time), and leave centre and spread alone.
    fn learn(&mut self, plan: &Plan, bucket: &Bucket) {
        if let Some(seen) = &mut self.seen {
            let spread = self.memory.estimate(bucket.t).map_or(0.0, |e| e.spread);
            for x in bucket.picks() {
                seen.learn(bucket.t, *x, spread, plan.gate_values);
            }
        }
        self.memory.learn(plan, bucket);
        if !bucket.event {
            self.learnt = self.learnt.saturating_add(u64::from(bucket.n));
        }
    }

    /// The number to judge: the sample itself, or the counter's increase per second since the sample before. `None` when
    /// there is none: no number, a counter's first sample, and the one after a reset, whose increase is not known.
    fn measured(&mut self, plan: &Plan, t: Timestamp, x: f64) -> Option<f64> {
        if !x.is_finite() {
            return None;
        }
        if !plan.counter {
            return Some(x);
        }
        let before = self.counter.replace((t, x));
        match before {
            Some((t0, x0)) if t > t0 && x >= x0 => Some((x - x0) * 1000.0 / t.saturating_sub(t0) as f64),
            _ => None,
        }
    }

    /// Moves the baseline's time; says whether this sample is new.
    fn advance(&mut self, plan: &Plan, t: Timestamp) -> bool {
        let Some(last) = self.last_t else {
            self.started = Some(t);
            self.last_t = Some(t);
            return true;
        };
        let step = t.saturating_sub(last);
        if step > plan.window_ms {
            // Nothing that is remembered is inside the window any more.
            let (freeze, counter) = (self.freeze, self.counter);
            *self = Self { freeze, counter, started: Some(t), ..Self::new(plan) };
        } else if step < -plan.lag_ms.max(60_000) {
            self.lag.clear();
            self.memory.shift_time(step);
            self.started = self.started.map(|started| started.saturating_add(step));
            for mean in &mut self.means {
                mean.shift_time(step);
            }
            if let Freeze::Since(since) = &mut self.freeze {
                *since = since.saturating_add(step);
            }
        } else if step <= 0 {
            return false;
        }
        self.last_t = Some(t);
        true
    }

    fn judge(&mut self, plan: &Plan, t: Timestamp, judged: &[f64]) -> Judgement {
        let value = judged.first().copied().unwrap_or(f64::NAN);
        let (center, stddev, zscore, novelty);
        if let Memory::Novelty(memory) = &mut self.memory {
            let known = memory.judge(&plan.views, plan, judged);
            center = known.map_or(f64::NAN, |k| k.nearest);
            stddev = known.map_or(f64::NAN, |k| k.scale);
            zscore = known.map_or(f64::NAN, |k| if value.is_nan() { f64::NAN } else { k.distance });
            novelty = Some(zscore.abs());
        } else {
            let known = self.memory.estimate(t);
            center = known.map_or(f64::NAN, |e| e.center);
            let spread = known.map_or(f64::NAN, |e| e.spread);
            stddev = spread.max(plan.floor).max(plan.floor_ratio * center.abs());
            zscore = if stddev > 0.0 { (value - center) / stddev } else { f64::NAN };
            novelty = self.seen.as_mut().and_then(|seen| {
                let scale = seen.scale(if stddev > 0.0 { stddev } else { 0.0 });
                seen.nearest(value).map(|p| if scale > 0.0 { (value - p).abs() / scale } else { f64::NAN })
            });
        }
        let age_ms = self.started.map_or(0, |started| t.saturating_sub(started).max(0));
        Judgement {
            value,
            center,
            stddev,
            zscore,
            ready: self.learnt >= u64::from(plan.min_samples)
                && zscore.is_finite()
                && self.started.is_some()
                && age_ms >= plan.min_time_ms,
            frozen: matches!(self.freeze, Freeze::Since(_)),
            samples: self.learnt,
            age_ms,
            novelty: novelty.filter(|s| s.is_finite()),
        }
    }

    /// A band fired at `now`: learning stops, and what waits since `since` (when the band was first crossed) is thrown away.
    pub fn freeze(&mut self, plan: &Plan, now: Timestamp, since: Timestamp) {
        if self.freeze == Freeze::No && plan.freeze_max_ms > 0 {
            if plan.remembers_events() {
                self.lag.mark_since(plan.lag_width, since);
            } else {
                self.lag.discard_since(plan.lag_width, since);
            }
            self.freeze = Freeze::Since(now);
        }
    }

    /// No band fires any more: learning goes on. The time in between does not age the memory.
    pub fn thaw(&mut self, now: Timestamp) {
        self.end_freeze(now, Freeze::No);
    }

    fn end_freeze(&mut self, now: Timestamp, next: Freeze) {
        if let Freeze::Since(since) = self.freeze {
            self.memory.shift_time(now.saturating_sub(since).max(0));
        }
        self.freeze = next;
    }

    /// "This is the new normal": the centre moves to where the series is now, the spread stays, and learning goes on.
    pub fn rebase(&mut self, plan: &Plan, level: f64) {
        if level.is_finite() {
            let t = self.last_t.unwrap_or(0);
            self.end_freeze(t, Freeze::No);
            self.memory.rebase(plan, t, level);
            for mean in &mut self.means {
                mean.rebase(level);
            }
            if let Some(seen) = &mut self.seen {
                seen.learn(t, level, 0.0, novelty::CAPACITY_AS_GATE);
            }
            self.lag.clear();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.memory.heap_bytes()
            + self.lag.heap_bytes()
            + size_of_val(&*self.means)
            + self.seen.as_ref().map_or(0, novelty::Values::heap_bytes)
    }

    /// The state as bytes, at most 2 KiB.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION);
        out.u8(u8::try_from(self.means.len()).unwrap_or(u8::MAX));
        self.memory.encode(&mut out);
        out.i64(i64::try_from(self.learnt).unwrap_or(i64::MAX));
        out.i64(self.started.unwrap_or(i64::MIN));
        out.i64(self.last_t.unwrap_or(i64::MIN));
        match self.freeze {
            Freeze::No => out.u8(0),
            Freeze::Spent => out.u8(1),
            Freeze::Since(t) => {
                out.u8(2);
                out.i64(t);
            }
        }
        out.u8(u8::from(self.counter.is_some()));
        if let Some((t, x)) = self.counter {
            out.i64(t);
            out.f64(x);
        }
        for mean in &self.means {
            mean.encode(&mut out);
        }
        out.u8(u8::from(self.seen.is_some()));
        if let Some(seen) = &self.seen {
            seen.encode(&mut out);
        }
        self.lag.encode(&mut out);
        out.0
    }

    /// Reads what [`Baseline::encode`] wrote, for the same plan.
    ///
    /// # Errors
    /// Bytes that are cut, of another version or model, or impossible.
    pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let mut fresh = Self::new(plan);
        if usize::from(from.u8()?) != fresh.means.len() {
            return Err(DecodeError::OtherModel);
        }
        let memory = Memory::decode(plan, &mut from)?;
        let learnt = u64::try_from(from.i64()?).map_err(|_| DecodeError::Impossible("count"))?;
        let started = Some(from.i64()?).filter(|&t| t != i64::MIN);
        let last_t = Some(from.i64()?).filter(|&t| t != i64::MIN);
        let freeze = match from.u8()? {
            0 => Freeze::No,
            1 => Freeze::Spent,
            2 => Freeze::Since(from.i64()?),
            _ => return Err(DecodeError::Impossible("freeze")),
        };
        let counter = if from.u8()? == 1 { Some((from.i64()?, from.finite("counter")?)) } else { None };
        for mean in &mut fresh.means {
            *mean = Moments::decode(&mut from)?;
        }
        let seen = if from.u8()? == 1 { Some(novelty::Values::decode(&mut from)?) } else { None };
        if seen.is_some() != (plan.gate_values > 0) || counter.is_some() && !plan.counter {
            return Err(DecodeError::OtherModel);
        }
        let lag = Lag::decode(&mut from)?;
        if from.0.is_empty() {
            Ok(Self { memory, lag, learnt, started, last_t, freeze, counter, seen, ..fresh })
        } else {
            Err(DecodeError::Impossible("tail"))
        }
    }
}
