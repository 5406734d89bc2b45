//! The storage's directory: what is in it, and reading sealed samples from it.
//!
//! ```text
//! lock              held by the process that uses the directory
//! series.log        which number belongs to which label set
//! wal/NUMBER.wal    batches that are not sealed yet
//! blocks/*.block    sealed chunks
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::model::{Labels, Timestamp};

use super::appender::Batch;
use super::block::{Block, BlockError, OpenBlock};
use super::series::Output;
use super::series_log::SeriesLog;
use super::wal::Wal;
use super::{SourceId, StorageError, StorageMetrics};

/// Bytes that the indexes of opened blocks may take, and how many are open at least and at most.
const OPEN_BYTES: usize = 4 << 20;
const OPEN_MIN: usize = 4;
const OPEN_MAX: usize = 128;

/// A directory in use.
pub(super) struct Disk {
    pub dir: PathBuf,
    /// `None`: it is only read.
    _lock: Option<File>,
    /// Held while a batch is written *and* applied: records in finished segments are applied.
    pub logs: Mutex<Logs>,
    /// Series that are not in the log yet.
    pub new_series: Mutex<Vec<(u32, Labels)>>,
    has_new_series: AtomicBool,
    /// In the order they were written.
    blocks: RwLock<Vec<Arc<Block>>>,
    /// The newest time in a block.
    newest: AtomicI64,
    open: Mutex<OpenBlocks>,
    /// The last write of a log, and of a block, failed, and that was said.
    failing: [AtomicBool; 2],
    metrics: StorageMetrics,
}

/// What was written, or could not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Log,
    Block,
}

/// The two logs, which are written together.
pub(super) struct Logs {
    pub wal: Wal,
    pub series: SeriesLog,
}

#[derive(Default)]
struct OpenBlocks {
    /// Longest unused first.
    blocks: Vec<(u64, Arc<OpenBlock>)>,
    /// Were any used since the last maintenance?
    used: bool,
}

/// Makes the directory and takes its lock.
pub(super) fn prepare(dir: &Path) -> Result<File, StorageError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    };
    for sub in [dir.join("wal"), dir.join("blocks")] {
        fs::create_dir_all(&sub).map_err(error(&sub))?;
    }
    let path = dir.join("lock");
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(error(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StorageError::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(StorageError::Io { path, source }),
    }
}

impl Disk {
    pub fn new(
        dir: &Path,
        lock: Option<File>,
        logs: Logs,
        blocks: Vec<Arc<Block>>,
        metrics: &StorageMetrics,
    ) -> Self {
        let newest = blocks.iter().map(|b| b.max_t).max().unwrap_or(i64::MIN);
        Self {
            dir: dir.to_owned(),
            _lock: lock,
            logs: Mutex::new(logs),
            new_series: Mutex::default(),
            has_new_series: AtomicBool::new(false),
            blocks: RwLock::new(blocks),
            newest: AtomicI64::new(newest),
            open: Mutex::default(),
            failing: Default::default(),
            metrics: metrics.clone(),
        }
    }

    pub fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A series was made: it goes into the log with the next batch.
    pub fn series_made(&self, id: u32, labels: &Labels) {
        self.new_series.lock().unwrap_or_else(PoisonError::into_inner).push((id, labels.clone()));
        self.has_new_series.store(true, Ordering::Release);
    }

    /// Writes a batch into the log. Failing is said, and the batch lives in memory only.
    pub fn log_batch(&self, logs: &mut Logs, source: SourceId, batch: &Batch) {
        if self.write_series(logs) {
            let written = logs.wal.append(source, batch);
            if written.is_err() {
                self.wrote(Written::Log, &logs.wal.path(), written);
            }
        }
        self.metrics.wal_bytes.set(logs.wal.bytes() as i64);
    }

