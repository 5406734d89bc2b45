//! The storage's inside and its contract: series, batches, selections, announcements.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::broadcast;

use crate::model::{Clock, Labels, Matcher, MetricMetadata, Order as _, Sample, Timestamp, set};

use super::appender::Batch;
use super::column::Columns;
use super::disk::Disk;
use super::index::Index;
use super::last_times::LastTimes;
use super::recover::{look, recover};
use super::series::{Row, Series};
use super::table::Table;
use super::{Appender, SeriesHandle, StorageError, StorageMetrics, StorageOptions};

/// Commits that a slow listener may lag behind before it loses the oldest.
const COMMIT_QUEUE: usize = 1024;
/// Metric families whose metadata is kept.
const MAX_METADATA: usize = 65_536;

/// The source of series that nobody has appended to since the start.
pub(super) const NO_SOURCE: SourceId = SourceId(u32::MAX);

/// Number of a series, never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// Who appends: a scrape target, the host collectors, a rule group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SourceId(pub u32);

/// Announced after the samples of one batch can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    pub source: SourceId,
    /// The scrape's or evaluation's timestamp, ms.
    pub t: Timestamp,
}

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("out of order sample")]
    OutOfOrder,
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    #[error("out of bounds")]
    OutOfBounds,
    #[error("series limit reached")]
    TooManySeries,
    /// The number is of no series, or of one that was dropped after its samples were gone: ask
    /// [`Appender::series`] for a new one.
    #[error("unknown series")]
    UnknownSeries,
}

/// The samples of the recent past. Clones share it.
#[derive(Clone)]
pub struct Storage(pub(super) Arc<Shared>);

pub(super) struct Shared {
    head: RwLock<Head>,
    pub last_times: LastTimes,
    pub commits: broadcast::Sender<Commit>,
    metadata: RwLock<HashMap<Box<str>, MetricMetadata>>,
    /// Batches of finished appenders, to be filled again.
    pub batches: Mutex<Vec<Batch>>,
    pub options: StorageOptions,
    pub clock: Option<Arc<dyn Clock>>,
    pub disk: Option<Disk>,
    /// Held by the one maintenance that runs: series that the last one found without samples.
    pub maintenance: Mutex<Vec<u32>>,
}

/// What is behind the one lock.
#[derive(Default)]
pub(super) struct Head {
    pub table: Table<Series>,
    pub index: Index,
    pub columns: Columns,
    /// The open column of each source.
    pub sources: HashMap<SourceId, u32>,
}

impl Storage {
    /// An empty storage in memory that keeps everything, takes samples of any time and has no limits.
    pub fn in_memory() -> Self {
        let options = StorageOptions {
            retention_time: i64::MAX,
            memory_window: i64::MAX,
            memory_limit: usize::MAX,
            ..StorageOptions::default()
        };
        Self::new(options, None, Head::default(), LastTimes::default(), None)
    }

    /// Opens a storage.
    ///
    /// # Errors
    /// The directory cannot be made, read or locked. Damaged files in it are no error: what can be read
    /// is, and the log names the others.
    pub fn open(options: StorageOptions, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let (mut head, last_times) = (Head::default(), LastTimes::default());
        let disk = match &options.path {
            Some(path) => Some(recover(path, &mut head, &last_times, &options.metrics)?),
            None => None,
        };
        Ok(Self::new(options, Some(clock), head, last_times, disk))
    }

    /// Opens a directory to look at what is in it now, also while another process uses it. Nothing there is changed; nothing may
    /// be appended.
    ///
    /// # Errors
    /// The directory is none of a storage, or cannot be read.
    pub fn open_read_only(path: &Path) -> Result<Self, StorageError> {
        let options = StorageOptions {
            path: Some(path.to_owned()),
            retention_time: i64::MAX,
            memory_window: i64::MAX,
            memory_limit: usize::MAX,
            ..StorageOptions::default()
        };
        let mut head = Head::default();
        let disk = look(path, &mut head, &options.metrics)?;
        Ok(Self::new(options, None, head, LastTimes::default(), Some(disk)))
    }

