//! Timestamps: one column is shared by all the series that a source appends at the same times.

use crate::model::Timestamp;

use super::SourceId;

/// Rows after which a column is full, and with it the chunks that use it.
pub(super) const MAX_ROWS: usize = 120;
/// Time after which a column is full, however few rows it has, ms. Bounds how much log must be kept.
pub(super) const MAX_SPAN: i64 = 30 * 60 * 1000;

/// Ascending timestamps, as offsets from the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    base: Timestamp,
    offsets: Vec<u32>,
}

impl Column {
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn time(&self, row: usize) -> Timestamp {
        self.base.saturating_add(i64::from(self.offsets.get(row).copied().unwrap_or(u32::MAX)))
    }

    pub fn last(&self) -> Option<Timestamp> {
        Some(self.base + i64::from(*self.offsets.last()?))
    }

    /// May `t` be the next row of this column?
    pub fn takes(&self, t: Timestamp) -> bool {
        match self.last() {
            None => true,
            Some(last) => {
                t > last
                    && self.len() < MAX_ROWS
                    && t.checked_sub(self.base).is_some_and(|span| span <= MAX_SPAN)
            }
        }
    }

    /// Appends a time that [`Column::takes`].
    pub fn push(&mut self, t: Timestamp) {
        if self.offsets.is_empty() {
            self.base = t;
        }
        if self.offsets.len() == self.offsets.capacity() {
            self.offsets.reserve_exact(8 + self.offsets.len() / 4);
        }
        self.offsets.push(u32::try_from(t - self.base).unwrap_or(u32::MAX));
    }

    /// The rows `start..start + count` as a column of their own.
    pub fn slice(&self, start: usize, count: usize) -> Self {
        let mut out = Self::default();
        (start..start + count).for_each(|row| out.push(self.time(row)));
        out
    }

    /// The rows of `start..start + count` with `min <= t <= max`, counted from `start`.
    pub fn rows(&self, start: usize, count: usize, min: Timestamp, max: Timestamp) -> (usize, usize) {
        let Some(rows) = self.offsets.get(start..start.saturating_add(count)) else { return (0, 0) };
        // Differences of any two timestamps fit i128; saturating keeps the order, which is all that counts.
        let (low, high) = (min.saturating_sub(self.base), max.saturating_sub(self.base));
        let to = match rows.last() {
            Some(last) if i64::from(*last) <= high => count,
            _ => rows.partition_point(|o| i64::from(*o) <= high),
        };
        (rows[..to].partition_point(|o| i64::from(*o) < low), to)
    }
}

/// The columns in memory; numbers of freed ones are used again.
#[derive(Debug, Default)]
pub(super) struct Columns {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    column: Column,
    source: SourceId,
    /// Chunks that use it.
    users: u32,
    /// It is its source's newest.
    open: bool,
}

impl Columns {
    /// A new column of a source, open.
    pub fn open(&mut self, source: SourceId) -> u32 {
        let slot = Slot { source, open: true, ..Slot::default() };
        match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub fn get(&self, id: u32) -> Option<&Column> {
        Some(&self.slots.get(id as usize)?.column)
    }

    pub fn push(&mut self, id: u32, t: Timestamp) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.column.push(t);
        }
    }

    pub fn is_open(&self, id: u32) -> bool {
        self.slots.get(id as usize).is_some_and(|s| s.open)
    }

    /// No row will come any more.
    pub fn close(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.open = false;
            slot.column.offsets.shrink_to_fit();
        }
        self.free_if_unused(id);
    }

    pub fn add_user(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.users += 1;
        }
    }

    pub fn remove_user(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.users = slot.users.saturating_sub(1);
        }
        self.free_if_unused(id);
    }

    fn free_if_unused(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && !slot.open
            && slot.users == 0
            && !self.free.contains(&id)
        {
            slot.column = Column::default();
            self.free.push(id);
        }
    }

    /// Is it the open column of the source, with no row since `t`?
    pub fn is_idle(&self, id: u32, source: SourceId, t: Timestamp) -> bool {
        self.slots
            .get(id as usize)
            .is_some_and(|s| s.open && s.source == source && s.column.last().is_none_or(|last| last < t))
    }

    /// The open columns whose newest row is older than `t`, with their sources.
    pub fn idle_since(&self, t: Timestamp) -> Vec<(u32, SourceId)> {
        (0u32..)
            .zip(&self.slots)
            .filter(|(_, s)| s.open && s.column.last().is_none_or(|last| last < t))
            .map(|(id, s)| (id, s.source))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_window() {
        let mut column = Column::default();
        [100, 110, 125, 140].into_iter().for_each(|t| column.push(t));
        for (start, count, min, max, rows) in [
            (0, 4, 0, 1000, (0, 4)),
            (0, 4, 100, 140, (0, 4)),
            (0, 4, 101, 139, (1, 3)),
            (1, 2, 0, 1000, (0, 2)),
            (1, 3, 125, 125, (1, 2)),
            (0, 4, 141, 200, (4, 4)),
            (0, 4, 0, 99, (0, 0)),
            (0, 4, i64::MIN, i64::MAX, (0, 4)),
            (0, 4, i64::MAX, i64::MIN, (0, 0)),
            (2, 9, 0, 1000, (0, 0)),
        ] {
            let (from, to) = column.rows(start, count, min, max);
            assert!((from, to) == rows || (from >= to && rows.0 >= rows.1), "{start} {count} {min} {max}");
        }
        assert_eq!(column.slice(1, 2).offsets, [0, 15]);
        assert!(!column.takes(140) && column.takes(141) && !column.takes(100 + MAX_SPAN + 1));
        assert!(!column.takes(i64::MAX) && !column.takes(i64::MIN));
    }
}
