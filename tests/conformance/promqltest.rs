//! `promqltest`: scripts that load series and say what queries give.

use std::path::Path;

use sideband::model::{Duration, Labels, is_stale_nan};
use sideband::promql::series_notation::{NotationError, parse_labels, parse_series_line, parse_values};
use sideband::promql::{
    Annotations, At, Engine, EngineOptions, Expr, FunctionId, Node, NodeKind, QueryOutput, Value, parse,
};
use sideband::storage::{SourceId, Storage};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("the folder")
        .filter_map(|f| f.ok().map(|f| f.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "test"))
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a script");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let before = (tally.passed, tally.failed, tally.left_out);
        Script::new(&name, &text).run(tally);
        if std::env::var_os("PROMQLTEST_FILES").is_some() {
            let (p, f, l) = (tally.passed - before.0, tally.failed - before.1, tally.left_out - before.2);
            println!("  {name}: {p} passed, {f} failed, {l} left out");
        }
    }
}

struct Script<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
    at: usize,
    series: Vec<(Labels, Vec<(i64, f64)>)>,
    storage: Storage,
    /// What in the block's data is not kept here.
    missing: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
enum When {
    Instant(i64),
    Range(i64, i64, i64),
}

enum Text {
    Any,
    Exact(String),
    Pattern(String),
}

#[derive(Default)]
struct Expected {
    fail: Option<Text>,
    warn: Vec<Text>,
    info: Vec<Text>,
    no_warn: bool,
    no_info: bool,
    ordered: bool,
    string: Option<String>,
    range_vector: Option<(i64, i64, i64)>,
    scalar: Option<f64>,
    series: Vec<(Labels, Vec<Option<f64>>)>,
}

fn time(text: &str) -> i64 {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds * 1000.0) as i64;
    }
    Duration::parse_signed(text).expect("a time").ms()
}

impl<'a> Script<'a> {
    fn new(name: &'a str, text: &'a str) -> Self {
        let lines =
            text.lines().map(|l| if l.trim_start().starts_with('#') { "" } else { l.trim() }).collect();
        Self { name, lines, at: 0, series: Vec::new(), storage: Storage::in_memory(), missing: None }
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.at).copied();
        self.at += 1;
        line
    }

    fn run(&mut self, tally: &mut Tally) {
        while let Some(line) = self.next() {
            let word = line.split_ascii_whitespace().next().unwrap_or_default();
            match word {
                "" => {}
                "clear" => {
                    self.series.clear();
                    self.storage = Storage::in_memory();
                    self.missing = None;
                }
                "load" | "load_with_nhcb" => self.load(line),
                "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => self.eval(line, tally),
                other => tally
                    .case(format!("{}:{}", self.name, self.at), || Err(format!("unknown command {other:?}"))),
            }
        }
    }

    fn load(&mut self, line: &str) {
        if line.starts_with("load_with_nhcb") {
            self.missing = Some("native histograms");
        }
        let step = time(line.split_ascii_whitespace().nth(1).expect("a step"));
        while let Some(line) = self.next().filter(|l| !l.is_empty()) {
            if line.contains("}@st")
                || line.split_ascii_whitespace().next().is_some_and(|w| w.ends_with("@st"))
            {
                self.missing = Some("start timestamps");
                continue;
            }
            match parse_series_line(line) {
                Ok(series) => {
                    let samples = series
                        .values
                        .into_iter()
                        .enumerate()
                        .filter_map(|(i, v)| v.map(|v| (i as i64 * step, v)))
                        .collect();
                    self.series.push((series.labels, samples));
                }
                Err(NotationError::Histogram(_)) => self.missing = Some("native histograms"),
                Err(e) => panic!("{}:{}: {e}", self.name, self.at),
            }
        }
        self.fill();
    }

    /// Loads add up: the storage is made anew from all of them, in the order of time.
    fn fill(&mut self) {
        self.storage = Storage::in_memory();
        let mut all: std::collections::BTreeMap<i64, Vec<(&Labels, f64)>> = Default::default();
        for (labels, samples) in &self.series {
            for (t, v) in samples {
                all.entry(*t).or_default().push((labels, *v));
            }
        }
        for (t, samples) in all {
            let mut appender = self.storage.appender(SourceId(0));
            for (labels, v) in samples {
                let id = appender.series(labels).expect("room for a series");
                // A sample of the same time from a later load stays as it is.
                let _ = appender.append(id, t, v);
            }
            appender.commit(t);
        }
    }

    fn eval(&mut self, line: &'a str, tally: &mut Tally) {
        let case = format!("{}:{}: {line}", self.name, self.at);
        let (when, query, mut expected) = header(line);
        let mut histograms = query.contains("{{");
        while let Some(line) = self.next().filter(|l| !l.is_empty()) {
            histograms |= line.contains("{{");
            if !expectation(line, &mut expected) && !histograms {
                if let Ok(v) = number(line) {
                    expected.scalar = Some(v);
                    break;
                }
                series(line, &mut expected);
            }
        }
        if histograms || self.missing.is_some() {
            tally.leave_out(case, self.missing.unwrap_or("native histograms"));
            return;
        }
        tally.case(case, || check(&self.storage, when, query, &expected));
    }
}

