//! What has to be done from time to time: sealing, retention, forgetting series that ended.

use std::io::{self, Write as _};
use std::sync::PoisonError;

use crate::model::Timestamp;

use super::Storage;
use super::column::MAX_SPAN;
use super::disk::{Disk, Written};
use super::seal::Seal;
use super::series_log::write_record;

/// Series that are looked at under one lock.
const SLICE: usize = 1024;
/// How many times its limit the memory may take while the disk refuses, before samples are dropped.
const PATIENCE: usize = 4;

/// What a maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// Chunks that went from memory into a file.
    pub chunks_sealed: usize,
    /// Chunks that left memory for good.
    pub chunks_dropped: usize,
    /// Files that were deleted because of their age or the limit of size.
    pub blocks_removed: usize,
    /// Series that left the index.
    pub series_removed: usize,
}

/// What a look at all series found.
#[derive(Debug)]
struct Survey {
    chunks: usize,
    bytes: usize,
    closed_bytes: usize,
    /// Of the samples in memory.
    oldest: Timestamp,
    newest: Timestamp,
    /// Series with chunks that ended before the cutoff.
    old: Vec<u32>,
    /// Series without samples.
    ended: Vec<u32>,
}

impl Storage {
    /// Does what is due at `now` (ms): moves full chunks into files, deletes what is older than the
    /// retention or beyond the limit of size, forgets series that ended, starts log segments. Call it
    /// every few seconds from where it may block: it writes and syncs files. Commits and reads go on.
    pub fn maintain(&self, now: Timestamp) -> Maintenance {
        let mut ended_before = self.0.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let o = &self.0.options;
        let mut done = Maintenance::default();
        let cutoff = now.saturating_sub(o.memory_window.min(o.retention_time));
        self.close_idle_columns(cutoff);
        let retained = now.saturating_sub(o.retention_time);
        let survey = self.survey(cutoff, retained);
        let full = survey.closed_bytes > o.memory_limit;
        if let Some(disk) = &self.0.disk {
            let due = survey.oldest <= cutoff.saturating_sub(o.memory_window.max(MAX_SPAN));
            if due || full {
                let what = if full { Seal::Full } else { Seal::Until(cutoff) };
                match self.seal(disk, what) {
                    Ok(chunks) => done.chunks_sealed = chunks,
                    Err((path, error)) => {
                        disk.wrote(Written::Block, &path, Err(error));
                    }
                }
            }
            if done.chunks_sealed == 0 && survey.closed_bytes > o.memory_limit.saturating_mul(PATIENCE) {
                self.drop_oldest_quarter(&survey, &mut done);
            }
            self.retain_blocks(disk, retained, &mut done);
            self.maintain_logs(disk, done.chunks_sealed > 0);
            disk.close_unused();
        } else {
            self.drop_until(&survey.old, cutoff, &mut done);
            if full {
                self.drop_oldest_quarter(&survey, &mut done);
            }
        }
        let due = survey.ended.iter().filter(|id| ended_before.binary_search(id).is_ok()).copied().collect();
        *ended_before = survey.ended.clone();
        drop(ended_before);
        self.remove_series(due, &mut done);
        self.publish(&survey);
        done
    }

    /// Moves everything into files, for a quick next start. The storage stays usable.
    pub fn flush(&self) {
        let _one = self.0.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(disk) = &self.0.disk else { return };
        match self.seal(disk, Seal::Until(i64::MAX)) {
            Ok(_) => self.maintain_logs(disk, true),
            Err((path, error)) => {
                disk.wrote(Written::Block, &path, Err(error));
            }
        }
    }

    /// Lets go of the columns of sources that have been silent.
    fn close_idle_columns(&self, cutoff: Timestamp) {
        let idle = self.0.read().columns.idle_since(cutoff);
        if !idle.is_empty() {
            let mut head = self.0.write();
            for (id, source) in idle {
                // It may have had a commit in between.
                if head.columns.is_idle(id, source, cutoff) {
                    head.sources.remove(&source);
                    head.columns.close(id);
                }
            }
        }
    }

