//! What each model finds, how late, and how often it pages for noise alone: the tables of docs/sigma.md, recomputed.
//! With `SIGMA_TABLES=1` they are printed in place of being compared. `the_whole_suite` (`make sigma`) does the same with 200 series of 30 days
//! at 15 s, compares with tests/golden/sigma_*.tsv, or writes those.
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
    fn new(model: &str, counter: bool) -> Self {
        let rule = match model {
            "seasonal" => {
                "baseline: {model: seasonal, window: 28d}\ndirection: both\nbands: [{sigma: 4, for: 5m}]"
            }
            "novelty" => {
                "baseline: {model: novelty, window: 7d}\ndirection: both\nbands: [{sigma: 1, for: 5m}]"
            }
            "robust" => "baseline: {model: robust}\ndirection: both\nbands: [{sigma: 4, for: 5m}]",
            "gaussian" => "direction: both\nbands: [{sigma: 4, for: 5m}]",
            _ => return Self::start(shipped(counter), true),
        };
        let mut config: Config = yaml::parse(Path::new("rule.yml"), rule).unwrap();
        config.baseline.counter = counter;
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
fn shipped(counter: bool) -> Detector {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nab/rules.yml");
    let file = file::load(Path::new(path), Options::default()).unwrap();
    match &file.groups[0].rules[0].kind {
        RuleKind::Sigma(spec) => {
            let mut config = spec.detector.config().clone();
            config.baseline.counter = counter;
            Detector::new(config).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// A service: load by the hour of the day.
fn usual(t: i64) -> f64 {
    let hour = t.rem_euclid(DAY) as f64 / HOUR as f64;
    100.0 + 25.0 * (-((hour - 14.0) / 3.5).powi(2)).exp()
}

/// With its noise.
fn load(t: i64, noise: &mut Noise) -> f64 {
    usual(t) + 3.0 * noise.normal()
}

/// Incidents: name, beginning after 14 days (ms), length, does it come again a week later (which is what counts then), and the value:
/// from the usual load, its noise, and how much of the incident is over.
type Incident = (&'static str, i64, i64, bool, fn(f64, f64, f64) -> f64);
const INCIDENTS: [Incident; 10] = [
    ("step of 10σ", 4 * HOUR, 6 * HOUR, false, |u, n, _| u + n + 30.0),
    ("step of 20σ", 4 * HOUR, 6 * HOUR, false, |u, n, _| u + n + 60.0),
    ("ramp to 25σ in 5 hours", 2 * HOUR, 5 * HOUR, false, |u, n, share| u + n + 75.0 * share),
    ("spike of 20σ for 7 minutes", 4 * HOUR, 7 * MINUTE, false, |u, n, _| u + n + 60.0),
    ("drop to zero", 4 * HOUR, 2 * HOUR, false, |_, _, _| 0.0),
    ("variance doubled", 4 * HOUR, 12 * HOUR, false, |u, n, _| u + std::f64::consts::SQRT_2 * n),
    ("noise four times as loud", 4 * HOUR, 12 * HOUR, false, |u, n, _| u + 4.0 * n),
    ("the daily peak does not come", 10 * HOUR, 8 * HOUR, false, |_, n, _| 100.0 + n),
    ("a step of 20σ for the second time", 4 * HOUR, HOUR, true, |u, n, _| u + n + 60.0),
    ("a step of 20σ, a week later one of 40σ", 4 * HOUR, HOUR, true, |u, n, share| {
        u + n + if share > 1.0 { 120.0 } else { 60.0 }
    }),
];
const WEEK: i64 = 7 * DAY;

/// Minutes from the beginning to the first page while it lasts.
fn delay(model: &str, incident: &Incident, seed: u64, step: i64) -> Option<i64> {
    let (_, begin, length, again, change) = incident;
    let (mut pager, mut noise) = (Pager::new(model, false), Noise(seed));
    let first = START + 14 * DAY + begin;
    let counts = first + if *again { WEEK } else { 0 };
    let mut t = START;
    while t < counts + length {
        t += step;
        let n = 3.0 * noise.normal();
        // From 1 to 2 when it comes again.
        let share = [first, first + WEEK]
            .iter()
            .take(1 + usize::from(*again))
            .enumerate()
            .find(|(_, from)| (**from..**from + length).contains(&t))
            .map(|(i, from)| i as f64 + (t - from + 1) as f64 / *length as f64);
        let x = share.map_or(usual(t) + n, |share| change(usual(t), n, share));
        if pager.pages(t, x) && t >= counts {
            return Some((t - counts) / MINUTE);
        }
    }
    None
}

/// Noise without any incident: name and generator of the next value.
type Generator = fn(&mut Noise, &mut f64, i64) -> f64;
const COUNTER: &str = "counter with resets";
const NOISES: [(&str, Generator); 6] = [
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
    (COUNTER, |n, total, t| {
        // About one reset in two days.
        let reset = n.uniform() < 15_000.0 / (2 * DAY) as f64;
        *total = if reset { 0.0 } else { *total } + load(t, n).max(0.0);
        *total
    }),
];

/// False pages of one series in `days`, the cold start included.
fn false_pages(model: &str, (name, generator): (&str, Generator), seed: u64, step: i64, days: i64) -> u32 {
    let (mut pager, mut noise, mut state) = (Pager::new(model, name == COUNTER), Noise(1000 + seed), 0.0);
    let steps = days * DAY / step;
    (1..=steps)
        .map(|i| {
            let t = START + i * step;
            let x = generator(&mut noise, &mut state, t);
            u32::from(pager.pages(t, x))
        })
        .sum()
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
            let cell = |model: &&str| {
                delay(model, incident, 77, MINUTE).map_or("missed".to_owned(), |m| format!("{m} min"))
            };
            (incident.0.to_owned(), MODELS.iter().map(cell).collect())
        })
        .collect();
    compare("incident", &rows);
}

#[test]
fn noise_alone_pages_as_documented() {
    let rows: Vec<_> = NOISES
        .iter()
        .map(|noise| {
            let cell = |model: &&str| {
                let pages: u32 = (0..2).map(|seed| false_pages(model, *noise, seed, 2 * MINUTE, 30)).sum();
                format!("{:.1}", f64::from(pages) / 2.0)
            };
            (noise.0.to_owned(), MODELS.iter().map(cell).collect())
        })
        .collect();
    compare("noise", &rows);
}

/// Runs jobs on all cores; results in order.
fn parallel<T: Sync, R: Send>(jobs: Vec<T>, run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let size = jobs.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let run = &run;
        let parts: Vec<_> = jobs
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().map(run).collect::<Vec<R>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// Compares with a committed table, or writes it.
fn golden(name: &str, table: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("SIGMA_TABLES").is_ok() {
        std::fs::write(&path, table).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(&path).unwrap(), table, "{path}; SIGMA_TABLES=1 writes it");
    }
}

/// Series of each noise, their days, the interval (ms).
const WHOLE: (u64, i64, i64) = (200, 30, 15_000);
/// Pages that a rule may cost on one series in those days.
const BUDGET: f64 = 2.0;

#[test]
#[ignore = "a billion samples: make sigma"]
fn the_whole_suite() {
    let (series, days, step) = WHOLE;
    let mut table =
        String::from("noise\tmodel\tseries\tdays\tpages\tpages_a_series_30d\tupper_95\twithin_budget\n");
    for noise in NOISES {
        for model in MODELS {
            let pages = parallel((0..series).collect(), |seed| {
                f64::from(false_pages(model, noise, *seed, step, days))
            });
            let n = series as f64;
            let mean = pages.iter().sum::<f64>() / n;
            let variance = pages.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (n - 1.0);
            // One-sided; without any page the rule of three.
            let upper = if mean == 0.0 { 3.0 / n } else { mean + 1.645 * (variance / n).sqrt() };
            let within = if upper <= BUDGET { "yes" } else { "no" };
            let row = format!(
                "{}\t{model}\t{series}\t{days}\t{}\t{mean:.3}\t{upper:.3}\t{within}\n",
                noise.0,
                pages.iter().sum::<f64>()
            );
            print!("{row}");
            table += &row;
        }
    }
    golden("sigma_noise.tsv", &table);
    let mut table = String::from("incident\tmodel\tfound\tof\tmedian_delay_minutes\n");
    for incident in &INCIDENTS {
        for model in MODELS {
            let mut delays: Vec<i64> =
                parallel((0..20u64).collect(), |seed| delay(model, incident, 500 + seed, step))
                    .into_iter()
                    .flatten()
                    .collect();
            delays.sort_unstable();
            let median = delays.get(delays.len() / 2).map_or("-".to_owned(), i64::to_string);
            let row = format!("{}\t{model}\t{}\t20\t{median}\n", incident.0, delays.len());
            print!("{row}");
            table += &row;
        }
    }
    golden("sigma_incidents.tsv", &table);
}
