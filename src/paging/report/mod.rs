//! What the last weeks were like for the people who are paged: a report over many incidents, and the postmortem
//! of one.
//!
//! Pure: incidents go in one by one ([`Tally::add`]), a [`Report`] comes out, and is written as text, JSON or HTML.

mod facts;
mod html;
mod options;
pub mod picture;
pub mod postmortem;
mod shape;
mod source;
mod tally;
mod text;
mod words;

pub use facts::Facts;
pub use html::html;
pub use options::{MAX_WINDOW_MS, Night, ReportOptions};
pub use shape::{
    Acknowledgements, CoinVerdict, DayCount, Drills, HourCount, NamedCount, PersonLoad, Report, Resolutions,
    RuleRecord, SentCount, SeriesCount,
};
pub use source::{incident_in, of_ledger};
pub use tally::Tally;
pub use text::{days, hours, summary, text};
