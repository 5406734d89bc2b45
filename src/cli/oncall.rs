//! `oncall`: who is on call now and next, and when nobody is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::report::moment;
use super::server::{Server, ServerFlags};
use crate::config;
use crate::model::{Clock as _, SystemClock};
use crate::paging::config::PagingConfig;
use crate::paging::oncall::{MAX_DAYS, OnCall};

#[derive(Debug, Clone, Args)]
pub struct OncallFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Read the schedules from this configuration instead of asking a running sideband
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// The same with a paging file alone
    #[arg(long = "paging.file", value_name = "FILE", conflicts_with = "config_file")]
    pub paging_file: Option<PathBuf>,
    /// At this time: RFC 3339, or seconds since the epoch (default: now)
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How many days ahead gaps are looked for
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
    pub days: i64,
    /// Exit with code 1 when there is a gap
    #[arg(long)]
    pub fail_on_gaps: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub format: String,
}

/// Prints who is on call. Exit code 1 when that cannot be told, or, if asked for, when there are gaps.
pub fn run(flags: &OncallFlags) -> ExitCode {
    match ask(flags) {
        Ok(gaps) if gaps && flags.fail_on_gaps => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("oncall failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Prints; tells whether there are gaps.
fn ask(flags: &OncallFlags) -> Result<bool, String> {
    let now = SystemClock.now();
    let at = flags.at.as_deref().map(|text| moment(text, now)).transpose()?;
    let view = match local(flags)? {
        Some(config) => OnCall::of(&config, at.unwrap_or(now), flags.days),
        None => {
            let server = Server::new(&flags.server)?;
            let at = at.map(|t| format!("{}.{:03}", t.div_euclid(1000), t.rem_euclid(1000)));
            let params = [("at", at.as_deref().unwrap_or_default()), ("days", &flags.days.to_string())];
            let data = server.get("/api/v1/oncall", &params)?.data()?;
            serde_json::from_value(data).map_err(|e| format!("the server's answer is not understood: {e}"))?
        }
    };
    match flags.format.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&view).map_err(|e| e.to_string())?),
        _ => print!("{}", view.text()),
    }
    Ok(view.has_gaps())
}

/// The schedules of a file, if one is named.
fn local(flags: &OncallFlags) -> Result<Option<PagingConfig>, String> {
    let lines = |errors: Vec<crate::model::yaml::FileError>| {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    if let Some(path) = &flags.paging_file {
        return PagingConfig::load(path).map(Some).map_err(lines);
    }
    let Some(path) = &flags.config_file else { return Ok(None) };
    let loaded = config::load(path).map_err(lines)?;
    loaded.config.paging.map(Some).ok_or_else(|| format!("{}: no paging is configured", path.display()))
}
