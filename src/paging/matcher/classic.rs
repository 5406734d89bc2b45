//! The old grammar of matchers: what is between the operator and the comma is the value, nearly whatever it is.

use super::{Matcher, MatcherSyntax};
use crate::model::{MatchOp, is_legacy_metric_name};

/// Reads a list of matchers.
///
/// # Errors
/// A bad name, no operator, a stray double quote, a bad regular expression.
pub fn parse(text: &str) -> Result<Vec<Matcher>, MatcherSyntax> {
    let inside = text.strip_prefix('{').unwrap_or(text);
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    split(inside).into_iter().map(one).collect()
}

/// Splits at the commas outside quotes. A blank piece counts unless it is the last.
fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            b',' if !quoted => {
                pieces.push(&text[start..i]);
                start = i + 1;
                // An escape before a comma says nothing about what comes after it.
                continue;
            }
            b'"' if !escaped => quoted = !quoted,
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {}
        }
        escaped = false;
    }
    if !text[start..].trim().is_empty() {
        pieces.push(&text[start..]);
    }
    pieces
}

fn one(text: &str) -> Result<Matcher, MatcherSyntax> {
    let bad = || MatcherSyntax(format!("bad matcher format: {text}"));
    let at = text.find(['=', '!']).ok_or_else(bad)?;
    let (name, rest) = text.split_at(at);
    // Blanks of ASCII only, unlike in today's grammar.
    let blank = |c: char| c.is_ascii_whitespace();
    let name = name.trim_matches(blank);
    if !is_legacy_metric_name(name) {
        return Err(bad());
    }
    let (op, raw) =
        [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)]
            .into_iter()
            .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)))
            .ok_or_else(bad)?;
    Matcher::new(op, name, unquote(raw.trim_matches(blank))?)
}

/// A double quote may only stand first and last, or escaped; an escape that is none is a backslash.
fn unquote(raw: &str) -> Result<String, MatcherSyntax> {
    let stray = || MatcherSyntax(format!("matcher value contains unescaped double quote: {raw}"));
    let (opened, body) = raw.strip_prefix('"').map_or((false, raw), |body| (true, body));
    let mut closed = false;
    let mut value = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        if closed {
            return Err(stray());
        }
        match c {
            '"' if opened => closed = true,
            '"' => return Err(stray()),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                other => {
                    value.push('\\');
                    value.extend(other);
                }
            },
            c => value.push(c),
        }
    }
    if opened && !closed { Err(stray()) } else { Ok(value) }
}
