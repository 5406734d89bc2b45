//! Scraping: which targets there are, when each is asked, and what becomes of its answer.

mod cache;
mod config;
mod file_sd;
mod ingest;
mod job;
mod manager;
mod metrics;
mod pool;
pub mod protocols;
pub mod relabel;
mod scrape_loop;
mod target;
mod target_group;
mod view;

pub use config::{DISCOVERIES_NOT_BUILT, GlobalDefaults, ScrapeConfig};
pub use file_sd::{FileDiscovery, FileSdConfig, read as read_targets};
pub use ingest::{Counts, Ingest, PageReader};
pub use job::ScrapeJob;
pub use manager::{Manager, ScrapeError};
pub use metrics::ScrapeMetrics;

pub use target_group::{TargetGroup, check_address};
pub use view::{DroppedTargetView, TargetHealth, TargetView};
