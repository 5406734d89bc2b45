//! Label matchers of routes, inhibitions and silences: two grammars, one meaning.

mod classic;
mod utf8;

use std::fmt;

use crate::model::{self, GoQuoted, Labels, MatchOp, Order as _};

pub use classic::parse as parse_classic;
pub use utf8::parse as parse_utf8;

/// What is wrong with the text of a matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatcherSyntax(pub String);

/// One condition on one label. An absent label has the empty value; regular expressions are anchored at both
/// ends, and their `.` does not match a line break (unlike in PromQL).
#[derive(Clone, PartialEq, Eq)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    /// As it was written, without anchors.
    pub value: String,
    test: model::Matcher,
}

impl Matcher {
    /// Makes a matcher.
    ///
    /// # Errors
    /// A regular expression that does not parse.
    pub fn new(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, MatcherSyntax> {
        let (name, value) = (name.into(), value.into());
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => value.clone(),
            MatchOp::Regex | MatchOp::NotRegex => dots_end_at_lines(&value)?,
        };
        let test = model::Matcher::new(op, name.clone(), pattern).map_err(|e| {
            MatcherSyntax(format!("invalid regular expression {value:?} for label {name:?}: {}", e.reason))
        })?;
        Ok(Self { name, op, value, test })
    }

    /// Does a value of the label pass?
    pub fn matches(&self, value: &str) -> bool {
        self.test.matches(value)
    }

    /// Does the label set pass?
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or_default())
    }

    fn sort_key(&self) -> (&str, &str, MatchOp) {
        (&self.name, &self.value, self.op)
    }
}

/// As Alertmanager writes it: the value with the escapes of OpenMetrics, the name in quotes only when it holds
/// a reserved character.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.chars().any(utf8::is_reserved) {
            return write!(
                f,
                "{}{}{}",
                GoQuoted::new(&self.name),
                self.op.as_str(),
                GoQuoted::new(&self.value)
            );
        }
        write!(f, "{}{}\"", self.name, self.op.as_str())?;
        for c in self.value.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' => f.write_str("\\\"")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The pattern with `.` that stops at line breaks. Plain words stay as they are, so that no engine is needed for them.
fn dots_end_at_lines(pattern: &str) -> Result<String, MatcherSyntax> {
    if !pattern.contains(['.', '(', '[', '\\']) {
        return Ok(pattern.to_owned());
    }
    // One that only balances inside the group must not pass.
    model::re2::compile(pattern)
        .map_err(|reason| MatcherSyntax(format!("invalid regular expression {pattern:?}: {reason}")))?;
    Ok(format!("(?-s:{pattern})"))
}

/// Conditions that must all hold; kept in the order of names, values and operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    pub fn new(mut matchers: Vec<Matcher>) -> Self {
        matchers.order_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        Self(matchers)
    }

    /// Do all hold? An empty list always does.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|m| m.matches_labels(labels))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Matcher> {
        self.0.iter()
    }
}

/// `{a="b",c=~"d"}`: part of a group's key.
impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, m) in self.0.iter().enumerate() {
            write!(f, "{}{m}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("}")
    }
}

/// A list of matchers, and what to tell the person who wrote it.
#[derive(Debug)]
pub struct Parsed {
    pub matchers: Vec<Matcher>,
    /// The text is only valid, or means something else, in the old grammar.
    pub warning: Option<String>,
}

/// Reads a list of matchers in today's grammar; what is not valid there, or means something else, is taken as
/// the old grammar reads it (Alertmanager's default mode).
///
/// # Errors
/// Neither grammar reads it.
pub fn parse(text: &str) -> Result<Parsed, MatcherSyntax> {
    match (parse_utf8(text), parse_classic(text)) {
        (Ok(new), Ok(old)) if new != old => Ok(Parsed {
            matchers: old,
            warning: Some(format!(
                "matchers {text:?} mean one thing in the old grammar and another in the new one; the old one is \
                 used: quote values and escape backslashes"
            )),
        }),
        (Ok(new), _) => Ok(Parsed { matchers: new, warning: None }),
        (Err(why), Ok(old)) => Ok(Parsed {
            warning: Some(format!(
                "matchers {text:?} are only valid in the old grammar ({why}); write {}",
                Matchers(old.clone())
            )),
            matchers: old,
        }),
        (Err(why), Err(_)) => Err(MatcherSyntax(format!("bad matcher format: {text:?}: {why}"))),
    }
}
