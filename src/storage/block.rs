//! Files of sealed chunks.
//!
//! ```text
//! magic
//! for each series, by number:   its chunks, one record
//! for each column:              the timestamps that chunks share
//! for each series, by number:   number, place, length, CRC of its record   (16 bytes each)
//! footer: places of the parts, times, CRCs
//! ```
//! The name says order, times and highest series number, so that opening a directory reads no file:
//! `SEQ_MIN_MAX_ID.block`. A file is complete or not there (written beside, synced, renamed).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::Timestamp;

use super::column::{Column, Columns};
use super::frame::{Reader, crc, put_varint, unzigzag, zigzag};
use super::series::{Chunk, Output, Times};
use super::values::ValuesRef;

const MAGIC: &[u8; 8] = b"sbblk\x01\r\n";
const FOOTER: usize = 48;
const ENTRY: usize = 16;
/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// Longest part that is read at once: more is damage.
const MAX_PART: u64 = 1 << 30;

/// What the name of a block says.
#[derive(Debug)]
pub(super) struct Block {
    pub path: PathBuf,
    pub seq: u64,
    pub min_t: Timestamp,
    pub max_t: Timestamp,
    pub max_id: u32,
    pub len: u64,
    /// Damage was found in it, and said.
    pub damaged: AtomicBool,
}

impl Block {
    /// From a file name; `None` when it is none of a block.
    pub fn from_path(path: &Path, len: u64) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".block")?;
        let mut parts = name.split('_');
        let mut part = || parts.next()?.parse::<i64>().ok();
        Some(Self {
            seq: u64::try_from(part()?).ok()?,
            min_t: part()?,
            max_t: part()?,
            max_id: u32::try_from(part()?).ok()?,
            path: path.to_owned(),
            len,
            damaged: AtomicBool::new(false),
        })
    }

    fn path(dir: &Path, seq: u64, min_t: Timestamp, max_t: Timestamp, max_id: u32) -> PathBuf {
        dir.join(format!("{seq:010}_{min_t}_{max_t}_{max_id}.block"))
    }

    /// Is this the first damage that is found in it?
    pub fn first_damage(&self) -> bool {
        !self.damaged.swap(true, Ordering::Relaxed)
    }
}

/// A block that is being written. Dropped before [`BlockWriter::finish`] it leaves nothing.
pub(super) struct BlockWriter {
    dir: PathBuf,
    temporary: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: u64,
    entries: Vec<u8>,
    /// The shared columns that are used, as long as they were when a chunk last used them. A copy: they
    /// may be freed, and their numbers given away, before the block is finished.
    columns: Vec<(u32, Column)>,
    times: Option<(Timestamp, Timestamp)>,
    max_id: u32,
    finished: bool,
}

