//! `/metrics` and `/federate`: what is stored, as text for other scrapers.

mod federate;
mod negotiate;
mod page;
mod self_metrics;

pub use federate::federate;
pub use negotiate::negotiate;
pub use page::{ExternalLabels, MetricsPage};
