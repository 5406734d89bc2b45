//! The identity of a label set as a number.

use std::fmt;

/// FNV-1a (64 bits) over the sorted label set, each name and value followed by a byte 0xff,
/// as Prometheus and Alertmanager compute it, so that fingerprints agree across the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of labels given in the order of their names.
    pub fn of<'a>(sorted: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for &b in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (name, value) in sorted {
            eat(name.as_bytes());
            eat(value.as_bytes());
        }
        Self(hash)
    }
}

/// Sixteen lower-case hexadecimal digits, as in Alertmanager's API.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
