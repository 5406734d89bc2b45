//! What every room speaks of: label sets, matchers, samples, durations, alerts.
//!
//! Floor 0: nothing here does I/O or reads a clock (the [`Clock`] trait is how clocks are passed in).

mod alert;
mod clock;
mod duration;
mod fingerprint;
mod glob;
mod labels;
mod matcher;
mod metadata;
mod near;
mod number;
mod order;
mod percent;
mod quote;
pub mod re2;
mod sample;
mod secret;
mod size;
mod time;
pub mod yaml;

pub use alert::Alert;
pub use clock::{Clock, JITTER_MS, ManualClock, SystemClock, Timestamp, lasted};
pub use duration::{Duration, DurationError};
pub use fingerprint::Fingerprint;
pub use glob::Glob;
pub use labels::{Labels, LabelsBuilder, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use metadata::{MetricMetadata, MetricType};
pub use near::nearest;
pub use number::{
    format_float, format_float_exposition, format_float_go, parse_float, push_int, push_seconds,
};
pub use order::{Order, set, tree};
pub use percent::{hex, percent_decode, percent_encode, query_decode, query_encode};
pub use quote::GoQuoted;
pub use sample::{STALE_NAN_BITS, Sample, is_stale_nan, stale_nan};
pub use secret::{Secret, without_password};
pub use size::parse_size;
pub use time::GoTime;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
