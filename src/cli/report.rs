//! `report`: what the last weeks were like for the people who are paged.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::server::{Server, ServerFlags};
use crate::daemon::LEDGER_FILE;
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Clock as _, Duration, SystemClock, Timestamp};
use crate::paging::report::{self, Night, ReportOptions};

#[derive(Debug, Clone, Args)]
pub struct ReportFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Read the ledger in this directory instead of asking a running sideband (while none runs on it)
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// From when on: a duration before now, RFC 3339, or seconds since the epoch
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
    /// Until when (default: now)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Whose days, hours and nights are counted, e.g. Europe/Berlin (default: as the first on-call schedule, or UTC
    /// with --storage.path)
    #[arg(long, value_name = "NAME")]
    pub location: Option<String>,
    /// What is night
    #[arg(long, value_name = "HH:MM-HH:MM", default_value = "22:00-07:00")]
    pub night: String,
    /// How it is printed; html is one file with pictures
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json", "html"])]
    pub format: String,
    /// Write to this file instead of the terminal
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Prints the report. Exit code 1 when it cannot be made.
pub fn run(flags: &ReportFlags) -> ExitCode {
    let made = match &flags.storage_path {
        Some(path) => from_ledger(flags, path),
        None => from_server(flags),
    };
    match made.and_then(|text| write(flags.output.as_deref(), &text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("report failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn from_server(flags: &ReportFlags) -> Result<String, String> {
    let params = [
        ("since", flags.since.as_str()),
        ("until", flags.until.as_deref().unwrap_or_default()),
        ("location", flags.location.as_deref().unwrap_or_default()),
        ("night", &flags.night),
        ("format", &flags.format),
    ];
    let answer = Server::new(&flags.server)?.get("/api/v1/report", &params)?;
    match flags.format.as_str() {
        "json" => pretty(&answer.data()?),
        _ => answer.text(),
    }
}

fn from_ledger(flags: &ReportFlags, path: &std::path::Path) -> Result<String, String> {
    let now = SystemClock.now();
    let options = ReportOptions::new(
        moment(&flags.since, now)?,
        flags.until.as_deref().map_or(Ok(now), |text| moment(text, now))?,
        flags.location.as_deref().unwrap_or_default(),
        Night::parse(&flags.night)?,
    )?;
    let ledger = open_ledger(path)?;
    let made = report::of_ledger(&ledger, &[], options).map_err(|e| e.to_string())?;
    match flags.format.as_str() {
        "json" => pretty(&made),
        "html" => Ok(report::html(&made)),
        _ => Ok(report::text(&made)),
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|e| e.to_string())
}

/// The ledger of a storage path.
///
/// # Errors
/// There is none, or a sideband runs on it.
pub(super) fn open_ledger(storage_path: &std::path::Path) -> Result<Ledger, String> {
    let path = storage_path.join(LEDGER_FILE);
    if !path.is_file() {
        return Err(format!("{}: no ledger is there", path.display()));
    }
    Ledger::open(&path).map_err(|e| match e {
        LedgerError::Locked(_) => {
            format!("{}: a sideband that runs has it open: ask that one, with --server", path.display())
        }
        other => format!("{}: {other}", path.display()),
    })
}

/// To a file, or to the terminal.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(to: Option<&std::path::Path>, text: &str) -> Result<(), String> {
    match to {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        // Whoever reads may have had enough.
        None => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
    }
}

/// A duration before now, RFC 3339, or seconds since the epoch; in ms.
///
/// # Errors
/// It is none of them.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Duration>() {
        return Ok(now.saturating_sub(ago.ms()));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    match text.parse::<f64>() {
        Ok(s) if s.is_finite() && s.abs() < 1e11 => Ok((s * 1000.0) as Timestamp),
        _ => Err(format!("{text:?} is no time, and no duration like 30d")),
    }
}
