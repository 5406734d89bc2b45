//! `backtest`: replays rule files over history and says how they would have paged.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::chart;
use crate::daemon::SAMPLES_DIR;
use crate::model::yaml::{self, FileError};
use crate::model::{Clock as _, Labels, SystemClock, Timestamp, format_float};
use crate::net::http::HttpClientConfig;
use crate::promql::Source;
use crate::remote::RemoteQuery;
use crate::replay::labels::LabelledWindows;
use crate::replay::{
    Fetch, History, RemoteHistory, ReplayOptions, Replayer, Report, Window, csv, openmetrics, table, times,
};
use crate::rules::file::{self, Options, RuleFile};
use crate::storage::Storage;

use super::flags::{BacktestFlags, ReportFormat};
use super::progress::ProgressBar;

const DAY_MS: i64 = 86_400_000;
/// Columns of the report.
const WIDTH: usize = 100;
/// Rows of scores that wait before they are written.
const BUFFERED: usize = 64 << 10;

/// Prints the report; exit code 1 when something cannot be read, or with `--fail-over-budget` when a rule is over its budget.
pub fn run(flags: &BacktestFlags) -> ExitCode {
    match replay(flags) {
        Ok(within) if within || !flags.fail_over_budget => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reasons) => {
            for reason in reasons {
                eprintln!("{reason}");
            }
            ExitCode::FAILURE
        }
    }
}

type Reasons = Vec<String>;

fn one(reason: impl Display) -> Reasons {
    vec![reason.to_string()]
}

/// Says whether every rule kept its budget.
fn replay(flags: &BacktestFlags) -> Result<bool, Reasons> {
    let files = rule_files(&flags.rules)?;
    let labels = flags.labels.as_deref().map(LabelledWindows::load).transpose().map_err(one)?;
    let options = ReplayOptions {
        interval_ms: flags.interval.ms().max(1),
        lookback_ms: flags.lookback_delta.ms(),
        ..ReplayOptions::default()
    };
    let mut replayer = Replayer::new(&files, options);
    let started = Instant::now();
    let mut bar = ProgressBar::new("replaying");
    match (&flags.csv, &flags.storage, &flags.openmetrics, &flags.server) {
        (Some(path), ..) => over_csv(&mut replayer, flags, path, &mut bar)?,
        (_, Some(dir), ..) => {
            let inner = dir.join(SAMPLES_DIR);
            let dir = if inner.is_dir() { &inner } else { dir };
            let storage = Storage::open_read_only(dir).map_err(|e| {
                one(format!("--storage {}: {e}; want the --storage.path of a sideband", dir.display()))
            })?;
            over_series(&mut replayer, flags, &storage, storage.extent(), &mut bar)?;
        }
        (_, _, Some(path), _) => {
            let memory = openmetrics::read(path).map_err(one)?;
            over_series(&mut replayer, flags, &memory, memory.extent(), &mut bar)?;
        }
        (_, _, _, Some(url)) => over_server(&mut replayer, flags, url, &mut bar)?,
        _ => return Err(one("no history is given: --server, --storage, --openmetrics or --csv")),
    }
    drop(bar);
    let report = Report::new(&replayer, flags.budget, labels.as_ref());
    match flags.format {
        ReportFormat::Text => print!("{}", table::text(&report, WIDTH)),
        ReportFormat::Json => println!("{}", serde_json::to_string_pretty(&report).map_err(one)?),
    }
    let evaluations: u64 = report.rules.iter().map(|r| r.evaluations).sum();
    eprintln!("{evaluations} evaluations of rules in {:.1} s", started.elapsed().as_secs_f64());
    if let Some(path) = &flags.svg {
        std::fs::write(path, picture(&report)).map_err(|e| one(FileError::whole(path, e)))?;
    }
    Ok(report.over_budget().next().is_none())
}

