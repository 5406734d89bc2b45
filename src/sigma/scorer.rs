//! A detector that needs no rule: how unlike everything seen before is this, and would it be worth a page?
//!
//! Two novelty memories look at the same series, one at its samples and one at their short mean. Each measures the distance to the
//! nearest remembered value in a scale that grows with the distance from the middle (Weber's law: 300 is nothing new after 280, 40 is
//! after 20). The two distances, each in units of its threshold, are added; from 1 on it would page, unless it paged within the
//! quiet time, or earlier pages still widen the threshold. Streaming, time-based, one fixed setting for every series; how it was found,
//! and what it reaches, is in `docs/sigma.md`.

use crate::model::Timestamp;

use super::gaussian::Moments;
use super::novelty::Values;

/// The numbers of a [`Scorer`]. The default is the shipped setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Share of the distance from the middle that joins the scale.
    pub weber: f64,
    /// The scale is at least this share of the largest |x|.
    pub floor: f64,
    /// A value farther than this many scales from all is remembered of its own.
    pub remember: f64,
    /// Values each memory holds.
    pub capacity: usize,
    /// Length of the short mean, ms.
    pub mean_ms: i64,
    /// Scales at which a sample alone would page.
    pub sample_threshold: f64,
    /// Scales at which the short mean alone would page.
    pub mean_threshold: f64,
    /// No page so long after a page, ms.
    pub quiet_ms: i64,
    /// A page widens the threshold by this factor.
    pub widen: f64,
    /// What was widened halves in this time, ms.
    pub half_life_ms: f64,
    /// Values that nothing matched for so long are forgotten, ms.
    pub forget_ms: i64,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            weber: 0.137,
            floor: 0.102,
            remember: 0.093,
            capacity: 64,
            mean_ms: 3_240_000,
            sample_threshold: 0.127,
            mean_threshold: 0.46,
            quiet_ms: 72_000_000,
            widen: 1.7,
            half_life_ms: 3.5 * 86_400_000.0,
            forget_ms: 90 * 86_400_000,
        }
    }
}

/// How long the middle takes to follow, ms.
const MIDDLE_MS: f64 = 42.0 * 3_600_000.0;
/// For normal noise σ is 1.25 times the mean absolute deviation.
const DEVIATION_TO_SIGMA: f64 = 1.25;
/// A sample after a gap does not stand for the whole gap, ms.
const LONGEST_STEP_MS: f64 = 3_600_000.0;
/// Below this nothing is told apart from nothing.
const TINY: f64 = 1e-12;

/// One memory: its values, and the middle and spread that the scale comes from.
#[derive(Debug, Clone, PartialEq, Default)]
struct Novelty {
    values: Values,
    /// Running median (stochastic approximation).
    middle: f64,
    /// Mean absolute deviation from it.
    deviation: f64,
    seen_ms: f64,
    last: Option<Timestamp>,
}

impl Novelty {
    fn scale(&self, setting: &Setting, x: f64) -> f64 {
        let floor = setting.floor * self.values.largest();
        (DEVIATION_TO_SIGMA * self.deviation).max(floor).max(TINY) + setting.weber * (x - self.middle).abs()
    }

    /// Distance to the nearest remembered value in scales; then learns the value.
    fn step(&mut self, setting: &Setting, t: Timestamp, x: f64) -> f64 {
        let novelty = self.values.nearest(x).map_or(0.0, |p| (x - p).abs() / self.scale(setting, x));
        let step = self.last.map_or(0.0, |last| t.saturating_sub(last) as f64).clamp(0.0, LONGEST_STEP_MS);
        self.last = Some(t);
        self.seen_ms += step;
        let share = if self.seen_ms > 0.0 { step / self.seen_ms } else { 1.0 };
        if self.seen_ms == 0.0 {
            self.middle = x;
        }
        let distance = x - self.middle;
        self.deviation += (distance.abs() - self.deviation) * share;
        self.middle += distance.signum() * self.deviation.max(TINY) * 0.5 * share.max(step / MIDDLE_MS);
        self.values.enlarge(x);
        let radius = setting.remember * self.scale(setting, x);
        self.values.learn_within(t, x, radius, setting.capacity, setting.forget_ms);
        novelty
    }
}

/// The streaming state of one series: under 2 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    setting: Setting,
    samples: Novelty,
    means: Novelty,
    mean: Moments,
    /// Factor of the threshold, and when it was set by a page.
    wide: f64,
    paged: Option<Timestamp>,
}

impl Default for Scorer {
    fn default() -> Self {
        Self::new(Setting::default())
    }
}

