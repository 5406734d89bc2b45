//! Targets as `/api/v1/targets` shows them.

use serde::Serialize;

use crate::model::{GoTime, Labels, Timestamp};

/// An active target.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
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
    #[serde(serialize_with = "GoTime::write")]
    pub last_scrape: Timestamp,
    /// Seconds.
    pub last_scrape_duration: f64,
    pub health: TargetHealth,
    pub scrape_interval: String,
    pub scrape_timeout: String,
}

/// Did the last scrape work?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    /// There was none yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl TargetHealth {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTargetView {
    pub discovered_labels: Labels,
    pub scrape_pool: String,
}
