//! What has to be done from time to time: retention, and forgetting series that ended.

use crate::model::Timestamp;

use super::Storage;
use super::series::Series;

/// Series that are looked at under one lock.
const SLICE: usize = 1024;

/// What a maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// Chunks that left memory.
    pub chunks_dropped: usize,
    /// Series that left the index.
    pub series_removed: usize,
}

impl Storage {
    /// Does what is due at `now` (ms): retention, dropping series that ended. Call it every few
    /// seconds, from where it may block for a moment; commits go on meanwhile.
    pub fn maintain(&self, now: Timestamp) -> Maintenance {
        let o = &self.0.options;
        let mut done = Maintenance::default();
        let keep = o.memory_window.min(o.retention_time);
        let cutoff = now.saturating_sub(keep);
        self.close_idle_columns(cutoff);
        self.drop_memory_until(cutoff, &mut done);
        self.remove_ended(cutoff, &mut done);
        self.count_chunks();
        done
    }

    /// Lets go of the columns of sources that have been silent.
    fn close_idle_columns(&self, cutoff: Timestamp) {
        let mut head = self.0.write();
        for (id, source) in head.columns.idle_since(cutoff) {
            head.sources.remove(&source);
            head.columns.close(id);
        }
    }

    /// Calls `f` for all series in slices, each under one lock.
    fn each_series_mut(&self, mut f: impl FnMut(&mut super::head::Head, u32)) {
        let (mut next, mut ids) = (0, Vec::with_capacity(SLICE));
        loop {
            ids.clear();
            let mut head = self.0.write();
            ids.extend(head.table.iter_from(next).take(SLICE).map(|(id, _)| id));
            let Some(last) = ids.last() else { return };
            next = last + 1;
            ids.iter().for_each(|id| f(&mut head, *id));
        }
    }

    fn drop_memory_until(&self, cutoff: Timestamp, done: &mut Maintenance) {
        self.each_series_mut(|head, id| {
            if let Some(series) = head.table.get_mut(id) {
                done.chunks_dropped += series.drop_until(&mut head.columns, cutoff);
            }
        });
    }

    /// Removes the series without samples. One that was never committed to gets until the next time.
    fn remove_ended(&self, cutoff: Timestamp, done: &mut Maintenance) {
        let mut ended = Vec::new();
        self.each_series_mut(|head, id| {
            let Some(series) = head.table.get_mut(id) else { return };
            if series.chunks().next().is_some() || series.last.t > cutoff {
                series.empty_before = false;
            } else if std::mem::replace(&mut series.empty_before, true) {
                ended.push(id);
            }
        });
        if ended.is_empty() {
            return;
        }
        let mut head = self.0.write();
        let head = &mut *head;
        let still = |s: &Series| s.empty_before && s.chunks().next().is_none();
        ended.retain(|id| head.table.get(*id).is_some_and(still));
        head.index.remove(&ended, &head.table);
        for id in &ended {
            head.table.remove(*id);
            // No appender takes this number any more.
            self.0.last_times.set(*id, i64::MAX);
        }
        done.series_removed += ended.len();
        self.0.metrics().series_removed.inc_by(ended.len() as u64);
        self.0.metrics().series.set(head.table.len() as i64);
    }

    fn count_chunks(&self) {
        let (mut chunks, mut bytes) = (0, 0);
        let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
        let mut next = Some(0);
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(SLICE) {
                next = id.checked_add(1);
                for chunk in series.chunks() {
                    chunks += 1;
                    bytes += size_of_val(chunk) + chunk.values.heap_bytes();
                }
                oldest = oldest.min(series.memory_start(&head.columns).unwrap_or(i64::MAX));
                newest = newest.max(series.last.t);
            }
        }
        let m = self.0.metrics();
        m.chunks.set(chunks);
        m.chunk_bytes.set(bytes as i64);
        if oldest <= newest {
            m.oldest_seconds.set(oldest as f64 / 1000.0);
            m.newest_seconds.set(newest as f64 / 1000.0);
        }
    }
}
