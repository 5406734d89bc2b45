//! Unit tests of rules: `test rules FILE`, in promtool's format.
//!
//! Rules are evaluated on the grid of `evaluation_interval` from the start on, samples are there up to the
//! time of each evaluation, and then the checks compare alerts and results of expressions.

mod file;

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::yaml::{self, FileError};
use crate::model::{Alert, Labels, Order as _, Timestamp, format_float, parse_float};
use crate::promql::series_notation::{parse_labels, parse_values};
use crate::promql::{self, Engine, EngineOptions, Value};
use crate::storage::{SourceId, Storage};

use super::alerts::AlertState;
use super::context::{Context, Settings};
use super::file::{GroupSpec, Options, RuleKind};
use super::group::{AlertSink, Group, Health};
use file::{AlertCheck, ExprCheck, Test, TestFile};

/// How unit tests are run.
#[derive(Debug, Clone, Default)]
pub struct TestOptions {
    /// Keys that nobody knows are no error in the rule files.
    pub ignore_unknown_fields: bool,
    /// Only tests whose name matches (anywhere in it).
    pub run: Option<regex::Regex>,
}

/// What a test file gave.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Tests that were run.
    pub run: usize,
    /// Everything that is not as expected.
    pub failures: Vec<String>,
    pub warnings: Vec<String>,
}

/// More evaluations than this in one test are refused.
const MAX_EVALUATIONS: i64 = 2_000_000;

struct Nowhere;

impl AlertSink for Nowhere {
    fn send(&self, _alerts: Vec<Alert>, _now: Timestamp) {}
}

/// Runs a test file. Its rule files are looked for beside it.
///
/// # Errors
/// The file or one of its rule files cannot be read.
pub fn test_file(path: &Path, options: &TestOptions) -> Result<Report, Vec<FileError>> {
    let text = std::fs::read_to_string(path).map_err(|e| vec![FileError::whole(path, e)])?;
    let file: TestFile = yaml::parse(path, &text).map_err(|e| vec![e])?;
    let mut report = Report::default();
    let groups = rule_groups(path, &file, options, &mut report)?;
    for (i, test) in file.tests.iter().enumerate() {
        let name = if test.name.is_empty() { format!("test {}", i + 1) } else { test.name.clone() };
        if options.run.as_ref().is_some_and(|r| !r.is_match(&test.name)) {
            continue;
        }
        report.run += 1;
        let mut run = Run { file: &file, test, failures: Vec::new() };
        if let Err(reason) = run.all(&groups) {
            run.failures.push(reason);
        }
        report.failures.extend(run.failures.into_iter().map(|f| format!("{name}: {f}")));
    }
    Ok(report)
}

/// The groups of all rule files, in the order of `group_eval_order`.
fn rule_groups(
    path: &Path,
    file: &TestFile,
    options: &TestOptions,
    report: &mut Report,
) -> Result<Vec<GroupSpec>, Vec<FileError>> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let read = Options { ignore_unknown_fields: options.ignore_unknown_fields, ..Options::default() };
    let mut groups = Vec::new();
    let mut errors = Vec::new();
    for pattern in &file.rule_files {
        let files = matching(dir, pattern);
        if files.is_empty() {
            report.warnings.push(format!("no file matches the pattern {pattern}"));
        }
        for file in files {
            match super::file::load(&file, read) {
                Ok(rules) => groups.extend(rules.groups),
                Err(e) => errors.extend(e),
            }
        }
    }
    for (i, name) in file.group_eval_order.iter().enumerate() {
        if file.group_eval_order[..i].contains(name) {
            errors.push(FileError::whole(path, format!("group name repeated in evaluation order: {name}")));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // Groups that are not named come first, as in promtool.
    groups.order_by_key(|g: &GroupSpec| file.group_eval_order.iter().position(|n| *n == g.name));
    Ok(groups)
}

/// The files that a pattern means: `*` and `?` in the last part of the path.
fn matching(dir: &Path, pattern: &str) -> Vec<std::path::PathBuf> {
    let path = dir.join(pattern);
    if !pattern.contains(['*', '?']) {
        // A missing file is reported when it is read.
        return vec![path];
    }
    let wanted = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let folder = path.parent().unwrap_or(dir);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            p.file_name().and_then(|n| n.to_str()).is_some_and(|n| fits(wanted.as_bytes(), n.as_bytes()))
        })
        .collect();
    files.order();
    files
}

