//! Does a band that fires page? The budget of pages, enforced by widening, and the quiet after a page.
//!
//! Bands fire at their own σ; that is what freezes the baseline, and what is drawn. Whether it is a *page* depends on what people
//! were paged for before: each page of the rule widens what a page needs by 1.3, relaxing with a half-life of 5 days, and once the
//! budget is spent only something worse than what was last paged for passes. Something worse always passes. What is held back is a
//! ticket, so nothing is silent. Pure: `now` comes in, and nothing here can fail.

use crate::model::Timestamp;
use crate::sigma::PageBudget;

use super::pages::{JOIN_MS, PageHistory, PageRecord};

/// Quiet after a page of a series, for rules with a budget that do not say, ms: 12 hours.
pub const DEFAULT_QUIET_MS: i64 = 12 * 3_600_000;

/// A band that pages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PagingBand {
    pub sigma: f64,
    pub for_ms: i64,
}

/// What a rule says of its pages.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Policy {
    pub budget: Option<PageBudget>,
    pub quiet_ms: i64,
    /// By the index of the band; `None` for those that do not page.
    pub bands: Vec<Option<PagingBand>>,
}

impl Policy {
    fn pages(&self, band: usize) -> bool {
        self.bands.get(band).is_some_and(Option::is_some)
    }

    /// The σ of the lowest paging band; infinite when none pages.
    pub fn lowest(&self) -> f64 {
        self.bands.iter().flatten().map(|b| b.sigma).next().unwrap_or(f64::INFINITY)
    }
}

/// Why a band that fires is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This series paged a short while ago.
    Quiet,
    /// Pages before this one widened the bands.
    Widened,
    /// The budget is spent.
    Spent,
}

/// Why a page went out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grounds {
    /// There is no budget, or something is left of it.
    Within,
    /// It spent the last of the budget.
    Spends,
    /// The budget was spent, and this was worse than the page before, which was so many σ away at its worst.
    WorseThan(f64),
    /// Another series of the rule had just paged: it is the same page.
    Joined,
}

/// Where a series stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Standing {
    /// No paging band fires.
    #[default]
    Calm,
    /// One does, and it is a ticket. It would page from `from` σ on.
    Held { since: Timestamp, reason: Reason, from: f64 },
    /// One does, and it is the page that went out at `page`.
    Paged { page: Timestamp, grounds: Grounds },
}

/// The last page of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LastPage {
    /// When it last fired, ms.
    pub t: Timestamp,
    /// Distance at its worst, σ.
    pub worst: f64,
}

/// What a series remembers of its pages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesPages {
    pub(super) standing: Standing,
    pub(super) last: Option<LastPage>,
    /// Since when each band has been beyond what a page needs, without a break; empty while none is.
    pub(super) over: Vec<Option<Timestamp>>,
}

/// One evaluation of one series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub now: Timestamp,
    /// In σ on the side that counts; NaN when it cannot be said.
    pub distance: f64,
    /// The highest alerting band that fires.
    pub top: Option<usize>,
    /// Fingerprint of its labels.
    pub series: u64,
}

/// What a page of the rule needs now, whatever the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// Every paging band is wider by this.
    pub factor: f64,
    /// The budget is spent.
    pub spent: bool,
    /// What is worse than this always passes; infinite before the first page.
    pub worst: f64,
}

impl Level {
    pub fn of(policy: &Policy, rule: &PageHistory, now: Timestamp) -> Self {
        Self {
            factor: if policy.budget.is_some() { rule.widening().factor(now) } else { 1.0 },
            spent: policy.budget.is_some_and(|b| rule.used(b, now) >= b.pages as usize),
            worst: rule.widening().passes_from(),
        }
    }

    /// From which distance on a band of this sigma pages.
    pub fn from(&self, sigma: f64) -> f64 {
        if self.spent { self.worst } else { (sigma * self.factor).min(self.worst.max(sigma)) }
    }
}

/// The same for one series.
#[derive(Debug, Clone, Copy)]
struct Bar {
    rule: Level,
    /// In the quiet time it must also be worse than this.
    quiet: Option<f64>,
}

impl Bar {
    fn passes(&self, sigma: f64, distance: f64) -> bool {
        distance >= sigma
            && (distance > self.rule.worst
                || (!self.rule.spent
                    && distance >= sigma * self.rule.factor
                    && self.quiet.is_none_or(|worst| distance > worst)))
    }

