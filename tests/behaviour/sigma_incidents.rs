//! What each model finds, how late, and how often it pages for noise alone: the tables of docs/sigma.md, recomputed.
//! With `SIGMA_TABLES=1` they are printed in place of being compared.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own set-up is wrong")]

use std::path::Path;

use sideband::model::yaml;
use sideband::rules::file::{self, Options, RuleKind};
use sideband::sigma::{Config, Detector, Widening};

use super::sigma::Noise;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_763_942_400_000;
const MODELS: [&str; 5] = ["gaussian", "robust", "seasonal", "novelty", "shipped"];

/// A rule on one series, and the pages that widen it.
struct Pager {
    detector: Detector,
    state: sideband::sigma::SeriesState,
    widening: Widening,
    /// The rule widens by itself.
    own: bool,
}

impl Pager {
    fn new(model: &str) -> Self {
        let rule = match model {
            "seasonal" => {
                "baseline: {model: seasonal, window: 28d}\ndirection: both\nbands: [{sigma: 4, for: 5m}]"
            }
            "novelty" => {
                "baseline: {model: novelty, window: 7d}\ndirection: both\nbands: [{sigma: 1, for: 5m}]"
            }
            "robust" => "baseline: {model: robust}\ndirection: both\nbands: [{sigma: 4, for: 5m}]",
            "gaussian" => "direction: both\nbands: [{sigma: 4, for: 5m}]",
            _ => return Self::start(shipped(), true),
        };
        let config: Config = yaml::parse(Path::new("rule.yml"), rule).unwrap();
        Self::start(Detector::new(config).unwrap(), false)
    }

    fn start(detector: Detector, own: bool) -> Self {
        Self { state: detector.start(), detector, widening: Widening::default(), own }
    }

    fn pages(&mut self, t: i64, x: f64) -> bool {
        let e = self.detector.evaluate_widened(&mut self.state, t, x, &self.widening);
        if e.bands.paged && !self.own {
            self.widening.paged(t, e.judgement.zscore.abs());
        }
        assert_eq!(e.score >= 0.5, e.bands.paged, "{e:?}");
        e.bands.paged
    }
}

/// The rule for any series, tests/nab/rules.yml.
fn shipped() -> Detector {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nab/rules.yml");
    let file = file::load(Path::new(path), Options::default()).unwrap();
    match &file.groups[0].rules[0].kind {
        RuleKind::Sigma(spec) => spec.detector.clone(),
        other => panic!("{other:?}"),
    }
}

/// A service: load by the hour of the day, and noise.
fn load(t: i64, noise: &mut Noise) -> f64 {
    let hour = t.rem_euclid(DAY) as f64 / HOUR as f64;
    100.0 + 25.0 * (-((hour - 14.0) / 3.5).powi(2)).exp() + 3.0 * noise.normal()
}

/// Incidents: name, beginning after 14 days (ms), length, and what it does to the value.
type Incident = (&'static str, i64, i64, fn(f64, f64) -> f64);
const INCIDENTS: [Incident; 6] = [
    ("step of 10σ", 4 * HOUR, 6 * HOUR, |x, _| x + 30.0),
    ("ramp to 20σ in 4 hours", 2 * HOUR, 5 * HOUR, |x, share| x + 75.0 * share),
    ("spike of 20σ for 7 minutes", 4 * HOUR, 7 * MINUTE, |x, _| x + 60.0),
    ("drop to zero", 4 * HOUR, 2 * HOUR, |_, _| 0.0),
    ("noise four times as loud", 4 * HOUR, 12 * HOUR, |x, _| 100.0 + 4.0 * (x - 100.0)),
    ("the daily peak does not come", 10 * HOUR, 8 * HOUR, |x, _| x.min(103.0)),
];

/// Minutes from the beginning to the first page while it lasts.
fn delay(model: &str, incident: &Incident) -> Option<i64> {
    let (_, begin, length, change) = incident;
    let mut pager = Pager::new(model);
    let mut noise = Noise(77);
    let from = START + 14 * DAY + begin;
    let mut t = START;
    while t < from + length {
        t += MINUTE;
        let plain = load(t, &mut noise);
        let share = (t - from) as f64 / *length as f64;
        let x = if t >= from { change(plain, share) } else { plain };
        if pager.pages(t, x) && t >= from {
            return Some((t - from) / MINUTE);
        }
    }
    None
}

/// Noise without any incident: name and generator of the next value.
type Generator = fn(&mut Noise, &mut f64, i64) -> f64;
const NOISES: [(&str, Generator); 5] = [
    ("normal", |n, _, _| 100.0 + 5.0 * n.normal()),
    ("heavy tails, t(4)", |n, _, _| {
        let chi: f64 = (0..4).map(|_| n.normal().powi(2)).sum();
        100.0 + 5.0 * n.normal() / (chi / 4.0).sqrt()
    }),
    ("lognormal", |n, _, _| 100.0 * (0.5 * n.normal()).exp()),
    ("bursty, AR(1) of 5 minutes", |n, state, _| {
        let keep = (-0.2f64).exp();
        *state = keep * *state + (1.0 - keep * keep).sqrt() * n.normal();
        100.0 + 5.0 * *state
    }),
    ("by the hour of the day", |n, _, t| load(t, n)),
];

/// False pages per series in 30 days, over `series` series of 15 days, after a week of learning.
fn false_pages(model: &str, generator: Generator, series: u64) -> f64 {
    let mut count = 0;
    for seed in 0..series {
        let (mut pager, mut noise, mut state) = (Pager::new(model), Noise(1000 + seed), 0.0);
        let mut t = START;
        while t < START + 22 * DAY {
            t += MINUTE;
            let x = generator(&mut noise, &mut state, t);
            count += u32::from(pager.pages(t, x) && t >= START + 7 * DAY);
        }
    }
    f64::from(count) * 2.0 / series as f64
}

/// Compares the table with this heading in docs/sigma.md, or prints it.
fn compare(heading: &str, rows: &[(String, Vec<String>)]) {
    let print = std::env::var("SIGMA_TABLES").is_ok();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sigma.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut table = format!("| {heading} | {} |\n", MODELS.join(" | "));
    table += &format!("|{}\n", " --- |".repeat(MODELS.len() + 1));
    for (name, cells) in rows {
        table += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    if print {
        println!("{table}");
    } else {
        assert!(text.contains(&table), "docs/sigma.md should have\n{table}");
    }
}

#[test]
fn incidents_are_found_as_documented() {
    let rows: Vec<_> = INCIDENTS
        .iter()
        .map(|incident| {
            let cell =
                |model: &&str| delay(model, incident).map_or("missed".to_owned(), |m| format!("{m} min"));
            (incident.0.to_owned(), MODELS.iter().map(cell).collect())
        })
        .collect();
    compare("incident", &rows);
}

#[test]
fn noise_alone_pages_as_documented() {
    let rows: Vec<_> = NOISES
        .iter()
        .map(|(name, generator)| {
            let cell = |model: &&str| format!("{:.1}", false_pages(model, *generator, 2));
            ((*name).to_owned(), MODELS.iter().map(cell).collect())
        })
        .collect();
    compare("noise", &rows);
}
