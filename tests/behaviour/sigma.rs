//! Sigma bands through their public surface: each trap that makes bands page for nothing has its test here.
#![allow(clippy::unwrap_used, reason = "a test stops where its own set-up is wrong")]

use std::path::Path;

use proptest::prelude::*;
use sideband::model::{stale_nan, yaml};
use sideband::sigma::{AfterPage, BandsChange, Config, Detector, Evaluation, Phase, SeriesState};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A Monday.
const START: i64 = 1_763_942_400_000;

fn config(text: &str) -> Config {
    yaml::parse(Path::new("rule.yml"), text).unwrap()
}

fn detector(text: &str) -> Detector {
    Detector::new(config(text)).unwrap()
}

/// Repeatable noise: splitmix64, and Box-Muller on top.
pub struct Noise(pub u64);

impl Noise {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// One series that is fed at a fixed interval.
struct Feed {
    detector: Detector,
    state: SeriesState,
    t: i64,
    step: i64,
}

impl Feed {
    fn new(rule: &str) -> Self {
        let detector = detector(rule);
        Self { state: detector.start(), detector, t: START, step: 15 * SECOND }
    }
    fn put(&mut self, x: f64) -> Evaluation {
        self.t += self.step;
        self.detector.evaluate(&mut self.state, self.t, x)
    }
    /// Feeds for `ms`; returns the last evaluation.
    fn run(&mut self, ms: i64, mut value: impl FnMut(i64) -> f64) -> Evaluation {
        let until = self.t + ms;
        let mut last = self.put(value(self.t + self.step));
        while self.t < until {
            last = self.put(value(self.t + self.step));
        }
        last
    }
    /// Feeds for `ms` and says at which times (since the start of the run) something paged.
    fn pages(&mut self, ms: i64, mut value: impl FnMut(i64) -> f64) -> Vec<i64> {
        let (from, mut pages) = (self.t, Vec::new());
        while self.t < from + ms {
            let x = value(self.t + self.step);
            if self.put(x).bands.paged {
                pages.push(self.t - from);
            }
        }
        pages
    }
}

const PAGER: &str = "
baseline: {window: 6h, lag: 10m}
bands:
  - {sigma: 1, action: record}
  - {sigma: 2, for: 10m, labels: {severity: ticket}}
  - {sigma: 3, for: 5m, labels: {severity: page}}
";

#[test]
fn refuses_what_cannot_work_and_names_the_key() {
    let cases = [
        ("bands: []", "bands"),
        ("bands: [{sigma: 3}, {sigma: 2}]", "bands[1].sigma"),
        ("bands: [{sigma: 3}, {sigma: 3}]", "bands[1].sigma"),
        ("bands: [{sigma: 0}]", "bands[0].sigma"),
        ("bands: [{sigma: -1}]", "bands[0].sigma"),
        ("bands: [{sigma: .nan}]", "bands[0].sigma"),
        (
            "bands: [{sigma: 1}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}, {sigma: 7}]",
            "bands",
        ),
        ("bands: [{sigma: 1, action: record, for: 5m}]", "bands[0].action"),
        ("baseline: {lag: 5m}\nbands: [{sigma: 3, for: 10m}]", "baseline.lag"),
        (
            "baseline: {lag: 5m, freeze_at: 2}\nbands: [{sigma: 2, for: 10m}, {sigma: 3, for: 1m}]",
            "baseline.lag",
        ),
        ("baseline: {freeze_at: 4}\nbands: [{sigma: 3}]", "baseline.freeze_at"),
        ("baseline: {window: 10s}\nbands: [{sigma: 3}]", "baseline.window"),
        ("baseline: {window: 1h, lag: 1h}\nbands: [{sigma: 3}]", "baseline.lag"),
        ("baseline: {min_samples: 1}\nbands: [{sigma: 3}]", "baseline.min_samples"),
        ("baseline: {stddev_floor: -1}\nbands: [{sigma: 3}]", "baseline.stddev_floor"),
        ("baseline: {stddev_floor_ratio: .inf}\nbands: [{sigma: 3}]", "baseline.stddev_floor_ratio"),
        ("baseline: {seasonality: [1d]}\nbands: [{sigma: 3}]", "baseline.seasonality"),
        (
            "baseline: {model: seasonal, window: 28d, seasonality: [2d]}\nbands: [{sigma: 3}]",
            "baseline.seasonality",
        ),
        (
            "baseline: {model: seasonal, window: 28d, seasonality: [1d, 1d]}\nbands: [{sigma: 3}]",
            "baseline.seasonality",
        ),
        (
            "baseline: {model: seasonal, window: 7d, seasonality: [1w]}\nbands: [{sigma: 3}]",
            "baseline.window",
        ),
        ("min_deviation: -1\nbands: [{sigma: 3}]", "min_deviation"),
        ("clear_sigma: -1\nbands: [{sigma: 3}]", "clear_sigma"),
        ("judge: mean 6h\nbands: [{sigma: 3}]", "judge"),
        ("judge: sample + mean 1h\nbands: [{sigma: 3}]", "judge"),
        ("baseline: {weber: 0.1}\nbands: [{sigma: 3}]", "baseline.weber"),
        ("baseline: {model: novelty, remember: -1}\nbands: [{sigma: 3}]", "baseline.remember"),
        ("baseline: {spread: deviation}\nbands: [{sigma: 3}]", "baseline.spread"),
        ("baseline: {floor: mean}\nbands: [{sigma: 3}]", "baseline.floor"),
        ("baseline: {unrest: 1h}\nbands: [{sigma: 3}]", "baseline.unrest"),
        ("baseline: {model: novelty, unrest: 6h}\nbands: [{sigma: 3}]", "baseline.unrest"),
        ("after_page: {maturing: 1.1}\nbands: [{sigma: 3}]", "after_page.maturing"),
        ("after_page: {widen: 0.5}\nbands: [{sigma: 3}]", "after_page.widen"),
        ("after_page: {half_life: 0s}\nbands: [{sigma: 3}]", "after_page.half_life"),
        ("after_page: {worse: 0}\nbands: [{sigma: 3}]", "after_page.worse"),
    ];
    for (text, key) in cases {
        let errors = config(text).errors();
        assert!(errors.iter().any(|e| e.key == key), "{text}: {errors:?}");
    }
    for text in [
        "bands: [{sigma: 3}]\nband: 1",
        "bands: [{sigma: 3, fro: 5m}]",
        "bands: [{sigma: 3}]\njudge: max 1h",
        "bands: [{sigma: 3}]\njudge: sample + sample",
        "bands: [{sigma: 3}]\njudge: 0 sample",
        "bands: [{sigma: 3}]\njudge: sample + mean 1h + mean 2h + mean 3h",
        "bands: [{sigma: 3}]\npage_budget: 0 per 30d",
        "bands: [{sigma: 3}]\npage_budget: often",
        "{}",
    ] {
        assert!(yaml::parse::<Config>(Path::new("rule.yml"), text).is_err(), "{text}");
    }
    for text in [
        PAGER,
        "bands: [{sigma: 3}]",
        "bands: [{sigma: 2, action: record}]",
        "judge: mean 1h\npage_budget: 2 per 30d\nbands: [{sigma: 3, gate: novelty}]",
        "baseline: {model: seasonal, window: 28d, seasonality: [1d, 1w]}\nbands: [{sigma: 3}]",
    ] {
        assert!(config(text).errors().is_empty(), "{text}");
    }
}

#[test]
fn judges_normal_noise_as_it_is() {
    for model in ["gaussian", "robust", "seasonal"] {
        let window = if model == "seasonal" { "14d" } else { "6h" };
        let mut feed =
            Feed::new(&format!("baseline: {{model: {model}, window: {window}}}\nbands: [{{sigma: 9}}]"));
        feed.step = MINUTE;
        let mut noise = Noise(1);
        feed.run(10 * DAY, |_| 100.0 + 5.0 * noise.normal());
        let (mut z, mut sigmas, n) = (Vec::new(), 0.0, 4_000);
        for _ in 0..n {
            let j = feed.put(100.0 + 5.0 * noise.normal()).judgement;
            assert!(j.ready && !j.frozen && (j.center - 100.0).abs() < 2.0, "{model}: {j:?}");
            z.push(j.zscore);
            sigmas += j.stddev / f64::from(n);
        }
        let variance = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
        assert!(
            (0.9..1.1).contains(&variance) && (4.6..5.4).contains(&sigmas),
            "{model}: {variance} {sigmas}"
        );
    }
}

#[test]
fn the_memory_is_of_time_and_not_of_rows() {
    let at = |step: i64| {
        let mut feed = Feed::new("bands: [{sigma: 99}]");
        feed.step = step;
        let mut noise = Noise(2);
        feed.run(2 * DAY, |_| 10.0 + noise.normal());
        feed.run(6 * HOUR, |_| 20.0 + noise.normal()).judgement.center
    };
    // After one window of another level: 1 - e^-2 of the way, whatever the interval.
    for step in [5 * SECOND, 15 * SECOND, MINUTE] {
        assert!((at(step) - 18.6).abs() < 0.5, "{step}: {}", at(step));
    }
}

#[test]
fn a_sample_is_not_in_its_own_window() {
    for lag in ["10m", "0"] {
        let mut feed =
            Feed::new(&format!("baseline: {{min_samples: 20, lag: {lag}}}\nbands: [{{sigma: 3}}]"));
        feed.step = MINUTE;
        let mut noise = Noise(3);
        feed.run(40 * MINUTE, |_| 10.0 + noise.normal());
        // In its own window of n = 41 no sample could reach more than √40 = 6.3.
        let j = feed.put(1_000.0).judgement;
        assert!(j.zscore > 500.0, "lag {lag}: {j:?}");
    }
}

#[test]
fn an_event_is_not_learnt_while_it_lasts() {
    let rule = "baseline: {window: 1h, freeze_max: 12h}\nbands: [{sigma: 3, for: 5m}]";
    let mut feed = Feed::new(rule);
    let mut noise = Noise(4);
    feed.run(4 * HOUR, |_| 10.0 + noise.normal());
    assert!(feed.pages(10 * MINUTE, |_| 20.0 + noise.normal()) == [5 * MINUTE + 15 * SECOND]);
    let before = feed.put(20.0).judgement;
    // An unfrozen baseline of 1 h would call this normal after (1+k²)⁻¹ of its window.
    let last = feed.run(8 * HOUR, |_| 20.0 + noise.normal());
    assert_eq!((last.judgement.center, last.judgement.stddev), (before.center, before.stddev));
    assert!(last.judgement.frozen && last.bands.top == Some(0));
    // Over: the event is out of the baseline, and learning goes on.
    let after = feed.run(HOUR, |_| 10.0 + noise.normal());
    assert!(!after.judgement.frozen && (after.judgement.center - 10.0).abs() < 0.5, "{after:?}");
    assert!(after.judgement.samples > before.samples && after.bands.top.is_none());
}

#[test]
fn a_freeze_ends_at_its_longest_and_the_new_level_is_learnt() {
    let mut feed = Feed::new("baseline: {window: 1h, freeze_max: 2h}\nbands: [{sigma: 3, for: 5m}]");
    let mut noise = Noise(5);
    feed.run(4 * HOUR, |_| 10.0 + noise.normal());
    assert_eq!(feed.pages(HOUR, |_| 20.0 + noise.normal()).len(), 1);
    assert!(feed.put(20.0).judgement.frozen);
    let pages = feed.pages(8 * HOUR, |_| 20.0 + noise.normal());
    let j = feed.put(20.0);
    assert!(pages.is_empty() && !j.judgement.frozen && j.bands.top.is_none(), "{j:?}");
    assert!((j.judgement.center - 20.0).abs() < 0.5, "{j:?}");
}

#[test]
fn strange_samples_below_the_band_are_learnt_so_sigma_does_not_shrink() {
    let mut feed = Feed::new("baseline: {freeze_at: 2}\nbands: [{sigma: 2, for: 10m}]");
    let mut noise = Noise(6);
    feed.run(2 * DAY, |_| noise.normal());
    let (mut sum, n) = (0.0, 5_000);
    for _ in 0..n {
        sum += feed.put(noise.normal()).judgement.stddev / f64::from(n);
    }
    assert!((0.95..1.06).contains(&sum), "{sum}: skipping samples beyond 2σ would make it 0.72");
}

#[test]
fn a_flat_series_has_floors() {
    // At 50 ± nothing the default floor is 1 % of the centre.
    let mut feed = Feed::new("bands: [{sigma: 3}]");
    feed.run(3 * HOUR, |_| 50.0);
    let j = feed.put(51.4).judgement;
    assert!((j.zscore - 2.8).abs() < 1e-9 && (j.stddev - 0.5).abs() < 1e-9, "{j:?}");
    // At 0 ± nothing there is no scale at all: nothing can be said, so nothing pages.
    for model in ["gaussian", "robust", "novelty"] {
        let mut feed = Feed::new(&format!("baseline: {{model: {model}}}\nbands: [{{sigma: 3}}]"));
        feed.run(3 * HOUR, |_| 0.0);
        let e = feed.put(1e-9);
        assert!(!e.judgement.ready && e.bands.top.is_none(), "{model}: {e:?}");
    }
    // With a floor it can.
    let mut feed = Feed::new("baseline: {stddev_floor: 0.5}\nbands: [{sigma: 3}]");
    feed.run(3 * HOUR, |_| 0.0);
    assert_eq!(feed.put(1.0).judgement.zscore, 2.0);
    assert!(feed.put(1.6).bands.paged);
}

#[test]
fn cold_never_pages() {
    for model in ["gaussian", "robust", "novelty"] {
        let mut feed = Feed::new(&format!(
            "baseline: {{model: {model}, min_samples: 240, lag: 10m}}\nbands: [{{sigma: 3}}]"
        ));
        let mut noise = Noise(7);
        // 240 samples at 15 s are an hour, and then they wait for the lag.
        let wild = feed.pages(HOUR + 10 * MINUTE - 15 * SECOND, |t| {
            if t % (7 * MINUTE) == 0 { 1e6 } else { noise.normal() }
        });
        assert!(wild.is_empty(), "{model}: {wild:?}");
        let mut feed = Feed::new("baseline: {min_samples: 240}\nbands: [{sigma: 3}]");
        assert!(!feed.run(HOUR, |_| noise.normal()).judgement.ready);
        assert!(feed.run(15 * MINUTE, |_| noise.normal()).judgement.ready);
    }
}

#[test]
fn cold_is_also_a_time() {
    let mut feed = Feed::new("baseline: {min_samples: 20, min_time: 3h}\nbands: [{sigma: 3}]");
    let mut noise = Noise(71);
    assert!(!feed.run(170 * MINUTE, |_| noise.normal()).judgement.ready && !feed.put(1e6).bands.paged);
    assert!(feed.run(11 * MINUTE, |_| noise.normal()).judgement.ready);
}

#[test]
fn what_was_learnt_does_not_age_while_a_band_fires() {
    let mut feed = Feed::new("baseline: {window: 1h, freeze_max: 12h}\nbands: [{sigma: 3, for: 5m}]");
    let mut noise = Noise(72);
    feed.run(4 * HOUR, |_| 10.0 + noise.normal());
    assert_eq!(feed.pages(8 * HOUR, |_| 30.0 + noise.normal()).len(), 1);
    // Eight windows later a few minutes of another level weigh what they would have weighed before.
    let j = feed.run(20 * MINUTE, |_| 11.0).judgement;
    assert!(!j.frozen && (10.0..10.6).contains(&j.center), "{j:?}");
}

#[test]
fn few_samples_have_wider_bands() {
    // At 3σ the share of new normal samples outside must be that of 3σ (0.27 %), however few were learnt: the naive
    // estimate from 8 gives 2.4 %.
    let mut outside = 0;
    let rounds = 30_000;
    let detector = detector("baseline: {min_samples: 8, lag: 0, stddev_floor_ratio: 0}\nbands: [{sigma: 9}]");
    let mut noise = Noise(8);
    for _ in 0..rounds {
        let mut state = detector.start();
        let mut t = START;
        for _ in 0..8 {
            t += MINUTE;
            detector.evaluate(&mut state, t, noise.normal());
        }
        let j = detector.evaluate(&mut state, t + MINUTE, noise.normal()).judgement;
        assert!(j.ready);
        outside += u32::from(j.zscore.abs() > 3.0);
    }
    let share = f64::from(outside) / f64::from(rounds);
    assert!((0.0017..0.0037).contains(&share), "{share}");
}

#[test]
fn a_counter_reset_is_no_event() {
    let mut feed = Feed::new("baseline: {counter: true}\ndirection: both\nbands: [{sigma: 6}]");
    let mut noise = Noise(9);
    let mut total = 1e6;
    let mut tick = |t: i64| {
        total = if t % (5 * HOUR) == 0 { 0.0 } else { total + 150.0 + 5.0 * noise.normal() };
        total
    };
    assert_eq!(feed.pages(2 * DAY, &mut tick), [0i64; 0]);
    let j = feed.run(MINUTE, &mut tick).judgement;
    assert!((j.center - 10.0).abs() < 0.2 && (j.stddev - 0.333).abs() < 0.1, "per second: {j:?}");
    assert!(feed.put(tick(1) + 1_000.0).bands.paged);
}

#[test]
fn only_the_highest_band_is_an_alert() {
    let mut feed = Feed::new(PAGER);
    let mut noise = Noise(10);
    feed.run(6 * HOUR, |_| 10.0 + noise.normal());
    let mut seen: Vec<(i64, BandsChange)> = Vec::new();
    let from = feed.t;
    for i in 0..240 {
        let level = if i < 60 {
            2.6
        } else if i < 120 {
            5.0
        } else {
            0.0
        };
        let bands = feed.put(10.0 + level * 1.03).bands;
        if seen.last().is_none_or(|(_, b)| b.top != bands.top) {
            seen.push((feed.t - from, bands));
        }
    }
    let tops: Vec<_> = seen.iter().map(|(t, b)| (*t / MINUTE, b.top, b.paged)).collect();
    // 2σ after 10 minutes; 3σ 5 minutes after it was crossed, and alone; both end together.
    assert_eq!(tops, [(0, None, false), (10, Some(1), true), (20, Some(2), true), (30, None, false)]);
    let freezes = seen.iter().filter(|(_, b)| b.freeze.is_some()).count();
    assert_eq!((freezes, seen.last().unwrap().1.thaw), (1, true));
}

#[test]
fn for_hysteresis_and_keep_firing() {
    let rule = |extra: &str| {
        format!("{extra}\nclear_sigma: 0.5\nbaseline: {{stddev_floor: 1}}\nbands: [{{sigma: 3, for: 2m}}]")
    };
    let phases = |extra: &str, zs: &[f64]| -> String {
        let mut feed = Feed::new(&rule(extra));
        feed.step = MINUTE;
        feed.run(6 * HOUR, |_| 0.0);
        zs.iter()
            .map(|z| {
                feed.put(*z);
                match feed.state.bands.states()[0].phase {
                    Phase::Inactive => '.',
                    Phase::Pending { .. } => 'p',
                    Phase::Firing { .. } => 'F',
                }
            })
            .collect()
    };
    let nan = f64::NAN;
    let cases: &[(&str, &[f64], &str)] = &[
        ("", &[0.0, 3.1, 3.1, 3.1, 3.1], ".ppFF"),
        ("", &[3.1, 3.1, 2.9, 3.1, 3.1, 3.1], "pp.ppF"),
        ("", &[4.0, 4.0, 4.0, 2.6, 2.4, 2.6], "ppFF.."),
        ("", &[4.0, nan, 4.0, nan, 4.0, 0.0], "ppFFF."),
        ("", &[4.0, 4.0, nan, nan, nan, nan, nan, nan, nan], "pppppp..."),
        ("", &[4.0, 4.0, 4.0, nan, nan, nan, nan, nan, nan], "ppFFFFF.."),
        ("", &[f64::INFINITY, f64::INFINITY, f64::INFINITY, 1.0], "...."),
        ("", &[-9.0, -9.0, -9.0, -9.0], "...."),
        ("direction: below", &[-9.0, -9.0, -9.0, 9.0], "ppF."),
        ("direction: both", &[-9.0, 9.0, -9.0, -9.0], "ppFF"),
        ("min_deviation: 5", &[4.0, 4.0, 4.0, 6.0, 6.0, 6.0, 4.0], "...ppF."),
        ("keep_firing_for: 3m", &[4.0, 4.0, 4.0, 0.0, 0.0, 0.0, 0.0], "ppFFF.."),
        ("keep_firing_for: 3m", &[4.0, 4.0, 4.0, 0.0, 4.0, 0.0, 0.0, 0.0], "ppFFFFF."),
    ];
    for (extra, zs, want) in cases {
        assert_eq!(phases(extra, zs), *want, "{extra} {zs:?}");
    }
}

#[test]
fn what_began_some_ms_late_fires_at_its_evaluation_all_the_same() {
    let mut feed = Feed::new("baseline: {stddev_floor: 1}\nbands: [{sigma: 3, for: 2m}]");
    feed.step = MINUTE;
    feed.run(6 * HOUR, |_| 0.0);
    feed.t += 20;
    feed.put(4.0);
    feed.t -= 20;
    let tops = [feed.put(4.0).bands.top, feed.put(4.0).bands.top];
    assert_eq!(tops, [None, Some(0)]);
}

#[test]
fn what_is_no_number_is_neither_judged_nor_learnt() {
    let mut feed = Feed::new("bands: [{sigma: 3}]");
    let mut noise = Noise(11);
    feed.run(3 * HOUR, |_| 10.0 + noise.normal());
    let before = feed.put(10.0).judgement;
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, stale_nan()] {
        let e = feed.put(x);
        assert!(!e.judgement.ready && e.judgement.zscore.is_nan() && e.bands.top.is_none(), "{e:?}");
    }
    let absent = feed.detector.absent(&mut feed.state, feed.t + 1);
    assert!(!absent.judgement.ready);
    let after = feed.put(10.0).judgement;
    assert!(after.ready && (after.center - before.center).abs() < 0.1);
    // Numbers at the end of the range break nothing for longer than they are in the window.
    for x in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1e300] {
        feed.put(x);
    }
    feed.run(3 * DAY, |_| 10.0 + noise.normal());
    assert!(feed.put(10.0).judgement.ready);
}

