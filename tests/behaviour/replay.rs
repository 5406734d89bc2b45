//! Replays of rules over history: the same as live, whatever the history; what is counted; what is found.

use std::path::Path;
use std::sync::Mutex;

use sideband::model::{Alert, Labels, METRIC_NAME, Sample, Timestamp};
use sideband::promql::{Engine, Expr, Value};
use sideband::replay::{
    Fetch, History, ReplayError, ReplayOptions, Replayer, Report, RuleReport, Window, csv, labels, table,
};
use sideband::rules::file::{Options, RuleFile, parse};
use sideband::rules::{AlertSink, Context, Group, Settings};
use sideband::storage::{SourceId, Storage};

const STEP: i64 = 15_000;
const HOUR: i64 = 3_600_000;
const T0: i64 = 1_700_000_000_000 / HOUR * HOUR;

fn read(text: &str) -> Vec<RuleFile> {
    vec![parse(Path::new("r.yml"), text, Options::default()).unwrap_or_else(|e| panic!("{e:?}"))]
}

/// Noise between -1 and 1 that is the same every time.
fn noise(seed: i64) -> f64 {
    let mut z = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) as f64 / u64::MAX as f64) * 2.0 - 1.0
}

/// Two counters and a gauge over some hours: gaps, a spike, a slow climb, a series that goes away.
fn history(hours: i64) -> Storage {
    let storage = Storage::in_memory();
    let (mut a, mut b) = (0.0, 0.0);
    for i in 0..hours * HOUR / STEP {
        let t = T0 + i * STEP;
        let spike = if (i % 1900) > 1800 { 30.0 } else { 0.0 };
        a += 10.0 + noise(i) + spike;
        b += 5.0 + noise(i + 7_000_000);
        let mut appender = storage.appender(SourceId(1));
        let mut put = |name: &str, instance: &str, v: f64| {
            let labels = Labels::from_pairs([(METRIC_NAME, name), ("instance", instance)]);
            let id = appender.series(&labels).unwrap();
            appender.append(id, t, v).unwrap();
        };
        if i % 400 > 30 {
            put("requests_total", "a", a);
        }
        put("requests_total", "b", b);
        if i < 2500 {
            put("depth", "a", 50.0 + 5.0 * noise(i + 99) + spike);
        }
        appender.commit(t);
    }
    storage
}

struct Nowhere;

impl AlertSink for Nowhere {
    fn send(&self, _: Vec<Alert>, _: Timestamp) {}
}

/// Every alert that began to fire in a live evaluation at every time: when, and its name, band and instance.
fn live(storage: &Storage, files: &[RuleFile], end: Timestamp) -> Vec<(Timestamp, String)> {
    let mut fired = Vec::new();
    let groups: Vec<Group> = files
        .iter()
        .flat_map(|f| f.groups.iter())
        .enumerate()
        .map(|(i, spec)| {
            let interval = spec.interval.map_or(60_000, |d| d.ms());
            Group::new(spec.clone(), interval, 0, SourceId(100 + i as u32))
        })
        .collect();
    let (engine, settings) = (Engine::default(), Settings::default());
    let context = Context { engine: &engine, source: storage, storage, settings: &settings, replay: None };
    let mut t = T0;
    while t <= end {
        for group in groups.iter().filter(|g| t % g.interval_ms == 0) {
            group.evaluate(&context, &Nowhere, t);
            for rule in &group.rules {
                for alert in rule.state().book.iter().filter(|a| a.fired_at == Some(t)) {
                    let band = alert.labels.get("band").unwrap_or_default();
                    let instance = alert.labels.get("instance").unwrap_or_default();
                    fired.push((t, format!("{} {band} {instance}", rule.spec.name)));
                }
            }
        }
        t += STEP;
    }
    fired
}

const RULES: &str = r#"
groups:
- name: late
  interval: 30s
  rules:
  - {alert: FarOut, expr: "abs(sideband_sigma_zscore{rule=\"Rate\"}) > 4", for: 1m}
