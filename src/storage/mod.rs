//! The series index and the samples of the recent past.
//!
//! New samples are compressed in memory (`values`, `column`, `series`), found through a label index
//! (`index`), and appended in batches (`appender`) that become visible as a whole. With a directory, every
//! batch is in the write-ahead log (`wal`) before it is visible, full chunks move into files (`seal`,
//! `block`), and a start reads all that back (`recover`).

mod appender;
mod block;
mod column;
mod disk;
mod frame;
mod handle;
mod head;
mod index;
mod last_times;
mod lookup;
mod maintain;
mod metrics;
mod options;
mod recover;
mod seal;
mod series;
mod series_log;
mod table;
mod values;
mod wal;

pub use appender::Appender;
pub use handle::SeriesHandle;
pub use head::{AppendError, Commit, SeriesId, SourceId, Storage};
pub use lookup::{Stats, StatsEntry};
pub use maintain::Maintenance;
pub use metrics::StorageMetrics;
pub use options::{StorageError, StorageOptions};
