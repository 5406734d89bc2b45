//! Targets as `/api/v1/targets` shows them.

use serde::{Serialize, Serializer};

use crate::model::{Labels, Timestamp};

/// An active target.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    pub discovered_labels: Labels,
    pub labels: Labels,
    /// The job's name.
    pub scrape_pool: String,
    pub scrape_url: String,
    pub global_url: String,
    /// Empty after a good scrape.
    pub last_error: String,
    /// ms; 0 before the first scrape.
    #[serde(serialize_with = "rfc3339")]
    pub last_scrape: Timestamp,
    /// Seconds.
    pub last_scrape_duration: f64,
    /// `up`, `down` or `unknown`.
    pub health: &'static str,
    pub scrape_interval: String,
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTargetView {
    pub discovered_labels: Labels,
    pub scrape_pool: String,
}

fn rfc3339<S: Serializer>(t: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_millisecond(*t) {
        Ok(at) if *t != 0 => serializer.collect_str(&format_args!("{at:.3}")),
        _ => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}
