//! The newest timestamp of every series, readable without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::Timestamp;

/// Entries of the first segment; each one is twice as large as the one before.
const FIRST: u64 = 1024;
const SEGMENTS: usize = 23;

/// Newest timestamps by series number, pending ones included, so that an appender can refuse a sample
/// without asking for the head's lock. Never shrinks: 8 bytes for each series that ever was.
#[derive(Debug)]
pub(super) struct LastTimes {
    segments: [OnceLock<Box<[AtomicI64]>>; SEGMENTS],
}

/// Where a series' entry is: segment and place.
fn place(id: u32) -> (usize, usize) {
    let n = u64::from(id) + FIRST;
    let segment = n.ilog2() - FIRST.ilog2();
    (segment as usize, (n - (FIRST << segment)) as usize)
}

impl Default for LastTimes {
    fn default() -> Self {
        Self { segments: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl LastTimes {
    /// `i64::MIN` when the series has no sample; `None` when there is no such series.
    #[inline]
    pub fn get(&self, id: u32) -> Option<Timestamp> {
        let (segment, i) = place(id);
        Some(self.segments[segment].get()?[i].load(Ordering::Relaxed))
    }

    #[inline]
    pub fn set(&self, id: u32, t: Timestamp) {
        let (segment, i) = place(id);
        if let Some(segment) = self.segments[segment].get() {
            segment[i].store(t, Ordering::Relaxed);
        }
    }

    /// Makes room for a series that has no sample.
    pub fn add(&self, id: u32) {
        let (segment, i) = place(id);
        let size = FIRST << segment;
        let slots =
            self.segments[segment].get_or_init(|| (0..size).map(|_| AtomicI64::new(i64::MIN)).collect());
        slots[i].store(i64::MIN, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        assert_eq!((place(0), place(1023), place(1024), place(3071)), ((0, 0), (0, 1023), (1, 0), (1, 2047)));
        assert!(place(u32::MAX).0 < SEGMENTS);
        let times = LastTimes::default();
        assert_eq!(times.get(5000), None);
        times.add(5000);
        assert_eq!(times.get(5000), Some(i64::MIN));
        times.set(5000, 7);
        assert_eq!(times.get(5000), Some(7));
    }
}
