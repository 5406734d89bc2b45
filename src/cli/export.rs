//! `export`: rules for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::rules::export::export;

use super::backtest::rule_files;

/// Prints the files as plain Prometheus rules, and on standard error what they do otherwise.
pub fn rules(files: &[PathBuf]) -> ExitCode {
    match rule_files(files) {
        Ok(files) => {
            let exported = export(&files);
            print!("{}", exported.text);
            for remark in &exported.remarks {
                eprintln!("{remark}");
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in errors {
                eprintln!("FAILED: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
