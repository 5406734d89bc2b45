//! Other servers of the Prometheus world: where alerts are sent to.

mod alertmanager;
mod config;

pub use alertmanager::{AlertmanagerSender, SenderMetrics};
pub use config::{AlertingConfig, AlertmanagerConfig};
