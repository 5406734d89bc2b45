//! Batches of samples.

use std::sync::PoisonError;

use crate::model::{Labels, Sample, Timestamp};

use super::{AppendError, Commit, SeriesId, SourceId, Storage};

/// Batches that are kept for the next appenders, and the samples they may have room for.
const SPARE_BATCHES: usize = 4;
const SPARE_SAMPLES: usize = 4096;

/// Samples to be appended: those of one time as two arrays, the others as they are.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Time of `ids` and `values`.
    pub t: Option<Timestamp>,
    pub ids: Vec<u32>,
    pub values: Vec<f64>,
    pub others: Vec<(u32, Sample)>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.ids.len() + self.others.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&mut self, id: u32, t: Timestamp, v: f64) {
        if *self.t.get_or_insert(t) == t {
            self.ids.push(id);
            self.values.push(v);
        } else {
            self.others.push((id, Sample { t, v }));
        }
    }

    /// Makes `t` the shared time, if more samples have it than the one that came first.
    fn regroup(&mut self, t: Timestamp) {
        let Some(old) = self.t.filter(|old| *old != t) else { return };
        if self.others.iter().filter(|(_, s)| s.t == t).count() <= self.ids.len() {
            return;
        }
        let mut fresh = Self { t: Some(t), ..Self::default() };
        let first = std::mem::take(&mut self.ids).into_iter().zip(std::mem::take(&mut self.values));
        fresh.others.extend(first.map(|(id, v)| (id, Sample { t: old, v })));
        for (id, s) in std::mem::take(&mut self.others) {
            fresh.push(id, s.t, s.v);
        }
        // Of one series the times ascend in the batch, but the first group is now among later ones.
        fresh.others.sort_by_key(|(_, s)| s.t);
        *self = fresh;
    }

    pub fn clear(&mut self) {
        self.t = None;
        self.ids.clear();
        self.values.clear();
        self.others.clear();
    }

    pub fn series(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().copied().chain(self.others.iter().map(|(id, _)| *id))
    }
}

/// A batch of samples, visible together when committed, forgotten when dropped. Takes no lock per
/// sample and does not allocate for series it knows.
pub struct Appender<'a> {
    storage: &'a Storage,
    source: SourceId,
    batch: Batch,
    /// Bounds of the timestamps that are taken.
    min_t: Timestamp,
    max_t: Timestamp,
}

impl<'a> Appender<'a> {
    pub(super) fn new(storage: &'a Storage, source: SourceId) -> Self {
        let shared = &storage.0;
        let batch = shared.batches.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // i64::MIN and i64::MAX stand for "no sample" and "no series" in the table of newest times.
        let (min_t, max_t) = match &shared.clock {
            Some(clock) => {
                let (now, o) = (clock.now(), &shared.options);
                (now.saturating_sub(o.retention_time), now.saturating_add(o.max_future))
            }
            None => (i64::MIN, i64::MAX),
        };
        Self {
            storage,
            source,
            batch: batch.unwrap_or_default(),
            min_t: min_t.max(i64::MIN + 1),
            max_t: max_t.min(i64::MAX - 1),
        }
    }

    /// The number of a series, which is made if it is new.
    ///
    /// # Errors
    /// The limit of series is reached.
    pub fn series(&mut self, labels: &Labels) -> Result<SeriesId, AppendError> {
        self.storage.0.series(labels, self.source)
    }

    /// Adds a sample to the batch. The same sample again is taken in silence.
    ///
    /// # Errors
    /// The sample is not newer than the series' newest (of this batch too), its time is out of bounds,
    /// or the series is gone.
    #[inline]
    pub fn append(&mut self, id: SeriesId, t: Timestamp, v: f64) -> Result<(), AppendError> {
        let last = self.storage.0.last_times.get(id.0).unwrap_or(i64::MAX);
        if t <= last || t < self.min_t || t > self.max_t {
            return self.refuse(id, t, v);
        }
        self.storage.0.last_times.set(id.0, t);
        self.batch.push(id.0, t, v);
        Ok(())
    }

    #[cold]
    fn refuse(&self, id: SeriesId, t: Timestamp, v: f64) -> Result<(), AppendError> {
        let shared = &self.storage.0;
        let last = shared.last_times.get(id.0).unwrap_or(i64::MAX);
        if last == i64::MAX {
            Err(AppendError::UnknownSeries)
        } else if t < self.min_t || t > self.max_t {
            shared.metrics().samples_out_of_bounds.inc();
            Err(AppendError::OutOfBounds)
        } else if t == last {
            let head = shared.read();
            let committed = head.table.get(id.0).map(|s| s.last);
            if committed.is_some_and(|s| s.t == t && s.v.to_bits() == v.to_bits()) {
                return Ok(());
            }
            shared.metrics().samples_duplicate.inc();
            Err(AppendError::DuplicateTimestamp)
        } else {
            shared.metrics().samples_out_of_order.inc();
            Err(AppendError::OutOfOrder)
        }
    }

    /// Samples in the batch so far.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Is there no sample in the batch?
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Makes the batch visible and announces it as the commit of time `t`.
    pub fn commit(mut self, t: Timestamp) {
        let shared = &self.storage.0;
        self.batch.regroup(t);
        if !self.batch.is_empty() {
            // Held until the batch is applied, so that what finished segments hold is in memory.
            let mut logs = shared.disk.as_ref().map(|disk| (disk, disk.logs()));
            if let Some((disk, logs)) = &mut logs {
                disk.log_batch(logs, self.source, &self.batch);
            }
            let taken = shared.write().apply(self.source, &self.batch);
            drop(logs);
            shared.metrics().samples_appended.inc_by(taken);
        }
        self.batch.clear();
        // Nobody listening is no error.
        let _ = shared.commits.send(Commit { source: self.source, t });
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        let shared = &self.storage.0;
        if !self.batch.is_empty() {
            // Not committed: the newest times are again those of what is visible.
            let head = shared.read();
            for id in self.batch.series() {
                shared.last_times.set(id, head.table.get(id).map_or(i64::MAX, |s| s.last.t));
            }
            drop(head);
            self.batch.clear();
        }
        if self.batch.ids.capacity() <= SPARE_SAMPLES && self.batch.others.capacity() <= SPARE_SAMPLES {
            let mut spare = shared.batches.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARE_BATCHES {
                spare.push(std::mem::take(&mut self.batch));
            }
        }
    }
}
