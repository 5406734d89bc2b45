//! Runs the peers' own test data against sideband: `cargo test --test conformance -- DIR [FOLDER…]`.
//!
//! Prints a line a folder, `NAME: P passed, F failed, N left out`, and holds the counts against
//! `tests/conformance/table.tsv`: fewer passes than there (on a corpus of the same size) is a failure.
//! With `--update` the table is written anew, with `--verbose` every failing case is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod alert_generator;
mod alertmanager;
mod config;
mod durations;
mod exposition;
mod node_exporter;
mod openmetrics;
mod promql_parser;
mod promql_queries;
mod promqltest;
mod promtool;
mod relabel;
mod rulefmt;
mod tally;
mod templates;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tally::{Table, Tally};

type Run = fn(&Path, &mut Tally);

const FOLDERS: &[(&str, Run)] = &[
    ("alert-generator", alert_generator::run),
    ("alertmanager-config", alertmanager::config),
    ("alertmanager-inhibition", alertmanager::inhibition),
    ("alertmanager-matchers", alertmanager::matchers),
    ("alertmanager-routing", alertmanager::routing),
    ("alertmanager-timeintervals", alertmanager::timeintervals),
    ("config", config::run),
    ("durations", durations::run),
    ("exposition", exposition::run),
    ("node_exporter", node_exporter::run),
    ("openmetrics", openmetrics::run),
    ("promql-parser", promql_parser::run),
    ("promql-queries", promql_queries::run),
    ("promqltest", promqltest::run),
    ("promtool", promtool::run),
    ("relabel", relabel::run),
    ("rulefmt", rulefmt::run),
    ("templates", templates::run),
];

fn main() -> ExitCode {
    let (flags, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let Some((corpus, only)) = words.split_first() else {
        eprintln!("usage: conformance DIR [FOLDER...] [--verbose] [--update]");
        return ExitCode::from(2);
    };
    let corpus = PathBuf::from(corpus);
    let verbose = flags.iter().any(|f| f == "--verbose");
    let mut table = Table::load();
    let mut regressions = Vec::new();
    let mut ran = 0;
    for (name, run) in FOLDERS {
        let folder = corpus.join(name);
        if !only.is_empty() && !only.iter().any(|o| o == name) {
            continue;
        }
        if !folder.is_dir() {
            eprintln!("{name}: no such folder in {}", corpus.display());
            continue;
        }
        ran += 1;
        let mut tally = Tally::new(verbose);
        run(&folder, &mut tally);
        println!("{name}: {} passed, {} failed, {} left out", tally.passed, tally.failed, tally.left_out);
        if let Some(regression) = table.compare(name, &tally) {
            regressions.push(regression);
        }
        table.record(name, &tally);
    }
    if flags.iter().any(|f| f == "--update") {
        table.save();
        return ExitCode::SUCCESS;
    }
    for r in &regressions {
        eprintln!("regression: {r}");
    }
    if ran == 0 {
        eprintln!("nothing was run: {} holds none of the folders", corpus.display());
        return ExitCode::FAILURE;
    }
    if regressions.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
