//! `/metrics` and `/federate`: what is stored, as text for other scrapers.

mod family;
mod federate;
mod negotiate;
mod page;
mod self_metrics;
mod write;

pub use federate::federate;
pub use negotiate::negotiate;
pub use page::{ExternalLabels, MetricsPage};
