//! Texts: case, escapes, regular expressions, host names.

use std::fmt::Write as _;

use regex::Regex;

use crate::model::re2;

use super::super::value::Value;
use super::Call;

fn regex(pattern: &str) -> Result<Regex, String> {
    re2::compile(pattern).map_err(|reason| format!("error parsing regexp: {reason}: `{pattern}`"))
}

/// `match PATTERN TEXT`, not anchored.
pub(super) fn matches(c: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Bool(regex(c.text(0)?)?.is_match(c.text(1)?)))
}

/// `reReplaceAll PATTERN REPLACEMENT TEXT`.
pub(super) fn re_replace_all(c: &Call<'_>) -> Result<Value, String> {
    let regex = regex(c.text(0)?)?;
    let (replacement, text) = (c.text(1)?, c.text(2)?);
    let mut out = String::new();
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        let Some(found) = captures.get(0) else { continue };
        out += &text[last..found.start()];
        captures.expand(replacement, &mut out);
        last = found.end();
        if out.len() > c.limit {
            break;
        }
    }
    c.bounded(out + &text[last..])
}

/// Prometheus's `title`: the first letter of each word in upper case, the others as they are.
pub(super) fn title(c: &Call<'_>) -> Result<Value, String> {
    c.bounded(titled(c.text(0)?, false))
}

/// Alertmanager's `title`: the others in lower case.
pub(super) fn title_and_lower(c: &Call<'_>) -> Result<Value, String> {
    c.bounded(titled(c.text(0)?, true))
}

/// The first letter of each word that has cases becomes a capital. A single `'`, `.` or `:` within a word does not end
/// it. (Unicode's word boundaries, as far as letters with cases go.)
fn titled(text: &str, lower: bool) -> String {
    let cased = |ch: char| ch.is_lowercase() || ch.is_uppercase();
    let inner = |ch: char| matches!(ch, '\'' | '’' | '‘' | '.' | ':' | '·' | '․' | '‧');
    let mut out = String::with_capacity(text.len());
    let (mut in_word, mut after_inner) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(ch) = chars.next() {
        if cased(ch) && !in_word {
            push_title(ch, &mut out);
            in_word = true;
        } else if !lower {
            out.push(ch);
        } else if ch == 'Σ' && in_word {
            let ends = !chars.peek().is_some_and(|n| n.is_alphanumeric());
            out.push(if ends { 'ς' } else { 'σ' });
        } else {
            out.extend(ch.to_lowercase());
        }
        let mark = matches!(ch, '\u{300}'..='\u{36f}' | '\u{200d}');
        in_word &= ch.is_alphanumeric() || ch == '_' || mark || inner(ch) && !after_inner;
        after_inner = inner(ch);
    }
    out
}

/// A letter as the first one of a title: `ǆ` becomes `ǅ`, `ß` becomes `Ss`.
fn push_title(ch: char, out: &mut String) {
    match ch {
        'ǆ' | 'Ǆ' => out.push('ǅ'),
        'ǉ' | 'Ǉ' => out.push('ǈ'),
        'ǌ' | 'Ǌ' => out.push('ǋ'),
        'ǳ' | 'Ǳ' => out.push('ǲ'),
        'ŉ' => out.push_str("ʼN"),
        ch => {
            let mut upper = ch.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

pub(super) fn upper(c: &Call<'_>) -> Result<Value, String> {
    c.bounded(c.text(0)?.to_uppercase())
}

pub(super) fn lower(c: &Call<'_>) -> Result<Value, String> {
    c.bounded(c.text(0)?.to_lowercase())
}

/// As Go's `html`: also fit for attributes in quotes.
pub(in super::super) fn html_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => out += "&#34;",
            '\'' => out += "&#39;",
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// As Go's `js`: fit for a text in a script.
pub(in super::super) fn js_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out += "\\\\",
            '\'' => out += "\\'",
            '"' => out += "\\\"",
            // Writing to a String cannot fail.
            c if matches!(c, '<' | '>' | '&' | '=') || c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// As Go's `url.QueryEscape`.
pub(super) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for b in text.bytes() {
        match b {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(char::from(b)),
            b => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out
}

/// As Go's `url.QueryUnescape`.
pub(super) fn query_unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        match b {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                    _ => return Err(format!("invalid URL escape in {text:?}")),
                }
            }
            b => bytes.push(b),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Host and port as Go's `net.SplitHostPort` takes them apart.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let colon = text.rfind(':')?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return (!inner.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((inner, port));
    }
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// The host of `host:port`; anything else unchanged.
pub(super) fn strip_port(c: &Call<'_>) -> Result<Value, String> {
    let text = c.text(0)?;
    Ok(split_host_port(text).map_or(text, |(host, _)| host).into())
}

/// The name of a host without its domain; addresses unchanged.
pub(super) fn strip_domain(c: &Call<'_>) -> Result<Value, String> {
    let text = c.text(0)?;
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.into());
    }
    let host = host.split('.').next().unwrap_or_default();
    Ok(match port {
        "" => host.into(),
        port if host.contains(':') => format!("[{host}]:{port}").into(),
        port => format!("{host}:{port}").into(),
    })
}