- name: early
  interval: 15s
  rules:
  - {record: "instance:requests:rate2m", expr: "rate(requests_total[2m])"}
  - {record: nobody_reads_this, expr: "sum(requests_total)"}
  - sigma: Rate
    expr: instance:requests:rate2m
    baseline: {window: 2h, min_samples: 60, lag: 5m}
    record: all
    bands:
    - {sigma: 1, action: record}
    - {sigma: 3, for: 1m, labels: {severity: ticket}}
    - {sigma: 5, for: 2m, labels: {severity: page}}
  - sigma: Depth
    expr: depth
    direction: both
    baseline: {model: robust, window: 2h, min_samples: 60, lag: 5m}
    bands: [{sigma: 4, for: 1m, labels: {severity: page}}]
  - {alert: High, expr: "depth > 70", for: 5m, keep_firing_for: 2m, labels: {severity: page}}
"#;

#[test]
fn a_short_history_says_nothing_of_a_month() {
    let storage = history(30);
    let files = read(RULES);
    for (hours, month, part) in [
        (29, None, "say nothing of a month: that takes 3 days at least, and 30 to be sound"),
        (100, Some(()), "expected a month: "),
    ] {
        let window = Window { learn_from: T0, from: T0 + HOUR, to: T0 + hours * HOUR };
        let report = replayed(&files, &History::Local(&storage), window);
        let rule = report.rules.iter().find(|r| r.series > 0).unwrap();
        assert_eq!(rule.month.map(|_| ()), month, "{rule:?}");
        let text = table::text(&report, 100);
        assert!(text.contains(part), "{text}");
        assert_eq!(text.contains("a day)"), rule.days >= 1.0, "{text}");
    }
}

fn replayed(files: &[RuleFile], history: &History<'_>, window: Window) -> Report {
    let mut replayer = Replayer::new(files, ReplayOptions::default());
    replayer.over_grid(history, window, &mut |_| true).unwrap();
    Report::new(&replayer, None, None)
}

fn whole(end: Timestamp) -> Window {
    Window { learn_from: T0, from: T0, to: end }
}

fn rule<'r>(report: &'r Report, name: &str) -> &'r RuleReport {
    report.rules.iter().find(|r| r.rule == name).unwrap()
}

/// Events by `rule band`, from a live run.
fn count(fired: &[(Timestamp, String)], what: &str) -> u64 {
    fired.iter().filter(|(_, name)| name.starts_with(what)).count() as u64
}

#[test]
fn a_replay_fires_what_live_evaluation_fires() {
    let end = T0 + 14 * HOUR;
    let files = read(RULES);
    let fired = live(&history(14), &files, end);
    let report = replayed(&files, &History::Local(&history(14)), whole(end));
    assert!(count(&fired, "Rate 5 a") >= 1 && count(&fired, "FarOut") >= 1, "{fired:?}");
    assert!(count(&fired, "Depth 4") >= 1 && count(&fired, "High") >= 1, "{fired:?}");
    let events = |name: &str, band: usize| rule(&report, name).bands[band].events;
    assert_eq!(events("Rate", 2), count(&fired, "Rate 5"));
    assert_eq!(events("Depth", 0), count(&fired, "Depth"));
    assert_eq!(events("High", 0), count(&fired, "High"));
    assert_eq!(events("FarOut", 0), count(&fired, "FarOut"));
    assert!(events("Rate", 0) > events("Rate", 1) && events("Rate", 1) >= events("Rate", 2));
    assert_eq!(report.rules.len(), 4, "recording rules are not reported");
    assert_eq!(rule(&report, "High").failures, 0);
    // What was on the books is not asked again: nothing of the live run is in this history.
    assert_eq!(rule(&report, "Rate").series, 2);
}

#[test]
fn what_live_recorded_before_is_not_taken_for_what_the_rules_record_now() {
    let end = T0 + 6 * HOUR;
    let (clean, used) = (history(6), history(6));
    let other = RULES.replace("rate(requests_total[2m])", "rate(requests_total[2m]) * 0 + 7");
    live(&used, &read(&other), end);
    let files = read(RULES);
    let report = replayed(&files, &History::Local(&clean), whole(end));
    assert_eq!(replayed(&files, &History::Local(&used), whole(end)), report);
}

