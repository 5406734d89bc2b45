//! One series in memory: its labels and its chunks.

use crate::model::{Labels, Sample, Timestamp};

use super::SourceId;
use super::column::{Column, Columns};
use super::values::Values;

/// Below this many samples a gap moves a chunk to timestamps of its own; above, it ends the chunk.
const FEW: usize = 8;

/// Where the timestamps of a chunk are.
#[derive(Debug, Clone)]
pub(super) enum Times {
    /// Rows of the column of a source, from `start`.
    Shared { column: u32, start: u16 },
    /// In a column of the chunk's own: the series has gaps, timestamps of its own, or several sources.
    Own(Box<Column>),
}

/// Up to [`MAX_ROWS`](super::column::MAX_ROWS) samples.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub times: Times,
    pub values: Values,
}

impl Chunk {
    fn empty() -> Self {
        Self { times: Times::Shared { column: u32::MAX, start: 0 }, values: Values::default() }
    }

    pub fn count(&self) -> usize {
        self.values.count()
    }

    /// The column and the first row in it.
    pub fn column<'a>(&'a self, columns: &'a Columns) -> Option<(&'a Column, usize)> {
        match &self.times {
            Times::Shared { column, start } => Some((columns.get(*column)?, usize::from(*start))),
            Times::Own(column) => Some((column, 0)),
        }
    }

    /// First and last timestamp; `None` for an empty chunk.
    pub fn span(&self, columns: &Columns) -> Option<(Timestamp, Timestamp)> {
        let (column, start) = self.column(columns)?;
        let n = self.count();
        (n > 0).then(|| (column.time(start), column.time(start + n - 1)))
    }

    fn drop_times(&self, columns: &mut Columns) {
        if let Times::Shared { column, .. } = &self.times
            && self.count() > 0
        {
            columns.remove_user(*column);
        }
    }
}

/// A row of a source's column, for an append.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub column: u32,
    pub row: u16,
}

/// What is in memory of a series.
#[derive(Debug)]
pub(super) struct Series {
    pub labels: Labels,
    /// Hash of the labels in the index, so that growing it reads no label set.
    pub hash: u32,
    pub source: SourceId,
    /// Full chunks, oldest first.
    pub closed: Vec<Chunk>,
    pub open: Chunk,
    pub first_t: Timestamp,
    /// The newest sample; its time is `i64::MIN` before the first.
    pub last: Sample,
    /// No sample in a file is newer; `i64::MIN` when there is none.
    pub disk_until: Timestamp,
}

impl Series {
    pub fn new(labels: Labels, hash: u32, source: SourceId) -> Self {
        Self {
            labels,
            hash,
            source,
            closed: Vec::new(),
            open: Chunk::empty(),
            first_t: i64::MAX,
            last: Sample { t: i64::MIN, v: 0.0 },
            disk_until: i64::MIN,
        }
    }

    /// May it have samples in the window?
    pub fn overlaps(&self, min: Timestamp, max: Timestamp) -> bool {
        let newest = self.newest();
        newest >= min && self.first_t <= max && newest > i64::MIN
    }

    /// No sample, in memory or in a file, is newer.
    pub fn newest(&self) -> Timestamp {
        self.last.t.max(self.disk_until)
    }

