//! How far out the paging bands of a rule fire of themselves, and what noise like that will reach.
//!
//! Single samples of noise break records for ever: each new one is worse than all before it, and deserves no page. How far the next
//! records will be is in the farthest firings so far. Their tail is taken for a power law: with k of them, the least of them u, and
//! γ the mean of ln(x/u) (Hill 1975), a distance of u·(k/q)^γ is reached q times in the same time (Weissman 1978). The tails of most noise are
//! lighter, so this errs on the side of fewer pages.

use crate::model::Timestamp;
use crate::sigma::PageBudget;

/// The farthest firings that are remembered.
pub const KEPT: usize = 32;
/// A rule is noisy when its bands fire more than so many times as often as its budget allows.
const NOISY: f64 = 3.0;
/// While some of the budget is left, noise may reach what a page needs so often in the budget's time, as a share of the budget; and
/// when it is spent.
const LEFT: f64 = 0.25;
const SPENT: f64 = 0.05;
/// What is more than so many times as far as every firing that is remembered passes, whatever noise is thought to do.
pub const UNHEARD_OF: f64 = 3.0;
/// Before a few firings are known: so many are taken to have had this γ. Independent t(4) has 0.25, normal noise beyond 3σ 0.09: the heavier is assumed.
const PRIOR: (f64, f64) = (4.0, 0.25);
const GAMMA: std::ops::RangeInclusive<f64> = 0.03..=0.5;
/// A younger rule is taken to be so old, ms: what fires twice in an hour need not go on like that.
const AGE_MS: i64 = 86_400_000;

/// The end of one firing of a paging band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Firing {
    /// When it began to fire, or when it paged, ms.
    pub t: Timestamp,
    /// At its worst, σ.
    pub peak: f64,
    pub paged: bool,
}

/// The firings of one rule with a budget.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Firings {
    /// The first time that one was possible, ms.
    pub(super) born: Option<Timestamp>,
    /// How many, each counted e^(-age/time of the budget), at `counted`.
    pub(super) count: f64,
    pub(super) counted: Timestamp,
    /// The farthest first.
    pub(super) kept: Vec<Firing>,
}

impl Firings {
    fn count(&self, budget: PageBudget, now: Timestamp) -> f64 {
        let age = now.saturating_sub(self.counted).max(0) as f64;
        self.count * (-age / budget.per.ms().max(1) as f64).exp()
    }

    /// One is over.
    pub(super) fn add(&mut self, budget: PageBudget, now: Timestamp, firing: Firing) {
        (self.count, self.counted) = (self.count(budget, now) + 1.0, now);
        self.kept.retain(|f| now.saturating_sub(f.t) < budget.per.ms());
        let at = self.kept.partition_point(|f| f.peak >= firing.peak);
        self.kept.insert(at, firing);
        self.kept.truncate(KEPT);
    }

    /// Distance in σ that a page must exceed, so that noise like the rule's own hardly does; 0 while the rule is not noisy. `useful`: a
    /// person called the page at this time useful, so it was no noise.
    pub(super) fn reach(
        &self,
        budget: PageBudget,
        now: Timestamp,
        spent: bool,
        useful: impl Fn(Timestamp) -> bool,
    ) -> f64 {
        let per = budget.per.ms().max(1) as f64;
        let allowed = f64::from(budget.pages);
        let Some(born) = self.born.filter(|_| !self.kept.is_empty()) else { return 0.0 };
        let age = now.saturating_sub(born).max(AGE_MS) as f64;
        if self.count(budget, now) / (1.0 - (-age / per).exp()) <= NOISY * allowed {
            return 0.0;
        }
        // While some of the budget is left, what was paged for is no reason against the next page.
        let peaks: Vec<f64> = self
            .kept
            .iter()
            .filter(|f| now.saturating_sub(f.t) < budget.per.ms())
            .filter(|f| !f.paged || spent && !useful(f.t))
            .map(|f| f.peak)
            .collect();
        let (Some(farthest), Some(least)) = (peaks.first(), peaks.last()) else { return 0.0 };
        if !spent && peaks.len() < 2 {
            return 0.0;
        }
        let n = peaks.len() as f64;
        let excess: f64 = peaks.iter().map(|x| (x / least).ln()).sum();
        let gamma = (PRIOR.0 * PRIOR.1 + excess) / (PRIOR.0 + n - 1.0);
        let gamma = gamma.clamp(*GAMMA.start(), *GAMMA.end());
        let wanted = allowed * if spent { SPENT } else { LEFT };
        let often = n * (per / age).max(1.0) / wanted;
        (least * often.powf(gamma)).min(farthest * UNHEARD_OF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn fired(peaks: &[f64], every: i64) -> Firings {
        let mut firings = Firings { born: Some(0), ..Firings::default() };
        for (i, peak) in peaks.iter().enumerate() {
            let t = i as i64 * every;
            firings.add("2 per 30d".parse().unwrap(), t, Firing { t, peak: *peak, paged: false });
        }
        firings
    }

    #[test]
    fn a_rule_that_keeps_to_its_budget_is_not_noisy() {
        let budget = "2 per 30d".parse().unwrap();
        let firings = fired(&[5.0, 9.0, 30.0], 10 * DAY);
        assert_eq!(firings.reach(budget, 30 * DAY, true, |_| false), 0.0);
        assert_eq!(Firings::default().reach(budget, 30 * DAY, true, |_| false), 0.0);
    }

    #[test]
    fn the_tail_of_what_fired_says_what_noise_will_reach() {
        let budget = "2 per 30d".parse().unwrap();
        // 900 firings in 30 days with the quantiles of a power law, γ = 1/4: 3 · 900^¼ = 16.4 is reached once.
        let peaks: Vec<f64> =
            (0..900).map(|i| 3.0 * (900.0 / (f64::from(i * 7 % 900) + 0.5)).powf(0.25)).collect();
        let firings = fired(&peaks, DAY / 30);
        assert_eq!(firings.kept.len(), KEPT);
        let left = firings.reach(budget, 30 * DAY, false, |_| false);
        let spent = firings.reach(budget, 30 * DAY, true, |_| false);
        // Half a time, and a tenth.
        assert!((left / 19.5 - 1.0).abs() < 0.2 && (spent / 29.2 - 1.0).abs() < 0.3, "{left} {spent}");
        // All of it is forgotten in time.
        assert_eq!(firings.reach(budget, 90 * DAY, true, |_| false), 0.0);
    }

    #[test]
    fn what_was_useful_is_no_noise_and_nothing_hides_what_was_never_heard_of() {
        let budget = "2 per 30d".parse().unwrap();
        let mut firings = Firings { born: Some(0), ..Firings::default() };
        for t in 0..9 {
            firings.add(budget, t, Firing { t, peak: 10.0 + t as f64, paged: true });
        }
        assert!(firings.reach(budget, 10, true, |_| false) > 30.0);
        assert!(firings.reach(budget, 10, true, |_| false) <= 18.0 * UNHEARD_OF);
        assert_eq!(firings.reach(budget, 10, true, |_| true), 0.0);
        assert_eq!(firings.reach(budget, 10, false, |_| false), 0.0, "pages while there is budget");
    }
}
