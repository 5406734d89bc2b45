//! Where a series stands with its pages: calm, held back, or paged. What a page needs is said by [`super::budget`].

use crate::model::{Timestamp, lasted};
use crate::sigma::AfterPagePlan;

use super::budget::{Bar, Level, PagingBand, Policy, Reason};
use super::noise::Spell;
use super::pages::{JOIN_MS, PageHistory, PageRecord, near};
use super::widening::Widening;

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
    /// One does, and it is a ticket, so far `worst` σ away. It would page from `from` σ on.
    Held { since: Timestamp, reason: Reason, from: f64, worst: f64 },
    /// One does, and it is the page that went out at `page`.
    Paged { page: Timestamp, grounds: Grounds },
}

/// The last page of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LastPage {
    /// When it went out, and the quiet time began, ms.
    pub t: Timestamp,
    /// Distance at its worst, σ.
    pub worst: f64,
}

/// What a series remembers of its pages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesPages {
    pub(super) standing: Standing,
    pub(super) last: Option<LastPage>,
    /// Of this series, for rules without a budget.
    pub(super) widening: Widening,
    /// Since when each band has been beyond what a page needs, without a break; empty while none is.
    pub(super) over: Vec<Option<Timestamp>>,
    /// How far out it is of itself, for each `for` of a paging band of a rule with a budget. Not stored: a spell is short.
    pub(super) spells: Vec<Spell>,
}

/// One evaluation of one series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub now: Timestamp,
    /// In σ on the side that counts; NaN when it cannot be said.
    pub distance: f64,
    /// The same while the baseline is cold; NaN otherwise.
    pub cold: f64,
    /// The highest alerting band that fires.
    pub top: Option<usize>,
    /// Fingerprint of its labels.
    pub series: u64,
    /// What its own pages do to the next ones, for what is known of it by now.
    pub after: AfterPagePlan,
}

impl SeriesPages {
    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn pages(&self) -> bool {
        matches!(self.standing, Standing::Paged { .. })
    }

    /// What is judged is something else: how far that was out says nothing any more.
    pub(super) fn forget_noise(&mut self) {
        self.spells = Vec::new();
    }

    /// Nothing of this series is a page, a ticket, or on its way there.
    pub(super) fn rests(&self) -> bool {
        self.standing == Standing::Calm && self.over.is_empty()
    }

    pub(super) fn bar(&self, policy: &Policy, level: Level, Sight { now, after, .. }: Sight) -> Bar {
        // The quiet time of what began in it does not end before it does: nothing new happens at its end.
        let began = match self.standing {
            Standing::Held { since, .. } => since,
            _ => now,
        };
        let quiet = self.last.is_some_and(|l| near(began, l.t, policy.after.quiet_ms));
        let own = self.last.map_or(f64::INFINITY, |l| l.worst * policy.after.worse);
        match policy.budget {
            Some(_) => Bar { rule: level, factor: level.factor, quiet, own, worse: level.worse },
            None => Bar { rule: level, factor: self.widening.factor(&after, now), quiet, own, worse: own },
        }
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
        let Sight { now, distance, cold, .. } = sight;
        let Some(top) = sight.top.filter(|&i| policy.pages(i)) else {
            self.standing = Standing::Calm;
            if !self.over.is_empty() || distance >= policy.lowest() {
                self.cross(policy, &self.bar(policy, level, sight), now, distance);
            }
            if policy.budget.is_none() && policy.after.widen > 1.0 && cold >= policy.lowest() {
                // What would have paged pages nobody, and tells how wide the bands have to be for this series.
                let bar = self.bar(policy, level, sight);
                let (band, sigma) = policy.first();
                if bar.passes(band, sigma, cold) {
                    self.remember(policy, sight, cold);
                }
            }
            return false;
        };
        if let Standing::Paged { page, .. } = self.standing {
            rule.goes_on(page, distance);
            if let Some(last) = &mut self.last {
                last.worst = last.worst.max(distance);
            }
            return true;
        }
        let bar = self.bar(policy, level, sight);
        self.cross(policy, &bar, now, distance);
        let joins = paging && rule.last().is_some_and(|p| near(now, p.t, JOIN_MS + 1));
        let open = self.standing == Standing::Calm && bar.is_open(top);
        let passed = policy.bands.iter().zip(&self.over).take(top + 1).any(
            |(band, over)| matches!((band, over), (Some(b), Some(since)) if lasted(*since, now, b.for_ms)),
        );
        if distance.is_finite() && (joins || passed || open) {
            self.page(policy, rule, joins, &bar, sight);
            return true;
        }
        let (since, worst) = match self.standing {
            Standing::Held { since, worst, .. } => (since, worst.max(distance)),
            _ => (now, distance),
        };
        self.standing =
            Standing::Held { since, reason: bar.reason(policy, distance), from: bar.from(policy), worst };
        false
    }