fn number(line: &str) -> Result<f64, ()> {
    if line.contains([' ', '{']) {
        return Err(());
    }
    match parse_values(line) {
        Ok(v) if v.len() == 1 => v[0].ok_or(()),
        _ => Err(()),
    }
}

fn header(line: &str) -> (When, &str, Expected) {
    let mut expected = Expected::default();
    if line.starts_with("eval_fail") {
        expected.fail = Some(Text::Any);
    }
    if line.starts_with("eval_warn") {
        expected.warn.push(Text::Any);
    }
    if line.starts_with("eval_info") {
        expected.info.push(Text::Any);
    }
    expected.ordered = line.starts_with("eval_ordered");
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        word
    };
    word();
    let when = if word() == "instant" {
        word();
        When::Instant(time(word()))
    } else {
        word();
        let from = time(word());
        word();
        let to = time(word());
        word();
        When::Range(from, to, time(word()))
    };
    (when, rest.trim(), expected)
}

/// Reads an `expect` line.
fn expectation(line: &str, expected: &mut Expected) -> bool {
    let Some(rest) = line.strip_prefix("expect ") else { return false };
    let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim();
    let text = || {
        if let Some(m) = rest.strip_prefix("msg:") {
            Text::Exact(m.trim().to_owned())
        } else if let Some(m) = rest.strip_prefix("regex:") {
            Text::Pattern(m.trim().to_owned())
        } else {
            Text::Any
        }
    };
    match kind {
        "fail" => expected.fail = Some(text()),
        "warn" => expected.warn.push(text()),
        "info" => expected.info.push(text()),
        "no_warn" => expected.no_warn = true,
        "no_info" => expected.no_info = true,
        "ordered" => expected.ordered = true,
        "string" => {
            let expr = parse(rest).expect("a string");
            if let NodeKind::String(s) = &expr.root().kind {
                expected.string = Some(s.clone());
            }
        }
        "range" => {
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            expected.range_vector = Some((time(words[2]), time(words[4]), time(words[6])));
        }
        other => panic!("unknown expectation {other:?}"),
    }
    true
}

fn series(line: &str, expected: &mut Expected) {
    let parsed = parse_series_line(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
    expected.series.push((parsed.labels, parsed.values));
}

impl Text {
    fn matches(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => message == text,
            Self::Pattern(p) => regex::Regex::new(p).expect("a pattern").is_match(message),
        }
    }
}

fn engine() -> Engine {
    Engine::new(EngineOptions {
        max_samples: 10_000,
        delayed_name_removal: true,
        subquery_step_ms: 60_000,
        ..EngineOptions::default()
    })
}

