//! Reads many series at once: few locks, and the timestamps that series share are looked up once.

use std::ops::Range;

use crate::model::Timestamp;

use super::column::Columns;
use super::series::{Series, Times};
use super::{SeriesHandle, SeriesId, Storage};

/// Series that are decoded under one lock: bounds how long a commit may wait.
const READ_TOGETHER: usize = 64;

/// The rows of a chunk that a read wants.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// `u32::MAX` for a chunk with timestamps of its own.
    column: u32,
    start: usize,
    count: usize,
    from: usize,
    to: usize,
}

/// Decoded samples of some series.
#[derive(Debug, Default)]
struct Decoded {
    t: Vec<i64>,
    v: Vec<f64>,
    /// Where in `t` and `v` each series is. Series with the same timestamps share a place in `t`.
    places: Vec<(Range<usize>, Range<usize>)>,
    /// The newest timestamps, by the chunks that they come from.
    pieces: Vec<Piece>,
    times: Range<usize>,
}

impl Decoded {
    fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
        self.places.clear();
        self.forget_pieces();
    }

    /// To be called when the columns may have changed.
    fn forget_pieces(&mut self) {
        self.pieces.clear();
        self.times = self.t.len()..self.t.len();
    }

    fn add(&mut self, series: &Series, columns: &Columns, min: Timestamp, max: Timestamp) {
        let first = self.v.len();
        // As long as the chunks use the same rows as those of the series before, so do the times.
        let mut same = true;
        let mut k = 0;
        for chunk in series.chunks_since(columns, min) {
            let Some((column, start)) = chunk.column(columns) else { continue };
            let count = chunk.count();
            let id = match &chunk.times {
                Times::Shared { column, .. } => *column,
                Times::Own(_) => u32::MAX,
            };
            let known = self
                .pieces
                .get(k)
                .copied()
                .filter(|p| same && (p.column, p.start, p.count) == (id, start, count) && id != u32::MAX);
            k += 1;
            let (from, to) = match known {
                Some(piece) => (piece.from, piece.to),
                None => {
                    let (from, to) = column.rows(start, count, min, max);
                    let to = to.max(from);
                    if same {
                        same = false;
                        let before = self.v.len() - first;
                        let fresh = self.t.len();
                        self.t.extend_from_within(self.times.start..self.times.start + before);
                        self.times = fresh..fresh;
                        self.pieces.truncate(k - 1);
                    }
                    self.t.extend(column.times(start + from..start + to));
                    self.pieces.push(Piece { column: id, start, count, from, to });
                    (from, to)
                }
            };
            let at = self.v.len();
            self.v.resize(at + to - from, 0.0);
            // What is in memory was encoded here and decodes.
            let _ = chunk.values.as_ref().read_into(from, &mut self.v[at..]);
        }
        if !same {
            self.times.end = self.t.len();
        }
        let n = self.v.len() - first;
        self.places.push((self.times.start..self.times.start + n, first..first + n));
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
        each: impl FnMut(usize, &[i64], &[f64]),
    ) {
        self.read_all(handles, |handle| handle.id.0, min_t, max_t, each);
    }

    pub(super) fn read_all<T>(
        &self,
        all: &[T],
        id: impl Fn(&T) -> u32,
        min_t: Timestamp,
        max_t: Timestamp,
        mut each: impl FnMut(usize, &[i64], &[f64]),
    ) {
        let mut out = Decoded::default();
        for (n, some) in all.chunks(READ_TOGETHER).enumerate() {
            out.clear();
            let mut head = self.0.read();
            // The ends of all of them are asked of the memory at once instead of one after the other.
            let touch = |item| head.table.get(id(item)).map_or(0, |s| s.open.values.newest_byte());
            std::hint::black_box(some.iter().fold(0, |sum: u8, item| sum ^ touch(item)));
            for item in some {
                let id = id(item);
                match head.table.get(id) {
                    Some(series) if self.disk_part(&head, series, min_t).is_some() => {
                        // Files are read without the lock.
                        drop(head);
                        let (t, v) = (out.t.len(), out.v.len());
                        self.read_columns(SeriesId(id), min_t, max_t, &mut out.t, &mut out.v);
                        out.places.push((t..out.t.len(), v..out.v.len()));
                        out.forget_pieces();
                        head = self.0.read();
                    }
                    Some(series) if series.overlaps(min_t, max_t) => {
                        out.add(series, &head.columns, min_t, max_t);
                    }
                    _ => out.places.push((0..0, 0..0)),
                }
            }
            drop(head);
            for (i, (t, v)) in out.places.iter().enumerate() {
                each(n * READ_TOGETHER + i, &out.t[t.clone()], &out.v[v.clone()]);
            }
        }
    }
}
