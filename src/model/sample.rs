//! One value at one time.

use super::Timestamp;

/// Bit pattern of Prometheus's staleness marker, a signalling NaN that no arithmetic produces
/// (Prometheus, `model/value`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// A value of a series at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub t: Timestamp,
    /// The value; [`stale_nan`] says that the series ended here.
    pub v: f64,
}

/// The staleness marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Is this value the staleness marker (and no ordinary NaN)?
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}