#[test]
fn a_gap_longer_than_the_window_is_a_cold_start_and_a_shorter_one_is_not() {
    for (gap, ready) in [(5 * HOUR, true), (7 * HOUR, false)] {
        let mut feed = Feed::new("bands: [{sigma: 3}]");
        let mut noise = Noise(12);
        feed.run(12 * HOUR, |_| 10.0 + noise.normal());
        feed.t += gap;
        let e = feed.put(30.0);
        assert_eq!((e.judgement.ready, e.bands.paged), (ready, ready), "{gap}: {e:?}");
    }
}

#[test]
fn a_clock_that_goes_back_breaks_nothing() {
    let mut feed = Feed::new("bands: [{sigma: 99}]");
    let mut noise = Noise(13);
    feed.run(12 * HOUR, |_| 10.0 + noise.normal());
    let before = feed.put(10.0).judgement;
    // The same time again: judged, not learnt twice.
    for _ in 0..1_000 {
        let e = feed.detector.evaluate(&mut feed.state, feed.t, 14.5);
        assert!(e.judgement.zscore > 3.0);
    }
    let j = feed.run(20 * MINUTE, |_| 10.0 + noise.normal()).judgement;
    assert!((j.center - 10.0).abs() < 0.3 && j.samples < before.samples + 100, "{j:?}");
    let before = j;
    // A little back: the same.
    feed.t -= 2 * MINUTE;
    let j = feed.put(10.0).judgement;
    assert!(j.ready && j.samples <= before.samples + 60);
    // A year back: it goes on from there, with what it knows.
    feed.t -= 365 * DAY;
    let j = feed.put(10.0).judgement;
    assert!(j.ready && (j.center - 10.0).abs() < 0.5, "{j:?}");
    let j = feed.run(12 * HOUR, |_| 12.0 + noise.normal()).judgement;
    assert!((j.center - 12.0).abs() < 0.7 && j.samples > before.samples, "{j:?}");
    for t in [i64::MIN, i64::MAX, 0, -1, i64::MIN + 1, i64::MAX] {
        feed.detector.evaluate(&mut feed.state, t, 1.0);
    }
}