    /// A rule with a budget learns how far out this series is of itself; NaN says nothing. `settled`: its model knows what it needs to know.
    pub(super) fn watch(
        &mut self,
        policy: &Policy,
        rule: &mut PageHistory,
        now: Timestamp,
        distance: f64,
        settled: bool,
    ) {
        let Some(budget) = policy.budget.filter(|_| !distance.is_nan()) else { return };
        let (calm, paged) = (self.standing == Standing::Calm, self.pages());
        for (i, band) in policy.bands.iter().flatten().enumerate() {
            if policy.bands.iter().flatten().take(i).any(|b| b.for_ms == band.for_ms) {
                continue;
            }
            let known = self.spells.iter().position(|s| s.for_ms() == band.for_ms);
            let at = known.unwrap_or_else(|| {
                self.spells.retain(|s| policy.bands.iter().flatten().any(|b| b.for_ms == s.for_ms()));
                self.spells.push(Spell::new(band.for_ms, now));
                rule.noise_over(band.for_ms, now);
                self.spells.len() - 1
            });
            if let Some(reach) = self.spells[at].see(now, distance, calm, paged) {
                rule.noise_over(band.for_ms, now).add(budget, now, reach, settled);
            }
        }
    }

    /// A page of this series goes out. In its quiet time it belongs to the same trouble: it neither widens nor begins another one.
    fn remember(&mut self, policy: &Policy, Sight { now, after, .. }: Sight, distance: f64) {
        let quiet = self.last.filter(|l| near(now, l.t, policy.after.quiet_ms));
        if policy.budget.is_none() && quiet.is_none() {
            self.widening.paged(&after, now);
        }
        self.last = Some(LastPage { t: quiet.map_or(now, |l| l.t), worst: distance });
    }

    fn page(&mut self, policy: &Policy, rule: &mut PageHistory, joins: bool, bar: &Bar, sight: Sight) {
        let Sight { now, distance, series, .. } = sight;
        self.remember(policy, sight, distance);
        self.over = Vec::new();
        let joined = rule.last().map(|p| p.t).filter(|_| joins);
        let (page, grounds) = match (joined, policy.budget) {
            (Some(page), _) => (page, Grounds::Joined),
            (None, Some(_)) if bar.rule.spent => {
                (now, Grounds::WorseThan(bar.rule.worse / policy.after.worse))
            }
            (None, Some(b)) if rule.used(b, now) + 1 >= b.pages as usize => (now, Grounds::Spends),
            (None, _) => (now, Grounds::Within),
        };
        match joined {
            Some(page) => rule.goes_on(page, distance),
            None => rule.push(&policy.after, PageRecord { t: now, series, zscore: distance, useful: None }),
        }
        self.standing = Standing::Paged { page, grounds };
    }

