//! What outside services call back with: somebody acknowledged, or resolved, over there.
//!
//! A callback proves itself by a signature over its raw body, which is compared in constant time before anything of it
//! is read. It is taken once: what was heard before does nothing.

mod pagerduty;
mod seen;
mod slack;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::acklink::{AckLinks, LinkError};
use super::config::{CallbackSecrets, Callbacks};
use super::incident::Actor;
use crate::model::{Secret, Timestamp};

pub use seen::Seen;

/// Bytes of a callback's body; larger ones are refused unread.
pub const MAX_BODY: usize = 256 * 1024;
/// How far the clocks may be apart, ms.
const SKEW_MS: i64 = 300_000;
/// Characters that are kept of a name from elsewhere.
const MAX_NAME: usize = 200;
/// Signatures in one header, and the bytes of it.
const MAX_SIGNATURES: usize = 16;
const MAX_HEADER: usize = 4096;

/// Who calls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Pagerduty,
    Slack,
}

impl Service {
    /// The word for logs, metrics and histories.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pagerduty => "pagerduty",
            Self::Slack => "slack",
        }
    }
}

/// A callback as it came in; nothing of it is believed yet.
#[derive(Debug, Clone)]
pub struct Callback {
    pub service: Service,
    pub body: Vec<u8>,
    /// The header with the signatures.
    pub signature: String,
    /// The header with the time of the request, of a service that has one.
    pub timestamp: String,
    /// The address that it came from.
    pub from: String,
}

/// Why a callback is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    #[error("no callbacks of this service are configured")]
    NotConfigured,
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("there is no signature")]
    Unsigned,
    #[error("no signature is right")]
    BadSignature,
    #[error("it is too old, or from the future")]
    Stale,
    #[error("it was heard before")]
    Replayed,
    #[error("it cannot be understood: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Token(#[from] LinkError),
    /// What is wrong here, and not with the callback.
    #[error("{0}")]
    Failed(String),
}

impl CallbackError {
    /// The word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::TooLarge => "too_large",
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Malformed(_) => "malformed",
            Self::Token(_) => "bad_token",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a genuine callback asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Acknowledge {
        incident: u64,
        actor: Actor,
        /// The loop that it speaks of, where that is known.
        round: Option<u32>,
        /// When the person did it, ms.
        at: Timestamp,
    },
    Resolve {
        incident: u64,
        actor: Actor,
        at: Timestamp,
    },
    /// Nothing to do, and why.
    Nothing(&'static str),
}

/// A genuine callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genuine {
    pub wish: Wish,
    /// What tells it apart from all others of its service, and until when it must be remembered, ms.
    pub id: String,
    pub until: Timestamp,
}

/// Reads a callback at `now` (ms).
///
/// # Errors
/// See [`CallbackError`].
pub fn read(
    callback: &Callback,
    config: &Callbacks,
    links: Option<&AckLinks>,
    instance: &str,
    now: Timestamp,
) -> Result<Genuine, CallbackError> {
    if callback.body.len() > MAX_BODY {
        return Err(CallbackError::TooLarge);
    }
    let secrets = match callback.service {
        Service::Pagerduty => &config.pagerduty,
        Service::Slack => &config.slack,
    };
    let secrets = secrets.as_ref().ok_or(CallbackError::NotConfigured)?;
    match callback.service {
        Service::Pagerduty => pagerduty::read(callback, secrets, instance, now),
        Service::Slack => slack::read(callback, secrets, links, now),
    }
}

/// Is one of the signatures in the header (`PREFIX=HEX`, separated by commas) that of `parts` with one of the secrets?
/// Every comparison takes the same time, and all of them are made.
fn verify(
    header: &str,
    prefix: &str,
    secrets: &CallbackSecrets,
    parts: &[&[u8]],
) -> Result<(), CallbackError> {
    if header.trim().is_empty() {
        return Err(CallbackError::Unsigned);
    }
    if header.len() > MAX_HEADER {
        return Err(CallbackError::BadSignature);
    }
    let secrets: Vec<Secret> = secrets.read().map_err(CallbackError::Failed)?;
    let given: Vec<[u8; 32]> = header
        .split(',')
        .take(MAX_SIGNATURES)
        .filter_map(|given| given.trim().strip_prefix(prefix)?.strip_prefix('=').and_then(unhex))
        .collect();
    let mut right = false;
    for secret in &secrets {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { continue };
        // Once for all signatures: a long body and many of them must not cost much.
        for part in parts {
            mac.update(part);
        }
        for given in &given {
            right |= mac.clone().verify_slice(given).is_ok();
        }
    }
    if right { Ok(()) } else { Err(CallbackError::BadSignature) }
}

/// The bytes of 64 hexadecimal digits; nothing for anything else.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(out)
}

/// A name from elsewhere, on one line and not endless.
fn name(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    text.trim().to_owned()
}