    fn new(
        options: StorageOptions,
        clock: Option<Arc<dyn Clock>>,
        head: Head,
        last_times: LastTimes,
        disk: Option<Disk>,
    ) -> Self {
        Self(Arc::new(Shared {
            head: RwLock::new(head),
            last_times,
            commits: broadcast::channel(COMMIT_QUEUE).0,
            metadata: RwLock::default(),
            batches: Mutex::default(),
            options,
            clock,
            disk,
            maintenance: Mutex::default(),
        }))
    }

    /// Starts a batch of samples of one source. Nothing of it is visible before [`Appender::commit`].
    pub fn appender(&self, source: SourceId) -> Appender<'_> {
        Appender::new(self, source)
    }

    /// The series that pass all the matchers and may have samples in `[min_t, max_t]` (ms), in no
    /// particular order.
    pub fn select(&self, matchers: &[Matcher], min_t: Timestamp, max_t: Timestamp) -> Vec<SeriesHandle> {
        let head = self.0.read();
        let selected = head.index.select(matchers, &head.table);
        selected
            .ids
            .iter()
            .filter_map(|id| Some((*id, head.table.get(*id)?)))
            .filter(|(_, s)| s.overlaps(min_t, max_t))
            .map(|(id, s)| SeriesHandle { id: SeriesId(id), labels: s.labels.clone(), storage: self.clone() })
            .collect()
    }

    /// The oldest and the newest time that may have a sample; `None` when there is none.
    pub fn extent(&self) -> Option<(Timestamp, Timestamp)> {
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for block in self.0.disk.iter().flat_map(Disk::blocks) {
            (first, last) = (first.min(block.min_t), last.max(block.max_t));
        }
        let head = self.0.read();
        for (_, series) in head.table.iter() {
            first = first.min(series.memory_start(&head.columns).unwrap_or(i64::MAX));
            last = last.max(series.last.t);
        }
        (first <= last).then_some((first, last))
    }

    /// The sources whose series pass the matchers.
    pub fn sources(&self, matchers: &[Matcher]) -> BTreeSet<SourceId> {
        let head = self.0.read();
        let selected = head.index.select(matchers, &head.table);
        let sources = selected.ids.iter().filter_map(|id| Some(head.table.get(*id)?.source));
        set(sources.filter(|source| *source != NO_SOURCE))
    }

    /// Announcements of commits from now on. A slow reader loses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Commit> {
        self.0.commits.subscribe()
    }

    /// Remembers what a target said of a metric family. Cheap when it is nothing new.
    pub fn set_metadata(&self, metric: &str, metadata: MetricMetadata) {
        let known = self.0.metadata.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(metric) == Some(&metadata)
            || (known.len() >= MAX_METADATA && !known.contains_key(metric))
        {
            return;
        }
        drop(known);
        let mut known = self.0.metadata.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(metric.into(), metadata);
    }

    /// What is known of a metric family.
    pub fn metadata(&self, metric: &str) -> Option<MetricMetadata> {
        self.0.metadata.read().unwrap_or_else(PoisonError::into_inner).get(metric).cloned()
    }

    /// What is known of all metric families, by name.
    pub fn all_metadata(&self) -> Vec<(String, MetricMetadata)> {
        let known = self.0.metadata.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.iter().map(|(name, m)| (String::from(&**name), m.clone())).collect();
        all.order_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// A time after which a series has no sample, in memory or in files; `None` without samples. After a start it is the
    /// newest time in any file.
    pub fn no_sample_after(&self, id: SeriesId) -> Option<Timestamp> {
        let head = self.0.read();
        head.table.get(id.0).map(Series::newest).filter(|t| *t > i64::MIN)
    }
}

