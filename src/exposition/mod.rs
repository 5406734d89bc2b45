//! The text exposition formats: reading what targets serve, writing what sideband serves.
//!
//! Reading has three doors: [`Scanner`] accepts exactly what Prometheus accepts when it scrapes,
//! [`families`] reads whole metric families of text 0.0.4 more strictly, and [`strict`] holds a page
//! against OpenMetrics 1.0. Writing is [`placement`], which family a series belongs to, and [`write`], the
//! pieces of a page.

mod entry;
pub mod families;
mod family;
mod known;
mod lexer;
mod number;
pub mod placement;
mod quote;
mod scanner;
mod start_time;
pub mod strict;
pub mod write;

pub use entry::{Entry, Exemplar, Format, LabelError, ParseError, Series};
pub use number::{canonical_bound, parse_value};
pub use scanner::Scanner;
