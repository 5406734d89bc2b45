//! What each model finds, how late, and how often it pages for noise alone: the tables of docs/sigma.md, recomputed.
//! With `SIGMA_TABLES=1` they are printed in place of being compared. `the_whole_suite` (`make sigma`) does the same with 200 series of 30 days
//! at 15 s, each rule as it pages (with its budget, over 1, 20 and 200 series), compares with tests/golden/sigma_*.tsv, or writes those.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own set-up is wrong")]

use std::path::Path;
use std::sync::Arc;

use sideband::rules::file::{self, Options, RuleKind, RuleSpec};
use sideband::rules::{PageHistory, Paged, Policy, Round, SeriesPages, Standing};
use sideband::sigma::{Detector, SeriesState};

use super::sigma::Noise;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_763_942_400_000;
const MODELS: [&str; 5] = ["gaussian", "robust", "seasonal", "novelty", "shipped"];
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The same rules without a `for`: a single sample beyond the band is enough.
const AT_ONCE: [&str; 2] = ["gaussian, 3σ at once", "robust, 3σ at once"];
/// The rule for any series with a budget.
const ANY: &str = "any series";
/// Rules that are shipped in rules/.
const SHIPPED: [&str; 2] = ["FlaskLatencyHigh", "FlaskTrafficLow"];

/// A rule with its detector, for plain values or for a counter.
struct Rule {
    policy: Policy,
    detector: Detector,
}

impl Rule {
    fn new(name: &str, counter: bool) -> Self {
        let rule = |text: &str| {
            let text = format!("groups: [{{name: g, rules: [{{sigma: S, expr: x, {text}}}]}}]");
            file::parse(Path::new("rule.yml"), &text, Options::default()).unwrap().groups.remove(0).rules
        };
        let load = |path: &str| {
            let file = file::load(&Path::new(ROOT).join(path), Options::default()).unwrap();
            file.groups.into_iter().flat_map(|g| g.rules).collect::<Vec<Arc<RuleSpec>>>()
        };
        let page = "labels: {severity: page}, page_budget: 2 per 30d, direction: both";
        let held = |model: &str, sigma: u8| {
            format!("{page}, baseline: {{{model}}}, bands: [{{sigma: {sigma}, for: 5m}}]")
        };
        let at_once = |model: &str| format!("{page}, baseline: {{model: {model}}}, bands: [{{sigma: 3}}]");
        let any = std::fs::read_to_string(Path::new(ROOT).join("tests/nab/rules.yml")).unwrap();
        let rules = match name {
            "gaussian" => rule(&held("model: gaussian", 4)),
            "robust" => rule(&held("model: robust", 4)),
            "seasonal" => rule(&held("model: seasonal, window: 28d", 4)),
            "novelty" => rule(&held("model: novelty, window: 7d", 1)),
            "shipped" => load("tests/nab/rules.yml"),
            ANY => {
                let text = any.replace(
                    "        direction: both",
                    "        direction: both\n        page_budget: 2 per 30d",
                );
                file::parse(Path::new("any.yml"), &text, Options::default()).unwrap().groups.remove(0).rules
            }
            name if name == AT_ONCE[0] => rule(&at_once("gaussian")),
            name if name == AT_ONCE[1] => rule(&at_once("robust")),
            name => load("rules/flask.yml").into_iter().filter(|r| r.name == name).collect(),
        };
        let RuleKind::Sigma(spec) = &rules[0].kind else { panic!("{name}: {:?}", rules[0].kind) };
        let mut config = spec.detector.config().clone();
        config.baseline.counter = counter;
        Self { policy: Policy::of(&rules[0], spec), detector: Detector::new(config).unwrap() }
    }
}

/// One rule over one or more series, as it pages.
struct Pager {
    history: PageHistory,
    series: Vec<SeriesPages>,
    pages: u32,
}

impl Pager {
    fn new(series: usize) -> Self {
        Self { history: PageHistory::default(), series: vec![SeriesPages::default(); series], pages: 0 }
    }

