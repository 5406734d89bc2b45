//! Where samples are kept: in the storage path, or, when a disk fails that pages depend on, in memory.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::Options;
use super::rooms::LEDGER_FILE;
use crate::config::Config;
use crate::model::Clock;
use crate::storage::{Storage, StorageError, StorageMetrics, StorageOptions};

/// The directory of the samples in the storage path.
pub const SAMPLES_DIR: &str = "samples";

/// Opens the samples. A page must reach somebody: a process that pages people, or sends its alerts to one that does, starts
/// without a disk too, and says so. Where it has never run before, a path that cannot be written to is a mistake of whoever
/// sets it up, and refused: it is seen at once.
///
/// # Errors
/// The directory cannot be used, or another process has it.
pub(super) fn open(
    flags: &Options,
    config: &Config,
    metrics: StorageMetrics,
    clock: Arc<dyn Clock>,
) -> Result<Storage, StorageError> {
    let path = &flags.storage_path;
    let on_disk = options(flags, config, metrics.clone());
    let opened = match std::fs::create_dir_all(path) {
        Ok(()) => Storage::open(on_disk, Arc::clone(&clock)),
        Err(source) => Err(StorageError::Io { path: path.clone(), source }),
    };
    let error = match opened {
        Err(StorageError::Io { path, source }) => StorageError::Io { path, source },
        done => return done,
    };
    let tells = config.paging.is_some() || !config.alerting.alertmanagers.is_empty();
    if !tells || is_mistake(&error, path) {
        return Err(error);
    }
    let lock = path.join(SAMPLES_DIR).join("lock");
    if is_locked(&lock) {
        return Err(StorageError::Locked { path: lock });
    }
    tracing::error!(
        %error,
        "THE STORAGE PATH CANNOT BE USED: samples and pages are kept in memory only, and a restart forgets them. \
         Look at the disk, and restart when it can be written to"
    );
    metrics.disk_failed();
    let memory = StorageOptions::default();
    Storage::open(
        StorageOptions {
            path: None,
            memory_window: memory.memory_window,
            memory_limit: memory.memory_limit,
            ..options(flags, config, metrics)
        },
        clock,
    )
}

/// Is the path one where nothing ever was, and nothing can be?
fn is_mistake(error: &StorageError, path: &Path) -> bool {
    let StorageError::Io { source, .. } = error else { return true };
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::NotADirectory,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::AlreadyExists,
        ErrorKind::InvalidInput,
    ];
    kinds.contains(&source.kind()) && !path.join(LEDGER_FILE).exists()
}

/// Has another process the lock? One that cannot be looked at counts as free.
fn is_locked(lock: &Path) -> bool {
    let Ok(file) = std::fs::File::open(lock) else { return false };
    matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// What the flags and the configuration say of the storage.
pub(super) fn options(flags: &Options, config: &Config, metrics: StorageMetrics) -> StorageOptions {
    let mut storage = StorageOptions::at(flags.storage_path.join(SAMPLES_DIR));
    if let Some(time) = flags.retention_time.or(config.retention_time).filter(|t| !t.is_zero()) {
        storage.retention_time = time.ms();
    }
    storage.retention_size = flags.retention_size.or(config.retention_size).unwrap_or_default();
    storage.max_series = config.max_series.unwrap_or_default();
    storage.metrics = metrics;
    storage
}
