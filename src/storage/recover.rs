//! Reading a directory back at the start.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Labels, Order as _, Timestamp};

use super::appender::Batch;
use super::block::Block;
use super::disk::{Disk, Logs, Written, prepare};
use super::frame::Frames;
use super::head::{Head, NO_SOURCE};
use super::last_times::LastTimes;
use super::series::Series;
use super::series_log::{SeriesLog, read_record};
use super::wal::{self, Segment, Wal};
use super::{StorageError, StorageMetrics};

/// Reads what is in the directory into an empty head.
pub(super) fn recover(
    dir: &Path,
    head: &mut Head,
    last_times: &LastTimes,
    metrics: &StorageMetrics,
) -> Result<Disk, StorageError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    };
    let lock = prepare(dir)?;
    let blocks_dir = dir.join("blocks");
    let blocks = list_blocks(&blocks_dir).map_err(error(&blocks_dir))?;
    let mut next_id = blocks.iter().map(|b| b.max_id.saturating_add(1)).max().unwrap_or(0);

    let series_path = dir.join("series.log");
    let on_disk_until = blocks.iter().map(|b| b.max_t).max().unwrap_or(i64::MIN);
    let series = read_series(&series_path, head, on_disk_until, metrics).map_err(error(&series_path))?;

    let wal_dir = dir.join("wal");
    let mut segments = Vec::new();
    let (mut seq, mut batch) = (0, Batch::default());
    for (number, path) in wal::list(&wal_dir).map_err(error(&wal_dir))? {
        seq = seq.max(number);
        // A segment that cannot be read stays where it is: somebody may repair it.
        if let Some(segment) = replay(&path, head, &mut batch, &mut next_id, metrics) {
            segments.push(segment);
        }
    }
    head.table.skip_to(next_id);
    head.forget_sources();
    for (id, series) in head.table.iter() {
        last_times.add(id);
        last_times.set(id, series.last.t);
    }
    metrics.series.set(head.table.len() as i64);
    let mut logs = Logs { wal: Wal::new(&wal_dir, segments, seq), series };
    let rolled = logs.wal.roll().map(drop);
    let path = logs.wal.path();
    let disk = Disk::new(dir, Some(lock), logs, blocks, metrics);
    disk.wrote(Written::Log, &path, rolled);
    Ok(disk)
}

/// Reads what is in the directory into an empty head and changes nothing there. Another process may be using it: the logs are
/// read before the list of blocks, so that samples that it seals meanwhile are seen at least once.
pub(super) fn look(dir: &Path, head: &mut Head, metrics: &StorageMetrics) -> Result<Disk, StorageError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    };
    let (blocks_dir, wal_dir) = (dir.join("blocks"), dir.join("wal"));
    let series_path = dir.join("series.log");
    // Any series may have samples in a block that is not there yet.
    let series = read_series(&series_path, head, i64::MAX, metrics).map_err(error(&series_path))?;
    let (mut next_id, mut batch) = (0, Batch::default());
    for (_, path) in wal::list(&wal_dir).map_err(error(&wal_dir))? {
        replay(&path, head, &mut batch, &mut next_id, metrics);
    }
    let mut blocks = Vec::new();
    for entry in fs::read_dir(&blocks_dir).map_err(error(&blocks_dir))? {
        let path = entry.map_err(error(&blocks_dir))?.path();
        // One that retention deletes just now is one that is not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        blocks.extend(Block::from_path(&path, metadata.len()).map(Arc::new));
    }
    blocks.order_by_key(|b| b.seq);
    head.forget_sources();
    let logs = Logs { wal: Wal::new(&wal_dir, Vec::new(), 0), series };
    Ok(Disk::new(dir, None, logs, blocks, metrics))
}

fn list_blocks(dir: &Path) -> io::Result<Vec<Arc<Block>>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            // Left by a process that was killed while it sealed: the log still has the samples.
            let _ = fs::remove_file(&path);
        } else if let Some(block) = Block::from_path(&path, entry.metadata()?.len()) {
            blocks.push(Arc::new(block));
        }
    }
    blocks.order_by_key(|b| b.seq);
    Ok(blocks)
}

fn read_series(
    path: &Path,
    head: &mut Head,
    on_disk_until: Timestamp,
    metrics: &StorageMetrics,
) -> io::Result<SeriesLog> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(SeriesLog::new(path, 0, 0)),
        read => read?,
    };
    let mut frames = Frames::new(&bytes);
    let all: Vec<(u32, Labels)> = frames.by_ref().filter_map(read_record).collect();
    let records = all.len();
    // A label set that went and came again has two numbers: the later one counts.
    let mut newest: HashMap<&Labels, u32> = HashMap::with_capacity(records);
    newest.extend(all.iter().map(|(id, labels)| (labels, *id)));
    for (id, labels) in &all {
        // Ascending in a sane log; a record may be there twice, after a failed write.
        let next = head.table.next_id();
        if newest.get(labels) != Some(id) || *id < next || *id > next.saturating_add(1 << 24) {
            continue;
        }
        let hash = head.index.hash(labels);
        let (id, labels) = (*id, labels.clone());
        let mut series = Series::new(labels, hash, NO_SOURCE);
        series.disk_until = on_disk_until;
        if on_disk_until > i64::MIN {
            series.first_t = i64::MIN;
        }
        head.add_series(series, Some(id));
    }
    report(path, &frames, bytes.len(), metrics);
    Ok(SeriesLog::new(path, bytes.len() as u64, records))
}

/// Says what was damaged in a log. A torn end is what a killed process leaves, and no damage.
fn report(path: &Path, frames: &Frames<'_>, len: usize, metrics: &StorageMetrics) {
    for at in &frames.damaged {
        metrics.corruptions.inc();
        tracing::error!(path = %path.display(), offset = at, "damaged record in a log: skipped");
    }
    if frames.end < len {
        let torn = len - frames.end;
        tracing::warn!(path = %path.display(), offset = frames.end, bytes = torn, "the end of a log is torn off");
    }
}

fn replay(
    path: &Path,
    head: &mut Head,
    batch: &mut Batch,
    next_id: &mut u32,
    metrics: &StorageMetrics,
) -> Option<Segment> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            metrics.disk_errors.inc();
            tracing::error!(path = %path.display(), %error, "cannot read a segment of the write-ahead log: skipped");
            return None;
        }
    };
    let mut frames = Frames::new(&bytes);
    let mut max_t = i64::MIN;
    while let Some(payload) = frames.next() {
        if payload.is_empty() {
            continue;
        }
        let Some(source) = wal::decode(payload, batch) else {
            metrics.corruptions.inc();
            tracing::error!(path = %path.display(), offset = frames.end - payload.len(), "record of a batch makes no sense: skipped");
            continue;
        };
        let times = batch.others.iter().map(|(_, s)| s.t).chain(batch.t);
        max_t = times.fold(max_t, i64::max);
        // A series whose label set was lost must not get somebody else's samples later.
        if let Some(id) = batch.series().max() {
            *next_id = (*next_id).max(id.saturating_add(1).min(head.table.next_id().saturating_add(1 << 24)));
        }
        metrics.replayed_samples.inc_by(head.apply(source, batch));
    }
    report(path, &frames, bytes.len(), metrics);
    Some(Segment { path: path.to_owned(), len: bytes.len() as u64, max_t })
}