/// Does a name fit a pattern with `*` and `?`?
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stood, and how much of the name it had eaten.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, eaten)) => {
                    star = Some((at, eaten + 1));
                    (p, n) = (at + 1, eaten + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// One test of a file.
struct Run<'a> {
    file: &'a TestFile,
    test: &'a Test,
    failures: Vec<String>,
}

/// A series of the test with its values.
struct Input {
    labels: Labels,
    values: Vec<Option<f64>>,
}

impl Run<'_> {
    fn all(&mut self, groups: &[GroupSpec]) -> Result<(), String> {
        let test = self.test;
        let every = self.file.evaluation_interval.map_or(60_000, |d| d.ms());
        let step = test.interval.map_or(every, |d| d.ms());
        if every <= 0 || step <= 0 {
            return Err("an interval of 0 is not possible".to_owned());
        }
        let start = test.start_timestamp.map_or(0, |t| t.0);
        let inputs = test
            .input_series
            .iter()
            .map(|s| {
                let labels = parse_labels(&s.series).map_err(|e| format!("{}: {e}", s.series))?;
                let values = parse_values(&s.values).map_err(|e| format!("{}: {e}", s.series))?;
                Ok(Input { labels, values })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let times = test.alert_rule_test.iter().map(|c| c.eval_time.ms());
        let last =
            times.chain(test.promql_expr_test.iter().map(|c| c.eval_time.ms())).max().unwrap_or_default();
        if last / every > MAX_EVALUATIONS {
            return Err(format!("more than {MAX_EVALUATIONS} evaluations"));
        }
        let storage = Storage::in_memory();
        let engine = Engine::new(EngineOptions { subquery_step_ms: every, ..EngineOptions::default() });
        let settings = Settings {
            external_labels: Labels::from_pairs(&test.external_labels),
            external_url: test.external_url.trim_end_matches('/').to_owned(),
            ..Settings::default()
        };
        let context = Context {
            engine: &engine,
            source: &storage,
            storage: &storage,
            settings: &settings,
            replay: None,
        };
        let groups: Vec<Group> = groups
            .iter()
            .enumerate()
            .map(|(i, spec)| {
                let offset = spec.query_offset.map_or(0, |d| d.ms());
                Group::new(spec.clone(), every, offset, SourceId(i as u32 + 1))
            })
            .collect();
        let mut checks: Vec<&AlertCheck> = test.alert_rule_test.iter().collect();
        checks.order_by_key(|c| c.eval_time);
        let mut checks = checks.into_iter().peekable();
        let mut fed = 0;
        let mut at = 0;
        while at <= last {
            feed(&storage, &inputs, &mut fed, start, step, at)?;
            for group in &groups {
                group.evaluate(&context, &Nowhere, start + at);
                for rule in &group.rules {
                    if let Health::Err(reason) = &rule.state().health {
                        return Err(format!("rule {}, time {}: {reason}", rule.spec.name, duration(at)));
                    }
                }
            }
            // A check between two evaluations sees the results of the one before.
            while let Some(check) = checks.next_if(|c| c.eval_time.ms() < at + every) {
                self.alerts(&groups, check);
            }
            at += every;
        }
        feed(&storage, &inputs, &mut fed, start, step, last)?;
        for check in &test.promql_expr_test {
            if let Err(reason) = self.expr(&context, check, start) {
                self.failures.push(format!("expr: {:?}, time: {}: {reason}", check.expr, check.eval_time));
            }
        }
        Ok(())
    }

    fn alerts(&mut self, groups: &[Group], check: &AlertCheck) {
        let mut got = Vec::new();
        for rule in groups.iter().flat_map(|g| &g.rules).filter(|r| r.spec.name == check.alertname) {
            if matches!(rule.spec.kind, RuleKind::Recording) {
                continue;
            }
            let state = rule.state();
            let firing = state.book.active().into_iter().filter(|a| a.state == AlertState::Firing);
            got.extend(firing.map(|a| (a.labels.clone(), a.annotations.clone())));
        }
        let mut want: Vec<(Labels, Labels)> = check
            .exp_alerts
            .iter()
            .map(|a| {
                let mut labels = Labels::from_pairs(&a.exp_labels).to_builder();
                labels.set("alertname", &check.alertname);
                (labels.build(), Labels::from_pairs(&a.exp_annotations))
            })
            .collect();
        got.order();
        want.order();
        if got != want {
            self.failures.push(format!(
                "alertname: {}, time: {}:\n  exp: {}\n  got: {}",
                check.alertname,
                check.eval_time,
                list(&want),
                list(&got)
            ));
        }
    }

    fn expr(&self, context: &Context<'_>, check: &ExprCheck, start: Timestamp) -> Result<(), String> {
        let expr = promql::parse(&check.expr).map_err(|e| e.to_string())?;
        let t = start + check.eval_time.ms();
        let output = context.engine.instant(context.source, &expr, t).map_err(|e| e.to_string())?;
        let mut got: Vec<(Labels, f64)> = match output.value {
            Value::Scalar(v) => vec![(Labels::empty(), v)],
            Value::Vector(samples) => samples.into_iter().map(|s| (s.labels, s.v)).collect(),
            Value::String(_) | Value::Matrix(_) => {
                return Err("the result is neither vector nor scalar".to_owned());
            }
        };
        let mut want = Vec::new();
        for sample in &check.exp_samples {
            if sample.histogram.is_some() {
                return Err("native histograms are not supported".to_owned());
            }
            let labels = match sample.labels.as_str() {
                "" => Labels::empty(),
                text => parse_labels(text).map_err(|e| format!("labels {text:?}: {e}"))?,
            };
            want.push((labels, sample.value.0));
        }
        got.order_by(|a, b| a.0.cmp(&b.0));
        want.order_by(|a, b| a.0.cmp(&b.0));
        let fuzzy = self.file.fuzzy_compare;
        let same = got.len() == want.len()
            && got.iter().zip(&want).all(|(g, w)| g.0 == w.0 && same_value(g.1, w.1, fuzzy));
        if same {
            return Ok(());
        }
        let show = |samples: &[(Labels, f64)]| {
            let texts: Vec<String> =
                samples.iter().map(|(l, v)| format!("{l} {}", format_float(*v))).collect();
            if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
        };
        Err(format!("\n  exp: {}\n  got: {}", show(&want), show(&got)))
    }
}

/// Appends the samples up to `at` that are not there yet.
fn feed(
    storage: &Storage,
    inputs: &[Input],
    fed: &mut usize,
    start: Timestamp,
    step: i64,
    at: i64,
) -> Result<(), String> {
    while *fed as i64 * step <= at && inputs.iter().any(|i| *fed < i.values.len()) {
        let t = start + *fed as i64 * step;
        let mut appender = storage.appender(SourceId(0));
        for input in inputs {
            if let Some(Some(v)) = input.values.get(*fed) {
                let id = appender.series(&input.labels).map_err(|e| e.to_string())?;
                appender.append(id, t, *v).map_err(|e| format!("{}: {e}", input.labels))?;
            }
        }
        appender.commit(t);
        *fed += 1;
    }
    Ok(())
}

/// Equal, both no numbers, or in fuzzy comparison neighbours.
fn same_value(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || fuzzy && (a.next_up() == b || a.next_down() == b)
}

fn duration(ms: i64) -> crate::model::Duration {
    crate::model::Duration::from_ms(ms)
}

fn list(alerts: &[(Labels, Labels)]) -> String {
    let texts: Vec<String> = alerts.iter().map(|(l, a)| format!("{l} with annotations {a}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// Labels of a test file, by name.
type Pairs = BTreeMap<String, String>;

/// Reads a number as a test file writes it.
fn number(text: &str) -> Option<f64> {
    parse_float(text).or(match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | "+.inf" | ".Inf" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    })
}
