//! Scraping: which targets there are, when each is asked, and what becomes of its answer.

mod cache;
pub mod config;
mod file_sd;
mod ingest;
mod manager;
mod metrics;
mod pool;
pub mod relabel;
mod scrape_loop;
mod target;
mod target_group;
mod view;

pub use config::{ConfigError, GlobalDefaults, ScrapeConfig, ScrapeJob};
pub use file_sd::{FileDiscovery, FileSdConfig, read as read_targets};
pub use ingest::{Counts, Ingest, PageReader};
pub use manager::{Manager, ScrapeError};
pub use metrics::ScrapeMetrics;

pub use target_group::TargetGroup;
pub use view::{DroppedTargetView, TargetHealth, TargetView};
