//! What happens after a page: the bands of the rule widen, and relax with time.
//!
//! Who was paged a while ago needs a stronger reason to be paged again. Each page multiplies the alerting bands' σ by 1.3; what was
//! added halves every 5 days. Something worse than what was last paged for is never held back: a band is not widened beyond the
//! distance of the last page.

use crate::model::Timestamp;

use super::codec::{DecodeError, Reader, Writer};

/// Each page widens by this factor.
const A_PAGE: f64 = 1.3;
/// What was widened halves in this time, ms.
const HALF_LIFE_MS: f64 = 5.0 * 86_400_000.0;
/// It never grows beyond this: about nine pages at once.
const WIDEST: f64 = 10.0;

/// How wide the bands of a rule are at present. One for all series of a rule, or one for each, as its owner likes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Widening {
    factor: f64,
    since: Timestamp,
    /// Distance that was last paged for, in σ; infinite before the first page.
    worst: f64,
}

impl Default for Widening {
    fn default() -> Self {
        Self { factor: 1.0, since: 0, worst: f64::INFINITY }
    }
}

impl Widening {
    /// The factor at `now`, from 1 to 10.
    pub fn factor(&self, now: Timestamp) -> f64 {
        if self.factor == 1.0 {
            return 1.0;
        }
        let age = now.saturating_sub(self.since).max(0) as f64;
        1.0 + (self.factor - 1.0) * (-std::f64::consts::LN_2 * age / HALF_LIFE_MS).exp()
    }

    /// Distance in σ beyond which everything passes, whatever the factor: that of the last page; infinite before the first one.
    pub fn passes_from(&self) -> f64 {
        self.worst
    }

    /// A page went out for something `distance` σ away (without sign).
    pub fn paged(&mut self, now: Timestamp, distance: f64) {
        self.factor = (self.factor(now) * A_PAGE).min(WIDEST);
        self.since = now;
        self.worst = if distance.is_finite() { distance } else { f64::INFINITY };
    }

    /// What was last paged for goes on, and is `distance` σ away now.
    pub fn worsened(&mut self, distance: f64) {
        if self.worst.is_finite() && distance.is_finite() {
            self.worst = self.worst.max(distance);
        }
    }

    /// Bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(1);
        out.f64(self.factor);
        out.i64(self.since);
        out.f64(self.worst);
        out.0
    }

    /// Reads what [`Widening::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are cut, of another version, or impossible.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader(bytes);
        match from.u8()? {
            1 => {}
            other => return Err(DecodeError::Version(other)),
        }
        let (factor, since, worst) = (from.finite("factor")?, from.i64()?, from.f64()?);
        if !(1.0..=WIDEST).contains(&factor) || worst.is_nan() {
            return Err(DecodeError::Impossible("factor"));
        }
        Ok(Self { factor, since, worst })
    }
}