    /// Nothing is held back.
    fn is_open(&self) -> bool {
        self.rule.factor <= 1.0 && !self.rule.spent && self.quiet.is_none()
    }

    fn from(&self, sigma: f64) -> f64 {
        self.rule.from(sigma).max(self.quiet.unwrap_or(0.0)).min(self.rule.worst.max(sigma))
    }

    fn reason(&self) -> Reason {
        match self {
            Self { rule: Level { spent: true, .. }, .. } => Reason::Spent,
            Self { quiet: Some(_), .. } => Reason::Quiet,
            _ => Reason::Widened,
        }
    }
}

impl SeriesPages {
    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn pages(&self) -> bool {
        matches!(self.standing, Standing::Paged { .. })
    }

    fn bar(&self, policy: &Policy, level: Level, now: Timestamp) -> Bar {
        // The quiet time of what began in it does not end before it does: nothing new happens at its end.
        let began = match self.standing {
            Standing::Held { since, .. } => since,
            _ => now,
        };
        let quiet = self.last.filter(|l| began.saturating_sub(l.t) < policy.quiet_ms);
        Bar { rule: level, quiet: quiet.map(|l| l.worst) }
    }

    /// Moves the series by one evaluation, and the rule when it pages. `level` is what the rule needs now. `paging`: some series of
    /// the rule pages at present. Gives whether this one does.
    pub(super) fn step(
        &mut self,
        policy: &Policy,
        rule: &mut PageHistory,
        level: Level,
        paging: bool,
        sight: Sight,
    ) -> bool {
        let Sight { now, distance, .. } = sight;
        let Some(top) = sight.top.filter(|&i| policy.pages(i)) else {
            self.standing = Standing::Calm;
            if !self.over.is_empty() || distance >= policy.lowest() {
                self.cross(policy, &self.bar(policy, level, now), now, distance);
            }
            return false;
        };
        if let Standing::Paged { page, .. } = self.standing {
            rule.goes_on(page, distance);
            let worst = self.last.map_or(distance, |l| l.worst.max(distance));
            self.last = Some(LastPage { t: now, worst });
            return true;
        }
        let bar = self.bar(policy, level, now);
        self.cross(policy, &bar, now, distance);
        let joins = paging && rule.last().is_some_and(|p| now.saturating_sub(p.t) <= JOIN_MS);
        let open = bar.is_open() && self.standing == Standing::Calm;
        let passed = policy.bands.iter().zip(&self.over).take(top + 1).any(|(band, over)| {
            matches!((band, over), (Some(b), Some(since)) if now.saturating_sub(*since) >= b.for_ms)
        });
        if distance.is_finite() && (joins || passed || open) {
            self.page(policy, rule, joins, &bar, sight);
            return true;
        }
        let since = match self.standing {
            Standing::Held { since, .. } => since,
            _ => now,
        };
        self.standing = Standing::Held { since, reason: bar.reason(), from: bar.from(policy.lowest()) };
        false
    }

    fn page(&mut self, policy: &Policy, rule: &mut PageHistory, joins: bool, bar: &Bar, sight: Sight) {
        let Sight { now, distance, series, .. } = sight;
        self.last = Some(LastPage { t: now, worst: distance });
        self.over = Vec::new();
        let joined = rule.last().map(|p| p.t).filter(|_| joins);
        let (page, grounds) = match (joined, policy.budget) {
            (Some(page), _) => (page, Grounds::Joined),
            (None, Some(_)) if bar.rule.spent => (now, Grounds::WorseThan(bar.rule.worst)),
            (None, Some(b)) if rule.used(b, now) + 1 >= b.pages as usize => (now, Grounds::Spends),
            (None, _) => (now, Grounds::Within),
        };
        match joined {
            Some(page) => rule.goes_on(page, distance),
            None => rule.push(PageRecord { t: now, series, zscore: distance, useful: None }),
        }
        self.standing = Standing::Paged { page, grounds };
    }

