//! Silences: somebody mutes what matches, for a while, and says why.

use serde::{Deserialize, Serialize};

use crate::model::{Labels, MatchOp, Timestamp};
use crate::paging::matcher::{Matcher, MatcherSyntax, Matchers};

/// How long a silence is kept after its end, ms (Alertmanager's default).
pub const RETENTION_MS: i64 = 120 * 3600 * 1000;
/// Matchers of one silence, and silences in all.
const MAX_MATCHERS: usize = 100;
pub const MAX_SILENCES: usize = 10_000;

/// A matcher in the API's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    pub name: String,
    pub value: String,
    pub is_regex: bool,
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// A silence. Times are ms since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<SilenceMatcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub comment: String,
}

/// Why a silence is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("at least one matcher required")]
    NoMatchers,
    #[error("too many matchers")]
    TooManyMatchers,
    #[error("at least one matcher must not match the empty string")]
    MatchesEmpty,
    #[error(transparent)]
    Matcher(#[from] MatcherSyntax),
    #[error("end time must not be before start time")]
    EndsBeforeStart,
    #[error("end time can't be in the past")]
    Past,
    #[error("silence {0} not found")]
    NotFound(String),
    #[error("there are {MAX_SILENCES} silences already")]
    TooMany,
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    Pending,
    Active,
    Expired,
}

impl Silence {
    /// Its state at a time.
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }

    /// Can it become `new` and keep its id? If not, it ends, and `new` is another one: what was muted, and since when,
    /// stays on record. (Alertmanager's rule.)
    pub fn may_become(&self, new: &Self, now: Timestamp) -> bool {
        let seconds = |t: Timestamp| t.div_euclid(1000);
        self.matchers == new.matchers
            && match self.state(now) {
                SilenceState::Active => {
                    seconds(new.starts_at) == seconds(self.starts_at) && new.ends_at >= now
                }
                SilenceState::Pending => new.starts_at >= now,
                SilenceState::Expired => false,
            }
    }

    /// Checks it and compiles its matchers.
    ///
    /// # Errors
    /// What makes no sense in it.
    pub fn compile(&self) -> Result<Matchers, SilenceError> {
        if self.matchers.is_empty() {
            return Err(SilenceError::NoMatchers);
        }
        if self.matchers.len() > MAX_MATCHERS {
            return Err(SilenceError::TooManyMatchers);
        }
        if self.ends_at < self.starts_at {
            return Err(SilenceError::EndsBeforeStart);
        }
        let mut out = Vec::with_capacity(self.matchers.len());
        for m in &self.matchers {
            let op = MatchOp::of(m.is_regex, m.is_equal);
            if m.name.is_empty() {
                return Err(MatcherSyntax("invalid label name \"\"".to_owned()).into());
            }
            out.push(Matcher::new(op, m.name.as_str(), m.value.as_str())?);
        }
        // As in Alertmanager: `a!="b"` is meant, also for alerts without the label.
        let positive = |m: &Matcher| matches!(m.op, MatchOp::Equal | MatchOp::Regex);
        if out.iter().all(|m| positive(m) && m.matches("")) {
            return Err(SilenceError::MatchesEmpty);
        }
        Ok(Matchers::new(out))
    }
}

/// A silence with its matchers compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub silence: Silence,
    pub matchers: Matchers,
}

impl Compiled {
    /// Does it mute these labels now?
    pub fn mutes(&self, labels: &Labels, now: Timestamp) -> bool {
        self.silence.state(now) == SilenceState::Active && self.matchers.matches(labels)
    }
}
