//! Escapes of the formats.

use std::borrow::Cow;

use crate::model::GoQuoted;

/// Bytes as Go's `%q` shows them in errors.
pub(super) fn go_quoted(bytes: &[u8]) -> String {
    GoQuoted::new(bytes).to_string()
}

/// Replaces `\\`, `\n` and, where `quotes` says so, `\"`; any other backslash stands for itself.
pub(super) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(i) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..i]);
        let (c, used) = match rest.as_bytes().get(i + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(c);
        rest = &rest[i + used..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
