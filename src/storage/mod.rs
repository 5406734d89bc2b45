//! The series index and the samples of the recent past.

mod head;

pub use head::{AppendError, Appender, Commit, SeriesHandle, SeriesId, SourceId, Storage};