#[test]
fn what_fired_when_the_clock_was_put_right_ends_when_it_is_over() {
    for (rule, value) in [("", 10.0), ("keep_firing_for: 5m, ", 10.0), ("", f64::NAN)] {
        let mut feed = Feed::new(&format!("{{{rule}bands: [{{sigma: 6, for: 0s}}]}}"));
        let mut noise = Noise(17);
        feed.run(12 * HOUR, |_| 10.0 + noise.normal());
        assert_eq!(feed.put(30.0).bands.top, Some(0), "{rule}");
        feed.t -= 365 * DAY;
        let last = feed.run(10 * MINUTE, |_| value);
        assert_eq!(last.bands.top, None, "{rule} {value}");
    }
}

#[test]
fn the_robust_model_does_not_move_for_outliers() {
    let run = |model: &str| {
        let mut feed = Feed::new(&format!("baseline: {{model: {model}}}\nbands: [{{sigma: 9}}]"));
        let mut noise = Noise(14);
        feed.run(DAY, |_| if noise.uniform() < 0.1 { 1_000.0 } else { 10.0 + noise.normal() }).judgement
    };
    let (gaussian, robust) = (run("gaussian"), run("robust"));
    assert!(gaussian.stddev > 200.0, "{gaussian:?}");
    assert!((0.9..1.5).contains(&robust.stddev) && (robust.center - 10.0).abs() < 0.5, "{robust:?}");
}