    /// Evaluations of all its series at one time; did a page go out?
    fn see(&mut self, rule: &Rule, t: i64, evaluations: &[sideband::sigma::Evaluation]) -> bool {
        let paging = self.series.iter().any(|s| matches!(s.standing(), Standing::Paged { .. }));
        let mut round = Round::new(&rule.policy, &mut self.history, t, paging, false);
        let mut pages = 0;
        for (i, (series, evaluation)) in self.series.iter_mut().zip(evaluations).enumerate() {
            pages +=
                u32::from(round.see(&rule.detector, series, evaluation, || i as u64).paged == Paged::Sent);
        }
        self.pages += pages;
        pages > 0
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
    let (rule, mut pager, mut noise) = (Rule::new(model, false), Pager::new(1), Noise(seed));
    let mut state = rule.detector.start();
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
        let evaluation = rule.detector.evaluate(&mut state, t, x);
        if pager.see(&rule, t, &[evaluation]) && t >= counts {
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

/// False pages of `rules` on the same noise: for each rule and each size, those of as many rules of that many series as there are.
fn false_pages(
    rules: &[&str],
    (name, generator): (&str, Generator),
    series: usize,
    sizes: &[usize],
    (days, step): (i64, i64),
) -> Vec<Vec<Vec<u32>>> {
    struct Running {
        rule: Rule,
        states: Vec<SeriesState>,
        /// By size.
        pagers: Vec<Vec<Pager>>,
    }
    let pagers = |size: &usize| (0..series / size).map(|_| Pager::new(*size)).collect::<Vec<_>>();
    let mut running: Vec<Running> = rules
        .iter()
        .map(|rule| {
            let rule = Rule::new(rule, name == COUNTER);
            let states = vec![rule.detector.start(); series];
            Running { rule, states, pagers: sizes.iter().map(pagers).collect() }
        })
        .collect();
    let mut noises: Vec<(Noise, f64)> = (0..series as u64).map(|seed| (Noise(1000 + seed), 0.0)).collect();
    let mut evaluations = Vec::with_capacity(series);
    for i in 1..=days * DAY / step {
        let t = START + i * step;
        let values: Vec<f64> = noises.iter_mut().map(|(noise, state)| generator(noise, state, t)).collect();
        for Running { rule, states, pagers } in &mut running {
            evaluations.clear();
            evaluations.extend(
                states.iter_mut().zip(&values).map(|(state, x)| rule.detector.evaluate(state, t, *x)),
            );
            for (pagers, size) in pagers.iter_mut().zip(sizes) {
                for (pager, evaluations) in pagers.iter_mut().zip(evaluations.chunks(*size)) {
                    pager.see(rule, t, evaluations);
                }
            }
        }
    }
    let counts = |r: Running| r.pagers.iter().map(|ps| ps.iter().map(|p| p.pages).collect()).collect();
    running.into_iter().map(counts).collect()
}

/// Mean, and the upper end of the 95 % interval (one-sided); without any page the rule of three.
fn mean_and_upper(pages: &[u32]) -> (f64, f64) {
    let n = pages.len() as f64;
    let mean = pages.iter().map(|p| f64::from(*p)).sum::<f64>() / n;
    let variance = pages.iter().map(|p| (f64::from(*p) - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, if mean == 0.0 { 3.0 / n } else { mean + 1.645 * (variance / n).sqrt() })
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
    let rows: Vec<_> = parallel(NOISES.to_vec(), |noise| {
        let pages = false_pages(&MODELS, *noise, 2, &[1], (30, 2 * MINUTE));
        let cell = |pages: &Vec<Vec<u32>>| format!("{:.1}", f64::from(pages[0].iter().sum::<u32>()) / 2.0);
        (noise.0.to_owned(), pages.iter().map(cell).collect())
    });
    compare("noise", &rows);
}

#[test]
fn a_budget_holds_whatever_the_noise() {
    // Single samples beyond 3σ, the worst rule there is; a small version of the whole suite.
    let all = parallel(NOISES.to_vec(), |noise| {
        (noise.0, false_pages(&AT_ONCE[..1], *noise, 16, &[1, 16], (30, 2 * MINUTE)).remove(0))
    });
    for (noise, sizes) in all {
        let (mean, _) = mean_and_upper(&sizes[0]);
        assert!(mean <= BUDGET && sizes[1][0] <= 3, "{noise}: {sizes:?}");
    }
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
const WHOLE: (usize, i64, i64) = (200, 30, 15_000);
/// Pages that a rule may cost in those days.
const BUDGET: f64 = 2.0;

#[test]
#[ignore = "a billion samples: make sigma"]
fn the_whole_suite() {
    let (series, days, step) = WHOLE;
    let mut table =
        String::from("noise\trule\tseries_of_a_rule\trules\tpages\tpages_a_rule_30d\tupper_95\twithin_2\n");
    // Some of them, to try something.
    let only = std::env::var("SIGMA_RULES").ok();
    let asked = |name: &&str| only.as_ref().is_none_or(|o| o.split(';').any(|o| o == *name));
    let rules: Vec<&str> =
        SHIPPED.into_iter().chain(MODELS).chain([ANY]).chain(AT_ONCE).filter(asked).collect();
    let sizes = [1, 20, 200];
    let all = parallel(NOISES.to_vec(), |noise| false_pages(&rules, *noise, series, &sizes, (days, step)));
    for (noise, by_rule) in NOISES.iter().zip(all) {
        for (rule, by_size) in rules.iter().zip(by_rule) {
            for (size, pages) in sizes.iter().zip(by_size) {
                let (mean, upper) = mean_and_upper(&pages);
                let within = match pages.len() {
                    1 => "-",
                    _ if upper <= BUDGET => "yes",
                    _ => "no",
                };
                let upper = if pages.len() == 1 { "-".to_owned() } else { format!("{upper:.3}") };
                let (n, sum) = (pages.len(), pages.iter().sum::<u32>());
                let row = format!("{}\t{rule}\t{size}\t{n}\t{sum}\t{mean:.3}\t{upper}\t{within}\n", noise.0);
                print!("{row}");
                table += &row;
            }
        }
    }
    if only.is_some() {
        return;
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