#[test]
fn rules_in_a_circle_are_replayed_time_by_time() {
    let end = T0 + 3 * HOUR;
    let files = read(
        r#"
groups:
- name: g
  interval: 15s
  rules:
  - {record: smooth, expr: "0.9 * smooth + 0.1 * depth or depth"}
  - {alert: Above, expr: "smooth > 50.5", labels: {severity: page}}
"#,
    );
    let fired = live(&history(3), &files, end);
    let report = replayed(&files, &History::Local(&history(3)), whole(end));
    assert!(!fired.is_empty());
    assert_eq!(rule(&report, "Above").bands[0].events, fired.len() as u64);
    let remote = Served::new(history(3));
    let mut replayer = Replayer::new(&files, ReplayOptions::default());
    let result = replayer.over_grid(&History::Remote(&remote), whole(end), &mut |_| true);
    assert_eq!(result, Err(ReplayError::Circle));
}

/// A server in place: evaluates over a storage, and remembers what it was asked.
struct Served {
    storage: Storage,
    asked: Mutex<Vec<String>>,
}

impl Served {
    fn new(storage: Storage) -> Self {
        Self { storage, asked: Mutex::default() }
    }
}

impl Fetch for Served {
    fn range(
        &self,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<Vec<(Labels, Vec<Sample>)>, String> {
        self.asked.lock().unwrap().push(expr.text().to_owned());
        match Engine::default().range(&self.storage, expr, start, end, step).map_err(|e| e.to_string())?.value
        {
            Value::Matrix(rows) => Ok(rows),
            other => Err(format!("{other:?}")),
        }
    }
}

#[test]
fn a_server_gives_the_same_as_a_storage() {
    let end = T0 + 8 * HOUR;
    let files = read(RULES);
    let local = replayed(&files, &History::Local(&history(8)), whole(end));
    let remote = Served::new(history(8));
    assert_eq!(replayed(&files, &History::Remote(&remote), whole(end)), local);
    let asked = remote.asked.lock().unwrap();
    assert!(asked.iter().all(|e| e.starts_with("rate(") || e.starts_with("depth")), "{asked:?}");
}

#[test]
fn a_replay_can_be_stopped_and_learns_before_it_counts() {
    let end = T0 + 20 * HOUR;
    let files = read(RULES);
    let storage = history(20);
    let source = History::Local(&storage);
    let mut replayer = Replayer::new(&files, ReplayOptions::default());
    let stopped = replayer.over_grid(&source, whole(end), &mut |done| done < 0.5);
    assert_eq!(stopped, Err(ReplayError::Stopped));
    let all = replayed(&files, &source, whole(end));
    let late = replayed(&files, &source, Window { learn_from: T0, from: T0 + 10 * HOUR, to: end });
    let (all, late) = (rule(&all, "Rate"), rule(&late, "Rate"));
    assert!(late.pages < all.pages && late.pages > 0, "{} {}", late.pages, all.pages);
    assert!((late.days * 24.0 - 10.0).abs() < 0.01, "{}", late.days);
    assert!(late.by_day.iter().map(|(_, n)| n).sum::<u64>() == late.pages);
}

/// Pages of a rule with these thresholds over the history, its budget, and the report.
fn with(sigma: f64, hold: &str, budget: &str, storage: &Storage) -> RuleReport {
    let text = format!(
        "groups:\n- name: g\n  interval: 15s\n  rules:\n  - sigma: S\n    expr: rate(requests_total[2m])\n    \
         baseline: {{window: 2h, min_samples: 60, lag: 10m, freeze_at: 50}}\n    page_budget: {budget}\n    bands:\n    \
         - {{sigma: {sigma}, for: {hold}, labels: {{severity: page}}}}\n    - {{sigma: 60, labels: {{severity: ticket}}}}\n"
    );
    let report = replayed(&read(&text), &History::Local(storage), whole(T0 + 20 * HOUR));
    rule(&report, "S").clone()
}

#[test]
fn the_search_finds_thresholds_that_keep_the_budget_when_they_are_set() {
    let storage = history(20);
    let before = with(2.0, "0s", "2 per 30d", &storage);
    assert!(before.over_budget && before.asked > 2, "{before:?}");
    assert!(before.pages < before.asked, "the budget is enforced: {} {}", before.pages, before.asked);
    let found = before.suggestion.unwrap();
    assert!(!found.too_noisy);
    let (sigma, hold) = (found.sigma.unwrap(), found.for_seconds.unwrap());
    let after = with(sigma, "0s", "2 per 30d", &storage);
    assert_eq!((after.asked, after.over_budget), (found.sigma_pages.unwrap(), false), "{sigma}");
    let after = with(2.0, &format!("{hold}s"), "2 per 30d", &storage);
    assert_eq!((after.asked, after.over_budget), (found.for_pages.unwrap(), false), "{hold}");
    // With the thresholds as they are, the search counts what was counted.
    let own = with(sigma, "0s", "1000 per 1h", &storage);
    assert_eq!(own.suggestion.unwrap().for_pages, Some(own.asked));
}

#[test]
fn what_a_budget_allows_grows_with_the_time_but_not_below_itself() {
    for (per, pages, over) in [("30d", 2, true), ("1h", 3, false), ("8h", 1, true)] {
        let report = with(2.0, "0s", &format!("{pages} per {per}"), &history(20));
        assert_eq!(report.over_budget, over, "{per}: {} of {:?}", report.asked, report.allowed);
    }
}

const CSV_RULES: &str = "groups:\n- name: g\n  rules:\n  - {record: double, expr: 2 * value}\n  - sigma: S\n    \
     expr: double\n    direction: both\n    baseline: {window: 1d, min_samples: 50, lag: 30m}\n    \
     bands: [{sigma: 6, for: 10m, labels: {severity: page}}]\n";

fn rows(values: impl IntoIterator<Item = (Timestamp, f64)>) -> Vec<csv::CsvRow> {
    values
        .into_iter()
        .map(|(t, v)| csv::CsvRow { stamp: t.to_string(), number: v.to_string(), t, v })
        .collect()
}

/// 5-minute samples of a quiet series; the hour from row 200 comes twice, and rows from 400 on are far out for a while.
fn csv_series(seed: i64) -> Vec<csv::CsvRow> {
    rows((0..600).map(|i| {
        let repeated = if i >= 212 { 12 } else { 0 };
        let far = if (400..420).contains(&i) { 50.0 } else { 0.0 };
        (T0 + (i - repeated) * 300_000, 10.0 + noise(seed * 1000 + i) + far)
    }))
}

#[test]
fn every_row_of_a_file_is_scored_in_its_order() {
    let files = read(CSV_RULES);
    let mut replayer = Replayer::new(&files, ReplayOptions::default());
    let mut pages = Vec::new();
    for seed in 0..3 {
        let rows = csv_series(seed);
        let scores = replayer.over_rows("value", &format!("f{seed}.csv"), &rows).unwrap();
        assert_eq!(scores.len(), rows.len());
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        pages.push(scores.iter().enumerate().filter(|(_, s)| **s >= 0.5).map(|(i, _)| i).collect::<Vec<_>>());
    }
    assert_eq!(pages, vec![vec![402]; 3], "after `for`, once, in every file");
    let labelled = |text: &str| {
        let path = std::env::temp_dir().join(format!("sideband-labels-{}.yml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let all = labels::LabelledWindows::load(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        all
    };
    let at = |i: i64| (T0 + (i - 12) * 300_000) / 1000;
    let windows = labelled(&format!(
        "f0.csv: [[{}, {}]]\nf1.csv: [[{}, {}]]\nf2.csv: []\n",
        at(395),
        at(430),
        at(500),
        at(520)
    ));
    let report = Report::new(&replayer, "1 per 30d".parse().ok(), Some(&windows));
    let rule = &report.rules[0];
    assert_eq!((rule.pages, rule.series, rule.over_budget), (3, 3, false), "a budget for each file");
    let found = rule.labels.unwrap();
    assert_eq!((found.pages, found.hits, found.windows, found.found), (3, 1, 2, 1));
    assert!(found.clock_share < 0.1 && found.p_value > 0.01, "{found:?}");
}

#[test]
fn scores_are_the_same_whatever_comes_later() {
    let rows = csv_series(5);
    let files = read(CSV_RULES);
    let score = |n: usize| {
        let mut replayer = Replayer::new(&files, ReplayOptions::default());
        replayer.over_rows("value", "f", &rows[..n]).unwrap()
    };
    let all = score(rows.len());
    for n in [1, 100, 213, 403, 599] {
        assert_eq!(score(n)[..], all[..n], "{n}");
    }
    // A file of one row, a file of none, a file without numbers.
    assert!(score(0).is_empty());
    let mut replayer = Replayer::new(&files, ReplayOptions::default());
    let nothing = super::replay::rows((0..50).map(|i| (T0 + i, f64::NAN)));
    assert!(replayer.over_rows("value", "f", &nothing).unwrap().iter().all(|s| *s == 0.0));
}
