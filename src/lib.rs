//! sideband: scrape, evaluate, page. The rooms and their floors are in `docs/architecture.md`.

// Floor 0
pub mod model;
pub mod telemetry;
// Floor 1
pub mod exposition;
pub mod ledger;
pub mod net;
pub mod storage;
// Floor 2
pub mod host;
pub mod promql;
pub mod scrape;
pub mod sigma;
pub mod template;
// Floor 3
pub mod paging;
pub mod remote;
pub mod rules;
// Floor 4
pub mod web;
// Floor 5
pub mod config;
// Floor 6
pub mod daemon;
// Floor 7
pub mod cli;