impl Scorer {
    /// A scorer that knows nothing yet.
    pub fn new(setting: Setting) -> Self {
        Self {
            setting,
            samples: Novelty::default(),
            means: Novelty::default(),
            mean: Moments::default(),
            wide: 1.0,
            paged: None,
        }
    }

    /// Scores a sample against everything before it and learns it. From 0 to 1; 0.5 and more says that it would page now. A sample
    /// that is no number scores 0 and is not learnt. Samples come in the order of time; one that is older counts as of the last time.
    pub fn score(&mut self, t: Timestamp, x: f64) -> f64 {
        if !x.is_finite() {
            return 0.0;
        }
        let setting = self.setting;
        self.mean.decay(t, setting.mean_ms.max(1) as f64 / 2.0);
        self.mean.learn(1, x, 0.0);
        let sample = self.samples.step(&setting, t, x) / setting.sample_threshold;
        let mean = self.means.step(&setting, t, self.mean.mean()) / setting.mean_threshold;
        let strangeness = sample + mean;
        let age = self.paged.map_or(i64::MAX, |paged| t.saturating_sub(paged).max(0));
        let wide =
            1.0 + (self.wide - 1.0) * (-std::f64::consts::LN_2 * age as f64 / setting.half_life_ms).exp();
        let relative = strangeness / wide;
        if strangeness >= 1.0 && relative >= 1.0 && age >= setting.quiet_ms {
            self.wide = wide * setting.widen;
            self.paged = Some(t);
            // 1 at its threshold, 2 at twice that, ...: from 0.5 towards 1.
            return 1.0 - 0.5 / relative;
        }
        (0.5 * relative).clamp(0.0, 0.499)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;

    /// Two levels that take turns every 6 hours, with a little ripple.
    fn usual(t: i64) -> f64 {
        let level = if t % (12 * 60 * MINUTE) < 6 * 60 * MINUTE { 20.0 } else { 80.0 };
        level + ((t / MINUTE) as f64 * 0.7).sin()
    }

    fn pages(scorer: &mut Scorer, from: i64, to: i64, value: impl Fn(i64) -> f64) -> Vec<i64> {
        (from / (5 * MINUTE)..to / (5 * MINUTE))
            .map(|i| i * 5 * MINUTE)
            .filter(|t| scorer.score(*t, value(*t)) >= 0.5)
            .collect()
    }

    #[test]
    fn pages_for_what_was_never_there_and_not_for_what_was() {
        let mut scorer = Scorer::default();
        pages(&mut scorer, 0, 7 * DAY, usual);
        assert!(pages(&mut scorer, 7 * DAY, 14 * DAY, usual).is_empty());
        for strange in [50.0, 300.0, -40.0] {
            let mut one = scorer.clone();
            assert!(one.score(14 * DAY, strange) >= 0.5, "{strange}");
            // Quiet after it, however strange.
            assert!(one.score(14 * DAY + 5 * MINUTE, strange * 9.0) < 0.5);
        }
    }

    #[test]
    fn every_page_widens_and_time_relaxes() {
        let mut scorer = Scorer::default();
        pages(&mut scorer, 0, 7 * DAY, usual);
        // The same kind of news every day pages less and less often; after a month of peace it pages again.
        let mut fired = Vec::new();
        let mut level = 80.0;
        for day in 7..21 {
            level += 16.0;
            let news = level;
            fired.push(
                !pages(&mut scorer, day * DAY, (day + 1) * DAY, |t| {
                    if t % DAY < 9 * MINUTE { news } else { usual(t) }
                })
                .is_empty(),
            );
        }
        let count = fired.iter().filter(|f| **f).count();
        assert!(fired[0] && (3..10).contains(&count), "{fired:?}");
        assert!(pages(&mut scorer, 21 * DAY, 51 * DAY, usual).is_empty());
        assert!(scorer.score(51 * DAY, level + 60.0) >= 0.5);
    }

    #[test]
    fn scores_stay_in_their_range_for_anything() {
        let mut scorer = Scorer::default();
        for (i, x) in [f64::NAN, f64::INFINITY, 0.0, 0.0, f64::MAX, f64::MIN, 1e-300, -0.0, 1.0]
            .iter()
            .cycle()
            .take(500)
            .enumerate()
        {
            for t in [i as i64 * MINUTE, i64::MIN, i64::MAX, 0] {
                let score = scorer.score(t, *x);
                assert!((0.0..=1.0).contains(&score), "{t} {x}: {score}");
            }
        }
        assert!(size_of::<Scorer>() + 2 * 64 * 8 <= 2048);
    }
}
