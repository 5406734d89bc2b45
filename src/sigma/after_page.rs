//! What a page of a series does to further pages of the same series: a quiet time, and a paging band that widens.
//!
//! Who was paged a moment ago for a series knows. The quiet time keeps the rest of the same incident from paging again, and the wider
//! band asks for a stronger reason the next time. Something several times as far out as what was last paged for always passes.

use crate::model::Timestamp;

use super::codec::{DecodeError, Reader, Writer};
use super::config::AfterPage;

/// A half-life that matures is the one that is written for a series of this age, ms, ...
const WEEK_MS: f64 = 7.0 * 86_400_000.0;
/// ... at this interval, ms.
const INTERVAL_MS: f64 = 300_000.0;

/// The half-life of a rule's widening for a series of this age that was seen so often, ms. A series that was watched for long shows
/// something new less and less often, and the fewer samples a day, the longer that takes.
pub(super) fn half_life_ms(plan: &AfterPage, age_ms: i64, samples: u64) -> f64 {
    let written = plan.half_life.ms().max(1) as f64;
    if plan.maturing == 0.0 {
        return written;
    }
    let age = age_ms.max(0) as f64;
    let interval = age / samples.max(1) as f64;
    let grown = age * interval / (WEEK_MS * INTERVAL_MS);
    if grown > 1.0 { written * grown.powf(plan.maturing) } else { written }
}

/// The band never grows beyond this many times its sigma.
const WIDEST: f64 = 10.0;

/// The pages of one series, as far as they matter for the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LastPage {
    factor: f64,
    at: Option<Timestamp>,
    /// Distance that was last paged for, in σ.
    distance: f64,
}

impl Default for LastPage {
    fn default() -> Self {
        Self { factor: 1.0, at: None, distance: f64::INFINITY }
    }
}

impl LastPage {
    /// How many times its sigma a paging band has at `now`, with the half-life of [`half_life_ms`].
    pub fn factor(&self, half_life: f64, now: Timestamp) -> f64 {
        let Some(at) = self.at.filter(|_| self.factor > 1.0) else {
            return 1.0;
        };
        let age = now.saturating_sub(at).max(0) as f64;
        1.0 + (self.factor - 1.0) * (-std::f64::consts::LN_2 * age / half_life).exp()
    }

    /// Is a page for something `distance` σ away held back by the quiet time?
    pub fn quiet(&self, plan: &AfterPage, now: Timestamp, distance: f64) -> bool {
        self.resting(plan, now) && distance < self.passes_from(plan)
    }

    /// Distance in σ that passes whatever was paged before.
    pub fn passes_from(&self, plan: &AfterPage) -> f64 {
        self.distance * plan.worse
    }

    fn resting(&self, plan: &AfterPage, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now.saturating_sub(at).max(0) < plan.quiet.ms())
    }

    /// A page went out for something `distance` σ away. One that broke the quiet time belongs to the same incident: it raises what
    /// passes, and neither widens nor prolongs.
    pub fn paged(&mut self, plan: &AfterPage, half_life: f64, now: Timestamp, distance: f64) {
        if !self.resting(plan, now) {
            self.factor = (self.factor(half_life, now) * plan.widen).clamp(1.0, WIDEST);
            self.at = Some(now);
        }
        self.distance = distance;
    }

    pub fn encode(&self, out: &mut Writer) {
        out.f64(self.factor);
        out.i64(self.at.unwrap_or(i64::MIN));
        out.f64(self.distance);
    }

    pub fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (factor, at, distance) = (from.finite("factor")?, from.i64()?, from.f64()?);
        if !(1.0..=WIDEST).contains(&factor) || distance.is_nan() || distance < 0.0 {
            return Err(DecodeError::Impossible("last page"));
        }
        Ok(Self { factor, at: Some(at).filter(|&t| t != i64::MIN), distance })
    }
}