#[test]
fn the_robust_model_has_a_scale_when_most_values_are_equal() {
    let mut feed = Feed::new("baseline: {model: robust, stddev_floor_ratio: 0}\nbands: [{sigma: 3}]");
    let mut noise = Noise(15);
    feed.run(DAY, |_| if noise.uniform() < 0.7 { 10.0 } else { 10.0 + noise.normal() });
    let j = feed.put(10.0).judgement;
    assert!(
        j.center == 10.0 && (0.15..0.6).contains(&j.stddev),
        "the MAD is 0, the mean deviation is not: {j:?}"
    );
}

fn daily(t: i64) -> f64 {
    let hour = (t.rem_euclid(DAY)) as f64 / HOUR as f64;
    let weekday = (t - 4 * DAY).rem_euclid(7 * DAY) / DAY;
    let size = if weekday >= 5 { 0.4 } else { 1.0 };
    100.0 + 80.0 * size * (-((hour - 12.0) / 3.0).powi(2)).exp()
}

#[test]
fn the_seasonal_model_misses_a_peak_that_did_not_come() {
    for seasons in ["[1d]", "[1w]", "[1d, 1w]"] {
        let mut feed = Feed::new(&format!(
            "baseline: {{model: seasonal, window: 35d, seasonality: {seasons}}}\ndirection: both\nbands: [{{sigma: 4, for: 10m}}]"
        ));
        feed.step = MINUTE;
        let mut noise = Noise(16);
        let ordinary = feed.pages(4 * 7 * DAY, |t| daily(t) + 3.0 * noise.normal());
        if seasons != "[1d]" {
            let late = ordinary.iter().filter(|t| **t > 16 * DAY).count();
            assert_eq!(late, 0, "{seasons}: {ordinary:?}");
        }
        // Monday to noon as ever; the peak is missing.
        let pages = feed.pages(DAY, |_| 100.0 + 3.0 * noise.normal());
        assert!(pages.iter().any(|t| (8 * HOUR..13 * HOUR).contains(t)), "{seasons}: {pages:?}");
    }
    let mut plain = Feed::new("direction: both\nbands: [{sigma: 6, for: 10m}]");
    plain.step = MINUTE;
    let mut noise = Noise(17);
    plain.run(14 * DAY, |t| daily(t) + 3.0 * noise.normal());
    assert_eq!(
        plain.pages(DAY, |_| 100.0 + 3.0 * noise.normal()),
        [0i64; 0],
        "the plain model is blind to it"
    );
}

