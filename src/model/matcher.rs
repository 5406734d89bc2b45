//! Label matchers: `=`, `!=`, `=~`, `!~`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::Regex;

use super::{Labels, is_legacy_label_name};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl MatchOp {
    /// From the two flags that APIs and protocols have for it.
    pub fn of(regex: bool, equal: bool) -> Self {
        match (regex, equal) {
            (false, true) => Self::Equal,
            (false, false) => Self::NotEqual,
            (true, true) => Self::Regex,
            (true, false) => Self::NotRegex,
        }
    }

    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A regular expression that cannot be compiled, with its text and the reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct MatcherError {
    pub pattern: String,
    pub reason: String,
}

/// One condition on one label. An absent label has the empty value.
///
/// Regular expressions have RE2's syntax, are anchored at both ends, and are compiled at the first
/// use (they are checked when the matcher is made).
#[derive(Clone)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    /// Compiled at the first use; shared by the clones.
    regex: Arc<OnceLock<Option<Regex>>>,
}

impl Matcher {
    /// Makes a matcher.
    ///
    /// # Errors
    /// The value of a regular-expression matcher does not parse.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, MatcherError> {
        let m = Self { name: name.into(), op, value: value.into(), regex: Arc::default() };
        // Literal alternatives need no engine; everything else is compiled once to check it.
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) && !is_plain(&m.value) {
            let compiled =
                compile(&m.value).map_err(|reason| MatcherError { pattern: m.value.clone(), reason })?;
            let _ = m.regex.set(Some(compiled));
        }
        Ok(m)
    }

    /// An equality matcher, which cannot fail.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: Arc::default() }
    }

    /// Does a value of the label pass?
    pub fn matches(&self, value: &str) -> bool {
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => self.regex_matches(value),
            MatchOp::NotRegex => !self.regex_matches(value),
        }
    }

    /// Does the label set pass?
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or_default())
    }

    /// Would a series without the label pass?
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The literal alternatives when the regular expression is nothing more than `a|b|c`.
    pub fn literals(&self) -> Option<impl Iterator<Item = &str>> {
        (matches!(self.op, MatchOp::Regex | MatchOp::NotRegex) && is_plain(&self.value))
            .then(|| self.value.split('|'))
    }

    fn regex_matches(&self, value: &str) -> bool {
        match self.value.as_str() {
            ".*" => return !value.contains('\n') || self.engine_matches(value),
            ".+" if value.is_empty() => return false,
            _ => {}
        }
        if is_plain(&self.value) {
            return self.value.split('|').any(|alternative| alternative == value);
        }
        self.engine_matches(value)
    }

    fn engine_matches(&self, value: &str) -> bool {
        self.regex.get_or_init(|| compile(&self.value).ok()).as_ref().is_some_and(|r| r.is_match(value))
    }
}

/// Compiles as Prometheus does since 3.0: anchored, and `.` matches a newline too.
fn compile(pattern: &str) -> Result<Regex, String> {
    super::re2::compile_anchored(pattern, true)
}

fn is_plain(pattern: &str) -> bool {
    pattern.bytes().all(|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b':' | b'|' | b' ' | b'=' | b',' | b'%')
    })
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            write!(f, "{}", super::GoQuoted::new(&self.name))?;
        }
        f.write_str(self.op.as_str())?;
        write!(f, "{}", super::GoQuoted::new(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers() {
        use MatchOp::*;
        for (op, pattern, value, expect) in [
            (Equal, "a", "a", true),
            (NotEqual, "a", "", true),
            (Regex, "a|b", "b", true),
            (Regex, "a|b", "ab", false),
            (Regex, "a.*", "a\nb", true),
            (Regex, ".*", "a\nb", true),
            (Regex, ".+", "", false),
            (Regex, "a(b)?", "ab", true),
            (NotRegex, "a.", "ab", false),
            (NotRegex, "", "", false),
        ] {
            let m = Matcher::new(op, "x", pattern).unwrap();
            assert_eq!(m.matches(value), expect, "{m} on {value:?}");
        }
        assert!(Matcher::new(Regex, "x", "a)(b").is_err());
        assert!(Matcher::new(Regex, "x", "(").unwrap_err().to_string().contains("\"(\""));
    }
}
