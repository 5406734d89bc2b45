//! What outside services sign their callbacks with.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::scalar::nullable;
use crate::model::yaml::{FileError, Spanned};
use crate::model::{Duration, Secret};

/// How old an event may be when its callback comes, unless the file says otherwise.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Secrets of one service at a time: the old and the new one, and some more.
const MAX_SECRETS: usize = 8;
/// Shorter secrets are refused: they could be guessed.
pub const MIN_SECRET: usize = 8;

/// Services that may call back, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbacksConfig {
    /// Webhooks v3 of PagerDuty.
    pub pagerduty: Option<Spanned<CallbackConfig>>,
    /// Interactions of a Slack app.
    pub slack: Option<Spanned<CallbackConfig>>,
}

/// One service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackConfig {
    /// Any of them may have signed: several while they are changed.
    #[serde(deserialize_with = "nullable")]
    pub secrets: Vec<Secret>,
    /// The same in files, which are read again for every callback.
    #[serde(deserialize_with = "nullable")]
    pub secret_files: Vec<String>,
    /// Older events are refused.
    pub max_age: Option<Duration>,
}

/// Services that may call back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callbacks {
    pub pagerduty: Option<CallbackSecrets>,
    pub slack: Option<CallbackSecrets>,
}

/// What one service signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackSecrets {
    pub secrets: Vec<Secret>,
    pub files: Vec<PathBuf>,
    pub max_age: Duration,
}

impl CallbackSecrets {
    /// All secrets, with the files read now.
    ///
    /// # Errors
    /// A file cannot be read, or a secret is too short to be one.
    pub fn read(&self) -> Result<Vec<Secret>, String> {
        let mut all = self.secrets.clone();
        for file in &self.files {
            let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
            if text.trim().len() < MIN_SECRET {
                return Err(format!("{}: a secret has at least {MIN_SECRET} characters", file.display()));
            }
            all.push(Secret::new(text.trim()));
        }
        Ok(all)
    }
}

pub(super) fn callbacks(
    path: &Path,
    config: &CallbacksConfig,
    base: &Path,
    errors: &mut Vec<FileError>,
) -> Callbacks {
    let mut one = |given: &Option<Spanned<CallbackConfig>>, name: &str| {
        let given = given.as_ref()?;
        let c = &given.value;
        let mut bad =
            |why: String| errors.push(FileError::at(path, given, format!("callbacks.{name}: {why}")));
        let count = c.secrets.len() + c.secret_files.len();
        if count == 0 || count > MAX_SECRETS {
            bad(format!("1 to {MAX_SECRETS} secrets, in `secrets` or `secret_files`"));
        }
        if c.secrets.iter().any(|s| s.expose().len() < MIN_SECRET) {
            bad(format!("a secret has at least {MIN_SECRET} characters"));
        }
        if c.max_age.is_some_and(Duration::is_zero) {
            bad("max_age must be more than 0".to_owned());
        }
        if name == "slack" && c.max_age.is_some() {
            bad("max_age: it is always the five minutes that Slack prescribes".to_owned());
        }
        Some(CallbackSecrets {
            secrets: c.secrets.clone(),
            files: c.secret_files.iter().map(|f| base.join(f)).collect(),
            max_age: c.max_age.unwrap_or(MAX_AGE),
        })
    };
    let pagerduty = one(&config.pagerduty, "pagerduty");
    Callbacks { pagerduty, slack: one(&config.slack, "slack") }
}