#[test]
fn the_seasonal_model_follows_growth() {
    let mut feed = Feed::new(
        "baseline: {model: seasonal, window: 28d, seasonality: [1d]}\ndirection: both\nbands: [{sigma: 5, for: 10m}]",
    );
    feed.step = MINUTE;
    let mut noise = Noise(18);
    let grown = |t: i64| (t - START) as f64 / DAY as f64 * 2.0;
    let flat = |t: i64| 80.0 * (-((((t.rem_euclid(DAY)) as f64 / HOUR as f64) - 12.0) / 3.0).powi(2)).exp();
    let pages = feed.pages(28 * DAY, |t| 100.0 + flat(t) + grown(t) + 3.0 * noise.normal());
    assert!(pages.iter().all(|t| *t < 3 * DAY), "{pages:?}");
}

#[test]
fn novelty_knows_repeated_peaks_and_finds_the_gap_between_modes() {
    let rule = "baseline: {model: novelty, window: 7d, lag: 0}\ndirection: both\nbands: [{sigma: 0.5}]";
    let mut feed = Feed::new(rule);
    feed.step = MINUTE;
    let mut noise = Noise(19);
    let mut modes = |t: i64| if t % HOUR < 10 * MINUTE { 90.0 } else { 10.0 } + 0.3 * noise.normal();
    feed.run(3 * DAY, &mut modes);
    assert_eq!(feed.pages(2 * DAY, &mut modes), [0i64; 0], "peaks that were there before");
    let j = feed.put(50.0);
    assert!(j.bands.paged && j.judgement.novelty.unwrap() > 0.5, "{j:?}");
    // The gaussian model sees nothing between its two modes.
    let mut plain = Feed::new("direction: both\nbands: [{sigma: 4}]");
    plain.step = MINUTE;
    plain.run(3 * DAY, &mut modes);
    assert!(plain.put(50.0).judgement.zscore < 2.0);
}