    fn survey(&self, cutoff: Timestamp, retained: Timestamp) -> Survey {
        let mut s = Survey {
            chunks: 0,
            bytes: 0,
            closed_bytes: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            old: Vec::new(),
            ended: Vec::new(),
        };
        // A series may go when no file has samples of it.
        let oldest_file = self.0.disk.as_ref().and_then(|d| d.blocks().iter().map(|b| b.min_t).min());
        let gone_before = oldest_file.unwrap_or(cutoff).max(retained);
        let mut next = Some(0);
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(SLICE) {
                next = id.checked_add(1);
                for chunk in series.chunks() {
                    s.chunks += 1;
                    s.bytes += size_of_val(chunk) + chunk.values.heap_bytes();
                }
                for chunk in &series.closed {
                    s.closed_bytes += size_of_val(chunk) + chunk.values.heap_bytes();
                }
                match series.chunks().next().and_then(|chunk| chunk.span(&head.columns)) {
                    Some((first, last)) => {
                        s.oldest = s.oldest.min(first);
                        s.newest = s.newest.max(series.last.t);
                        if last <= cutoff {
                            s.old.push(id);
                        }
                    }
                    None if series.newest() < gone_before => s.ended.push(id),
                    None => {}
                }
            }
        }
        s
    }

    fn drop_until(&self, ids: &[u32], cutoff: Timestamp, done: &mut Maintenance) {
        for some in ids.chunks(SLICE) {
            let mut head = self.0.write();
            let head = &mut *head;
            for id in some {
                if let Some(series) = head.table.get_mut(*id) {
                    done.chunks_dropped += series.drop_until(&mut head.columns, cutoff);
                }
            }
        }
    }

    /// Too much in memory and nowhere to put it: the oldest goes.
    fn drop_oldest_quarter(&self, survey: &Survey, done: &mut Maintenance) {
        let cutoff = survey.oldest.saturating_add(survey.newest.saturating_sub(survey.oldest) / 4);
        let count = |storage: &Self| -> usize {
            storage.0.read().table.iter().flat_map(|(_, s)| s.chunks()).map(|c| c.count()).sum()
        };
        let (before, ids): (usize, Vec<u32>) =
            (count(self), self.0.read().table.iter().map(|(id, _)| id).collect());
        self.drop_until(&ids, cutoff, done);
        let dropped = before.saturating_sub(count(self)) as u64;
        self.0.metrics().samples_dropped.inc_by(dropped);
        tracing::warn!(samples = dropped, "memory for samples is full: the oldest are dropped");
    }

    /// Removes the series that had no samples at two maintenances.
    fn remove_series(&self, mut ended: Vec<u32>, done: &mut Maintenance) {
        if ended.is_empty() {
            return;
        }
        let mut head = self.0.write();
        let head = &mut *head;
        // Not those that got samples in between, or have some in a batch.
        ended.retain(|id| {
            head.table.get(*id).is_some_and(|s| {
                s.chunks().next().is_none() && self.0.last_times.get(*id).is_some_and(|t| t <= s.last.t)
            })
        });
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

    fn retain_blocks(&self, disk: &Disk, retained: Timestamp, done: &mut Maintenance) {
        let blocks = disk.blocks();
        let logs = disk.logs();
        let mut size = logs.wal.bytes() + logs.series.len + blocks.iter().map(|b| b.len).sum::<u64>();
        drop(logs);
        let limit = self.0.options.retention_size;
        let mut gone = Vec::new();
        for block in &blocks {
            if block.max_t < retained || (limit > 0 && size > limit) {
                size -= block.len;
                gone.push(block.seq);
            }
        }
        if !gone.is_empty() {
            done.blocks_removed = disk.remove_blocks(|b| gone.contains(&b.seq));
        }
        let m = self.0.metrics();
        let left: Vec<u64> = blocks.iter().filter(|b| !gone.contains(&b.seq)).map(|b| b.len).collect();
        m.blocks.set(left.len() as i64);
        m.block_bytes.set(left.iter().sum::<u64>() as i64);
    }

    /// New segment, deletion of sealed ones, and a shorter series log.
    fn maintain_logs(&self, disk: &Disk, sealed: bool) {
        let mut logs = disk.logs();
        let mut ok = disk.write_series(&mut logs);
        let path = logs.wal.path();
        let rolled = if logs.wal.is_due(sealed) { logs.wal.roll() } else { Ok(None) };
        drop(logs);
        let synced = rolled.and_then(|old| old.map_or(Ok(()), |old| old.sync_data()));
        ok &= synced.is_ok();
        if ok || synced.is_err() {
            disk.wrote(Written::Log, &path, synced);
        }
        let has_finished = disk.logs().wal.has_finished();
        // Records of finished segments are applied, so what is not in memory any more is in a file.
        let needed = if has_finished { self.memory_start() } else { i64::MIN };
        let mut logs = disk.logs();
        logs.wal.delete_before(needed);
        self.0.metrics().wal_bytes.set(logs.wal.bytes() as i64);
        let rewrite = logs.series.wants_rewrite(self.series_count());
        let fresh = if rewrite { Some(logs.series.fresh()) } else { None };
        drop(logs);
        if let Some(fresh) = fresh {
            let path = disk.dir.join("series.log");
            let result = fresh.and_then(|(path, file)| self.rewrite_series(disk, &path, file));
            disk.wrote(Written::Log, &path, result);
        }
    }

    /// The oldest time in memory.
    fn memory_start(&self) -> Timestamp {
        let (mut oldest, mut next) = (i64::MAX, Some(0));
        while let Some(from) = next.take() {
            let head = self.0.read();
            for (id, series) in head.table.iter_from(from).take(SLICE) {
                next = id.checked_add(1);
                oldest = oldest.min(series.memory_start(&head.columns).unwrap_or(i64::MAX));
            }
        }
        oldest
    }

    /// Writes the series that are left into a new log. The old one takes new series meanwhile; those
    /// are written again at the end.
    fn rewrite_series(&self, disk: &Disk, path: &std::path::Path, mut file: std::fs::File) -> io::Result<()> {
        let (mut len, mut records, mut next) = (0, 0, 0);
        let mut copy = |next: &mut u32, file: &mut std::fs::File| -> io::Result<bool> {
            let mut out = Vec::new();
            let head = self.0.read();
            let from = *next;
            for (id, series) in head.table.iter_from(from).take(SLICE) {
                write_record(&mut out, id, &series.labels);
                records += 1;
                *next = id + 1;
            }
            drop(head);
            file.write_all(&out)?;
            len += out.len() as u64;
            Ok(*next > from)
        };
        while copy(&mut next, &mut file)? {}
        file.sync_all()?;
        let mut logs = disk.logs();
        while copy(&mut next, &mut file)? {}
        logs.series.replace(path, len, records)
    }

    fn publish(&self, s: &Survey) {
        let m = self.0.metrics();
        m.chunks.set(s.chunks as i64);
        m.chunk_bytes.set(s.bytes as i64);
        let files = self.0.disk.iter().flat_map(|d| d.blocks()).map(|b| b.min_t).min();
        let oldest = s.oldest.min(files.unwrap_or(i64::MAX));
        if oldest < i64::MAX {
            m.oldest_seconds.set(oldest as f64 / 1000.0);
        }
        if s.newest > i64::MIN {
            m.newest_seconds.set(s.newest as f64 / 1000.0);
        }
    }
}
