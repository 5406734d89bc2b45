//! Clocks are passed in, so that everything that waits can be tested with simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Milliseconds since the Unix epoch (or since boot, where a name says so).
pub type Timestamp = i64;

/// Timestamps that differ by no more than this are the same, ms: what waits for samples may be so much later than its grid.
pub const JITTER_MS: i64 = 25;

/// Has it lasted so long (ms)? An evaluation that waited some ms for its samples is later than the grid, and what
/// began with it would otherwise be over a whole interval late: [`JITTER_MS`] are enough, or a twentieth of what is wanted.
pub fn lasted(since: Timestamp, now: Timestamp, wanted: i64) -> bool {
    now.saturating_sub(since) >= wanted - JITTER_MS.min(wanted / 20)
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Wall time in milliseconds since the Unix epoch. May jump.
    fn now(&self) -> Timestamp;
    /// Milliseconds since boot, suspended time included (CLOCK_BOOTTIME). Never jumps.
    fn boottime(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        t.tv_sec * 1000 + t.tv_nsec / 1_000_000
    }

    fn boottime(&self) -> Timestamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        t.tv_sec * 1000 + t.tv_nsec / 1_000_000
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    now: Arc<AtomicI64>,
    boot: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock whose wall time is `now` ms and whose boot time is 0.
    pub fn new(now: Timestamp) -> Self {
        let clock = Self::default();
        clock.now.store(now, Ordering::SeqCst);
        clock
    }

    /// Lets `ms` milliseconds pass on both clocks.
    pub fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
        self.boot.fetch_add(ms, Ordering::SeqCst);
    }

    /// Makes the wall clock jump to `now`; the boot clock does not notice.
    pub fn jump_wall(&self, now: Timestamp) {
        self.now.store(now, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.now.load(Ordering::SeqCst)
    }

    fn boottime(&self) -> Timestamp {
        self.boot.load(Ordering::SeqCst)
    }
}
