//! Other servers of the Prometheus world: where alerts are sent to.

mod alertmanager;
mod config;

pub use alertmanager::{AlertmanagerSender, NOTIFICATIONS_TABLE, PreparedAlerting, SenderMetrics, SenderParts};
pub use config::{AlertingConfig, AlertmanagerConfig};
