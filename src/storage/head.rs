//! Series and samples in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::model::{Labels, Matcher, MetricMetadata, Sample, Timestamp};

/// Number of a series, never used again within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// Who appends: a scrape target, the host collectors, a rule group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
}

/// The samples of the recent past. Clones share it.
#[derive(Clone)]
pub struct Storage {
    head: Arc<Mutex<Head>>,
    commits: broadcast::Sender<Commit>,
}

#[derive(Default)]
struct Head {
    by_labels: HashMap<Labels, SeriesId>,
    series: Vec<Series>,
    metadata: HashMap<String, MetricMetadata>,
}

struct Series {
    labels: Labels,
    source: SourceId,
    samples: Vec<Sample>,
}

/// A selected series, to read its samples from.
#[derive(Clone)]
pub struct SeriesHandle {
    pub id: SeriesId,
    pub labels: Labels,
    storage: Storage,
}

impl Storage {
    /// An empty storage in memory.
    pub fn in_memory() -> Self {
        Self { head: Arc::default(), commits: broadcast::channel(1024).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a batch of samples of one source.
    pub fn appender(&self, source: SourceId) -> Appender<'_> {
        Appender { storage: self, source, pending: Vec::new() }
    }

    /// The series that pass all the matchers and may have samples in `[min_t, max_t]` (ms), in no
    /// particular order.
    pub fn select(&self, matchers: &[Matcher], min_t: Timestamp, max_t: Timestamp) -> Vec<SeriesHandle> {
        let head = self.lock();
        head.series
            .iter()
            .enumerate()
            .filter(|(_, s)| s.samples.iter().any(|x| min_t <= x.t && x.t <= max_t))
            .filter(|(_, s)| matchers.iter().all(|m| m.matches_labels(&s.labels)))
            .map(|(i, s)| SeriesHandle {
                id: SeriesId(i as u32),
                labels: s.labels.clone(),
                storage: self.clone(),
            })
            .collect()
    }

    /// The sources whose series pass the matchers.
    pub fn sources(&self, matchers: &[Matcher]) -> BTreeSet<SourceId> {
        let head = self.lock();
        head.series
            .iter()
            .filter(|s| matchers.iter().all(|m| m.matches_labels(&s.labels)))
            .map(|s| s.source)
            .collect()
    }

    /// Announcements of commits from now on. A slow reader loses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Commit> {
        self.commits.subscribe()
    }

    /// Remembers what a target said of a metric family.
    pub fn set_metadata(&self, metric: &str, metadata: MetricMetadata) {
        self.lock().metadata.insert(metric.to_owned(), metadata);
    }

    /// What is known of a metric family.
    pub fn metadata(&self, metric: &str) -> Option<MetricMetadata> {
        self.lock().metadata.get(metric).cloned()
    }
}

impl SeriesHandle {
    /// Appends the samples with `min_t <= t <= max_t` to `out`, oldest first, staleness markers too.
    pub fn read(&self, min_t: Timestamp, max_t: Timestamp, out: &mut Vec<Sample>) {
        let head = self.storage.lock();
        if let Some(s) = head.series.get(self.id.0 as usize) {
            out.extend(s.samples.iter().filter(|x| min_t <= x.t && x.t <= max_t));
        }
    }

    /// The newest sample with `min_t <= t <= max_t`, a staleness marker too.
    pub fn last(&self, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        let head = self.storage.lock();
        let s = head.series.get(self.id.0 as usize)?;
        s.samples.iter().rev().find(|x| x.t <= max_t).filter(|x| x.t >= min_t).copied()
    }
}

/// A batch of samples, visible together when committed.
pub struct Appender<'a> {
    storage: &'a Storage,
    source: SourceId,
    pending: Vec<(SeriesId, Sample)>,
}

impl Appender<'_> {
    /// The number of a series, which is made if it is new.
    ///
    /// # Errors
    /// The limit of series is reached.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesId, AppendError> {
        let mut head = self.storage.lock();
        if let Some(id) = head.by_labels.get(labels) {
            return Ok(*id);
        }
        let id = SeriesId(head.series.len() as u32);
        head.by_labels.insert(labels.clone(), id);
        head.series.push(Series { labels: labels.clone(), source: self.source, samples: Vec::new() });
        Ok(id)
    }

    /// Adds a sample to the batch.
    ///
    /// # Errors
    /// The sample is not newer than the series' newest.
    pub fn append(&mut self, id: SeriesId, t: Timestamp, v: f64) -> Result<(), AppendError> {
        let head = self.storage.lock();
        if let Some(last) = head.series.get(id.0 as usize).and_then(|s| s.samples.last()) {
            if last.t == t && last.v.to_bits() != v.to_bits() {
                return Err(AppendError::DuplicateTimestamp);
            } else if last.t > t {
                return Err(AppendError::OutOfOrder);
            }
        }
        drop(head);
        self.pending.push((id, Sample { t, v }));
        Ok(())
    }

    /// Makes the batch visible and announces it as the commit of time `t`.
    pub fn commit(self, t: Timestamp) {
        let mut head = self.storage.lock();
        for (id, sample) in self.pending {
            if let Some(s) = head.series.get_mut(id.0 as usize) {
                if s.samples.last().is_none_or(|l| l.t < sample.t) {
                    s.samples.push(sample);
                }
                s.source = self.source;
            }
        }
        drop(head);
        // Nobody listening is no error.
        let _ = self.storage.commits.send(Commit { source: self.source, t });
    }
}
