//! `check`: reads files as the daemon would, and says everything that is wrong with them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, FileKind, paging_file};
use crate::model::yaml::FileError;
use crate::rules;

/// As promtool: findings of the linter alone.
const LINT_FINDINGS: u8 = 3;

/// What was found in a file that can be read.
struct Found {
    warnings: Vec<String>,
    faults: Vec<FileError>,
    summary: String,
}

/// `check config FILE…`: prints a line a file, and every error with its place. A paging file (`alertmanager.yml`) is
/// checked as it stands.
pub fn config(files: &[PathBuf], syntax_only: bool) -> ExitCode {
    let mut failed = false;
    for file in files {
        match read(file, syntax_only) {
            Ok(found) => {
                for warning in &found.warnings {
                    println!("{}: WARNING: {warning}", file.display());
                }
                for fault in &found.faults {
                    println!("FAILED: {fault}");
                }
                failed |= !found.faults.is_empty();
                if found.faults.is_empty() {
                    println!("{}: SUCCESS: {}", file.display(), found.summary);
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

fn read(file: &Path, syntax_only: bool) -> Result<Found, Vec<FileError>> {
    // What cannot be read at all is said by whoever reads it.
    let text = config::Inputs::default().read(file).unwrap_or_default();
    if FileKind::of(&text) == FileKind::Paging {
        let paging = config::load_paging(file)?;
        let hints = paging_file::hints(&paging, !syntax_only);
        return Ok(Found {
            warnings: paging_file::warnings(&paging).chain(hints).collect(),
            faults: Vec::new(),
            summary: format!("a paging file: {}", paging_file::summary(&paging)),
        });
    }
    let loaded = config::load(file)?;
    Ok(Found {
        summary: loaded.summary(),
        faults: if syntax_only { Vec::new() } else { loaded.faults() },
        warnings: loaded.warnings.iter().cloned().chain(loaded.hints(!syntax_only)).collect(),
    })
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
                if matches!(FileKind::of(&text), FileKind::Paging) {
                    let file = path.display();
                    println!(
                        "FAILED: {file}: this is a paging file: `sideband check config {file}` checks it"
                    );
                }
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