#[test]
fn a_gate_asks_for_novelty_as_well() {
    let rule = |gate: &str| format!("baseline: {{window: 1d}}\nbands: [{{sigma: 4{gate}}}]");
    let peaks = |rule: String| {
        let mut feed = Feed::new(&rule);
        feed.step = MINUTE;
        let mut noise = Noise(20);
        let mut value = |t: i64| if t % (8 * HOUR) == 0 { 60.0 } else { 10.0 + noise.normal() };
        feed.run(7 * DAY, &mut value);
        let known = feed.pages(3 * DAY, &mut value).len();
        feed.run(HOUR, &mut value);
        (known, feed.put(100.0).bands.paged)
    };
    let (plain, gated) = (peaks(rule("")), peaks(rule(", gate: novelty")));
    assert!(plain.0 >= 8 && gated.0 <= 2 && gated.1, "{plain:?} {gated:?}");
}

#[test]
fn a_short_mean_is_judged_against_means() {
    // A shift of 1.5 of a sample's σ is nothing for one sample and much for an hour of them.
    let mut single = Feed::new("bands: [{sigma: 5, for: 1m}]");
    let mut mean = Feed::new("judge: mean 1h\nbaseline: {window: 1d}\nbands: [{sigma: 5, for: 1m}]");
    for feed in [&mut single, &mut mean] {
        let mut noise = Noise(21);
        assert_eq!(feed.pages(4 * DAY, |_| 10.0 + noise.normal()).iter().filter(|t| **t > DAY).count(), 0);
    }
    let mut noise = Noise(22);
    assert_eq!(single.pages(2 * HOUR, |_| 11.5 + noise.normal()), [0i64; 0]);
    assert_eq!(mean.pages(2 * HOUR, |_| 11.5 + noise.normal()).len(), 1);
}