    /// The chunks in memory, oldest first.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &Chunk> {
        self.closed.iter().chain((self.open.count() > 0).then_some(&self.open))
    }

    /// The oldest timestamp in memory.
    pub fn memory_start(&self, columns: &Columns) -> Option<Timestamp> {
        Some(self.chunks().next()?.span(columns)?.0)
    }

    /// Appends a sample that is newer than the newest; `row` when its time is that of a row of the
    /// source's column. Says whether it was taken.
    pub fn append(&mut self, columns: &mut Columns, row: Option<Row>, t: Timestamp, v: f64) -> bool {
        if t <= self.last.t {
            return false;
        }
        let n = self.open.count();
        if n > 0 {
            let fits = match (&mut self.open.times, row) {
                (Times::Shared { column, start }, Some(r)) if *column == r.column => {
                    let next = usize::from(*start) + n;
                    next == usize::from(r.row) || (n < FEW && self.own_times(columns, t))
                }
                (Times::Shared { column, .. }, _) => {
                    n < FEW && columns.is_open(*column) && self.own_times(columns, t)
                }
                (Times::Own(column), _) => {
                    let takes = column.takes(t);
                    if takes {
                        column.push(t);
                    }
                    takes
                }
            };
            if !fits {
                self.close(columns);
            }
        }
        if self.open.count() == 0 {
            self.open.times = match row {
                Some(Row { column, row }) => {
                    columns.add_user(column);
                    Times::Shared { column, start: row }
                }
                None => {
                    let mut column = Column::default();
                    column.push(t);
                    Times::Own(Box::new(column))
                }
            };
            self.first_t = self.first_t.min(t);
        }
        self.open.values.push(v);
        self.last = Sample { t, v };
        true
    }

    /// Gives the open chunk timestamps of its own and appends `t`, if they can take it.
    fn own_times(&mut self, columns: &mut Columns, t: Timestamp) -> bool {
        let Times::Shared { column: id, start } = self.open.times else { return false };
        let Some(shared) = columns.get(id) else { return false };
        let mut own = shared.slice(usize::from(start), self.open.count());
        let takes = own.takes(t);
        if takes {
            own.push(t);
            self.open.times = Times::Own(Box::new(own));
            columns.remove_user(id);
        }
        takes
    }

    /// Ends the open chunk.
    pub fn close(&mut self, _columns: &mut Columns) {
        if self.open.count() > 0 {
            let mut chunk = std::mem::replace(&mut self.open, Chunk::empty());
            chunk.values.shrink();
            self.closed.reserve_exact(1);
            self.closed.push(chunk);
        }
    }

    /// Drops the chunks whose samples are all at or before `t`. Says how many.
    pub fn drop_until(&mut self, columns: &mut Columns, t: Timestamp) -> usize {
        let old = |chunk: &Chunk, columns: &Columns| chunk.span(columns).is_none_or(|(_, last)| last <= t);
        let n = self.closed.iter().take_while(|chunk| old(chunk, columns)).count();
        for chunk in self.closed.drain(..n) {
            chunk.drop_times(columns);
        }
        if n > 0 {
            self.closed.shrink_to_fit();
        }
        let open = self.closed.is_empty() && self.open.count() > 0 && old(&self.open, columns);
        if open {
            std::mem::replace(&mut self.open, Chunk::empty()).drop_times(columns);
        }
        n + usize::from(open)
    }

    /// Calls `emit` with the samples of the window that are in memory, chunk by chunk, oldest first.
    pub fn read(&self, columns: &Columns, min: Timestamp, max: Timestamp, out: &mut impl Output) {
        if !self.overlaps(min, max) {
            return;
        }
        // Most reads want the end: find the first chunk of the window from there.
        let mut first = self.closed.len();
        while first > 0 && self.closed[first - 1].span(columns).is_some_and(|(_, last)| last >= min) {
            first -= 1;
        }
        for chunk in self.closed[first..].iter().chain(std::iter::once(&self.open)) {
            if chunk.count() == 0 {
                continue;
            }
            let Some((column, start)) = chunk.column(columns) else { continue };
            let (from, to) = column.rows(start, chunk.count(), min, max);
            if from >= to {
                continue;
            }
            let at = out.make_room(to - from);
            // What is in memory was encoded here and decodes.
            let _ = chunk.values.read(from, to, |i, v| out.put(at + i - from, column.time(start + i), v));
        }
    }

    /// The newest sample of the window that is in memory.
    pub fn last_in(&self, columns: &Columns, min: Timestamp, max: Timestamp) -> Option<Sample> {
        if self.last.t <= max {
            return (self.last.t >= min && self.last.t > i64::MIN).then_some(self.last);
        }
        for chunk in self.chunks().rev() {
            let Some((column, start)) = chunk.column(columns) else { continue };
            let (from, to) = column.rows(start, chunk.count(), min, max);
            if from < to {
                let mut v = None;
                let _ = chunk.values.read(to - 1, to, |_, x| v = Some(x));
                return Some(Sample { t: column.time(start + to - 1), v: v? });
            }
            if column.time(start) < min {
                return None;
            }
        }
        None
    }
}

/// Where decoded samples go: chunks come oldest first, the samples of one newest first.
pub(super) trait Output {
    /// Makes room for `n` more samples and says where it starts.
    fn make_room(&mut self, n: usize) -> usize;
    /// Puts a sample into the room.
    fn put(&mut self, at: usize, t: Timestamp, v: f64);
    /// Samples so far.
    fn len(&self) -> usize;
    /// Time of the newest sample so far, from place `from` on.
    fn newest(&self, from: usize) -> Option<Timestamp>;
    /// Takes back what is beyond `len`.
    fn truncate(&mut self, len: usize);
}

impl Output for Vec<Sample> {
    fn make_room(&mut self, n: usize) -> usize {
        let at = Vec::len(self);
        self.resize(at + n, Sample { t: 0, v: 0.0 });
        at
    }

    #[inline]
    fn put(&mut self, at: usize, t: Timestamp, v: f64) {
        if let Some(slot) = self.get_mut(at) {
            *slot = Sample { t, v };
        }
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn newest(&self, from: usize) -> Option<Timestamp> {
        Some(self.get(from..)?.last()?.t)
    }

    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}

/// Timestamps and values in arrays of their own.
pub(super) struct ColumnsOut<'a> {
    pub t: &'a mut Vec<i64>,
    pub v: &'a mut Vec<f64>,
}

impl Output for ColumnsOut<'_> {
    fn make_room(&mut self, n: usize) -> usize {
        let at = self.t.len();
        self.t.resize(at + n, 0);
        self.v.resize(at + n, 0.0);
        at
    }

    #[inline]
    fn put(&mut self, at: usize, t: Timestamp, v: f64) {
        if let (Some(slot_t), Some(slot_v)) = (self.t.get_mut(at), self.v.get_mut(at)) {
            (*slot_t, *slot_v) = (t, v);
        }
    }

    fn len(&self) -> usize {
        self.t.len()
    }

    fn newest(&self, from: usize) -> Option<Timestamp> {
        self.t.get(from..)?.last().copied()
    }

    fn truncate(&mut self, len: usize) {
        self.t.truncate(len);
        self.v.truncate(len);
    }
}
