//! The embedded database: tables of bytes, and transactions that are on the disk when they return.
//!
//! The rooms above own their records and version them. Nothing here is kept in memory beyond a small page
//! cache. A disk that fails is a typed error, never a panic: callers go on from memory and try again.

mod error;
mod guarded;
mod library;
mod place;
mod simulated;
mod store;

pub use error::LedgerError;
pub use simulated::SimulatedDisk;
pub use store::{Ledger, Row, Tx};