fn check(storage: &Storage, when: When, query: &str, expected: &Expected) -> Result<(), String> {
    let result = parse(query).map_err(|e| e.to_string()).and_then(|expr| {
        let output = match when {
            When::Instant(t) => engine().instant(storage, &expr, t),
            When::Range(from, to, step) => engine().range(storage, &expr, from, to, step),
        };
        output.map(|o| (expr, o)).map_err(|e| e.to_string())
    });
    let (expr, output) = match (&expected.fail, result) {
        (Some(text), Err(e)) if text.matches(&e) => return Ok(()),
        (Some(_), Err(e)) => return Err(format!("other error: {e}")),
        (Some(_), Ok(_)) => return Err("did not fail".into()),
        (None, Err(e)) => return Err(e),
        (None, Ok(found)) => found,
    };
    annotations(expected, &output.annotations)?;
    compare(when, expected, &output)?;
    if let When::Instant(t) = when {
        again(storage, &expr, t, expected)?;
    }
    Ok(())
}

fn annotations(expected: &Expected, found: &Annotations) -> Result<(), String> {
    for (kind, wanted, none, found) in [
        ("warning", &expected.warn, expected.no_warn, &found.warnings),
        ("info", &expected.info, expected.no_info, &found.infos),
    ] {
        if none && !found.is_empty() {
            return Err(format!("unexpected {kind}: {found:?}"));
        }
        if wanted.is_empty() {
            continue;
        }
        let all = wanted.iter().all(|w| found.iter().any(|f| w.matches(f)));
        let known = found.iter().all(|f| wanted.iter().any(|w| w.matches(f)));
        if found.is_empty() || !all || !known {
            return Err(format!("{kind}s are {found:?}"));
        }
    }
    Ok(())
}

fn same(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < 1e-6 * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < 1e-6
}

fn compare(when: When, expected: &Expected, output: &QueryOutput) -> Result<(), String> {
    let wrong = || Err(format!("got {:?}", output.value));
    match (&output.value, when) {
        (Value::String(s), _) => {
            if expected.string.as_ref() == Some(s) {
                Ok(())
            } else {
                wrong()
            }
        }
        (Value::Scalar(v), _) => match expected.scalar {
            Some(w) if same(w, *v) => Ok(()),
            _ => wrong(),
        },
        (Value::Vector(found), When::Instant(t)) => {
            if found.len() != expected.series.len() || expected.scalar.is_some() {
                return wrong();
            }
            for (i, (labels, values)) in expected.series.iter().enumerate() {
                let place = if expected.ordered {
                    found.get(i).filter(|f| f.labels == *labels)
                } else {
                    found.iter().find(|f| f.labels == *labels)
                };
                match (place, values.first().copied().flatten()) {
                    (Some(f), Some(v)) if same(f.v, v) && f.t == t => {}
                    _ => return Err(format!("{labels} {values:?}, got {:?}", output.value)),
                }
            }
            Ok(())
        }
        (Value::Matrix(found), when) => {
            if !found.windows(2).all(|w| w[0].0 < w[1].0) {
                return Err("not sorted by labels".into());
            }
            let (from, step) = match (when, expected.range_vector) {
                (_, Some((from, _, step))) | (When::Range(from, _, step), None) => (from, step),
                (When::Instant(_), None) => return wrong(),
            };
            if found.len() != expected.series.len() {
                return wrong();
            }
            for (labels, values) in &expected.series {
                let wanted: Vec<(i64, f64)> = values
                    .iter()
                    .enumerate()
                    .filter_map(|(i, v)| v.map(|v| (from + i as i64 * step, v)))
                    .collect();
                let Some((_, samples)) = found.iter().find(|(l, _)| l == labels) else {
                    return Err(format!("{labels} is missing in {found:?}"));
                };
                let equal = samples.len() == wanted.len()
                    && samples.iter().zip(&wanted).all(|(s, (t, v))| s.t == *t && same(s.v, *v));
                if !equal {
                    return Err(format!("{labels} {wanted:?}, got {samples:?}"));
                }
            }
            Ok(())
        }
        _ => wrong(),
    }
}

