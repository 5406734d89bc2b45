//! One evaluation of a rule, as far as its pages go: every series is seen once, and it is said which of them page.

use crate::model::Timestamp;
use crate::sigma::{Detector, Evaluation, Judgement, Model};

use super::budget::{Level, Policy};
use super::context::Paged;
use super::pages::PageHistory;
use super::standing::{Grounds, SeriesPages, Sight, Standing};

/// The score of what pages begins here; what does not page is below it.
const PAGES: f64 = 0.5;

/// What became of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    pub paged: Paged,
    /// How near a page this is, from 0 to 1: 0.5 and more exactly when a page of the series goes out. Below, half of the distance as a
    /// share of what the lowest paging band needs. 0 if nobody wants to know.
    pub score: f64,
}

/// How far out a value is, in σ, when it tells of the rule's noise; NaN otherwise: what novelty finds while it is cold is new because
/// everything is. And whether the model knows what it needs to know: seasonal, until a season is over, is another one.
pub(super) fn told(detector: &Detector, judgement: &Judgement) -> (f64, bool) {
    let baseline = &detector.config().baseline;
    let told = judgement.ready || baseline.model != Model::Novelty;
    let season = match baseline.model {
        Model::Seasonal => baseline.seasonality.iter().map(|s| s.ms()).max().unwrap_or(0) + baseline.lag.ms(),
        _ => 0,
    };
    let distance = if told && judgement.zscore.is_finite() { detector.distance(judgement) } else { f64::NAN };
    (distance, judgement.age_ms > season || season == 0)
}

/// See the module.
#[derive(Debug)]
pub struct Round<'a> {
    policy: &'a Policy,
    history: &'a mut PageHistory,
    /// What a page needs now, worked out when somebody asks.
    level: Option<Level>,
    paging: bool,
    scored: bool,
    now: Timestamp,
}

impl<'a> Round<'a> {
    /// Begins at `now` (ms). `paging`: some series of the rule pages at present. `scored`: decisions shall have their score.
    pub fn new(
        policy: &'a Policy,
        history: &'a mut PageHistory,
        now: Timestamp,
        paging: bool,
        scored: bool,
    ) -> Self {
        history.put_right(now);
        Self { policy, history, level: None, paging, scored, now }
    }

    fn level(&mut self) -> Level {
        *self.level.get_or_insert_with(|| Level::of(self.policy, self.history, self.now))
    }

    /// A series was evaluated, which has this fingerprint of its labels (asked for only when a band fires).
    pub fn see(
        &mut self,
        detector: &Detector,
        series: &mut SeriesPages,
        Evaluation { judgement, bands }: &Evaluation,
        fingerprint: impl FnOnce() -> u64,
    ) -> Decision {
        let known = if judgement.zscore.is_finite() { detector.distance(judgement) } else { f64::NAN };
        let (distance, cold) = if judgement.ready { (known, f64::NAN) } else { (f64::NAN, known) };
        if self.policy.budget.is_some() {
            let (distance, settled) = told(detector, judgement);
            series.watch(self.policy, self.history, self.now, distance, settled);
        }
        let near = known >= self.policy.lowest();
        if !self.scored && bands.top.is_none() && series.rests() && !near {
            return Decision { paged: Paged::No, score: 0.0 };
        }
        let level = self.level();
        let top = bands.top;
        let series_id = top.map_or(0, |_| fingerprint());
        let after = self.policy.after.matured(judgement.age_ms, judgement.samples);
        let sight = Sight { now: self.now, distance, cold, top, series: series_id, after };
        let before = series.standing();
        let needed = if self.scored { series.bar(self.policy, level, sight).from(self.policy) } else { 1.0 };
        if series.step(self.policy, self.history, level, self.paging, sight) {
            self.paging = true;
        }
        if before != series.standing() && !matches!(series.standing(), Standing::Held { .. }) {
            // What was paged for, and how wide the bands are, may have changed; not for each of many that are held back.
            self.level = None;
        }
        let paged = match (before, series.standing()) {
            (Standing::Paged { .. }, _) | (_, Standing::Calm) => Paged::No,
            (_, Standing::Paged { grounds: Grounds::Joined, .. }) => Paged::Joined,
            (_, Standing::Paged { .. }) => Paged::Sent,
            (Standing::Held { .. }, _) => Paged::No,
            (Standing::Calm, Standing::Held { .. }) => Paged::HeldBack,
        };
        let score = match paged {
            _ if !self.scored || distance.is_nan() => 0.0,
            // Half at the edge, 3/4 at twice that, ...: towards 1.
            Paged::Sent | Paged::Joined => 1.0 - PAGES / (distance / needed).max(1.0),
            _ => (PAGES * distance / needed).min(PAGES.next_down()),
        };
        Decision { paged, score }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::file::{self, RuleKind};

    const MIN: i64 = 60_000;

    #[test]
    fn series_that_come_and_go_make_no_old_rule_deaf() {
        let text = "groups:\n- name: g\n  rules:\n  - {sigma: S, expr: x, labels: {severity: page}, \
                    page_budget: 2 per 30d, baseline: {window: 6h}, bands: [{sigma: 3, for: 0s}]}\n";
        let file = file::parse(Path::new("r.yml"), text, file::Options::default()).unwrap();
        let rule = &file.groups[0].rules[0];
        let RuleKind::Sigma(spec) = &rule.kind else { panic!("no sigma rule") };
        let (policy, detector) = (Policy::of(rule, spec), &spec.detector);
        assert!(policy.lowest().is_finite());
        let mut random = 1u64;
        let mut noise = || {
            let sum: f64 = (0..12)
                .map(|_| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (random >> 11) as f64 / (1u64 << 53) as f64
                })
                .sum();
            100.0 + sum
        };
        let mut history = PageHistory::default();
        let mut see =
            |series: &mut (crate::sigma::SeriesState, SeriesPages), t: i64, history: &mut PageHistory| {
                let evaluation = detector.evaluate(&mut series.0, t, noise());
                Round::new(&policy, history, t, false, false).see(detector, &mut series.1, &evaluation, || 1);
            };
        let mut old = (detector.start(), SeriesPages::default());
        for t in 0..5 * 1440 {
            see(&mut old, t * MIN, &mut history);
        }
        let from = |history: &PageHistory, t: i64| Level::of(&policy, history, t * MIN).from(&policy);
        let before = from(&history, 5 * 1440);
        for t in 5 * 1440..6 * 1440 {
            see(&mut old, t * MIN, &mut history);
            if t % 20 == 0 {
                let mut young = (detector.start(), SeriesPages::default());
                for i in 0..30 {
                    see(&mut young, (t + i) * MIN, &mut history);
                }
            }
        }
        let after = from(&history, 6 * 1440);
        assert!(after < 1.2 * before, "{before} {after}");
    }
}