impl Shared {
    pub fn read(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn metrics(&self) -> &StorageMetrics {
        &self.options.metrics
    }

    /// The series of a label set, which is made if it is new.
    pub fn series(&self, labels: &Labels, source: SourceId) -> Result<SeriesId, AppendError> {
        let head = self.read();
        let hash = head.index.hash(labels);
        if let Some(id) = head.index.find(labels, hash, &head.table) {
            return Ok(SeriesId(id));
        }
        drop(head);
        let mut head = self.write();
        // Somebody else may have made it in between.
        if let Some(id) = head.index.find(labels, hash, &head.table) {
            return Ok(SeriesId(id));
        }
        let limit = self.options.max_series;
        if (limit > 0 && head.table.len() >= limit) || head.table.next_id() >= u32::MAX - 2 {
            self.metrics().series_refused.inc();
            return Err(AppendError::TooManySeries);
        }
        let id = head.add_series(Series::new(labels.clone(), hash, source), None);
        self.last_times.add(id);
        if let Some(disk) = &self.disk {
            disk.series_made(id, labels);
        }
        self.metrics().series_created.inc();
        self.metrics().series.set(head.table.len() as i64);
        Ok(SeriesId(id))
    }
}

impl Head {
    /// Puts a series into table and index, under a number of the caller's or the next one.
    pub fn add_series(&mut self, series: Series, id: Option<u32>) -> u32 {
        let id = match id {
            Some(id) => {
                self.table.put(id, series);
                id
            }
            None => self.table.push(series),
        };
        let Self { table, index, .. } = self;
        index.add(id, table);
        id
    }

    /// Ends the columns of all sources: whoever had their numbers is not who has them now.
    pub fn forget_sources(&mut self) {
        for (_, column) in std::mem::take(&mut self.sources) {
            self.columns.close(column);
        }
        for (_, series) in self.table.iter_mut() {
            series.source = NO_SOURCE;
        }
    }

    /// Takes a batch in. Says how many samples were taken.
    pub fn apply(&mut self, source: SourceId, batch: &Batch) -> u64 {
        let mut taken = 0;
        let shared_t = batch.t;
        let mut put = |head: &mut Self, id: u32, row: Option<Row>, t: Timestamp, v: f64| {
            let Self { table, columns, .. } = head;
            if let Some(series) = table.get_mut(id)
                && series.append(columns, row, t, v)
            {
                series.source = source;
                taken += 1;
            }
        };
        let before = |sample: &Sample| shared_t.is_some_and(|t| sample.t < t);
        for (id, sample) in batch.others.iter().filter(|(_, s)| before(s)) {
            put(self, *id, None, sample.t, sample.v);
        }
        if let Some(t) = shared_t
            && !batch.ids.is_empty()
        {
            let row = self.row(source, t);
            for (id, v) in batch.ids.iter().zip(&batch.values) {
                put(self, *id, row, t, *v);
            }
        }
        for (id, sample) in batch.others.iter().filter(|(_, s)| !before(s)) {
            put(self, *id, None, sample.t, sample.v);
        }
        taken
    }

    /// The row of time `t` in the source's column; `None` when `t` is before its newest row.
    fn row(&mut self, source: SourceId, t: Timestamp) -> Option<Row> {
        if let Some(&id) = self.sources.get(&source)
            && let Some(column) = self.columns.get(id)
        {
            let (last, n) = (column.last(), column.len());
            if last == Some(t) {
                return Some(Row { column: id, row: (n - 1) as u16 });
            }
            if column.takes(t) {
                self.columns.push(id, t);
                return Some(Row { column: id, row: n as u16 });
            }
            if last.is_some_and(|last| t < last) {
                return None;
            }
            self.columns.close(id);
        }
        let id = self.columns.open(source);
        self.sources.insert(source, id);
        self.columns.push(id, t);
        Some(Row { column: id, row: 0 })
    }
}
