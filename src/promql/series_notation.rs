//! The notation of series in tests of rules and of the engine: `metric{label="value"} 1+2x3 _ stale`.

use super::number::{NumberScan, scan_number_or_duration};
use super::parse_selector_labels;
use crate::model::{Labels, parse_float, stale_nan};

/// More values than this in one line are refused.
const MAX_VALUES: usize = 1_000_000;

/// A line of the notation.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesLine {
    pub labels: Labels,
    /// One a step; `None` where there is no sample.
    pub values: Vec<Option<f64>>,
}

/// Why a line is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    #[error("{0}")]
    Labels(String),
    #[error("unexpected {0:?} in series values")]
    Value(String),
    #[error("native histograms are not supported: {0:?}")]
    Histogram(String),
    #[error("more than {MAX_VALUES} values")]
    TooMany,
}

/// Reads a series and its values.
///
/// # Errors
/// The labels or a value cannot be read.
pub fn parse_series_line(line: &str) -> Result<SeriesLine, NotationError> {
    let line = line.trim();
    let end = end_of_labels(line);
    let (labels, values) = line.split_at(end);
    if !values.is_empty() && !values.starts_with([' ', '\t']) {
        return Err(NotationError::Value(values.to_owned()));
    }
    let labels = parse_labels(labels)?;
    Ok(SeriesLine { labels, values: parse_values(values)? })
}

/// Reads a series without values: `metric{label="value"}`.
///
/// # Errors
/// It is none, or it has matchers other than `=`.
pub fn parse_labels(text: &str) -> Result<Labels, NotationError> {
    parse_selector_labels(text).map_err(NotationError::Labels)
}

/// Where the labels end: after the closing brace, or at the first space outside of braces.
fn end_of_labels(line: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    let mut braces = false;
    for (i, c) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if q != '`' && c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' | '`' if braces => quote = Some(c),
                '{' => braces = true,
                '}' => return i + 1,
                // A space may stand between the name and the brace.
                ' ' | '\t' if !braces && !labels_follow(&line[i..]) => return i,
                _ => {}
            },
        }
    }
    line.len()
}

fn labels_follow(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('{') && !rest.starts_with("{{")
}

/// Reads values: `1`, `1+2x3` (1 3 5 7), `1-2x3`, `1x3` (1 1 1 1), `_`, `_x3`, `stale`.
///
/// # Errors
/// A word is none of these.
pub fn parse_values(text: &str) -> Result<Vec<Option<f64>>, NotationError> {
    let mut out = Vec::new();
    for word in text.split_ascii_whitespace() {
        if word.starts_with("{{") || word.contains("{{") {
            return Err(NotationError::Histogram(word.to_owned()));
        }
        let bad = || NotationError::Value(word.to_owned());
        let (item, times) = item(word).ok_or_else(bad)?;
        if out.len().saturating_add(times) >= MAX_VALUES {
            return Err(NotationError::TooMany);
        }
        match item {
            Item::Gap => out.extend(std::iter::repeat_n(None, times)),
            Item::Values(start, step) => {
                // Added up value by value, as the notation is defined.
                let mut v = start;
                for _ in 0..=times {
                    out.push(Some(v));
                    v += step;
                }
            }
        }
    }
    Ok(out)
}

enum Item {
    Gap,
    Values(f64, f64),
}

/// A word and how often it is repeated (for values: after the first).
fn item(word: &str) -> Option<(Item, usize)> {
    if let Some(rest) = word.strip_prefix('_') {
        let times = if rest.is_empty() { 1 } else { times(rest)? };
        return Some((Item::Gap, times));
    }
    let (start, rest) = signed(word)?;
    if rest.is_empty() {
        return Some((Item::Values(start, 0.0), 0));
    }
    if rest.starts_with('x') {
        return Some((Item::Values(start, 0.0), times(rest)?));
    }
    if !rest.starts_with(['+', '-']) {
        return None;
    }
    let (step, rest) = signed(rest)?;
    // A step needs a number of times.
    Some((Item::Values(start, step), times(rest)?))
}

fn times(rest: &str) -> Option<usize> {
    rest.strip_prefix('x')?.parse().ok().filter(|n| *n <= MAX_VALUES)
}

/// A number with a sign, or `stale`, at the start of a word; and what follows.
fn signed(word: &str) -> Option<(f64, &str)> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let sign = if word.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(rest) = unsigned.strip_prefix("stale") {
        return (unsigned.len() == word.len()).then(|| (stale_nan(), rest));
    }
    for name in ["Inf", "NaN", "inf", "nan", "INF", "NAN"] {
        if let Some(rest) = unsigned.strip_prefix(name) {
            return Some((sign * parse_float(name)?, rest));
        }
    }
    match scan_number_or_duration(unsigned, true) {
        NumberScan::Number(n) => {
            let (digits, rest) = unsigned.split_at_checked(n)?;
            Some((sign * super::number::number_value(digits)?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, expect) in [
            ("1 2", vec![Some(1.0), Some(2.0)]),
            ("1+2x3", vec![Some(1.0), Some(3.0), Some(5.0), Some(7.0)]),
            ("1-2x1 _ _x2", vec![Some(1.0), Some(-1.0), None, None, None]),
            ("1x2", vec![Some(1.0); 3]),
            ("-1e2 +Inf", vec![Some(-100.0), Some(f64::INFINITY)]),
        ] {
            assert_eq!(parse_values(text).unwrap(), expect, "{text}");
        }
        for text in ["1+1", "-3-3", "_a4", "_-2", "1x", "a", "1y", "-stale"] {
            assert!(parse_values(text).is_err(), "{text}");
        }
        let line = parse_series_line("m{a=\"} \\\" x\"} 1 stale").unwrap();
        assert_eq!(line.labels.get("a"), Some("} \" x"));
        assert!(crate::model::is_stale_nan(line.values[1].unwrap()));
    }
}
