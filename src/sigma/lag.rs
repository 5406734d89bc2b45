//! The lag: the newest samples wait here, judged and not yet learnt.
//!
//! Any number of samples fits the bounded state, because they wait in buckets of time: `lag`/7 wide, so that a
//! sample waits for at least `lag` and at most 8/7 of it. A bucket keeps the samples' exact moments, and for
//! models that need values a few of them, drawn evenly.

use super::codec::{DecodeError, Reader, Writer};

/// Buckets that cover the lag.
const BUCKETS: i64 = 7;
/// Buckets that are held: one more is being filled, and one lets its last sample wait.
const HELD: usize = BUCKETS as usize + 2;
/// Values that a bucket keeps for the models that need values.
const PICKS: usize = 3;

/// Samples of one slice of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bucket {
    /// Number of the slice since the epoch.
    pub slot: i64,
    /// Time of the newest sample, ms.
    pub t: i64,
    pub n: u32,
    /// It belongs to an event: its values may be remembered, its moments are not learnt.
    pub event: bool,
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub m2: f64,
    /// min(n, 3) of its values.
    picks: [f64; PICKS],
}

impl Bucket {
    pub fn picks(&self) -> &[f64] {
        &self.picks[..(self.n as usize).min(PICKS)]
    }
}

/// The waiting buckets, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lag {
    buckets: Vec<Bucket>,
    /// State of the generator that picks values evenly; repeatable, not secret.
    seed: u32,
}

impl Lag {
    /// Width of a bucket for a lag, ms.
    pub fn width(lag_ms: i64) -> i64 {
        (lag_ms.max(0) + BUCKETS - 1).div_euclid(BUCKETS).max(1)
    }

    /// Puts a sample in. Times must not go backwards.
    pub fn push(&mut self, width: i64, t: i64, x: f64, event: bool) {
        let slot = t.div_euclid(width);
        match self.buckets.last_mut() {
            Some(b) if b.slot >= slot => {
                b.event |= event;
                b.n = b.n.saturating_add(1);
                b.t = b.t.max(t);
                let d = x - b.mean;
                b.mean += d / f64::from(b.n);
                b.m2 += d * (x - b.mean);
                // Reservoir sampling (Vitter's algorithm R): each value stays with the same chance.
                let at = (b.n - 1) as usize;
                if at < PICKS {
                    b.picks[at] = x;
                } else {
                    self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let drawn = ((u64::from(self.seed) * u64::from(b.n)) >> 32) as usize;
                    if drawn < PICKS {
                        b.picks[drawn] = x;
                    }
                }
            }
            _ => {
                if self.buckets.len() == self.buckets.capacity() && self.buckets.len() < HELD {
                    // Without a lag there is never more than one.
                    self.buckets.reserve_exact(if self.buckets.is_empty() {
                        1
                    } else {
                        HELD - self.buckets.len()
                    });
                } else if self.buckets.len() >= HELD {
                    // Only in an event that lasts: its newest part is enough.
                    self.buckets.remove(0);
                }
                self.buckets.push(Bucket { slot, t, n: 1, event, mean: x, m2: 0.0, picks: [x, 0.0, 0.0] });
            }
        }
    }

    /// Takes out the oldest bucket if all its samples have waited long enough by `now`.
    pub fn pop_due(&mut self, width: i64, lag_ms: i64, now: i64) -> Option<Bucket> {
        let first = self.buckets.first()?;
        let end = first.slot.saturating_add(1).saturating_mul(width);
        if now.saturating_sub(end) >= lag_ms || self.buckets.len() >= HELD {
            Some(self.buckets.remove(0))
        } else {
            None
        }
    }

    /// Throws away what is as new as `since`, or newer (ms).
    pub fn discard_since(&mut self, width: i64, since: i64) {
        let slot = since.div_euclid(width);
        self.buckets.retain(|b| b.slot < slot);
    }

    /// Marks it as part of an event instead.
    pub fn mark_since(&mut self, width: i64, since: i64) {
        let slot = since.div_euclid(width);
        for b in self.buckets.iter_mut().filter(|b| b.slot >= slot) {
            b.event = true;
        }
    }

    pub fn clear(&mut self) {
        self.buckets.clear();
    }

    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.u32(self.seed);
        out.u8(u8::try_from(self.buckets.len()).unwrap_or(u8::MAX));
        for b in &self.buckets {
            out.i64(b.slot);
            out.i64(b.t);
            out.u32(b.n);
            out.u8(u8::from(b.event));
            out.f64(b.mean);
            out.f64(b.m2);
            for v in b.picks() {
                out.f64(*v);
            }
        }
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seed = from.u32()?;
        let len = from.u8()?;
        if usize::from(len) > HELD {
            return Err(DecodeError::Impossible("lag"));
        }
        let mut buckets: Vec<Bucket> = Vec::with_capacity(usize::from(len));
        for _ in 0..len {
            let (slot, t, n) = (from.i64()?, from.i64()?, from.u32()?);
            let event = from.u8()? == 1;
            let (mean, m2) = (from.finite("lag mean")?, from.finite("lag moment")?);
            let mut picks = [0.0; PICKS];
            for v in picks.iter_mut().take(n as usize) {
                *v = from.finite("lag value")?;
            }
            if n == 0 || m2 < 0.0 || buckets.last().is_some_and(|b| b.slot >= slot) {
                return Err(DecodeError::Impossible("lag bucket"));
            }
            buckets.push(Bucket { slot, t, n, event, mean, m2, picks });
        }
        Ok(Self { buckets, seed })
    }
}
