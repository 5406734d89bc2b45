//! `check`: reads files as the daemon would, and says everything that is wrong with them.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::rules;

/// As promtool: findings of the linter alone.
const LINT_FINDINGS: u8 = 3;

/// `check config FILE…`: prints a line a file, and every error with its place.
pub fn config(files: &[PathBuf], syntax_only: bool) -> ExitCode {
    let mut failed = false;
    for file in files {
        match config::load(file) {
            Ok(loaded) => {
                for warning in loaded.warnings.iter().chain(&loaded.hints(!syntax_only)) {
                    println!("{}: WARNING: {warning}", file.display());
                }
                let faults = if syntax_only { Vec::new() } else { loaded.faults() };
                for fault in &faults {
                    println!("FAILED: {fault}");
                }
                failed |= !faults.is_empty();
                if faults.is_empty() {
                    println!("{}: SUCCESS: {}", file.display(), loaded.summary());
                }
            }
            Err(errors) => {
                failed = true;
                for error in errors {
                    println!("FAILED: {error}");
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `check rules FILE…`: prints a line a file, every error and, when asked, every finding with its place.
pub fn rules(files: &[PathBuf], lint: bool) -> ExitCode {
    let (mut failed, mut found) = (false, false);
    for path in files {
        let text = match config::Inputs::default().read(path) {
            Ok(text) => text,
            Err(error) => {
                failed = true;
                println!("FAILED: {error}");
                continue;
            }
        };
        match rules::file::parse(path, &text, rules::file::Options::default()) {
            Ok(file) => {
                let findings = if lint { rules::check::lint(&file) } else { Vec::new() };
                for finding in &findings {
                    println!("LINT: {finding}");
                }
                found |= !findings.is_empty();
                println!(
                    "{}: SUCCESS: {} rules found",
                    path.display(),
                    file.groups.iter().map(|g| g.rules.len()).sum::<usize>()
                );
            }
            Err(errors) => {
                failed = true;
                for error in errors {
                    println!("FAILED: {error}");
                }
            }
        }
    }
    match (failed, found) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(LINT_FINDINGS),
        (false, false) => ExitCode::SUCCESS,
    }
}
