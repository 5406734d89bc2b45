//! Reading the samples of selected series.

use crate::model::{Labels, Sample, Timestamp};

use super::head::Head;
use super::series::{ColumnsOut, Output, Series};
use super::{SeriesId, Storage};

/// Series that [`Storage::read_many`] decodes under one lock: bounds how long a commit may wait.
const READ_TOGETHER: usize = 64;
/// How often a read lets go of the lock to read files before it keeps it.
const SEALED_MEANWHILE: usize = 4;

/// A selected series, to read its samples from.
#[derive(Clone)]
pub struct SeriesHandle {
    pub id: SeriesId,
    pub labels: Labels,
    pub(super) storage: Storage,
}

impl SeriesHandle {
    /// Appends the samples with `min_t <= t <= max_t` to `out`, oldest first, staleness markers too.
    pub fn read(&self, min_t: Timestamp, max_t: Timestamp, out: &mut Vec<Sample>) {
        self.storage.read_into(self.id, min_t, max_t, out);
    }

    /// As [`SeriesHandle::read`], but timestamps and values apart: appends the same number to both.
    pub fn read_columns(&self, min_t: Timestamp, max_t: Timestamp, t: &mut Vec<i64>, v: &mut Vec<f64>) {
        self.storage.read_into(self.id, min_t, max_t, &mut ColumnsOut { t, v });
    }

    /// The newest sample with `min_t <= t <= max_t`, a staleness marker too.
    pub fn last(&self, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        let head = self.storage.0.read();
        let series = head.table.get(self.id.0)?;
        let found = series.last_in(&head.columns, min_t, max_t);
        if found.is_some() || self.storage.disk_part(&head, series, min_t).is_none() {
            return found;
        }
        drop(head);
        let mut samples = Vec::new();
        self.read(min_t, max_t, &mut samples);
        samples.pop()
    }
}

impl Storage {
    /// Reads many series with few locks: calls `each` with the place in `handles`, the timestamps and
    /// the values of `[min_t, max_t]`, oldest first, staleness markers too. No lock is held meanwhile.
    pub fn read_many(
        &self,
        handles: &[SeriesHandle],
        min_t: Timestamp,
        max_t: Timestamp,
        mut each: impl FnMut(usize, &[i64], &[f64]),
    ) {
        let (mut t, mut v, mut ends) = (Vec::new(), Vec::new(), Vec::with_capacity(READ_TOGETHER));
        for (n, some) in handles.chunks(READ_TOGETHER).enumerate() {
            t.clear();
            v.clear();
            ends.clear();
            let mut head = self.0.read();
            for handle in some {
                let mut out = ColumnsOut { t: &mut t, v: &mut v };
                match head.table.get(handle.id.0) {
                    Some(series) if self.disk_part(&head, series, min_t).is_some() => {
                        // Files are read without the lock.
                        drop(head);
                        self.read_into(handle.id, min_t, max_t, &mut out);
                        head = self.0.read();
                    }
                    Some(series) => series.read(&head.columns, min_t, max_t, &mut out),
                    None => {}
                }
                ends.push(t.len());
            }
            drop(head);
            let mut start = 0;
            for (i, end) in ends.iter().enumerate() {
                each(n * READ_TOGETHER + i, &t[start..*end], &v[start..*end]);
                start = *end;
            }
        }
    }

    /// Every series with a sample newer than `after` (ms), with its newest sample, a staleness marker
    /// too: what `/metrics` shows. In no particular order; no lock is held while `each` runs.
    pub fn latest(&self, after: Timestamp, mut each: impl FnMut(&Labels, Sample)) {
        let (mut next, mut some) = (Some(0), Vec::new());
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(8 * READ_TOGETHER) {
                next = id.checked_add(1);
                if series.last.t > after {
                    some.push((series.labels.clone(), series.last));
                }
            }
            drop(head);
            for (labels, sample) in some.drain(..) {
                each(&labels, sample);
            }
        }
    }

    /// Where the samples in memory start, if older ones from `min` on may be in files.
    fn disk_part(&self, head: &Head, series: &Series, min: Timestamp) -> Option<Timestamp> {
        let disk = self.0.disk.as_ref()?;
        if series.disk_until < min || !disk.reaches(min) {
            return None;
        }
        let start = series.memory_start(&head.columns).unwrap_or(i64::MAX);
        (min < start && series.first_t < start).then_some(start)
    }

    fn read_into(&self, id: SeriesId, min_t: Timestamp, max_t: Timestamp, out: &mut impl Output) {
        let (first, mut min) = (out.len(), min_t);
        for attempt in 1.. {
            let head = self.0.read();
            let Some(series) = head.table.get(id.0) else { return };
            let (Some(start), Some(disk)) = (self.disk_part(&head, series, min), &self.0.disk) else {
                return series.read(&head.columns, min, max_t, out);
            };
            // Files are read without the lock, so more may go into a file meanwhile; in the end, with it.
            let head = (attempt >= SEALED_MEANWHILE).then_some(head);
            disk.read(id.0, min, max_t.min(start - 1), first, out);
            drop(head);
            if start > max_t {
                return;
            }
            min = start;
        }
    }
}