/// The query gives the same at other times when every selector is pinned, and as the middle step of a
/// range query.
fn again(storage: &Storage, expr: &Expr, t: i64, expected: &Expected) -> Result<(), String> {
    let mut fixed = false;
    let mut timed = false;
    expr.root().visit(&mut |n| {
        if let NodeKind::Call(c) = &n.kind {
            fixed |= matches!(
                c.function.id,
                FunctionId::Start | FunctionId::End | FunctionId::Range | FunctionId::Step
            );
            timed |= depends_on_time(c.function.id, c.args.is_empty());
        }
    });
    let text = expr.text();
    fixed |= ["start()", "end()", "step()", "range()", "STEP()", "RANGE()"].iter().any(|w| text.contains(w));
    if fixed || expected.range_vector.is_some() || expected.string.is_some() {
        return Ok(());
    }
    if !timed {
        let pinned = pin(expr, t);
        let pinned = parse(&pinned).map_err(|e| format!("pinned {pinned:?}: {e}"))?;
        for other in [t - 600_000, t + 1, 7_200_000] {
            let mut output =
                engine().instant(storage, &pinned, other).map_err(|e| format!("pinned, at {other}: {e}"))?;
            if let Value::Vector(samples) = &mut output.value {
                samples.iter_mut().for_each(|s| s.t = t);
            }
            compare(When::Instant(t), expected, &output).map_err(|e| format!("pinned, at {other}: {e}"))?;
        }
    }
    let output = engine()
        .range(storage, expr, t - 60_000, t + 60_000, 60_000)
        .map_err(|e| format!("as a range: {e}"))?;
    middle(&output, t, expected).map_err(|e| format!("as a range: {e}"))
}

fn depends_on_time(id: FunctionId, bare: bool) -> bool {
    use FunctionId as F;
    match id {
        F::Time | F::Timestamp | F::PredictLinear => true,
        F::DayOfMonth
        | F::DayOfWeek
        | F::DayOfYear
        | F::DaysInMonth
        | F::Hour
        | F::Minute
        | F::Month
        | F::Year => bare,
        _ => false,
    }
}

fn middle(output: &QueryOutput, t: i64, expected: &Expected) -> Result<(), String> {
    let Value::Matrix(rows) = &output.value else { return Err("no matrix".into()) };
    let found: Vec<(&Labels, f64)> =
        rows.iter().filter_map(|(l, samples)| samples.iter().find(|s| s.t == t).map(|s| (l, s.v))).collect();
    if let Some(v) = expected.scalar {
        return match found.as_slice() {
            [(_, w)] if same(v, *w) => Ok(()),
            _ => Err(format!("got {found:?}")),
        };
    }
    let all = expected.series.iter().all(|(labels, values)| {
        found.iter().any(|(l, v)| *l == labels && values[0].is_some_and(|w| same(*v, w)))
    });
    if all && found.len() == expected.series.len() { Ok(()) } else { Err(format!("got {found:?}")) }
}

/// The query with `@ t` on every selector that has none; a subquery's own `@` pins what is in it.
fn pin(expr: &Expr, t: i64) -> String {
    let mut places = Vec::new();
    pins(expr.root(), &mut places);
    places.sort_unstable();
    let mut text = expr.text().to_owned();
    for place in places.into_iter().rev() {
        text.insert_str(place, &format!(" @ {}.{:03}", t / 1000, t % 1000));
    }
    text
}

fn pins(node: &Node, places: &mut Vec<usize>) {
    match &node.kind {
        NodeKind::Selector(s) => {
            if s.shift.at.is_none() {
                places.push(node.span.end as usize);
            }
        }
        NodeKind::Range(r) => {
            if let NodeKind::Selector(s) = &r.of.kind
                && s.shift.at.is_none()
            {
                places.push(node.span.end as usize);
            }
        }
        NodeKind::Subquery(s) => {
            // Pinning the subquery pins its selectors as far as they are not pinned themselves.
            if s.shift.at.is_none() {
                places.push(node.span.end as usize);
            }
        }
        NodeKind::Call(c) if c.function.id == FunctionId::Info => pins(&c.args[0], places),
        _ => {
            for child in node.children() {
                pins(child, places);
            }
        }
    }
    let _ = At::Start;
    let _ = parse_labels;
}
