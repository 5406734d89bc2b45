//! `promtool`: unit tests of rules, and checks of rule files, by upstream's exit codes.

use std::path::Path;

use sideband::rules::check::{duplicates, experimental};
use sideband::rules::file::{Options, load};
use sideband::rules::unittest::{TestOptions, test_file};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let table = std::fs::read_to_string(dir.join("expected.tsv")).expect("expected.tsv");
    for line in table.lines().skip(1).filter(|l| !l.is_empty()) {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let (kind, file, flags, exit) = (cell(), cell(), cell(), cell());
        let name = format!("{kind} {file} {flags}");
        let path = dir.join(file);
        if file.ends_with("-nh.yml") {
            tally.leave_out(name, "native histograms");
            continue;
        }
        let run: fn(&Path, &str) -> (u8, String) = match kind {
            "test" => test,
            "check-rules" => check_rules,
            "check-config" => check_config,
            _ => targets_file,
        };
        if exit == "0" && run(&path, flags).1.contains("is not built yet") {
            tally.leave_out(name, "a part of Prometheus that is not built yet");
            continue;
        }
        tally.case(name, || {
            let (code, why) = run(&path, flags);
            if code.to_string() == exit { Ok(()) } else { Err(format!("exit code {code}: {why}")) }
        });
    }
}

fn check_config(path: &Path, flags: &str) -> (u8, String) {
    let loaded = match sideband::config::load(path) {
        Ok(loaded) => loaded,
        Err(errors) => return (1, format!("{errors:?}")),
    };
    if let Some(fault) = loaded.faults().first().filter(|_| !flags.contains("--syntax-only")) {
        return (1, fault.to_string());
    }
    let duplicates: usize = loaded.config.rule_files.iter().map(|f| duplicates(f).len()).sum();
    if duplicates > 0 && flags.contains("--lint-fatal") {
        (3, "duplicates".into())
    } else {
        (0, String::new())
    }
}

fn targets_file(path: &Path, _flags: &str) -> (u8, String) {
    match sideband::scrape::read_targets(path) {
        Ok(_) => (0, String::new()),
        Err(reason) => (1, reason),
    }
}

fn test(path: &Path, flags: &str) -> (u8, String) {
    let options = TestOptions { ignore_unknown_fields: flags.contains("--ignore-unknown-fields"), run: None };
    match test_file(path, &options) {
        Ok(report) if report.failures.is_empty() => (0, String::new()),
        Ok(report) => (1, report.failures.join("\n")),
        Err(errors) => (1, format!("{errors:?}")),
    }
}

fn check_rules(path: &Path, flags: &str) -> (u8, String) {
    let options =
        Options { ignore_unknown_fields: flags.contains("--ignore-unknown-fields"), ..Options::default() };
    match load(path, options) {
        Err(errors) => (1, format!("{errors:?}")),
        Ok(file) => {
            let off = experimental(&file).into_iter().find(|(feature, _)| !flags.contains(feature.as_str()));
            if let Some((_, finding)) = off {
                return (1, finding.to_string());
            }
            let found = duplicates(&file);
            let fatal = flags.contains("--lint-fatal") && !found.is_empty();
            (if fatal { 3 } else { 0 }, format!("{found:?}"))
        }
    }
}