pub fn rule_files(paths: &[PathBuf]) -> Result<Vec<RuleFile>, Reasons> {
    let (mut files, mut errors) = (Vec::new(), Reasons::new());
    for path in paths {
        match file::load(path, Options::default()) {
            Ok(file) => files.push(file),
            Err(e) => errors.extend(e.iter().map(ToString::to_string)),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// What is counted. Where the history's extent is known, nothing outside of it is.
fn window(
    flags: &BacktestFlags,
    learning_ms: i64,
    extent: Option<(Timestamp, Timestamp)>,
) -> Result<Window, Reasons> {
    let now = SystemClock.now();
    let read = |name: &str, text: &Option<String>| match text {
        Some(text) => times::parse_relative(text, now)
            .map(Some)
            .ok_or_else(|| one(format!("--{name}: {text:?} is no time"))),
        None => Ok(None),
    };
    let (from, to) = (read("from", &flags.from)?, read("to", &flags.to)?);
    let end = extent.map_or(now, |e| e.1);
    let to = to.map_or(end, |to| if extent.is_some() { to.min(end) } else { to });
    let start = extent.map(|e| e.0);
    // A file is read as a whole; elsewhere a month is what budgets are written for.
    let default = if flags.openmetrics.is_some() { i64::MIN } else { to.saturating_sub(30 * DAY_MS) };
    let from = from.unwrap_or(default).max(start.unwrap_or(i64::MIN + learning_ms));
    if from >= to {
        let reaches = extent.map_or_else(String::new, |(first, last)| {
            format!(": the history reaches from {} to {}", times::rfc3339(first), times::rfc3339(last))
        });
        let (from, to) = (times::rfc3339(from), times::rfc3339(to));
        return Err(one(format!("nothing to replay from {from} to {to}{reaches}; see --from and --to")));
    }
    let learn_from = from.saturating_sub(learning_ms).max(start.unwrap_or(i64::MIN));
    Ok(Window { learn_from, from, to })
}

fn over_series(
    replayer: &mut Replayer,
    flags: &BacktestFlags,
    source: &dyn Source,
    extent: Option<(Timestamp, Timestamp)>,
    bar: &mut ProgressBar,
) -> Result<(), Reasons> {
    let Some(extent) = extent else {
        return Err(one("the history has no samples: is it the right directory or file?"));
    };
    let window = window(flags, replayer.learning_ms(), Some(extent))?;
    on_grid(replayer, flags, &History::Local(source), window, bar)
}

fn over_server(
    replayer: &mut Replayer,
    flags: &BacktestFlags,
    url: &str,
    bar: &mut ProgressBar,
) -> Result<(), Reasons> {
    let (config, dir) = match &flags.http_config_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| one(FileError::whole(path, e)))?;
            let config: HttpClientConfig = yaml::parse(path, &text).map_err(one)?;
            (config, path.parent().unwrap_or(Path::new(".")))
        }
        None => (HttpClientConfig::default(), Path::new(".")),
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(one(format!("--server: {url:?} is no address: want one such as http://127.0.0.1:9090")));
    }
    let query = RemoteQuery::in_dir(url, &config, dir).map_err(one)?;
    let history = RemoteHistory::new(query).map_err(one)?;
    let window = window(flags, replayer.learning_ms(), None)?;
    let fetch: &dyn Fetch = &history;
    on_grid(replayer, flags, &History::Remote(fetch), window, bar)
}

fn on_grid(
    replayer: &mut Replayer,
    flags: &BacktestFlags,
    history: &History<'_>,
    window: Window,
    bar: &mut ProgressBar,
) -> Result<(), Reasons> {
    if let Some(dir) = &flags.scores {
        std::fs::create_dir_all(dir).map_err(|e| one(FileError::whole(dir, e)))?;
        for place in 0..replayer.recorders.len() {
            let name = safe(&replayer.rule(place).1.name);
            let mut scores = ScoreFiles::new(&dir.join(format!("{place}-{name}")));
            replayer.recorders[place].sink =
                Some(Box::new(move |series, t, value, score| scores.add(series, t, value, score)));
        }
    }
    let mut progress = |done: f64| {
        bar.set(done);
        true
    };
    replayer.over_grid(history, window, &mut progress).map_err(one)?;
    // What was not written yet is written when the files are dropped.
    replayer.recorders.iter_mut().for_each(|r| r.sink = None);
    Ok(())
}

