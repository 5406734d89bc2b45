//! Logging and the registry of the daemon's own metrics.
//!
//! Floor 0: knows no other room. Every room registers its metrics on the [`Registry`] handed to it.

mod build_info;
mod label_value;
mod logging;
mod process;
mod self_metrics;

pub use build_info::{REVISION, VERSION, register_build_info};
pub use label_value::LabelValue;
pub use logging::{LogFormat, LogFormatError, LogLevel, LogLevelError, init, subscriber};
pub use process::ProcessMetrics;
pub use prometheus_client::registry::Registry;
pub use self_metrics::{SelfMetrics, SelfMetricsFormat};