    /// Since when each band is beyond what a page needs.
    fn cross(&mut self, policy: &Policy, bar: &Bar, now: Timestamp, distance: f64) {
        if distance.is_nan() {
            return;
        }
        let passes =
            |(i, band): (usize, &Option<PagingBand>)| band.is_some_and(|b| bar.passes(i, b.sigma, distance));
        if !policy.bands.iter().enumerate().any(passes) {
            self.over = Vec::new();
            return;
        }
        self.over.resize(policy.bands.len(), None);
        for (band, over) in policy.bands.iter().enumerate().zip(&mut self.over) {
            *over = passes(band).then(|| over.unwrap_or(now).min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sigma::AfterPage;

    const MIN: i64 = 60_000;
    const DAY: i64 = 1440 * MIN;

    fn policy(budget: &str, quiet_ms: i64, bands: &[(f64, i64)]) -> Policy {
        let bands = bands.iter().map(|&(sigma, for_ms)| Some(PagingBand { sigma, for_ms })).collect();
        let budget = budget.parse().ok();
        let after = crate::sigma::AfterPagePlan { quiet_ms, ..AfterPage::default().plan(budget.is_some()) };
        Policy { budget, after, bands }
    }

    /// A rule whose series fire whenever they are beyond a band, for `for` 0.
    struct World {
        policy: Policy,
        rule: PageHistory,
        series: Vec<SeriesPages>,
        /// What the rule needed when each series had its turn in the last step.
        levels: Vec<Level>,
    }

    impl World {
        fn new(policy: Policy, series: usize) -> Self {
            let mut rule = PageHistory::default();
            // An old rule whose values stayed near the centre.
            for band in policy.bands.iter().flatten() {
                let noise = rule.noise_over(band.for_ms, -60 * DAY);
                policy.budget.into_iter().for_each(|b| noise.add(b, -40 * DAY, 0.1, true));
            }
            Self { policy, rule, series: vec![SeriesPages::default(); series], levels: Vec::new() }
        }

        /// Distances of all series at one time; which of them page after it.
        fn step(&mut self, now: Timestamp, distances: &[f64]) -> Vec<usize> {
            let mut paging = self.series.iter().any(SeriesPages::pages);
            let mut out = Vec::new();
            self.levels.clear();
            for (i, distance) in distances.iter().copied().enumerate() {
                let level = Level::of(&self.policy, &self.rule, now);
                self.levels.push(level);
                let top = self.policy.bands.iter().rposition(|b| b.is_some_and(|b| distance >= b.sigma));
                let after = self.policy.after;
                self.series[i].watch(&self.policy, &mut self.rule, now, distance, true);
                let sight = Sight { now, distance, cold: f64::NAN, top, series: i as u64, after };
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
        // The other series is not quiet, and what it paged for says nothing of this one.
        assert_eq!(w.step(820 * MIN, &[0.0, 3.5]), [1]);
        w.step(821 * MIN, &[0.0, 0.0]);
        assert!(w.step(840 * MIN, &[4.0, 0.0]).is_empty());
        w.step(841 * MIN, &[0.0, 0.0]);
        assert_eq!(w.step(1600 * MIN, &[3.1, 0.0]), [0]);
    }

    #[test]
    fn worse_may_mean_several_times_as_far() {
        let mut policy = policy("none", 720 * MIN, &[(3.0, 0)]);
        policy.after.worse = 2.0;
        let mut w = World::new(policy, 1);
        for (t, distance, pages) in
            [(0, 3.1, true), (60, 6.1, false), (61, 6.3, true), (700, 12.5, false), (730, 3.2, true)]
        {
            assert_eq!(!w.step(t * MIN, &[distance]).is_empty(), pages, "{t}");
            w.step(t * MIN + 1, &[0.0]);
        }
    }

    #[test]
    fn without_a_budget_each_series_widens_for_itself() {
        let mut policy = policy("none", 0, &[(3.0, 0)]);
        (policy.after.widen, policy.after.worse) = (1.5, 2.0);
        let mut w = World::new(policy, 2);
        assert_eq!(w.step(0, &[3.1, 0.0]), [0]);
        w.step(MIN, &[0.0, 0.0]);
        // 4.5σ from now on, relaxing: 4.06 after four days.
        assert_eq!(w.step(4 * DAY, &[3.8, 3.2]), [1]);
        w.step(4 * DAY + MIN, &[0.0, 0.0]);
        assert_eq!(w.step(4 * DAY + 20 * MIN, &[4.1, 0.0]), [0]);
    }

    #[test]
    fn a_page_that_a_clock_dated_far_ahead_holds_nothing_back_for_ever() {
        let mut after_budget = World::new(policy("1 per 30d", 720 * MIN, &[(3.0, 0)]), 2);
        let mut own = World::new(policy("none", 720 * MIN, &[(3.0, 0)]), 2);
        own.policy.after.widen = 2.0;
        for w in [&mut after_budget, &mut own] {
            assert_eq!(w.step(400 * DAY, &[5.0, 0.0]), [0]);
            w.step(400 * DAY + MIN, &[0.0, 0.0]);
            // The clock is right again.
            w.step(0, &[0.0, 0.0]);
            assert_eq!(w.step(20 * MIN, &[4.0, 0.0]), [0]);
            assert_eq!(w.pages(), 2);
        }
        // What goes on does not swallow what comes later.
        let mut w = World::new(policy("none", 0, &[(3.0, 0)]), 2);
        assert_eq!(w.step(400 * DAY, &[5.0, 0.0]), [0]);
        assert_eq!(w.step(0, &[5.0, 3.5]), [0, 1]);
        assert_eq!(w.pages(), 2);
    }

    #[test]
    fn what_would_have_paged_while_cold_widens_and_pages_nobody() {
        let mut policy = policy("none", 0, &[(3.0, 0)]);
        policy.after.widen = 2.0;
        let (mut series, mut rule) = (SeriesPages::default(), PageHistory::default());
        let mut see = |now, distance, cold, top| {
            let level = Level::of(&policy, &rule, now);
            series.step(
                &policy,
                &mut rule,
                level,
                false,
                Sight { now, distance, cold, top, series: 1, after: policy.after },
            )
        };
        assert!(!see(0, f64::NAN, 50.0, None));
        assert!(!see(MIN, 5.9, f64::NAN, Some(0)) && see(2 * MIN, 6.1, f64::NAN, Some(0)));
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
        // What was held back is forgotten as noise, too.
        for day in 1..31 {
            w.step(day * DAY, &[0.0]);
        }
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

    #[test]
    fn a_rule_that_fires_all_the_time_does_not_page_for_each_record() {
        // A power law: every hour something fires, and 6 times it is worse than all before.
        let mut w = World::new(policy("2 per 30d", 0, &[(3.0, 0)]), 1);
        w.rule = PageHistory::default();
        let mut random = 1u64;
        let mut farthest: f64 = 0.0;
        let mut records = 0;
        for hour in 0..720 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let distance = 3.0 * ((random >> 11) as f64 / (1u64 << 53) as f64).powf(-0.25);
            records += u32::from(distance > farthest);
            farthest = farthest.max(distance);
            w.step(hour * 60 * MIN, &[distance]);
            w.step(hour * 60 * MIN + MIN, &[0.0]);
        }
        assert!(records > 5 && w.pages() <= 2, "{records} records, {} pages", w.pages());
        assert!(matches!(w.series[0].standing(), Standing::Calm));
        // What is far beyond them passes, and then what is worse than that, whatever is left of the budget.
        assert_eq!(w.step(721 * 60 * MIN, &[farthest * 3.0]), [0]);
        for i in 1..9 {
            w.step((721 + i) * 60 * MIN - MIN, &[0.0]);
            assert_eq!(w.step((721 + i) * 60 * MIN, &[farthest * (3.0 + i as f64 / 100.0)]), [0], "{i}");
        }
    }

    #[test]
    fn a_rule_within_its_budget_is_never_held_to_its_noise() {
        // Four real events in 30 days, each worse: all of them page.
        let mut w = World::new(policy("2 per 30d", 0, &[(3.0, 0)]), 1);
        for (i, distance) in [8.0, 8.5, 9.0, 9.5].into_iter().enumerate() {
            assert_eq!(w.step(i as i64 * 7 * DAY, &[distance]), [0], "{distance}");
            w.step(i as i64 * 7 * DAY + MIN, &[0.0]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever the noise: in no period are there more pages than the budget, unless each that is too many was worse than
        /// the page before it. And what is worse than the page before is never held back.
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
                if hold == 0 {
                    // A page that goes on may have become worse in this very step, before the series had its turn.
                    for (i, (v, level)) in values.iter().zip(&w.levels).enumerate() {
                        let worse = *v > level.worse.max(3.0);
                        prop_assert!(!worse || pages.contains(&i), "{v} was held back by {level:?}");
                    }
                }
            }
        }
    }
}
