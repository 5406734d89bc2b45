//! What can go wrong when a query is read, and when it is run.

use std::fmt;

use super::token::Span;

/// One reason why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The part of the text that is meant.
    pub span: Span,
    /// Line and column of its start, both from 1 (columns count characters).
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

/// Everything found wrong in a text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors(pub Vec<ParseError>);

impl ParseErrors {
    /// The reasons, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ParseError> {
        self.0.iter()
    }

    pub(super) fn locate(text: &str, found: Vec<(Span, String)>) -> Self {
        Self(
            found
                .into_iter()
                .map(|(span, message)| {
                    let (line, column) = line_and_column(text, span.start as usize);
                    ParseError { span, line, column, message }
                })
                .collect(),
        )
    }
}

/// The first reason, as Prometheus prints it.
impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(e) => e.fmt(f),
            None => f.write_str("parse error"),
        }
    }
}

impl std::error::Error for ParseErrors {}

/// Line and column, both from 1, of a byte offset.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Why a query gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The data or the query made the operation impossible.
    #[error("{0}")]
    Failed(String),
    /// The query would hold more samples in memory than allowed.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The query would be evaluated at more points in time than allowed.
    #[error("{0}")]
    BadRange(String),
    /// It takes longer than allowed.
    #[error("query timed out in query execution")]
    Timeout,
    /// Something that is not built.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The source of the samples failed.
    #[error("{0}")]
    Source(String),
}

impl EvalError {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}