/// Every file on its own; the scores go into files of the same names.
fn over_csv(
    replayer: &mut Replayer,
    flags: &BacktestFlags,
    path: &Path,
    bar: &mut ProgressBar,
) -> Result<(), Reasons> {
    let files = csv::files(path).map_err(one)?;
    for (i, (name, file)) in files.iter().enumerate() {
        bar.set(i as f64 / files.len() as f64);
        let rows = csv::read(file).map_err(one)?;
        let scores = replayer.over_rows(&flags.csv_metric, name, &rows).map_err(one)?;
        let Some(dir) = &flags.scores else { continue };
        let mut text = String::with_capacity(rows.len() * 48);
        text.push_str("timestamp,value,anomaly_score\n");
        for (row, score) in rows.iter().zip(scores) {
            let _ = writeln!(text, "{},{},{}", row.stamp, row.number, format_float(score));
        }
        let to = dir.join(name);
        let folder = to.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder).map_err(|e| one(FileError::whole(folder, e)))?;
        std::fs::write(&to, text).map_err(|e| one(FileError::whole(&to, e)))?;
    }
    if replayer.recorders.iter().all(|r| r.series().is_empty()) {
        eprintln!(
            "no rule found a series: the files are {}{{{}=\"NAME\"}} (see --csv-metric)",
            flags.csv_metric,
            csv::CSV_LABEL
        );
    }
    Ok(())
}

/// Pages of all rules by day.
fn picture(report: &Report) -> String {
    let mut days: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for (day, n) in report.rules.iter().flat_map(|r| &r.by_day) {
        *days.entry(day).or_default() += n;
    }
    let rows: Vec<(String, f64)> = days.into_iter().map(|(day, n)| (day.to_owned(), n as f64)).collect();
    let names: Vec<&str> = report.rules.iter().map(|r| r.rule.as_str()).collect();
    let pages: u64 = report.rules.iter().map(|r| r.pages).sum();
    let title = format!("Pages by day: {pages} of {}", names.join(", "));
    chart::svg::standalone(&chart::svg::bars(&title, &rows))
}

/// A text as a part of a file's name.
fn safe(text: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.chars().take(80).map(|c| if ok(c) { c } else { '_' }).collect()
}

/// Scores of one rule, a file a series, written piece by piece.
struct ScoreFiles {
    dir: PathBuf,
    waiting: HashMap<Labels, (PathBuf, String)>,
    failed: bool,
}

impl ScoreFiles {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), waiting: HashMap::new(), failed: false }
    }

    fn add(&mut self, series: &Labels, t: Timestamp, value: f64, score: f64) {
        if !self.waiting.contains_key(series) {
            let name = format!("{}-{}.csv", safe(&series.to_string()), series.fingerprint());
            let header = "timestamp,value,anomaly_score\n".to_owned();
            self.waiting.insert(series.clone(), (self.dir.join(name), header));
        }
        let Some((path, text)) = self.waiting.get_mut(series) else { return };
        let _ = writeln!(text, "{},{},{}", times::rfc3339(t), format_float(value), format_float(score));
        if text.len() >= BUFFERED {
            self.failed |= !append(path, text, self.failed);
        }
    }
}

impl Drop for ScoreFiles {
    fn drop(&mut self) {
        for (path, text) in self.waiting.values_mut() {
            self.failed |= !append(path, text, self.failed);
        }
    }
}

/// Writes the text onto the end of the file, which is a new one if the text begins with the header. The first failure is said.
fn append(path: &Path, text: &mut String, quiet: bool) -> bool {
    let first = text.starts_with("timestamp,");
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).write(true).truncate(first).append(!first).open(path)?.write_all(text.as_bytes())
    });
    text.clear();
    if let Err(e) = &written
        && !quiet
    {
        eprintln!("{}: {e}", path.display());
    }
    written.is_ok()
}
