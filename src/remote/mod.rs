//! Other servers of the Prometheus world: where alerts are sent to, and where history is asked for.

mod alertmanager;
mod config;
mod query;
mod warm_start;

pub use alertmanager::{
    AlertmanagerSender, NOTIFICATIONS_TABLE, PreparedAlerting, SenderMetrics, SenderParts,
};
pub use config::{AlertingConfig, AlertmanagerConfig};
pub use query::{MAX_POINTS, QueryError, QueryLimits, RangeSeries, RemoteQuery};
pub use warm_start::WarmStartConfig;
