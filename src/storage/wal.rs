//! The write-ahead log: every batch as one record, so that a killed process loses at most the batch it
//! was writing. In segments, which go when all their samples are in sealed files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::model::{Order as _, Sample, Timestamp};

use super::SourceId;
use super::appender::Batch;
use super::frame::{self, Reader, put_varint, unzigzag, zigzag};

/// Size at which maintenance starts the next segment, bytes.
const SEGMENT: u64 = 1 << 20;
/// Size at which a commit does, when no maintenance came.
const SEGMENT_MAX: u64 = 32 << 20;
/// Bytes of the empty record that a segment starts with.
const PROBE: u64 = 10;
/// Above this the buffer of a record is given back.
const SPARE_BUFFER: usize = 64 << 10;

/// A finished segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub len: u64,
    /// The newest time in it.
    pub max_t: Timestamp,
}

/// The log as it is written.
#[derive(Debug)]
pub(super) struct Wal {
    dir: PathBuf,
    seq: u64,
    /// The segment being written; `None` when the disk refused.
    file: Option<File>,
    len: u64,
    max_t: Timestamp,
    finished: Vec<Segment>,
    buffer: Vec<u8>,
}

impl Wal {
    /// Continues behind the segments that are there; writes nothing yet.
    pub fn new(dir: &Path, finished: Vec<Segment>, seq: u64) -> Self {
        Self { dir: dir.to_owned(), seq, file: None, len: 0, max_t: i64::MIN, finished, buffer: Vec::new() }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.len + self.finished.iter().map(|s| s.len).sum::<u64>()
    }

    /// Should the next segment be started? After sealing even for a few batches: the next start should not
    /// read again what is in blocks.
    pub fn is_due(&self, sealed: bool) -> bool {
        self.len >= SEGMENT || self.file.is_none() || (sealed && self.len > PROBE)
    }

    /// Are there segments that may be deleted one day?
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// The file that is written.
    pub fn path(&self) -> PathBuf {
        segment_path(&self.dir, self.seq)
    }

    /// Starts the next segment. Gives back the old one's file, to be synced where it may take time.
    pub fn roll(&mut self) -> io::Result<Option<File>> {
        let old = self.file.take();
        if self.len > PROBE {
            self.finished.push(Segment { path: self.path(), len: self.len, max_t: self.max_t });
        } else if self.len > 0 {
            let _ = fs::remove_file(self.path());
        }
        (self.len, self.max_t) = (0, i64::MIN);
        self.seq += 1;
        let mut file = OpenOptions::new().create(true).append(true).open(self.path())?;
        // An empty record first: a full disk refuses that already.
        let mut probe = Vec::new();
        frame::write(&mut probe, |_| ());
        self.len = probe.len() as u64;
        file.write_all(&probe)?;
        self.file = Some(file);
        Ok(old)
    }

    /// Writes a batch. After an error nothing is written until [`Wal::roll`] succeeds, since the end of
    /// the segment may be torn.
    pub fn append(&mut self, source: SourceId, batch: &Batch) -> io::Result<()> {
        if self.len >= SEGMENT_MAX {
            self.roll()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        self.buffer.clear();
        frame::write(&mut self.buffer, |out| encode(out, source, batch));
        let written = file.write_all(&self.buffer);
        if written.is_err() {
            self.file = None;
        }
        self.len += self.buffer.len() as u64;
        let others = batch.others.iter().map(|(_, s)| s.t).max();
        self.max_t = self.max_t.max(batch.t.unwrap_or(i64::MIN)).max(others.unwrap_or(i64::MIN));
        if self.buffer.capacity() > SPARE_BUFFER {
            self.buffer = Vec::new();
        }
        written
    }

    /// Deletes the finished segments whose samples are all before `t`.
    pub fn delete_before(&mut self, t: Timestamp) {
        self.finished.retain(|segment| {
            segment.max_t >= t || fs::remove_file(&segment.path).is_err_and(|e| exists(&e))
        });
    }
}

fn exists(e: &io::Error) -> bool {
    e.kind() != io::ErrorKind::NotFound
}

fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:010}.wal"))
}

