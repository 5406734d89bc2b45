//! Samples until the time is up.

use std::cell::Cell;
use std::time::Instant;

use crate::model::{Labels, Matcher, Sample, Timestamp};
use crate::promql::{EvalError, SeriesSet, Source};

/// How many series are read between two looks at the clock.
const BETWEEN_LOOKS: u32 = 64;

/// A source that gives nothing more when the deadline has passed, so that a query that nobody waits for any more
/// comes to its end. Whoever uses it asks [`Until::passed`] afterwards: the result may have holes.
pub struct Until<'a> {
    source: &'a dyn Source,
    deadline: Instant,
}

impl<'a> Until<'a> {
    pub fn new(source: &'a dyn Source, deadline: Instant) -> Self {
        Self { source, deadline }
    }

    /// Has the deadline passed?
    pub fn passed(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl Source for Until<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        min_t: Timestamp,
        max_t: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        if self.passed() {
            return Err(EvalError::Timeout);
        }
        let series = self.source.select(matchers, min_t, max_t)?;
        Ok(Box::new(SetUntil {
            series,
            deadline: self.deadline,
            reads: Cell::new(0),
            over: Cell::new(false),
        }))
    }
}

struct SetUntil<'a> {
    series: Box<dyn SeriesSet + 'a>,
    deadline: Instant,
    reads: Cell<u32>,
    over: Cell<bool>,
}

impl SetUntil<'_> {
    fn over(&self) -> bool {
        let reads = self.reads.get().wrapping_add(1);
        self.reads.set(reads);
        if reads.is_multiple_of(BETWEEN_LOOKS) && Instant::now() >= self.deadline {
            self.over.set(true);
        }
        self.over.get()
    }
}

impl SeriesSet for SetUntil<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        self.series.labels(i)
    }

    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: crate::promql::Each<'_>) {
        self.series.read(min_t, max_t, &mut |i, t, v| {
            if !self.over() {
                each(i, t, v);
            }
        });
    }

    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        if self.over() { None } else { self.series.last(i, min_t, max_t) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{SourceId, Storage};
    use std::time::Duration;

    #[test]
    fn nothing_more_comes_after_the_deadline() {
        let storage = Storage::in_memory();
        let mut appender = storage.appender(SourceId(1));
        for i in 0..1000 {
            let id =
                appender.series(&Labels::from_pairs([("__name__", "x"), ("i", &i.to_string())])).unwrap();
            appender.append(id, 1000, 1.0).unwrap();
        }
        appender.commit(1000);
        let matchers = [Matcher::equal("__name__", "x")];
        let late = Until::new(&storage, Instant::now());
        assert!(late.passed());
        assert!(matches!(late.select(&matchers, 0, 2000), Err(EvalError::Timeout)));
        let until = Until::new(&storage, Instant::now() + Duration::from_secs(3600));
        let set = until.select(&matchers, 0, 2000).unwrap();
        let mut read = 0;
        set.read(0, 2000, &mut |_, _, _| read += 1);
        assert_eq!((read, until.passed()), (1000, false));
        // As if the time had come in the middle.
        let set =
            SetUntil { series: set, deadline: Instant::now(), reads: Cell::new(0), over: Cell::new(false) };
        let mut read = 0;
        set.read(0, 2000, &mut |_, _, _| read += 1);
        assert_eq!(read, BETWEEN_LOOKS - 1);
        assert!(set.last(0, 0, 2000).is_none());
    }
}
