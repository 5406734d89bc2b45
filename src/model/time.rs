//! Times as the APIs write them.

use serde::{Serialize, Serializer};

use super::Timestamp;

/// A time as Go's JSON writes it: RFC 3339 in UTC without needless zeros; none is the year 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoTime(pub Option<Timestamp>);

impl GoTime {
    /// Of a time that is 0 when there is none.
    pub fn nonzero(t: Timestamp) -> Self {
        Self(Some(t).filter(|t| *t != 0))
    }

    /// For serde's `serialize_with`: a time that is 0 when there is none.
    ///
    /// # Errors
    /// The serializer's.
    pub fn write<S: Serializer>(t: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        Self::nonzero(*t).serialize(serializer)
    }

    /// For serde's `serialize_with`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn write_some<S: Serializer>(t: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        Self(*t).serialize(serializer)
    }
}

impl std::fmt::Display for GoTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(t) => t.fmt(f),
            None => f.write_str("0001-01-01T00:00:00Z"),
        }
    }
}

impl Serialize for GoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (t, expect) in [
            (1_500, "1970-01-01T00:00:01.5Z"),
            (1_795_219_200_000, "2026-11-21T00:00:00Z"),
            (0, "0001-01-01T00:00:00Z"),
            (i64::MAX, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(GoTime::nonzero(t).to_string(), expect);
        }
        assert_eq!(GoTime(Some(0)).to_string(), "1970-01-01T00:00:00Z");
    }
}
