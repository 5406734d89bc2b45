//! Values of many series over many steps, in one block of memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::error::EvalError;
use super::value::{RESERVED, without_reserved};
use crate::model::{Labels, METRIC_NAME, STALE_NAN_BITS};

/// "No sample here". It has the bits of the staleness marker, which never comes out of an evaluation.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Is there a sample?
#[inline]
pub(super) fn present(v: f64) -> bool {
    v.to_bits() != STALE_NAN_BITS
}

/// Labels of a row. The metric name is not cut off at once but noted as to be dropped: most
/// operations never look at it again, and with delayed removal it must stay until the end.
#[derive(Debug, Clone)]
pub(super) struct RowLabels {
    pub labels: Labels,
    pub drop_name: bool,
}

impl RowLabels {
    pub fn new(labels: Labels) -> Self {
        Self { labels, drop_name: false }
    }

    /// The labels without what is to be dropped.
    pub fn settled(&self) -> Labels {
        if self.drop_name { without_reserved(&self.labels) } else { self.labels.clone() }
    }
}

/// Rows of `width` cells each.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub width: usize,
    pub rows: Vec<RowLabels>,
    pub cells: Vec<f64>,
}

impl Table {
    pub fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), cells: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.cells[i * self.width..(i + 1) * self.width]
    }

    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.cells[i * self.width..(i + 1) * self.width]
    }

    pub fn push(&mut self, labels: RowLabels, cells: &[f64]) {
        debug_assert_eq!(cells.len(), self.width);
        self.rows.push(labels);
        self.cells.extend_from_slice(cells);
    }

    /// A row without any sample yet; its number.
    pub fn push_absent(&mut self, labels: RowLabels) -> usize {
        self.rows.push(labels);
        self.cells.resize(self.rows.len() * self.width, ABSENT);
        self.rows.len() - 1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RowLabels, &[f64])> {
        self.rows.iter().zip(self.cells.chunks(self.width.max(1)))
    }

    /// Cells of each row in the order of `order`.
    pub fn reordered(self, order: &[usize]) -> Self {
        let mut out = Self::new(self.width);
        for &i in order {
            out.push(self.rows[i].clone(), self.row(i));
        }
        out
    }

    /// Drops the rows that have no sample at all.
    pub fn without_empty_rows(self) -> Self {
        let keep: Vec<usize> = (0..self.len()).filter(|&i| self.row(i).iter().any(|v| present(*v))).collect();
        if keep.len() == self.len() { self } else { self.reordered(&keep) }
    }

    /// Every present cell changed.
    pub fn map(mut self, mut f: impl FnMut(f64) -> f64) -> Self {
        for cell in self.cells.iter_mut().filter(|c| present(**c)) {
            *cell = f(*cell);
        }
        self
    }

    /// Notes that the metric names are to be dropped.
    pub fn dropping_names(mut self) -> Self {
        for row in &mut self.rows {
            row.drop_name = true;
        }
        self
    }

    /// Cuts the noted names off. Rows that become the same are joined when their samples are at
    /// different steps.
    ///
    /// # Errors
    /// Two rows with the same labels have samples at the same step.
    pub fn settled(mut self) -> Result<Self, EvalError> {
        if !self.rows.iter().any(|r| r.drop_name) {
            return Ok(self);
        }
        for row in &mut self.rows {
            *row = RowLabels::new(row.settled());
        }
        self.joined()
    }

    /// Joins rows of the same labels.
    ///
    /// # Errors
    /// As [`Self::settled`].
    pub fn joined(mut self) -> Result<Self, EvalError> {
        let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(self.len());
        let mut doubles = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            match seen.entry(row.labels.as_bytes()) {
                Entry::Vacant(e) => {
                    e.insert(i);
                }
                Entry::Occupied(e) => doubles.push((*e.get(), i)),
            }
        }
        if doubles.is_empty() {
            return Ok(self);
        }
        for &(first, second) in &doubles {
            let dropped = self.rows[second].drop_name;
            self.rows[first].drop_name |= dropped;
            for k in 0..self.width {
                let v = self.cells[second * self.width + k];
                if !present(v) {
                    continue;
                }
                let cell = &mut self.cells[first * self.width + k];
                if present(*cell) {
                    return Err(same_labels());
                }
                *cell = v;
            }
        }
        let gone: std::collections::HashSet<usize> = doubles.into_iter().map(|(_, i)| i).collect();
        let keep: Vec<usize> = (0..self.len()).filter(|i| !gone.contains(i)).collect();
        Ok(self.reordered(&keep))
    }

    /// Would dropping the metric name make two rows the same at one step?
    ///
    /// # Errors
    /// It would.
    pub fn check_unique_without_names(&self) -> Result<(), EvalError> {
        // Series that all have one name stay apart without it.
        let mut names = self.rows.iter().filter(|r| r.drop_name).map(|r| reserved_part(&r.labels));
        let first = names.next();
        if names.all(|n| Some(&n) == first.as_ref()) && self.rows.iter().all(|r| r.drop_name) {
            return Ok(());
        }
        self.clone().settled().map(|_| ())
    }
}

fn reserved_part(labels: &Labels) -> [Option<&str>; 3] {
    debug_assert_eq!(RESERVED[0], METRIC_NAME);
    RESERVED.map(|name| labels.get(name))
}

pub(super) fn same_labels() -> EvalError {
    EvalError::failed("vector cannot contain metrics with the same labelset")
}