    /// Writes the new series into their log.
    pub fn write_series(&self, logs: &mut Logs) -> bool {
        if !self.has_new_series.swap(false, Ordering::Acquire) {
            return true;
        }
        let mut new = self.new_series.lock().unwrap_or_else(PoisonError::into_inner);
        let written = logs.series.append(&mut new);
        self.has_new_series.store(!new.is_empty(), Ordering::Release);
        let ok = written.is_ok();
        if !ok {
            self.wrote(Written::Log, logs.series.path(), written);
        }
        ok
    }

    /// Says once that writing fails, with the file, and once that it works again.
    pub fn wrote(&self, what: Written, path: &Path, result: io::Result<()>) {
        let failing = &self.failing[what as usize];
        if what == Written::Log {
            self.metrics.wal_writable.set(i64::from(result.is_ok()));
        }
        match result {
            Ok(()) => {
                if failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(path = %path.display(), "storage writes to disk again");
                }
            }
            Err(error) => {
                self.metrics.disk_errors.inc();
                if !failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        path = %path.display(), %error,
                        "storage cannot write to disk and goes on in memory: samples are lost if the process ends now"
                    );
                }
            }
        }
    }

    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn add_block(&self, block: Block) {
        self.newest.fetch_max(block.max_t, Ordering::Relaxed);
        self.blocks.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(block));
    }

    /// Forgets blocks and deletes their files.
    pub fn remove_blocks(&self, remove: impl Fn(&Block) -> bool) -> usize {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let (gone, kept) = std::mem::take(&mut *blocks).into_iter().partition(|b| remove(b));
        *blocks = kept;
        drop(blocks);
        let gone: Vec<Arc<Block>> = gone;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.blocks.retain(|(seq, _)| gone.iter().all(|b| b.seq != *seq));
        drop(open);
        for block in &gone {
            if let Err(error) = fs::remove_file(&block.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                self.metrics.disk_errors.inc();
                tracing::error!(path = %block.path.display(), %error, "cannot delete old samples");
            }
        }
        gone.len()
    }

    /// May there be samples at or after `t` in blocks?
    pub fn reaches(&self, t: Timestamp) -> bool {
        self.newest.load(Ordering::Relaxed) >= t
    }

    /// Reads a series' samples of the window from the blocks, oldest first.
    pub fn read(&self, id: u32, min: Timestamp, max: Timestamp, first: usize, out: &mut impl Output) {
        for block in self.blocks() {
            let overlaps = block.min_t <= max && block.max_t >= min && block.max_id >= id;
            if !overlaps {
                continue;
            }
            let read = self.open(&block).and_then(|open| open.read(id, min, max, first, out));
            if let Err(error) = read {
                self.unreadable(&block, &error);
            }
        }
    }

    /// The opened block, opening it if need be.
    pub fn open(&self, block: &Block) -> Result<Arc<OpenBlock>, BlockError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.used = true;
        if let Some(i) = open.blocks.iter().rposition(|(seq, _)| *seq == block.seq) {
            let entry = open.blocks.remove(i);
            let found = entry.1.clone();
            open.blocks.push(entry);
            return Ok(found);
        }
        drop(open);
        let opened = Arc::new(OpenBlock::open(&block.path)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.blocks.push((block.seq, opened.clone()));
        let mut bytes: usize = open.blocks.iter().map(|(_, b)| b.memory()).sum();
        while open.blocks.len() > OPEN_MAX || (bytes > OPEN_BYTES && open.blocks.len() > OPEN_MIN) {
            let (_, old) = open.blocks.remove(0);
            bytes -= old.memory();
        }
        Ok(opened)
    }

    /// Gives the memory of opened blocks back when none was used since the last call.
    pub fn close_unused(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut open.used, false) {
            open.blocks = Vec::new();
        }
    }

    fn unreadable(&self, block: &Block, error: &BlockError) {
        if let BlockError::Io(e) = error {
            // Retention may have deleted it in the meantime.
            if e.kind() == io::ErrorKind::NotFound {
                return;
            }
            self.metrics.disk_errors.inc();
        } else {
            self.metrics.corruptions.inc();
        }
        if block.first_damage() {
            tracing::error!(path = %block.path.display(), %error, "cannot read sealed samples: skipped");
        }
    }
}
