//! How wide paging bands are after pages: each page multiplies a factor, which relaxes with time.

use crate::model::Timestamp;
use crate::sigma::AfterPagePlan;

/// The bands never grow beyond this many times their σ.
pub const WIDEST: f64 = 10.0;

/// Of a rule with a budget, or of one series of a rule without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Widening {
    pub(super) factor: f64,
    /// When it was that, ms.
    pub(super) since: Timestamp,
}

impl Default for Widening {
    fn default() -> Self {
        Self { factor: 1.0, since: 0 }
    }
}

impl Widening {
    /// The factor at `now`, 1 to 10.
    pub fn factor(&self, plan: &AfterPagePlan, now: Timestamp) -> f64 {
        if self.factor <= 1.0 {
            return 1.0;
        }
        // The clock may have been far ahead then: it is not wide until that time comes.
        let age = now.abs_diff(self.since) as f64;
        1.0 + (self.factor - 1.0) * (-std::f64::consts::LN_2 * age / plan.half_life_ms).exp()
    }

    /// A page went out.
    pub fn paged(&mut self, plan: &AfterPagePlan, now: Timestamp) {
        *self = Self { factor: (self.factor(plan, now) * plan.widen).clamp(1.0, WIDEST), since: now };
    }

    /// As it was stored; `None` for what no widening can be.
    pub(super) fn restored(factor: f64, since: Timestamp) -> Option<Self> {
        (1.0..=WIDEST).contains(&factor).then_some(Self { factor, since })
    }
}
