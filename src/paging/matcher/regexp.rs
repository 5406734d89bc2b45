//! From RE2's syntax, which the files are written in, to that of the regex library.

use super::MatcherSyntax;

/// Nothing that reads a label needs more; keeps compiling cheap whatever a file says.
const MAX_BYTES: usize = 64 * 1024;

/// The pattern for the library, with `.` that stops at line breaks. Plain words stay as they are, so that no
/// engine is needed for them.
pub(super) fn translated(pattern: &str) -> Result<String, MatcherSyntax> {
    if pattern.len() > MAX_BYTES {
        return Err(MatcherSyntax(format!("a regular expression of {} bytes is too long", pattern.len())));
    }
    if !pattern.contains(['.', '{', '\\', '(', '[']) {
        return Ok(pattern.to_owned());
    }
    let inner = literal_parts(pattern);
    // The caller's library puts the pattern into a group where `.` matches everything; undo that. A pattern
    // that only balances inside the group must not pass.
    model_accepts(&inner)
        .map_err(|reason| MatcherSyntax(format!("invalid regular expression {pattern:?}: {reason}")))?;
    Ok(format!("(?-s:{inner})"))
}

fn model_accepts(pattern: &str) -> Result<(), String> {
    use crate::model::{MatchOp, Matcher};
    Matcher::new(MatchOp::Regex, "", pattern).map(drop).map_err(|e| e.reason)
}

/// Writes out `\Q…\E`, and escapes a `{` that begins no repetition (RE2 takes it literally).
fn literal_parts(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("\\Q") {
            let (literal, tail) = tail.split_once("\\E").unwrap_or((tail, ""));
            out.push_str(&regex::escape(literal));
            rest = tail;
            continue;
        }
        if c == '\\' {
            let taken = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
            // `\pL`, `\x{41}`: the braces belong to the escape.
            if let Some(tail) = rest.strip_prefix('{')
                && matches!(out.as_bytes().last(), Some(b'p' | b'P' | b'x'))
                && let Some((inside, tail)) = tail.split_once('}')
            {
                out.push('{');
                out.push_str(inside);
                out.push('}');
                rest = tail;
            }
            continue;
        }
        match c {
            '[' if !in_class => {
                in_class = true;
                // A bracket right after the opening is a member.
                let head = if rest.starts_with("[^]") {
                    3
                } else if rest.starts_with("[]") {
                    2
                } else {
                    1
                };
                out.push_str(if head == 1 {
                    "["
                } else if head == 2 {
                    "[\\]"
                } else {
                    "[^\\]"
                });
                rest = &rest[head..];
                continue;
            }
            // The library knows set operations and nested classes, RE2 only `[:name:]`.
            '[' if !rest.starts_with("[:") => out.push_str("\\["),
            '[' => {
                let end = rest.find(":]").map_or(1, |i| i + 2);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '{' if !in_class && !begins_repetition(rest) => out.push_str("\\{"),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// `{n}`, `{n,}` or `{n,m}`.
fn begins_repetition(text: &str) -> bool {
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::model::MatchOp;
    use crate::paging::matcher::Matcher;

    #[test]
    fn patterns_mean_what_re2_says() {
        for (pattern, value, expect) in [
            ("a.b", "a\nb", false),
            ("(?s)a.b", "a\nb", true),
            (r"\Qa.b\E.", "a.bc", true),
            (r"\Qa.b\E.", "axbc", false),
            ("a{", "a{", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            ("[]a]+", "]a", true),
            ("[[a]", "[", true),
            ("[[:alpha:].]+", "a.b", true),
            (r"\p{Greek}+", "αβ", true),
            (r"[&&a~]+", "&~a", true),
            (r"\d+\.\d+", "1.5", true),
            ("(a|b).*", "bcd", true),
        ] {
            let m = Matcher::new(MatchOp::Regex, "x", pattern).unwrap();
            assert_eq!(m.matches(value), expect, "{pattern} on {value:?}");
        }
        for pattern in ["(", "a)(b", "[a", r"\8", "(?P<n", &"a{1000}{1000}".repeat(3)] {
            assert!(Matcher::new(MatchOp::Regex, "x", pattern).is_err(), "{pattern}");
        }
    }
}
