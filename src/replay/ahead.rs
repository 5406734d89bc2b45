//! Results of an expression at many times, handed out one time after the other.

use crate::model::{Labels, METRIC_NAME, Order as _, Sample, Timestamp, is_stale_nan};
use crate::promql::VectorSample;

/// A matrix and how far each of its series was read.
#[derive(Debug, Default)]
pub struct Ahead {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    labels: Labels,
    samples: Vec<Sample>,
    next: usize,
}

impl Ahead {
    /// From series with their samples, oldest first.
    pub fn new(rows: Vec<(Labels, Vec<Sample>)>) -> Self {
        Self { rows: rows.into_iter().map(|(labels, samples)| Row { labels, samples, next: 0 }).collect() }
    }

    /// The same without metric names, for rules that drop them anyway. Not if series would become the same by it: the rule has
    /// to see that.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        let stripped: Vec<Labels> =
            self.rows.iter().map(|row| row.labels.without(|n| n == METRIC_NAME)).collect();
        let mut sorted: Vec<&Labels> = stripped.iter().collect();
        sorted.order();
        if sorted.windows(2).all(|w| w[0] != w[1]) {
            for (row, labels) in self.rows.iter_mut().zip(stripped) {
                row.labels = labels;
            }
        }
        self
    }

    /// The vector at `t`; times are asked for in order.
    pub fn at(&mut self, t: Timestamp) -> Vec<VectorSample> {
        let mut vector = Vec::with_capacity(self.rows.len());
        for row in &mut self.rows {
            while row.samples.get(row.next).is_some_and(|s| s.t < t) {
                row.next += 1;
            }
            if let Some(sample) = row.samples.get(row.next).filter(|s| s.t == t && !is_stale_nan(s.v)) {
                vector.push(VectorSample { labels: row.labels.clone(), t, v: sample.v });
            }
        }
        vector
    }

    /// The series with their samples.
    pub fn rows(&self) -> impl Iterator<Item = (&Labels, &[Sample])> {
        self.rows.iter().map(|row| (&row.labels, row.samples.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}
