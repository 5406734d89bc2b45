//! Remarks on a result: warnings (it may be wrong) and infos (the query may be).

use std::collections::BTreeSet;

use super::error::line_and_column;
use super::token::Span;

/// Remarks on a query's result, each once, as Prometheus words them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// More remarks of a kind than this are not kept.
const MAX_KEPT: usize = 1000;

/// Remarks while they are collected.
#[derive(Debug, Default)]
pub(super) struct Notes {
    warnings: BTreeSet<(u32, String)>,
    infos: BTreeSet<(u32, String)>,
}

impl Notes {
    pub fn warn(&mut self, at: Span, message: String) {
        if self.warnings.len() < MAX_KEPT {
            self.warnings.insert((at.start, message));
        }
    }

    pub fn info(&mut self, at: Span, message: String) {
        if self.infos.len() < MAX_KEPT {
            self.infos.insert((at.start, message));
        }
    }

    pub fn finish(self, text: &str) -> Annotations {
        let print = |kind: &str, notes: BTreeSet<(u32, String)>| {
            notes
                .into_iter()
                .map(|(at, message)| {
                    let (line, column) = line_and_column(text, at as usize);
                    format!("PromQL {kind}: {message} ({line}:{column})")
                })
                .collect()
        };
        Annotations { warnings: print("warning", self.warnings), infos: print("info", self.infos) }
    }

    /// A quantile out of its range.
    pub fn invalid_quantile(&mut self, at: Span, q: f64) {
        let q = crate::model::format_float_exposition(q);
        self.warn(at, format!("quantile value should be between 0 and 1, got {q}"));
    }
}
