//! Signed links in pages: they name the incident, the person and the step, and expire.
//!
//! Opening one shows the incident; only a POST acknowledges, so that a link preview acknowledges nothing.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::Timestamp;

/// Shorter keys are refused.
const MIN_KEY: usize = 16;
/// Longer tokens are refused unread.
const MAX_TOKEN: usize = 1024;
const MAX_PERSON: usize = 200;
const MAC: usize = 32;
/// Version, incident, loop, step, expiry.
const FIXED: usize = 1 + 8 + 4 + 2 + 8;
const VERSION: u8 = 1;
/// What is signed begins with its purpose, so that no signature of the same key can be taken for another.
const DOMAIN: &[u8] = b"sideband acknowledgement link\0";
const JUDGE_DOMAIN: &[u8] = b"sideband feedback link\0";

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckClaim {
    pub incident: u64,
    /// The loop and the step that it was sent in, from 0.
    pub round: u32,
    pub step: u16,
    /// ms since the epoch, in whole seconds.
    pub expires: Timestamp,
    /// The user, or the target when it was no person.
    pub person: String,
}

/// Why a link is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("this is no link of sideband's")]
    Malformed,
    #[error("the link's signature is wrong")]
    BadSignature,
    #[error("the link has expired")]
    Expired,
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file of acknowledgement links {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the key file of acknowledgement links {path} has {len} bytes: at least {MIN_KEY} are needed")]
    TooShort { path: String, len: usize },
}

/// Makes and checks links.
#[derive(Clone)]
pub struct AckLinks {
    mac: Hmac<Sha256>,
    judge: Hmac<Sha256>,
    external_url: String,
}

impl std::fmt::Debug for AckLinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckLinks").field("external_url", &self.external_url).finish_non_exhaustive()
    }
}

impl AckLinks {
    /// With the key in a file (blanks at its end do not count). `instance` is the ledger's identity: the
    /// number of an incident means nothing elsewhere.
    ///
    /// # Errors
    /// The file cannot be read, or is too short to be a key.
    pub fn from_file(path: &Path, instance: &str, external_url: &str) -> Result<Self, KeyError> {
        let shown = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|source| KeyError::Unreadable { path: shown.clone(), source })?;
        let key = bytes.trim_ascii_end();
        if key.len() < MIN_KEY {
            return Err(KeyError::TooShort { path: shown, len: key.len() });
        }
        Self::new(key, instance, external_url).ok_or(KeyError::TooShort { path: shown, len: key.len() })
    }

    /// With a key; `None` when it is too short.
    pub fn new(key: &[u8], instance: &str, external_url: &str) -> Option<Self> {
        if key.len() < MIN_KEY {
            return None;
        }
        let base = Hmac::<Sha256>::new_from_slice(key).ok()?;
        let of = |domain| {
            let mut mac = base.clone();
            mac.update(domain);
            mac.update(&(instance.len() as u64).to_be_bytes());
            mac.update(instance.as_bytes());
            mac
        };
        let external_url = external_url.trim_end_matches('/').to_owned();
        Some(Self { mac: of(DOMAIN), judge: of(JUDGE_DOMAIN), external_url })
    }

    /// The link, `EXTERNAL_URL/ack/TOKEN`.
    pub fn url(&self, claim: &AckClaim) -> String {
        format!("{}/ack/{}", self.external_url, self.token(claim))
    }

    /// The link to say whether the page was useful, `EXTERNAL_URL/judge/TOKEN`. It acknowledges nothing.
    pub fn judge_url(&self, claim: &AckClaim) -> String {
        format!("{}/judge/{}", self.external_url, sign(&self.judge, claim))
    }

    /// The token alone.
    pub fn token(&self, claim: &AckClaim) -> String {
        sign(&self.mac, claim)
    }

    /// Reads a token at `now` (ms). The signature is compared in constant time, before anything is believed.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AckClaim, LinkError> {
        verify(&self.mac, token, now)
    }

    /// The same for the token of [`judge_url`](Self::judge_url).
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn verify_judge(&self, token: &str, now: Timestamp) -> Result<AckClaim, LinkError> {
        verify(&self.judge, token, now)
    }
}