/// The segments of a directory with their numbers, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".wal"));
        if let Some(seq) = name.and_then(|n| n.parse().ok()) {
            all.push((seq, path));
        }
    }
    all.order();
    Ok(all)
}

/// Source, time, numbers of samples; then for each sample of the shared time one byte (how many bytes
/// of the value follow; how far the series number is from the one before, 0: that follows too) and
/// the value without its trailing zero bytes; then the others in full.
fn encode(out: &mut Vec<u8>, source: SourceId, batch: &Batch) {
    let t = batch.t.unwrap_or_default();
    out.extend_from_slice(&source.0.to_le_bytes());
    out.extend_from_slice(&t.to_le_bytes());
    put_varint(out, batch.ids.len() as u64);
    put_varint(out, batch.others.len() as u64);
    let mut before = 0;
    for (id, v) in batch.ids.iter().zip(&batch.values) {
        let bits = v.to_bits();
        let n = 8 - bits.trailing_zeros() as usize / 8;
        let step = i64::from(*id) - before;
        before = i64::from(*id);
        if (1..16).contains(&step) {
            out.push((step as u8) << 4 | n as u8);
        } else {
            out.push(n as u8);
            put_varint(out, zigzag(step));
        }
        out.extend_from_slice(&bits.to_be_bytes()[..n]);
    }
    for (id, s) in &batch.others {
        put_varint(out, u64::from(*id));
        put_varint(out, zigzag(s.t.wrapping_sub(t)));
        out.extend_from_slice(&s.v.to_bits().to_le_bytes());
    }
}

/// Reads a record into `batch`, which is emptied first; `None` when it is damaged.
pub(super) fn decode(bytes: &[u8], batch: &mut Batch) -> Option<SourceId> {
    batch.clear();
    let mut r = Reader(bytes);
    let source = SourceId(r.u32()?);
    let t = r.i64()?;
    let (shared, others) = (r.varint()?, r.varint()?);
    batch.t = (shared > 0).then_some(t);
    let mut id = 0i64;
    for _ in 0..shared {
        let op = r.u8()?;
        id = match op >> 4 {
            0 => id.checked_add(unzigzag(r.varint()?))?,
            step => id + i64::from(step),
        };
        let value = r.take(usize::from(op & 0x0f))?;
        let mut bits = [0; 8];
        bits.get_mut(..value.len())?.copy_from_slice(value);
        batch.ids.push(u32::try_from(id).ok()?);
        batch.values.push(f64::from_bits(u64::from_be_bytes(bits)));
    }
    for _ in 0..others {
        let id = u32::try_from(r.varint()?).ok()?;
        let at = t.wrapping_add(unzigzag(r.varint()?));
        batch.others.push((id, Sample { t: at, v: f64::from_bits(r.u64()?) }));
    }
    r.0.is_empty().then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_come_back(
            t in any::<i64>(), shared in prop::collection::vec((any::<u32>(), any::<u64>()), 0..50),
            near in 0u32..1000, others in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..10),
            source in any::<u32>(),
        ) {
            let mut batch = Batch::default();
            let ids = shared.iter().map(|(id, _)| *id).chain(near..near + shared.len() as u32);
            for (id, v) in ids.zip(shared.iter().cycle().map(|(_, v)| *v)) {
                batch.push(id, t, f64::from_bits(v));
            }
            batch.others.extend(others.iter().map(|(id, t, v)| (*id, Sample { t: *t, v: f64::from_bits(*v) })));
            let (mut bytes, mut back) = (Vec::new(), Batch::default());
            encode(&mut bytes, SourceId(source), &batch);
            prop_assert_eq!(decode(&bytes, &mut back), Some(SourceId(source)));
            prop_assert_eq!((back.t, &back.ids), (batch.t, &batch.ids));
            let bits = |b: &Batch| -> Vec<u64> {
                b.values.iter().copied().chain(b.others.iter().map(|(_, s)| s.v)).map(f64::to_bits).collect()
            };
            prop_assert_eq!(bits(&back), bits(&batch));
            let times = |b: &Batch| -> Vec<(u32, i64)> { b.others.iter().map(|(id, s)| (*id, s.t)).collect() };
            prop_assert_eq!(times(&back), times(&batch));
        }

        #[test]
        fn damaged_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &mut Batch::default());
        }
    }
}