    /// Since when each band is beyond what a page needs.
    fn cross(&mut self, policy: &Policy, bar: &Bar, now: Timestamp, distance: f64) {
        if distance.is_nan() {
            return;
        }
        let passes = |band: &Option<PagingBand>| band.is_some_and(|b| bar.passes(b.sigma, distance));
        if !policy.bands.iter().any(passes) {
            self.over = Vec::new();
            return;
        }
        self.over.resize(policy.bands.len(), None);
        for (band, over) in policy.bands.iter().zip(&mut self.over) {
            *over = passes(band).then(|| over.unwrap_or(now).min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: i64 = 60_000;
    const DAY: i64 = 1440 * MIN;

    fn policy(budget: &str, quiet_ms: i64, bands: &[(f64, i64)]) -> Policy {
        let bands = bands.iter().map(|&(sigma, for_ms)| Some(PagingBand { sigma, for_ms })).collect();
        Policy { budget: budget.parse().ok(), quiet_ms, bands }
    }

    /// A rule whose series fire whenever they are beyond a band, for `for` 0.
    struct World {
        policy: Policy,
        rule: PageHistory,
        series: Vec<SeriesPages>,
    }

    impl World {
        fn new(policy: Policy, series: usize) -> Self {
            Self { policy, rule: PageHistory::default(), series: vec![SeriesPages::default(); series] }
        }

        /// Distances of all series at one time; which of them page after it.
        fn step(&mut self, now: Timestamp, distances: &[f64]) -> Vec<usize> {
            let mut paging = self.series.iter().any(SeriesPages::pages);
            let mut out = Vec::new();
            for (i, distance) in distances.iter().copied().enumerate() {
                let level = Level::of(&self.policy, &self.rule, now);
                let top = self.policy.bands.iter().rposition(|b| b.is_some_and(|b| distance >= b.sigma));
                let sight = Sight { now, distance, top, series: i as u64 };
                if self.series[i].step(&self.policy, &mut self.rule, level, paging, sight) {
                    paging = true;
                    out.push(i);
                }
            }
            out
        }

        fn pages(&self) -> usize {
            self.rule.iter().len()
        }
    }

    #[test]
    fn each_page_widens_and_time_relaxes() {
        let mut w = World::new(policy("9 per 30d", 0, &[(3.0, 0)]), 1);
        // (day, distance, pages)
        for (day, distance, pages) in [
            (0, 6.0, true),
            (1, 3.5, false), // 3.9 relaxed by an eighth: 3.78
            (2, 3.7, true),
            (2, 0.0, false),
            (3, 3.6, false), // never more than what was last paged for
            (3, 3.71, true),
            (33, 3.05, true), // six half-lives later nearly nothing is left
        ] {
            let t = day * DAY + w.pages() as i64 * MIN;
            assert_eq!(!w.step(t, &[distance]).is_empty(), pages, "{day} {distance}");
            w.step(t + MIN, &[0.0]);
        }
    }

    #[test]
    fn quiet_after_a_page_of_a_series_but_not_about_something_worse() {
        let mut w = World::new(policy("none", 720 * MIN, &[(3.0, 0)]), 2);
        assert_eq!(w.step(0, &[5.0, 0.0]), [0]);
        w.step(MIN, &[0.0, 0.0]);
        assert!(w.step(60 * MIN, &[4.9, 0.0]).is_empty());
        assert!(matches!(w.series[0].standing(), Standing::Held { reason: Reason::Quiet, .. }));
        // The same event does not become a page because the quiet time is over.
        assert!(w.step(800 * MIN, &[4.9, 0.0]).is_empty());
        // It becomes worse.
        assert_eq!(w.step(801 * MIN, &[5.1, 0.0]), [0]);
        w.step(802 * MIN, &[0.0, 0.0]);
        // The other series is not quiet.
        assert_eq!(w.step(820 * MIN, &[0.0, 3.5]), [1]);
        w.step(821 * MIN, &[0.0, 0.0]);
        // Worse than what was last paged for (3.5) passes, although this series was worse before.
        assert_eq!(w.step(840 * MIN, &[4.0, 0.0]), [0]);
        w.step(841 * MIN, &[0.0, 0.0]);
        assert_eq!(w.step(1600 * MIN, &[3.1, 0.0]), [0]);
    }

    #[test]
    fn a_storm_is_one_page_and_what_comes_later_is_another() {
        let mut w = World::new(policy("2 per 30d", 0, &[(3.0, 0)]), 4);
        assert_eq!(w.step(0, &[4.0, 4.0, 0.0, 0.0]), [0, 1]);
        assert_eq!(w.step(5 * MIN, &[4.0, 4.0, 3.2, 0.0]), [0, 1, 2]);
        assert_eq!(w.pages(), 1);
        assert_eq!(w.step(60 * MIN, &[4.0, 4.0, 3.2, 3.95]), [0, 1, 2, 3]);
        assert_eq!(w.pages(), 2);
        let grounds = |w: &World, i: usize| match w.series[i].standing() {
            Standing::Paged { grounds, .. } => Some(grounds),
            _ => None,
        };
        assert_eq!(grounds(&w, 1), Some(Grounds::Joined));
        assert_eq!(grounds(&w, 3), Some(Grounds::Spends));
    }

    #[test]
    fn a_spent_budget_lets_pass_what_is_worse_than_the_last_page_at_its_worst() {
        let mut w = World::new(policy("1 per 30d", 0, &[(3.0, 0), (5.0, 0)]), 1);
        for distance in [3.1, 8.0, 4.0, 0.0] {
            w.step(0, &[distance]);
        }
        assert_eq!(w.pages(), 1, "growing worse is the same page");
        for (t, distance, pages) in [(1, 7.9, 1), (2, 0.0, 1), (3, 8.1, 2), (4, 0.0, 2), (5, 8.0, 2)] {
            w.step(t * MIN, &[distance]);
            assert_eq!(w.pages(), pages, "{t}");
        }
        w.step(30 * DAY, &[0.0]);
        w.step(30 * DAY + 4 * MIN, &[4.0]);
        assert_eq!(w.pages(), 3, "the old pages do not count any more");
    }

    #[test]
    fn what_a_page_needs_is_held_for_as_long_as_the_band_says() {
        let mut w = World::new(policy("9 per 30d", 0, &[(3.0, 5 * MIN)]), 1);
        // The stand-in for the bands fires at once, and the first page of all needs nothing more.
        w.step(0, &[3.5]);
        w.step(MIN, &[0.0]);
        let mut at = Vec::new();
        for t in 60..80 {
            let distance = if t == 63 { 3.2 } else { 4.1 };
            if !w.step(t * MIN, &[distance]).is_empty() {
                at.push(t);
            }
        }
        assert_eq!(at.first(), Some(&69));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever the noise: in no period are there more pages than the budget, unless each that is too many was worse than
        /// the page before it; and nothing worse than the page before is ever held back.
        #[test]
        fn the_budget_is_kept_except_for_something_worse(
            seed in any::<u64>(),
            n in 1u32..5,
            quiet in prop_oneof![Just(0), Just(DAY / 2)],
            hold in prop_oneof![Just(0), Just(30 * MIN)],
            series in 1usize..6,
            heavy in 1.0f64..4.0,
        ) {
            let budget = format!("{n} per 10d");
            let mut w = World::new(policy(&budget, quiet, &[(3.0, hold), (6.0, 0)]), series);
            let mut state = seed | 1;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            let mut values = vec![0.0; series];
            let mut known: Vec<(Timestamp, f64)> = Vec::new();
            for step in 0..(40 * DAY / (10 * MIN)) {
                let now = step * 10 * MIN;
                for v in &mut values {
                    // Correlated, and with a tail that is as heavy as you like.
                    let shock = (-(random() + 1e-9).ln()).powf(heavy / 2.0);
                    *v = 0.7 * *v + 0.5 * shock;
                }
                let last = w.rule.last().copied();
                let pages = w.step(now, &values);
                if let Some(page) = w.rule.last().filter(|p| last.is_none_or(|l| l.t != p.t)) {
                    let within = known.iter().filter(|k| now - k.0 < 10 * DAY).count();
                    let worst = last.map_or(0.0, |l| l.zscore);
                    prop_assert!(within < n as usize || page.zscore > worst, "{page:?} after {last:?}");
                    known.push((page.t, page.zscore));
                }
                if let (0, Some(last)) = (hold, last) {
                    for (i, v) in values.iter().enumerate() {
                        prop_assert!(*v <= last.zscore.max(3.0) || pages.contains(&i), "{v} was held back");
                    }
                }
            }
        }
    }
}
