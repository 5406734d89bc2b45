//! `test rules`: unit tests of rules in promtool's format.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::rules::unittest::{TestOptions, test_file};

/// Runs the test files; prints a line a file and every failure; exit code 1 if there is one.
pub fn rules(files: &[PathBuf]) -> ExitCode {
    let mut failed = false;
    for path in files {
        println!("Unit Testing: {}", path.display());
        match test_file(path, &TestOptions::default()) {
            Ok(report) => {
                for warning in &report.warnings {
                    println!("  WARNING: {warning}");
                }
                for failure in &report.failures {
                    println!("  FAILED: {failure}");
                }
                failed |= !report.failures.is_empty();
                if report.failures.is_empty() {
                    println!("  SUCCESS: {} tests", report.run);
                }
            }
            Err(errors) => {
                failed = true;
                for error in errors {
                    println!("  FAILED: {error}");
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