impl BlockWriter {
    pub fn new(dir: &Path) -> io::Result<Self> {
        let temporary = dir.join("block.tmp");
        let file = File::create(&temporary)?;
        Ok(Self {
            dir: dir.to_owned(),
            temporary,
            file,
            buffer: MAGIC.to_vec(),
            written: 0,
            entries: Vec::new(),
            columns: Vec::new(),
            times: None,
            max_id: 0,
            finished: false,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is there so much in the buffer that [`BlockWriter::flush`] should be called (without a lock)?
    pub fn is_due(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Adds a series' chunks, oldest first. The series come by ascending number.
    pub fn add(&mut self, id: u32, chunks: &[&Chunk], columns: &Columns) {
        let start = self.buffer.len();
        put_varint(&mut self.buffer, chunks.len() as u64);
        for chunk in chunks {
            let Some((min, max)) = chunk.span(columns) else { continue };
            let (low, high) = self.times.unwrap_or((min, max));
            self.times = Some((low.min(min), high.max(max)));
            let values = chunk.values.as_ref();
            put_varint(&mut self.buffer, u64::from(values.count));
            self.buffer.push(values.encoding);
            self.buffer.extend_from_slice(&values.newest.to_le_bytes());
            match &chunk.times {
                Times::Own(column) => {
                    self.buffer.push(0);
                    put_column(&mut self.buffer, column);
                }
                Times::Shared { column, start } => {
                    let number = columns.get(*column).map_or(0, |c| number_of(&mut self.columns, *column, c));
                    put_varint(&mut self.buffer, number as u64 + 1);
                    put_varint(&mut self.buffer, u64::from(*start));
                }
            }
            put_varint(&mut self.buffer, values.bytes.len() as u64);
            self.buffer.extend_from_slice(values.bytes);
        }
        let record = &self.buffer[start..];
        self.entries.extend_from_slice(&id.to_le_bytes());
        self.entries.extend_from_slice(&((self.written + start as u64) as u32).to_le_bytes());
        self.entries.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&crc(&[&id.to_le_bytes(), record]).to_le_bytes());
        self.max_id = self.max_id.max(id);
    }

    /// Writes the rest, syncs, and puts the file in its place.
    pub fn finish(mut self, seq: u64) -> io::Result<Block> {
        let (min_t, max_t) = self.times.unwrap_or_default();
        let mut columns = Vec::new();
        self.columns.iter().for_each(|(_, column)| put_column(&mut columns, column));
        let columns_at = self.written + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&columns);
        let entries_at = self.written + self.buffer.len() as u64;
        let len = entries_at + (self.entries.len() + FOOTER) as u64;
        if len > u64::from(u32::MAX) {
            return Err(io::Error::other("more than 4 GiB in one block"));
        }
        let entries = std::mem::take(&mut self.entries);
        self.buffer.extend_from_slice(&entries);
        let mut footer = Vec::with_capacity(FOOTER);
        for n in [columns_at, entries_at] {
            footer.extend_from_slice(&n.to_le_bytes());
        }
        footer.extend_from_slice(&crc(&[&columns]).to_le_bytes());
        footer.extend_from_slice(&crc(&[&entries]).to_le_bytes());
        footer.extend_from_slice(&(self.columns.len() as u64).to_le_bytes());
        footer.extend_from_slice(&[0; 4]);
        let sum = crc(&[&footer]);
        footer.extend_from_slice(&sum.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.buffer.extend_from_slice(&footer);
        self.flush()?;
        self.file.sync_all()?;
        let path = Block::path(&self.dir, seq, min_t, max_t, self.max_id);
        std::fs::rename(&self.temporary, &path)?;
        self.finished = true;
        File::open(&self.dir)?.sync_all()?;
        Ok(Block { path, seq, min_t, max_t, max_id: self.max_id, len, damaged: AtomicBool::new(false) })
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// The place of a column in the list, to which it is added or in which it is brought up to date.
fn number_of(list: &mut Vec<(u32, Column)>, id: u32, column: &Column) -> usize {
    let same = |(known, c): &(u32, Column)| *known == id && c.len() > 0 && c.time(0) == column.time(0);
    match list.iter().rposition(same) {
        Some(i) => {
            if list[i].1.len() < column.len() {
                list[i].1 = column.clone();
            }
            i
        }
        None => {
            list.push((id, column.clone()));
            list.len() - 1
        }
    }
}

fn put_column(out: &mut Vec<u8>, column: &Column) {
    put_varint(out, column.len() as u64);
    let (mut before, mut step_before) = (0, 0);
    for row in 0..column.len() {
        let t = column.time(row);
        let step = t.wrapping_sub(before);
        put_varint(out, zigzag(step.wrapping_sub(step_before)));
        (before, step_before) = (t, step);
    }
}

fn get_column(r: &mut Reader<'_>) -> Option<Column> {
    let n = r.varint()?;
    let mut column = Column::default();
    let (mut t, mut step) = (0i64, 0i64);
    for _ in 0..n {
        step = step.wrapping_add(unzigzag(r.varint()?));
        t = t.wrapping_add(step);
        // Only ascending times within the limits were written.
        if !column.takes(t) {
            return None;
        }
        column.push(t);
    }
    Some(column)
}

/// Why a block, or a series of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlockError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// A block whose index is in memory.
#[derive(Debug)]
pub(super) struct OpenBlock {
    file: File,
    columns: Vec<Column>,
    entries: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    at: u32,
    len: u32,
    crc: u32,
}

impl OpenBlock {
    pub fn open(path: &Path) -> Result<Self, BlockError> {
        use BlockError::Damaged;
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let footer_at = len.checked_sub(FOOTER as u64).ok_or(Damaged("too short"))?;
        let footer = read_part(&file, footer_at, FOOTER as u64)?;
        let mut r = Reader(&footer);
        let mut next = || r.u64().ok_or(Damaged("footer"));
        let (columns_at, entries_at, sums, n_columns) = (next()?, next()?, next()?, next()?);
        let (checked, rest) = footer.split_at(FOOTER - 12);
        if rest.get(..4) != Some(&crc(&[checked]).to_le_bytes()) || rest.get(4..) != Some(MAGIC) {
            return Err(Damaged("footer"));
        }
        let part = |from: u64, to: u64| -> Result<Vec<u8>, BlockError> {
            read_part(&file, from, to.checked_sub(from).ok_or(Damaged("footer"))?)
        };
        let bytes = part(columns_at, entries_at)?;
        if crc(&[&bytes]) != sums as u32 {
            return Err(Damaged("timestamps"));
        }
        let mut r = Reader(&bytes);
        let columns = (0..n_columns).map(|_| get_column(&mut r)).collect::<Option<Vec<_>>>();
        let columns = columns.ok_or(Damaged("timestamps"))?;
        let bytes = part(entries_at, footer_at)?;
        if crc(&[&bytes]) != (sums >> 32) as u32 {
            return Err(Damaged("index"));
        }
        let entry = |bytes: &[u8]| {
            let mut r = Reader(bytes);
            Some(Entry { id: r.u32()?, at: r.u32()?, len: r.u32()?, crc: r.u32()? })
        };
        let entries = bytes.chunks_exact(ENTRY).filter_map(entry).collect();
        Ok(Self { file, columns, entries })
    }

    /// Bytes in memory, about.
    pub fn memory(&self) -> usize {
        self.entries.len() * ENTRY + self.columns.iter().map(|c| 32 + c.len() * 4).sum::<usize>() + 64
    }

    /// Reads a series' samples of the window, oldest first, that are newer than the newest in `out`
    /// from place `first` on.
    pub fn read(
        &self,
        id: u32,
        min: Timestamp,
        max: Timestamp,
        first: usize,
        out: &mut impl Output,
    ) -> Result<(), BlockError> {
        use BlockError::Damaged;
        let Ok(i) = self.entries.binary_search_by_key(&id, |e| e.id) else { return Ok(()) };
        let entry = &self.entries[i];
        let bytes = read_part(&self.file, u64::from(entry.at), u64::from(entry.len))?;
        if crc(&[&id.to_le_bytes(), &bytes]) != entry.crc {
            return Err(Damaged("record of a series"));
        }
        let before = out.len();
        self.decode(&bytes, min, max, first, out).ok_or(Damaged("record of a series")).inspect_err(|_| {
            out.truncate(before);
        })?;
        Ok(())
    }

    fn decode(
        &self,
        bytes: &[u8],
        min: Timestamp,
        max: Timestamp,
        first: usize,
        out: &mut impl Output,
    ) -> Option<()> {
        let mut r = Reader(bytes);
        for _ in 0..r.varint()? {
            let count = u16::try_from(r.varint()?).ok()?;
            let (encoding, newest) = (r.u8()?, r.u64()?);
            let own;
            let (column, start) = match r.varint()? {
                0 => {
                    own = get_column(&mut r)?;
                    (&own, 0)
                }
                n => (self.columns.get(usize::try_from(n - 1).ok()?)?, usize::try_from(r.varint()?).ok()?),
            };
            let n = usize::try_from(r.varint()?).ok()?;
            let values = ValuesRef { bytes: r.take(n)?, newest, count, encoding };
            let min = out.newest(first).map_or(min, |t| min.max(t.saturating_add(1)));
            let (from, to) = column.rows(start, usize::from(count), min, max);
            if from < to {
                let at = out.make_room(to - from);
                values.read(from, to, |i, v| out.put(at + i - from, column.time(start + i), v)).ok()?;
            }
        }
        Some(())
    }
}

fn read_part(file: &File, at: u64, len: u64) -> Result<Vec<u8>, BlockError> {
    if len > MAX_PART {
        return Err(BlockError::Damaged("length"));
    }
    // The file may be shorter than it says of itself: find that out before making room.
    if at.checked_add(len).is_none_or(|end| end > file.metadata().map_or(0, |m| m.len())) {
        return Err(BlockError::Damaged("too short"));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
