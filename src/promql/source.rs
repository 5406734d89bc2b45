//! Where a query's samples come from.

use super::error::EvalError;
use crate::model::{Labels, Matcher, Sample, Timestamp};
use crate::storage::{SeriesHandle, Storage};

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

    /// Gives every series' samples with `min_t <= t <= max_t`, staleness markers too.
    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>);

    /// The newest sample of the `i`-th series with `min_t <= t <= max_t`, a staleness marker too.
    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample>;
}

/// Series of the storage.
struct Stored<'a> {
    storage: &'a Storage,
    handles: Vec<SeriesHandle>,
}

impl Source for Storage {
    fn select(
        &self,
        matchers: &[Matcher],
        min_t: Timestamp,
        max_t: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        let handles = Self::select(self, matchers, min_t, max_t);
        Ok(Box::new(Stored { storage: self, handles }))
    }
}

impl SeriesSet for Stored<'_> {
    fn len(&self) -> usize {
        self.handles.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        &self.handles[i].labels
    }

    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>) {
        self.storage.read_many(&self.handles, min_t, max_t, each);
    }

    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        self.handles[i].last(min_t, max_t)
    }
}
