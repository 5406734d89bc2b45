//! Where a query's samples come from.

use super::error::EvalError;
use crate::model::{Labels, Matcher, Sample, Timestamp};
use crate::storage::{Selection, Storage};

/// Something that holds series. Implemented for [`Storage`]; tests and remote stores bring their own.
pub trait Source {
    /// The series that pass all the matchers and may have samples in `[min_t, max_t]` (ms, both ends
    /// included). No label set comes twice; the order does not matter.
    ///
    /// # Errors
    /// The source cannot be read.
    fn select(
        &self,
        matchers: &[Matcher],
        min_t: Timestamp,
        max_t: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError>;
}

/// Labels, and where they came from.
pub(super) struct Named<'l> {
    labels: &'l Labels,
    /// The selection's number, see [`SeriesSet::number`], and the place in it.
    pub set: u64,
    pub place: usize,
}

impl<'l> Named<'l> {
    pub fn of(set: &'l dyn SeriesSet, place: usize) -> Self {
        Self { labels: set.labels(place), set: set.number(), place }
    }
}

impl<'l> From<&'l Labels> for Named<'l> {
    fn from(labels: &'l Labels) -> Self {
        Self { labels, set: 0, place: 0 }
    }
}

impl std::ops::Deref for Named<'_> {
    type Target = Labels;

    fn deref(&self) -> &Labels {
        self.labels
    }
}

/// Takes a series' place in its selection, the timestamps (ms) and as many values, oldest first.
pub type Each<'f> = &'f mut dyn FnMut(usize, &[Timestamp], &[f64]);

/// Selected series, by their place in the selection.
pub trait SeriesSet {
    /// How many.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of the `i`-th series, `i < len()`.
    fn labels(&self, i: usize) -> &Labels;

    /// Not 0: whenever a selection has this number, the same series are in the same places. 0: it has none.
    fn number(&self) -> u64 {
        0
    }

    /// Gives every series' samples with `min_t <= t <= max_t`, staleness markers too.
    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>);

    /// The newest sample of the `i`-th series with `min_t <= t <= max_t`, a staleness marker too.
    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample>;
}

impl Source for Storage {
    fn select(
        &self,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        // Series without samples in the window cost less than looking for them twice.
        Ok(Box::new(self.selection(matchers)))
    }
}

impl SeriesSet for Selection<'_> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn labels(&self, i: usize) -> &Labels {
        Self::labels(self, i)
    }

    fn number(&self) -> u64 {
        Self::number(self)
    }

    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>) {
        Self::read(self, min_t, max_t, each);
    }

    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        Self::last(self, i, min_t, max_t)
    }
}
