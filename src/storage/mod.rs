//! The series index and the samples of the recent past.
//!
//! New samples are compressed in memory (`values`, `column`, `series`), found through a label index
//! (`index`), and appended in batches (`appender`) that become visible as a whole.

mod appender;
mod column;
mod handle;
mod head;
mod index;
mod last_times;
mod lookup;
mod maintain;
mod metrics;
mod options;
mod series;
mod table;
mod values;

pub use appender::Appender;
pub use handle::SeriesHandle;
pub use head::{AppendError, Commit, SeriesId, SourceId, Storage};
pub use lookup::{Stats, StatsEntry};
pub use maintain::Maintenance;
pub use metrics::StorageMetrics;
pub use options::{StorageError, StorageOptions};
