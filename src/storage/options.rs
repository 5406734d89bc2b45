//! How a storage is opened, and why it may not be.

use std::path::PathBuf;

use super::StorageMetrics;

/// What `Storage::open` needs to know.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Directory of the write-ahead log and the sealed chunks, made if it is missing; `None`: memory only.
    pub path: Option<PathBuf>,
    /// How long samples are kept, ms, at least a minute.
    pub retention_time: i64,
    /// Bytes that the directory may take, after which the oldest samples go; 0: no limit.
    pub retention_size: u64,
    /// Series that may be in the index at once; 0: no limit.
    pub max_series: usize,
    /// How long full chunks stay in memory, ms. Without a path nothing is kept for longer, so then it is
    /// the retention if it is the shorter one.
    pub memory_window: i64,
    /// Bytes of full chunks above which they leave memory before `memory_window` is over: for files, or
    /// without a path for good.
    pub memory_limit: usize,
    /// How far a sample's time may lie after the clock's, ms. Earlier samples than the retention are out of bounds too.
    pub max_future: i64,
    pub metrics: StorageMetrics,
}

impl Default for StorageOptions {
    /// Memory only, 2 hours, at most 64 MiB of full chunks; with a path, 15 days.
    fn default() -> Self {
        Self {
            path: None,
            retention_time: 15 * 24 * 3600 * 1000,
            retention_size: 0,
            max_series: 0,
            memory_window: 2 * 3600 * 1000,
            memory_limit: 64 << 20,
            max_future: 10 * 60 * 1000,
            metrics: StorageMetrics::default(),
        }
    }
}

impl StorageOptions {
    /// Samples in files below `path`; full chunks leave memory after half an hour, or above 8 MiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            memory_window: 30 * 60 * 1000,
            memory_limit: 8 << 20,
            ..Self::default()
        }
    }
}

/// Why a storage cannot be opened, or its files cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: in use by another process", path.display())]
    Locked { path: PathBuf },
}
