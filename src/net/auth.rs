//! Who may ask: Prometheus's web configuration file (TLS, users with bcrypt hashes, response headers),
//! read anew when it or a file it names changes.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::tls_server::{ServerTls, TlsServerConfig};
use crate::model::Secret;
use crate::model::yaml::{self, FileError, Spanned};

/// The web configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    pub tls_server_config: Option<TlsServerConfig>,
    pub http_server_config: Option<HttpServerConfig>,
    /// User name to bcrypt hash.
    pub basic_auth_users: BTreeMap<String, Spanned<Secret>>,
}

/// `http_server_config`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpServerConfig {
    /// Read and without effect: the listener speaks HTTP/1.1.
    pub http2: Option<bool>,
    /// Added to every response.
    pub headers: BTreeMap<String, Spanned<String>>,
}

/// The headers that may be set, as in Prometheus.
const SETTABLE_HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

/// Checked passwords that are remembered, right ones and wrong ones.
const CACHE_ENTRIES: usize = 128;
/// How often the files may be looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Passwords that may be checked at one time: a check is meant to be expensive.
const CONCURRENT_CHECKS: usize = 2;

/// What came of looking at a request's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has to authenticate.
    Open,
    /// This user did.
    User(String),
    /// No or wrong credentials: 401.
    Refused,
}

/// The web configuration as it stands, with its cache of checked passwords.
pub struct Security {
    file: Option<PathBuf>,
    state: Mutex<State>,
    /// SHA-256 of user, hash and password, to the outcome.
    cache: Mutex<HashMap<[u8; 32], bool>>,
    checks: Semaphore,
}

struct State {
    loaded: Arc<Loaded>,
    stamps: Vec<Stamp>,
    checked_at: Option<Instant>,
    last_reload_ok: bool,
}

struct Loaded {
    users: BTreeMap<String, String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Option<ServerTls>,
    files: Vec<PathBuf>,
}

/// Tells one state of a file from another without reading it. A missing file has a stamp too.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let m = std::fs::metadata(path).ok()?;
    Some((m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.len()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Security {
    /// No TLS and nobody has to authenticate.
    pub fn open() -> Self {
        Self::with(None, Loaded { users: BTreeMap::new(), headers: Vec::new(), tls: None, files: Vec::new() })
    }

    /// Reads a web configuration file and what it names.
    ///
    /// # Errors
    /// The file or one that it names cannot be read or makes no sense; with the place.
    pub fn load(file: &Path) -> Result<Self, FileError> {
        Ok(Self::with(Some(file.to_owned()), load(file)?))
    }

    fn with(file: Option<PathBuf>, loaded: Loaded) -> Self {
        let stamps = loaded.files.iter().map(|f| stamp(f)).collect();
        Self {
            file,
            state: Mutex::new(State {
                loaded: Arc::new(loaded),
                stamps,
                checked_at: None,
                last_reload_ok: true,
            }),
            cache: Mutex::default(),
            checks: Semaphore::new(CONCURRENT_CHECKS),
        }
    }

    /// Reads the files again if one of them changed. The old configuration stays when the new one is bad.
    /// Says whether there is a new one.
    ///
    /// # Errors
    /// As [`Security::load`]; told once for each state of the files.
    pub fn reload_if_changed(&self) -> Result<bool, FileError> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut state = locked(&self.state);
        let stamps: Vec<Stamp> = state.loaded.files.iter().map(|f| stamp(f)).collect();
        if stamps == state.stamps {
            return Ok(false);
        }
        // Remember the stamps even when it fails, or every request would read the bad file again.
        state.stamps = stamps;
        match load(file) {
            Ok(loaded) => {
                state.stamps = loaded.files.iter().map(|f| stamp(f)).collect();
                state.loaded = Arc::new(loaded);
                state.last_reload_ok = true;
                locked(&self.cache).clear();
                Ok(true)
            }
            Err(e) => {
                state.last_reload_ok = false;
                Err(e)
            }
        }
    }

    /// Was the newest state of the files good?
    pub fn last_reload_ok(&self) -> bool {
        locked(&self.state).last_reload_ok
    }

    fn current(&self) -> Arc<Loaded> {
        if self.file.is_some() {
            let due = {
                let mut state = locked(&self.state);
                let now = Instant::now();
                let due = state.checked_at.is_none_or(|at| now.duration_since(at) >= CHECK_INTERVAL);
                if due {
                    state.checked_at = Some(now);
                }
                due
            };
            if due {
                match self.reload_if_changed() {
                    Ok(true) => tracing::info!(file = ?self.file, "web configuration reloaded"),
                    Ok(false) => {}
                    Err(e) => {
                        tracing::error!(error = %e, "web configuration not reloaded, the old one stays")
                    }
                }
            }
        }
        Arc::clone(&locked(&self.state).loaded)
    }

    /// How a new connection is to be encrypted, if at all.
    pub fn tls(&self) -> Option<ServerTls> {
        self.current().tls.clone()
    }

    /// Headers for every response.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.current().headers.clone()
    }

    /// Does everybody who gets through have proved who they are, by password or certificate?
    pub fn authenticates(&self) -> bool {
        let loaded = self.current();
        !loaded.users.is_empty() || loaded.tls.as_ref().is_some_and(|t| t.requires_verified_clients)
    }

    /// Looks at an `Authorization` header. The expensive comparison runs on the blocking pool.
    pub async fn check(&self, authorization: Option<&HeaderValue>) -> Verdict {
        let loaded = self.current();
        if loaded.users.is_empty() {
            return Verdict::Open;
        }
        let Some((user, password)) = authorization.and_then(basic_credentials) else {
            return Verdict::Refused;
        };
        // For an unknown user some other's hash is tried, so that the time tells nothing.
        let (known, hash) = match loaded.users.get(&user) {
            Some(hash) => (true, hash.clone()),
            None => (false, loaded.users.values().next().cloned().unwrap_or_default()),
        };
        let key = cache_key(&user, &hash, &password);
        if let Some(&right) = locked(&self.cache).get(&key) {
            return if right && known { Verdict::User(user) } else { Verdict::Refused };
        }
        let Ok(_permit) = self.checks.acquire().await else { return Verdict::Refused };
        let right = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false))
            .await
            .unwrap_or(false)
            && known;
        let mut cache = locked(&self.cache);
        if cache.len() >= CACHE_ENTRIES {
            // Wrong guesses must not push out the right ones.
            let wrong = cache.iter().find(|(_, right)| !**right).or_else(|| cache.iter().next());
            if let Some(victim) = wrong.map(|(key, _)| *key) {
                cache.remove(&victim);
            }
        }
        cache.insert(key, right);
        drop(cache);
        if right { Verdict::User(user) } else { Verdict::Refused }
    }
}

