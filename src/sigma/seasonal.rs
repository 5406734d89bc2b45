//! What is normal at this time of day and of the week: a slow level, plus profiles of bins that repeat.
//!
//! expected(t) = level + Σ profile(t). The level is an exponentially weighted mean over the longest season, so growth moves
//! the whole picture; a profile holds the mean distance from the level in each of its bins, over at most window/season visits
//! (a running mean first, then exponentially forgetting). Neighbouring bins are interpolated.

use super::codec::{DecodeError, Reader, Writer};

const HOUR_MS: i64 = 3_600_000;
/// This many neighbouring bins share one variance.
const SHARED: usize = 4;

/// Times of the week start on a Monday: the epoch was a Thursday.
const MONDAY_MS: i64 = 4 * 24 * HOUR_MS;

/// One repeating profile.
#[derive(Debug, Clone, PartialEq)]
struct Profile {
    season_ms: i64,
    means: Vec<f32>,
    /// How often a bin was visited, up to what the window holds.
    visits: Vec<u8>,
    /// Time spent in the bin that is being visited, ms, and its number.
    spent: f64,
    current: Option<u32>,
}

impl Profile {
    fn new(season_ms: i64, bins: usize) -> Self {
        Self { season_ms, means: vec![0.0; bins], visits: vec![0; bins], spent: 0.0, current: None }
    }

    /// Bin at `t`, and how far into it, from 0 to 1.
    fn place(&self, t: i64) -> (usize, f64) {
        let bins = self.means.len();
        let share = (t.saturating_sub(MONDAY_MS)).rem_euclid(self.season_ms) as f64 / self.season_ms as f64;
        let at = share * bins as f64;
        let bin = (at as usize).min(bins - 1);
        (bin, at - bin as f64)
    }

    /// Expected distance from the level, and whether a full season knows it.
    fn at(&self, t: i64) -> (f64, bool) {
        let bins = self.means.len();
        let (bin, into) = self.place(t);
        // Between the middles of two bins.
        let (a, b, share) = if into < 0.5 {
            ((bin + bins - 1) % bins, bin, into + 0.5)
        } else {
            (bin, (bin + 1) % bins, into - 0.5)
        };
        let (va, vb) = (f64::from(self.means[a]), f64::from(self.means[b]));
        let fresh = |i: usize| self.current == Some(i as u32) && self.visits[i] <= 1;
        let known = |i: usize| self.visits[i] > 0 && !fresh(i);
        match (known(a), known(b)) {
            (true, true) => (va + (vb - va) * share, true),
            (true, false) if bin == a => (va, true),
            (false, true) if bin == b => (vb, true),
            _ => (0.0, false),
        }
    }

    fn learn(&mut self, t: i64, span_ms: f64, distance: f64, most_visits: u8) {
        let (bin, _) = self.place(t);
        let width = self.season_ms as f64 / self.means.len() as f64;
        if self.current != Some(bin as u32) {
            self.current = Some(bin as u32);
            self.spent = 0.0;
            self.visits[bin] = self.visits[bin].saturating_add(1).min(most_visits.max(1));
        }
        let span = span_ms.clamp(1.0, width);
        self.spent = (self.spent + span).min(width);
        let weight = span / (width * f64::from(self.visits[bin] - 1) + self.spent);
        let mean = f64::from(self.means[bin]);
        self.means[bin] = (mean + (distance - mean) * weight.min(1.0)) as f32;
    }
}

/// Level, profiles and spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seasons {
    profiles: Vec<Profile>,
    /// Variance about the expected value by time, `SHARED` bins of the first profile each; negative: not yet known.
    variances: Vec<f32>,
    level: f64,
    /// Weight of the level, in time seen, ms.
    seen_ms: f64,
    /// Time of the last learnt bucket, ms.
    t: Option<i64>,
}

impl Seasons {
    /// For seasons in ms, in any order; a day when there is none.
    pub fn new(seasons: &[i64]) -> Self {
        let day = seasons.is_empty() || seasons.contains(&(24 * HOUR_MS));
        let week = seasons.contains(&(7 * 24 * HOUR_MS));
        let profiles = match (day, week) {
            (true, true) => vec![Profile::new(24 * HOUR_MS, 48), Profile::new(7 * 24 * HOUR_MS, 56)],
            (false, true) => vec![Profile::new(7 * 24 * HOUR_MS, 84)],
            _ => vec![Profile::new(24 * HOUR_MS, 96)],
        };
        let groups = profiles[0].means.len() / SHARED;
        Self { profiles, variances: vec![-1.0; groups], level: 0.0, seen_ms: 0.0, t: None }
    }

    fn longest_ms(&self) -> f64 {
        self.profiles.iter().map(|p| p.season_ms).max().unwrap_or(24 * HOUR_MS) as f64
    }

    /// Expected value at `t`; `None` until the shortest season was seen in full. A longer one joins when it knows.
    fn expected(&self, t: i64) -> Option<f64> {
        let (first, known) = self.profiles[0].at(t);
        if !known || self.seen_ms < self.profiles[0].season_ms as f64 {
            return None;
        }
        let rest: f64 = self.profiles[1..].iter().map(|p| p.at(t).0).sum();
        Some(self.level + first + rest)
    }