#[test]
fn the_new_normal_counts_at_once() {
    for model in ["gaussian", "robust", "seasonal", "novelty"] {
        let window = if model == "seasonal" { "14d" } else { "6h" };
        let mut feed =
            Feed::new(&format!("baseline: {{model: {model}, window: {window}}}\nbands: [{{sigma: 6}}]"));
        feed.step = MINUTE;
        let mut noise = Noise(23);
        feed.run(3 * DAY, |_| 10.0 + 0.5 * noise.normal());
        assert_eq!(feed.pages(HOUR, |_| 30.0 + 0.5 * noise.normal()).len(), 1, "{model}");
        feed.detector.rebase(&mut feed.state, 30.0);
        let e = feed.put(30.0);
        assert!(
            e.judgement.ready && e.judgement.zscore.abs() < 1.0 && e.bands.top.is_none(),
            "{model} {e:?}"
        );
        if model != "novelty" {
            assert!(feed.put(10.0).judgement.zscore < -6.0, "{model}: the spread stayed");
        }
        assert_eq!(feed.pages(DAY, |_| 30.0 + 0.5 * noise.normal()), [0i64; 0], "{model}");
    }
}

#[test]
fn history_warms_up_and_incidents_stay_out_of_it() {
    let detector = detector("bands: [{sigma: 3, for: 1m}]");
    let center = |shift: f64, told: bool| {
        let mut noise = Noise(24);
        let at = |i: i64| START + i * 15 * SECOND;
        let history = (0..1440)
            .map(|i| (at(i), if (800..1000).contains(&i) { 10.0 + shift } else { 10.0 } + noise.normal()));
        let incidents = [(at(800), at(999))];
        let mut state = detector.warm(history, if told { &incidents } else { &[] });
        let j = detector.evaluate(&mut state, at(1440), 10.0).judgement;
        assert!(j.ready && !j.frozen);
        j.center
    };
    // What no band saw is learnt unless a person knows better; what fired then is left out now.
    assert!(center(1.8, false) > 10.2 && (center(1.8, true) - 10.0).abs() < 0.15);
    assert!((center(80.0, false) - 10.0).abs() < 0.15 && (center(80.0, true) - 10.0).abs() < 0.15);
}

#[test]
fn an_incident_begins_a_for_before_it_fired() {
    // What people are told of an incident is when the band fired; what it waited for is no more normal than the rest.
    let detector = detector("baseline: {lag: 1m}\nbands: [{sigma: 3, for: 1m}]");
    let mut noise = Noise(24);
    let at = |i: i64| START + i * 15 * SECOND;
    let history =
        (0..1440).map(|i| (at(i), if (800..1000).contains(&i) { 90.0 } else { 10.0 } + noise.normal()));
    let mut state = detector.warm(history, &[(at(804), at(999))]);
    let j = detector.evaluate(&mut state, at(1440), 10.0).judgement;
    assert!((j.center - 10.0).abs() < 0.2 && j.stddev < 1.2, "{j:?}");
}

const RULES: [&str; 12] = [
    "bands: [{sigma: 3}]",
    "baseline: {model: robust}\nbands: [{sigma: 3}]",
    "baseline: {model: novelty}\nbands: [{sigma: 3}]",
    "judge: sample + 0.3 mean 10m\nbaseline: {model: novelty, weber: 0.1}\nbands: [{sigma: 1}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
    "judge: sample + 0.3 mean 10m + mean 1h\nbaseline: {model: novelty, spread: deviation}\nbands: [{sigma: 3}]",
    "judge: sample + mean 10m\nbaseline: {model: novelty, lag: 0s, unrest: 1h, floor: mean}\nafter_page: {widen: 2, maturing: 0.3}\nbands: [{sigma: 1}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
    "judge: sample + mean 10m\nbaseline: {model: novelty, lag: 0s, freeze_max: 0s}\nafter_page: {quiet: 1h, widen: 2}\nbands: [{sigma: 3}]",
    "baseline: {model: seasonal, window: 14d}\nbands: [{sigma: 3}]",
    "judge: mean 10m\nbaseline: {counter: true}\nbands: [{sigma: 1, gate: novelty}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
    "judge: mean 10m\nbaseline: {model: robust}\nbands: [{sigma: 1, gate: novelty}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
    "judge: mean 10m\nbaseline: {model: seasonal, window: 28d, seasonality: [1d, 1w]}\nbands: [{sigma: 1, gate: novelty}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
    "judge: mean 10m\nbaseline: {model: seasonal, window: 28d, seasonality: [1w]}\nbands: [{sigma: 1, gate: novelty}, {sigma: 2}, {sigma: 3}, {sigma: 4}, {sigma: 5}, {sigma: 6}]",
];

#[test]
fn state_is_small_and_survives_as_bytes() {
    for rule in RULES {
        let mut feed = Feed::new(rule);
        let mut noise = Noise(25);
        let mut total = 0.0;
        feed.run(2 * DAY, |_| {
            total += 100.0 * noise.normal().exp();
            total
        });
        feed.run(HOUR, |_| {
            total += 1e9;
            total
        });
        let bytes = feed.detector.encode(&feed.state);
        assert!(bytes.len() <= 2048, "{rule}: {} bytes", bytes.len());
        assert!(feed.state.memory_bytes() <= 2048, "{rule}: {} bytes in memory", feed.state.memory_bytes());
        let mut copy = feed.detector.decode(&bytes).unwrap();
        assert_eq!(copy, feed.state, "{rule}");
        for i in 1..200 {
            let t = feed.t + i * 15 * SECOND;
            let a = feed.detector.evaluate(&mut feed.state, t, total + 1e9 * i as f64);
            let b = feed.detector.evaluate(&mut copy, t, total + 1e9 * i as f64);
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "{rule}");
        }
        for other in RULES.iter().filter(|other| **other != rule) {
            // Another rule's state is refused, or at least harmless.
            if let Ok(mut state) = detector(other).decode(&bytes) {
                detector(other).evaluate(&mut state, feed.t, 1.0);
            }
        }
    }
}