fn cache_key(user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in [user.as_bytes(), hash.as_bytes(), password] {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}

fn basic_credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

fn load(file: &Path) -> Result<Loaded, FileError> {
    let text = std::fs::read_to_string(file).map_err(|e| FileError::whole(file, e))?;
    // An empty file is a valid one: nothing is asked for.
    let blank = text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
    let config: WebConfig = if blank { WebConfig::default() } else { yaml::parse(file, &text)? };
    let mut users = BTreeMap::new();
    for (user, hash) in &config.basic_auth_users {
        let text = hash.value.expose();
        if text.parse::<bcrypt::HashParts>().is_err() {
            return Err(FileError::at(
                file,
                hash,
                format!("the password of user {user:?} is no bcrypt hash"),
            ));
        }
        if user.contains(':') {
            return Err(FileError::at(file, hash, format!("user name {user:?} has a colon in it")));
        }
        users.insert(user.clone(), text.to_owned());
    }
    let mut headers = Vec::new();
    for (name, value) in config.http_server_config.iter().flat_map(|c| &c.headers) {
        let Some(name) = SETTABLE_HEADERS.iter().find(|h| h.eq_ignore_ascii_case(name)) else {
            let message =
                format!("HTTP header {name:?} can not be configured ({})", SETTABLE_HEADERS.join(", "));
            return Err(FileError::at(file, value, message));
        };
        match (HeaderName::try_from(*name), HeaderValue::try_from(value.value.as_str())) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => return Err(FileError::at(file, value, format!("bad value of header {name}"))),
        }
    }
    let base = file.parent().unwrap_or(Path::new(""));
    let mut files = vec![file.to_owned()];
    let mut tls = None;
    // A section without a key asks for nothing, as in Prometheus.
    if let Some(config) = config.tls_server_config.as_ref().filter(|c| !c.is_empty()) {
        files.extend(config.files(base));
        tls = Some(config.load(file)?);
    }
    Ok(Loaded { users, headers, tls, files })
}

/// Are the two equal? Takes the same time wherever they differ; their lengths are no secret.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y))) == 0
}