    /// (expected value, σ) at `t`; `None` until a full season was seen, and a little of the next to know the spread from.
    pub fn estimate(&self, t: i64) -> Option<(f64, f64)> {
        let expected = self.expected(t)?;
        let own = f64::from(self.variances[self.group(t)]);
        let known = || self.variances.iter().filter(|v| **v >= 0.0).map(|v| f64::from(*v));
        let n = known().count();
        if n == 0 {
            return None;
        }
        let all = known().sum::<f64>() / n as f64;
        // The hour's own variance, drawn towards that of all hours: the more so the less is known of it.
        let own_share = match self.profiles[0].visits[self.profiles[0].place(t).0] {
            _ if own < 0.0 => 0.0,
            0..=3 => 0.5,
            _ => 0.8,
        };
        Some((expected, (own_share * own + (1.0 - own_share) * all).sqrt()))
    }

    fn group(&self, t: i64) -> usize {
        (self.profiles[0].place(t).0 / SHARED).min(self.variances.len() - 1)
    }

    /// Learns a bucket of samples that ends at `t`. `window_ms` says how many visits of a bin are remembered.
    pub fn learn(&mut self, t: i64, n: u32, mean: f64, m2: f64, window_ms: f64) {
        let longest = self.longest_ms();
        let span = self.t.map_or(1.0, |last| (t.saturating_sub(last)) as f64).clamp(1.0, longest);
        let expected = self.expected(t);
        self.t = Some(t);
        self.seen_ms = (self.seen_ms + span).min(longest.max(2.0 * self.profiles[0].season_ms as f64));
        let weight = (span / self.seen_ms.min(longest)).min(1.0);
        self.level += (mean - self.level) * weight;
        // Each profile explains what the others leave (backfitting).
        let explained: f64 = self.profiles.iter().map(|p| p.at(t).0).sum();
        for p in &mut self.profiles {
            let most = (window_ms / p.season_ms as f64).clamp(1.0, 200.0) as u8;
            let others = explained - p.at(t).0;
            p.learn(t, span, mean - self.level - others, most);
        }
        if let Some(expected) = expected {
            let d = mean - expected;
            let squared = m2 / f64::from(n) + d * d;
            let group = self.group(t);
            let old = f64::from(self.variances[group]);
            let width = self.profiles[0].season_ms as f64 / self.variances.len() as f64;
            // An hour's variance rests on about two visits' worth at the least, and on the window at the most.
            let visits = f64::from(self.profiles[0].visits[self.profiles[0].place(t).0]);
            let share = (span / (width * visits.max(2.0))).min(1.0);
            self.variances[group] = if old < 0.0 { squared } else { old + (squared - old) * share } as f32;
        }
        if !self.level.is_finite() || self.profiles.iter().any(|p| p.means.iter().any(|m| !m.is_finite())) {
            let seasons: Vec<i64> = self.profiles.iter().map(|p| p.season_ms).collect();
            *self = Self::new(&seasons);
        }
    }

    /// Lets time pass without ageing: seasons go by the calendar, so only the span to the next bucket is bridged.
    pub fn shift_time(&mut self, by_ms: i64) {
        self.t = self.t.map(|t| t.saturating_add(by_ms));
    }

    /// Moves the level so that `level` is expected at `t`; the profile stays.
    pub fn rebase(&mut self, t: i64, level: f64) {
        self.level = level - self.profiles.iter().map(|p| p.at(t).0).sum::<f64>();
    }

    pub fn heap_bytes(&self) -> usize {
        let profile =
            |p: &Profile| p.means.capacity() * size_of::<f32>() + p.visits.capacity() + size_of::<Profile>();
        self.variances.capacity() * size_of::<f32>() + self.profiles.iter().map(profile).sum::<usize>()
    }

    pub fn encode(&self, out: &mut Writer) {
        out.f64(self.level);
        out.f64(self.seen_ms);
        out.i64(self.t.unwrap_or(i64::MIN));
        for v in &self.variances {
            out.f32(*v);
        }
        for p in &self.profiles {
            out.f64(p.spent);
            out.u32(p.current.unwrap_or(u32::MAX));
            for m in &p.means {
                out.f32(*m);
            }
            for v in &p.visits {
                out.u8(*v);
            }
        }
    }

    pub fn decode(seasons: &[i64], from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut s = Self::new(seasons);
        (s.level, s.seen_ms) = (from.finite("level")?, from.finite("time")?);
        s.t = Some(from.i64()?).filter(|&t| t != i64::MIN);
        let finite = |v: f32| if v.is_finite() { Ok(v) } else { Err(DecodeError::Impossible("profile")) };
        for v in &mut s.variances {
            *v = finite(from.f32()?)?;
        }
        for p in &mut s.profiles {
            p.spent = from.finite("time")?;
            p.current = Some(from.u32()?).filter(|&bin| (bin as usize) < p.means.len());
            for m in &mut p.means {
                *m = finite(from.f32()?)?;
            }
            for v in &mut p.visits {
                *v = from.u8()?;
            }
        }
        Ok(s)
    }
}
