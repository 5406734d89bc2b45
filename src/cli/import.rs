//! `import`: histories from files into the storage of a daemon that does not run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::daemon::SAMPLES_DIR;
use crate::model::{Clock as _, Duration, SystemClock};
use crate::replay::{Memory, openmetrics};
use crate::storage::{AppendError, SourceId, Storage, StorageOptions};

use super::progress::ProgressBar;

/// Samples after which full chunks are moved into files: bounds the memory that an import takes.
const MAINTAIN_EVERY: usize = 1 << 20;

#[derive(Debug, Args)]
pub struct ImportFlags {
    /// OpenMetrics, or Prometheus text, with a timestamp on every sample
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The storage path of the daemon
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "DIR", default_value = "data")]
    storage_path: PathBuf,
    /// How long the daemon keeps samples: older ones are left out
    #[arg(
        long = "storage.retention.time",
        alias = "storage.tsdb.retention.time",
        value_name = "DURATION",
        default_value = "15d"
    )]
    retention_time: Duration,
}

/// What became of the samples of a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    taken: usize,
    /// With a sample that was taken.
    series: usize,
    /// The storage has one of the same time or a later one of the same series.
    not_newer: usize,
    /// Older than the retention, or in the future.
    out_of_bounds: usize,
    refused: usize,
}

/// Reads the files in the order given and says what was taken. Exit code 1 when one cannot be read (nothing of it is
/// taken), or the storage cannot be used.
pub fn run(flags: &ImportFlags) -> ExitCode {
    let mut options = StorageOptions::at(flags.storage_path.join(SAMPLES_DIR));
    if !flags.retention_time.is_zero() {
        options.retention_time = flags.retention_time.ms();
    }
    let metrics = options.metrics.clone();
    let storage = match Storage::open(options, Arc::new(SystemClock)) {
        Ok(storage) => storage,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    for file in &flags.files {
        let memory = match openmetrics::read(file) {
            Ok(memory) => memory,
            Err(e) => {
                eprintln!("{e}");
                return ExitCode::FAILURE;
            }
        };
        let counts = take(&storage, &memory);
        println!(
            "{}: {} samples of {} series{}",
            file.display(),
            counts.taken,
            counts.series,
            counts.left_out()
        );
    }
    storage.flush();
    if metrics.disk_errors() > 0 {
        eprintln!("{}: cannot be written to: not all of this is kept", flags.storage_path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Counts {
    fn left_out(&self) -> String {
        let parts = [
            (self.not_newer, "not newer than what is there"),
            (self.out_of_bounds, "older than the retention or in the future"),
            (self.refused, "refused"),
        ];
        let said: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
        if said.is_empty() { String::new() } else { format!("; left out: {}", said.join(", ")) }
    }
}

fn take(storage: &Storage, memory: &Memory) -> Counts {
    let mut counts = Counts::default();
    let mut ids = vec![None; memory.len()];
    let mut used = vec![false; memory.len()];
    let mut bar = ProgressBar::new("importing");
    let (first, last) = memory.extent().unwrap_or_default();
    let mut since_maintenance = 0;
    memory.by_time(|t, row| {
        let mut appender = storage.appender(SourceId::default());
        for (place, value) in row {
            let Some(labels) = memory.labels(*place) else { continue };
            let known = match ids[*place] {
                Some(known) => Ok(known),
                None => {
                    appender.series(labels).map(|id| (id, storage.no_sample_after(id).unwrap_or(i64::MIN)))
                }
            };
            ids[*place] = known.ok();
            let appended = known.and_then(|(id, newest)| match t > newest {
                true => appender.append(id, t, *value),
                false => Err(AppendError::OutOfOrder),
            });
            match appended {
                Ok(()) => {
                    counts.taken += 1;
                    counts.series += usize::from(!std::mem::replace(&mut used[*place], true));
                }
                Err(AppendError::OutOfOrder | AppendError::DuplicateTimestamp) => counts.not_newer += 1,
                Err(AppendError::OutOfBounds) => counts.out_of_bounds += 1,
                Err(AppendError::TooManySeries | AppendError::UnknownSeries) => counts.refused += 1,
            }
        }
        appender.commit(t);
        since_maintenance += row.len();
        if since_maintenance >= MAINTAIN_EVERY {
            since_maintenance = 0;
            storage.maintain(SystemClock.now());
            ids.fill(None);
        }
        bar.set((t - first) as f64 / (last - first).max(1) as f64);
    });
    storage.maintain(SystemClock.now());
    counts
}
