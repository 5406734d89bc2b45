//! Behaviour of the rooms through their public surfaces: one module a room, one binary (linking is slow).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod alerting;
mod config;
mod exposition;
mod host;
mod ledger;
mod net;
mod paging;
mod promql;
mod remote;
mod replay;
mod rules;
mod scrape;
mod shipped;
mod sigma;
mod sigma_arithmetic;
mod sigma_incidents;
mod storage;
mod template;
mod web;
