//! What a scraped page consists of.

use std::borrow::Cow;

use crate::model::{Labels, MetricType, Timestamp};

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/plain`, versions 0.0.4 and 1.0.0 (which adds quoted names).
    Text,
    /// `application/openmetrics-text`, as Prometheus reads it: line by line, families are not checked.
    OpenMetrics,
}

/// One line, or an exemplar's line.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    Help { metric: Cow<'a, str>, help: Cow<'a, str> },
    Type { metric: Cow<'a, str>, kind: MetricType },
    Unit { metric: Cow<'a, str>, unit: Cow<'a, str> },
    Comment(&'a [u8]),
    Series(Series<'a>),
}

/// A sample. Its labels are asked from the scanner: most callers know them by the text already.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'a> {
    /// The bytes of name and labels as they stand on the line: `name{label="value"}`.
    pub text: &'a [u8],
    pub value: f64,
    /// Milliseconds.
    pub timestamp: Option<Timestamp>,
    /// When the counter started, ms: from `_created` lines, if the scanner was told to look for them.
    pub start: Option<Timestamp>,
    pub exemplar: Option<Exemplar>,
}

/// An example of what a counter counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    /// Milliseconds.
    pub timestamp: Option<Timestamp>,
}

/// Why a page was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// In Prometheus' words.
    pub message: String,
}

/// Why a series' labels are no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("label name {0:?} is not unique")]
    Duplicate(String),
    #[error("invalid UTF-8 in {0}")]
    NotUtf8(String),
}
