//! `postmortem`: an incident as a Markdown file that people go on with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use clap::Args;

use super::report::{open_ledger, write};
use super::server::{Server, ServerFlags};
use crate::chart::svg;
use crate::daemon::SAMPLES_DIR;
use crate::model::{Clock as _, SystemClock};
use crate::paging::incident::Incident;
use crate::paging::report::{incident_in, picture, postmortem};
use crate::storage::{Storage, StorageOptions};

/// So that nothing is taken as too old, ms.
const FOREVER_MS: i64 = 3650 * 86_400_000;

#[derive(Debug, Clone, Args)]
pub struct PostmortemFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Read the ledger and the samples in this directory instead of asking a running sideband (while none runs on it)
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// Write to this file, and the picture beside it as .svg (default: the terminal, with the picture inside)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The number of the incident
    pub incident: u64,
}

/// Prints the postmortem. Exit code 1 when there is no such incident.
pub fn run(flags: &PostmortemFlags) -> ExitCode {
    match make(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("postmortem failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn make(flags: &PostmortemFlags) -> Result<(), String> {
    match &flags.storage_path {
        Some(path) => {
            let incident = incident_in(&open_ledger(path)?, flags.incident)
                .map_err(|e| e.to_string())?
                .ok_or_else(|| format!("no incident {}", flags.incident))?;
            let svg = stored_picture(&path.join(SAMPLES_DIR), &incident)?;
            let link = place(flags.output.as_deref(), svg.as_deref())?;
            write(flags.output.as_deref(), &postmortem::markdown(&incident, link.as_deref()))
        }
        None => ask(flags),
    }
}

/// From the running sideband: it draws, and fills in the text.
fn ask(flags: &PostmortemFlags) -> Result<(), String> {
    let server = Server::new(&flags.server)?;
    let path = format!("/api/v1/incidents/{}", flags.incident);
    let Some(output) = flags.output.as_deref() else {
        return write(None, &server.get(&format!("{path}/postmortem"), &[])?.text()?);
    };
    let text = server.get(&format!("{path}/postmortem"), &[("picture", "link")])?.text()?;
    let named = format!("](incident-{}.svg)", flags.incident);
    if !text.contains(&named) {
        return write(Some(output), &text);
    }
    let svg = server.get(&format!("{path}/band.svg"), &[])?.text()?;
    let link = beside(output, &svg)?;
    write(Some(output), &text.replacen(&named, &format!("]({link})"), 1))
}

fn stored_picture(samples: &Path, incident: &Incident) -> Result<Option<String>, String> {
    if !samples.is_dir() {
        return Ok(None);
    }
    let clock = Arc::new(SystemClock);
    let now = clock.now();
    let options = StorageOptions { retention_time: FOREVER_MS, ..StorageOptions::at(samples) };
    let storage = Storage::open(options, clock).map_err(|e| e.to_string())?;
    let drawn = picture::recorded(&storage, incident, now)
        .map(|(rule, points)| svg::standalone(&picture::draw(incident, &rule, &points)));
    Ok(drawn)
}

/// Puts the picture where the text can refer to it; gives the reference.
fn place(output: Option<&Path>, svg: Option<&str>) -> Result<Option<String>, String> {
    let Some(svg) = svg else { return Ok(None) };
    match output {
        Some(output) => beside(output, svg).map(Some),
        None => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(svg);
            Ok(Some(format!("data:image/svg+xml;base64,{encoded}")))
        }
    }
}

/// Writes the picture beside the text, under its name; gives the reference for a link.
fn beside(output: &Path, svg: &str) -> Result<String, String> {
    let file = output.with_extension("svg");
    write(Some(&file), svg)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(crate::model::percent_encode(&name))
}
