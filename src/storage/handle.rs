//! Reading the samples of selected series.

use std::sync::Arc;

use crate::model::{Labels, Matcher, Sample, Timestamp};

use super::head::Head;
use super::index::Selected;
use super::series::{ColumnsOut, Output, Series};
use super::{SeriesId, Storage};

/// Series that are looked at under one lock: bounds how long a commit may wait.
const LOOK_TOGETHER: usize = 512;
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
        self.storage.read_columns(self.id, min_t, max_t, t, v);
    }

    /// The newest sample with `min_t <= t <= max_t`, a staleness marker too.
    pub fn last(&self, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        self.storage.last_of(self.id, min_t, max_t)
    }
}

/// Selected series, by their place in the selection.
pub struct Selection<'a> {
    storage: &'a Storage,
    selected: Arc<Selected>,
}

impl Selection<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        self.selected.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.selected.ids.is_empty()
    }

    /// A number that only this selection has: under it, the same series are in the same places.
    pub fn number(&self) -> u64 {
        self.selected.number
    }

    /// The labels of the `i`-th series, `i < len()`.
    pub fn labels(&self, i: usize) -> &Labels {
        &self.selected.labels[i]
    }

    /// Calls `each` with the place, the timestamps and the values of `[min_t, max_t]` of every series,
    /// oldest first, staleness markers too. No lock is held meanwhile.
    pub fn read(&self, min_t: Timestamp, max_t: Timestamp, each: impl FnMut(usize, &[i64], &[f64])) {
        self.storage.read_all(&self.selected.ids, |id| *id, min_t, max_t, each);
    }

    /// The newest sample of the `i`-th series with `min_t <= t <= max_t`, a staleness marker too.
    pub fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        self.storage.last_of(SeriesId(*self.selected.ids.get(i)?), min_t, max_t)
    }
}

impl Storage {
    /// The series that pass all the matchers. Cheap when the same was asked before and no series has come
    /// or gone since.
    pub fn selection(&self, matchers: &[Matcher]) -> Selection<'_> {
        let head = self.0.read();
        Selection { storage: self, selected: head.index.select(matchers, &head.table) }
    }

    pub(super) fn read_columns(
        &self,
        id: SeriesId,
        min_t: Timestamp,
        max_t: Timestamp,
        t: &mut Vec<i64>,
        v: &mut Vec<f64>,
    ) {
        self.read_into(id, min_t, max_t, &mut ColumnsOut { t, v });
    }

    fn last_of(&self, id: SeriesId, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        let head = self.0.read();
        let series = head.table.get(id.0)?;
        let found = series.last_in(&head.columns, min_t, max_t);
        if found.is_some() || self.disk_part(&head, series, min_t).is_none() {
            return found;
        }
        drop(head);
        let mut samples = Vec::new();
        self.read_into(id, min_t, max_t, &mut samples);
        samples.pop()
    }

    /// Every series with a sample newer than `after` (ms), with its newest sample, a staleness marker
    /// too: what `/metrics` shows. In no particular order; no lock is held while `each` runs.
    pub fn latest(&self, after: Timestamp, mut each: impl FnMut(&Labels, Sample)) {
        let (mut next, mut some) = (Some(0), Vec::new());
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(LOOK_TOGETHER) {
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
    pub(super) fn disk_part(&self, head: &Head, series: &Series, min: Timestamp) -> Option<Timestamp> {
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