proptest! {
    #[test]
    fn broken_bytes_never_panic(rule in 0usize..RULES.len(), cut in 0usize..2048, at in 0usize..2048, byte: u8, x: f64) {
        let mut feed = Feed::new(RULES[rule]);
        feed.run(2 * HOUR, |t| (t % 977) as f64);
        let mut bytes = feed.detector.encode(&feed.state);
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        let changed = feed.detector.decode(&bytes);
        bytes.truncate(cut);
        for mut state in [changed, feed.detector.decode(&bytes)].into_iter().flatten() {
            feed.detector.evaluate(&mut state, feed.t + 1000, x);
            feed.detector.evaluate(&mut state, feed.t + HOUR, 1.0);
        }
    }

    #[test]
    fn any_samples_in_any_order_never_panic(rule in 0usize..RULES.len(), samples in prop::collection::vec((any::<i64>(), any::<f64>()), 0..200)) {
        let detector = detector(RULES[rule]);
        let mut state = detector.start();
        for (t, x) in samples {
            let e = detector.evaluate(&mut state, t, x);
            prop_assert!(!e.judgement.ready || e.judgement.zscore.is_finite());
            prop_assert!(detector.encode(&state).len() <= 2048);
        }
    }
}

#[test]
fn what_was_widened_relaxes_more_slowly_for_a_series_that_is_old_and_seldom_seen() {
    let times = |maturing: f64, weeks: i64, step: i64| {
        let plan = AfterPage { maturing, ..AfterPage::default() }.plan(false);
        let age = weeks * 7 * DAY;
        plan.matured(age, u64::try_from(age / step).unwrap()).half_life_ms / plan.half_life_ms
    };
    for (maturing, weeks, step, want) in [
        (0.0, 9, 60 * MINUTE, 1.0),
        (0.5, 1, 5 * MINUTE, 1.0),
        (0.5, 4, 5 * MINUTE, 2.0),
        (0.5, 1, 20 * MINUTE, 2.0),
        (1.0, 4, 20 * MINUTE, 16.0),
        // Never shorter than written.
        (0.5, 1, MINUTE, 1.0),
        (0.5, 0, MINUTE, 1.0),
    ] {
        let got = times(maturing, weeks, step);
        assert!((got - want).abs() < 1e-9, "{maturing} {weeks} {step}: {got}");
    }
}

#[test]
fn on_an_unusual_day_strange_values_count_more() {
    let z = |unrest: &str, hour: f64, x: f64| {
        let mut feed = Feed::new(&format!(
            "baseline: {{model: novelty, lag: 0s, window: 30d, spread: deviation, unrest: {unrest}}}\ndirection: both\nbands: [{{sigma: 99}}]"
        ));
        feed.step = MINUTE;
        let mut noise = Noise(33);
        feed.run(3 * DAY, |_| 100.0 + noise.normal());
        feed.run(HOUR, |_| hour + noise.normal());
        feed.put(x).judgement.zscore
    };
    let ratio = |hour: f64, x: f64| z("1h", hour, x) / z("0s", hour, x);
    assert!((0.99..1.15).contains(&ratio(100.0, 90.0)), "a usual hour");
    // The mean of the hour is (1 - e^-2) · 3 = 2.6σ away.
    assert!((3.0..4.0).contains(&ratio(103.0, 90.0)), "{}", ratio(103.0, 90.0));
    assert_eq!(ratio(200.0, 90.0), 5.0, "at most five times");
}

#[test]
fn the_floor_joins_sigma_as_the_rule_asks() {
    let scale = |floor: &str, noisy: f64| {
        let mut feed = Feed::new(&format!(
            "baseline: {{model: novelty, lag: 0s, window: 30d, stddev_floor_ratio: 0.16, floor: {floor}}}\nbands: [{{sigma: 99}}]"
        ));
        feed.step = MINUTE;
        feed.run(DAY, |t| 100.0 - if t % (2 * MINUTE) == 0 { 0.0 } else { 2.0 * noisy });
        feed.put(100.0).judgement.stddev
    };
    let near = |x: f64, want: f64| (0.99 * want..1.01 * want).contains(&x);
    assert!(near(scale("larger", 4.0), 16.0) && near(scale("larger", 25.0), 25.0));
    assert!(near(scale("mean", 4.0), 8.0) && near(scale("mean", 25.0), 20.0));
    assert!(near(scale("mean", 0.0), (1.6f64 * 16.0).sqrt()), "a flat series has a scale as well");
}

#[test]
fn novelty_knows_how_loud_it_is_already() {
    // 300 is no news after 280; 40 is, after 20. Weber's term makes it so whatever σ is.
    let z = |weber: f64, base: f64, x: f64| {
        let mut feed = Feed::new(&format!(
            "baseline: {{model: novelty, lag: 0s, window: 30d, weber: {weber}, stddev_floor_ratio: 0}}\ndirection: both\nbands: [{{sigma: 99}}]"
        ));
        feed.step = MINUTE;
        let mut noise = Noise(32);
        feed.run(DAY, |t| if t % HOUR == 0 { base } else { 10.0 + noise.normal() });
        feed.put(x).judgement.zscore
    };
    assert!(z(0.0, 280.0, 300.0) > 0.3);
    assert!(z(0.5, 280.0, 300.0) < 0.15 && z(0.5, 20.0, 40.0) > 0.5);
}