fn sign(mac: &Hmac<Sha256>, claim: &AckClaim) -> String {
    let person: String = claim.person.chars().take(MAX_PERSON).collect();
    let mut bytes = Vec::with_capacity(FIXED + person.len() + MAC);
    bytes.push(VERSION);
    bytes.extend(claim.incident.to_be_bytes());
    bytes.extend(claim.round.to_be_bytes());
    bytes.extend(claim.step.to_be_bytes());
    bytes.extend((claim.expires / 1000).to_be_bytes());
    bytes.extend(person.as_bytes());
    let mut mac = mac.clone();
    mac.update(&bytes);
    bytes.extend(mac.finalize().into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn verify(mac: &Hmac<Sha256>, token: &str, now: Timestamp) -> Result<AckClaim, LinkError> {
    if token.len() > MAX_TOKEN {
        return Err(LinkError::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| LinkError::Malformed)?;
    let at = bytes.len().checked_sub(MAC).filter(|n| *n >= FIXED).ok_or(LinkError::Malformed)?;
    let (payload, signature) = bytes.split_at(at);
    let mut mac = mac.clone();
    mac.update(payload);
    mac.verify_slice(signature).map_err(|_| LinkError::BadSignature)?;
    let claim = read(payload).ok_or(LinkError::Malformed)?;
    if now >= claim.expires { Err(LinkError::Expired) } else { Ok(claim) }
}

fn read(payload: &[u8]) -> Option<AckClaim> {
    let (version, rest) = payload.split_first()?;
    let (incident, rest) = rest.split_first_chunk::<8>()?;
    let (round, rest) = rest.split_first_chunk::<4>()?;
    let (step, rest) = rest.split_first_chunk::<2>()?;
    let (expires, person) = rest.split_first_chunk::<8>()?;
    (*version == VERSION).then_some(AckClaim {
        incident: u64::from_be_bytes(*incident),
        round: u32::from_be_bytes(*round),
        step: u16::from_be_bytes(*step),
        expires: i64::from_be_bytes(*expires).checked_mul(1000)?,
        person: String::from_utf8(person.to_vec()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> AckClaim {
        AckClaim { incident: 7, round: 1, step: 2, expires: 1_000_000, person: "engineer-a".to_owned() }
    }

    #[test]
    fn links_are_read_back_and_nothing_else_is() {
        let links = AckLinks::new(b"0123456789abcdef", "a", "https://s.example/").unwrap();
        let token = links.token(&claim());
        assert_eq!(links.verify(&token, 999_999), Ok(claim()));
        assert_eq!(links.verify(&token, 1_000_000), Err(LinkError::Expired));
        assert_eq!(links.url(&claim()), format!("https://s.example/ack/{token}"));
        // Another purpose.
        let judge = links.judge_url(&claim()).replace("https://s.example/judge/", "");
        assert_eq!(links.verify_judge(&judge, 0), Ok(claim()));
        assert_eq!(links.verify(&judge, 0), Err(LinkError::BadSignature));
        assert_eq!(links.verify_judge(&token, 0), Err(LinkError::BadSignature));
        // Another ledger, another key.
        for other in [
            AckLinks::new(b"0123456789abcdef", "b", "").unwrap(),
            AckLinks::new(b"0123456789abcdeg", "a", "").unwrap(),
        ] {
            assert_eq!(other.verify(&token, 0), Err(LinkError::BadSignature));
        }
        // Every bit counts, every length too.
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for i in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[i] ^= 1;
            assert_eq!(links.verify(&URL_SAFE_NO_PAD.encode(&forged), 0), Err(LinkError::BadSignature));
            assert!(links.verify(&URL_SAFE_NO_PAD.encode(&bytes[..i]), 0).is_err());
        }
        let (long, padded) = ("A".repeat(100_000), format!("{token}="));
        for text in ["", "x", "!!!", long.as_str(), padded.as_str()] {
            assert_eq!(links.verify(text, 0), Err(LinkError::Malformed), "{text:.20}");
        }
        assert!(AckLinks::new(b"short", "a", "").is_none());
    }
}
