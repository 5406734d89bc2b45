//! OAuth 2.0 client credentials (RFC 6749, 4.4): a token is asked for with an id and a secret, and used until it expires.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::config::UrlText;
use super::{HttpClient, HttpClientConfig, HttpRequest, Limits, NetError, TlsConfig};
use crate::model::Secret;

/// How long a token may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of its answer.
const MAX_ANSWER: usize = 64 * 1024;
/// A token that has only so long to live is not used any more: the request with it takes a while.
const MARGIN: Duration = Duration::from_secs(10);
/// No token is kept for longer, whatever its issuer says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `oauth2:` of an HTTP client.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: Secret,
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub token_url: UrlText,
    pub endpoint_params: BTreeMap<String, String>,
    /// Of the connection to `token_url`, as is what follows.
    pub tls_config: Option<TlsConfig>,
    pub proxy_url: Option<UrlText>,
    pub no_proxy: Option<String>,
    pub proxy_from_environment: Option<bool>,
    pub proxy_connect_header: Option<BTreeMap<String, Vec<Secret>>>,
}

impl OAuth2 {
    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn validate(&self) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("oauth2 client_id must be configured".into());
        }
        if self.token_url.is_empty() {
            return Err("oauth2 token_url must be configured".into());
        }
        if !self.client_secret.is_empty() && self.client_secret_file.is_some() {
            return Err("at most one of oauth2 client_secret & client_secret_file must be configured".into());
        }
        super::url::Url::parse(&self.token_url).map_err(|e| format!("oauth2 token_url: {e}"))?;
        self.client().validate().map_err(|e| format!("oauth2: {e}"))
    }

    /// The client of the token's server.
    fn client(&self) -> HttpClientConfig {
        HttpClientConfig {
            tls_config: self.tls_config.clone(),
            proxy_url: self.proxy_url.clone(),
            no_proxy: self.no_proxy.clone(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.clone(),
            ..HttpClientConfig::default()
        }
    }

    /// The files that are read when a token is asked for.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self.tls_config.iter().flat_map(|t| [&t.ca_file, &t.cert_file, &t.key_file]);
        tls.chain([&self.client_secret_file]).flatten().cloned()
    }
}

/// A token that was given.
#[derive(Debug, Clone)]
struct Given {
    /// The value of `Authorization`.
    header: Secret,
    until: Instant,
    /// What it was asked for with: another secret in the file asks anew.
    secret: Secret,
    /// How the server wants to be told who asks.
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As basic authentication, which every server must take.
    Header,
    /// In the form, which some want instead.
    Form,
}

/// Where an HTTP client has its tokens from.
#[derive(Debug)]
pub(super) struct Tokens {
    config: OAuth2,
    base_dir: PathBuf,
    client: HttpClient,
    given: Mutex<Option<Given>>,
    /// One asks, the others wait for what it gets.
    asking: tokio::sync::Mutex<()>,
}

/// The answer of a token's server.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    token_type: Option<String>,
    /// Seconds; some send a text.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

impl Tokens {
    /// # Errors
    /// A certificate or key cannot be used.
    pub fn new(config: &OAuth2, base_dir: &Path) -> Result<Self, NetError> {
        Ok(Self {
            client: HttpClient::new(&config.client(), base_dir)?,
            config: config.clone(),
            base_dir: base_dir.to_owned(),
            given: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// The value of `Authorization`, and whether it is one that was given before.
    ///
    /// # Errors
    /// The secret cannot be read, or the server gives no token: nothing has been sent to anybody else.
    pub async fn header(&self) -> Result<(String, bool), NetError> {
        let secret = self.secret()?;
        if let Some(given) = self.good(&secret) {
            return Ok((given.header.expose().to_owned(), true));
        }
        let _turn = self.asking.lock().await;
        if let Some(given) = self.good(&secret) {
            return Ok((given.header.expose().to_owned(), true));
        }
        let known = self.given().as_ref().map(|g| g.way);
        let given = self.ask(&secret, known).await?;
        let header = given.header.expose().to_owned();
        *self.given() = Some(given);
        Ok((header, false))
    }

    /// A server did not take this one: the next request has a new one.
    pub fn forget(&self, header: &str) {
        if let Some(given) = self.given().as_mut().filter(|g| g.header.expose() == header) {
            given.until = Instant::now();
        }
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Option<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self, secret: &Secret) -> Option<Given> {
        let good = |g: &&Given| g.until > Instant::now() && g.secret == *secret;
        self.given().as_ref().filter(good).cloned()
    }

    fn secret(&self) -> Result<Secret, NetError> {
        let Some(file) = &self.config.client_secret_file else {
            return Ok(self.config.client_secret.clone());
        };
        let path = self.base_dir.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| NetError::Config(format!("unable to read {}: {e}", path.display())))?;
        Ok(Secret::new(text.trim()))
    }

    async fn ask(&self, secret: &Secret, known: Option<Way>) -> Result<Given, NetError> {
        let ways = known.map_or_else(|| vec![Way::Header, Way::Form], |way| vec![way]);
        let mut refused = String::new();
        for way in ways {
            let limits = Limits { timeout: TIMEOUT, max_body: MAX_ANSWER };
            // Boxed, since a client asks a client.
            let asked = Box::pin(self.client.send(self.request(secret, way), limits)).await;
            let answer = asked.map_err(|e| match e {
                NetError::Tls(why) => NetError::Tls(format!("oauth2 token_url: {why}")),
                e => NetError::Connect(format!("oauth2 token_url: {e}")),
            })?;
            match read(answer.status, &answer.body) {
                Ok((header, lives)) => {
                    let until = Instant::now() + lives.saturating_sub(MARGIN);
                    let header = Secret::new(header);
                    return Ok(Given { header, until, secret: secret.clone(), way });
                }
                Err(why) => refused = why,
            }
        }
        Err(NetError::Connect(format!("oauth2 token_url: {refused}")))
    }

    fn request(&self, secret: &Secret, way: Way) -> HttpRequest {
        let c = &self.config;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !c.scopes.is_empty() {
            form.push(("scope", c.scopes.join(" ")));
        }
        let mut headers = vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        match way {
            Way::Header => {
                let basic = super::client::basic_header(&encoded(&c.client_id), &encoded(secret.expose()));
                headers.push(("Authorization".to_owned(), basic));
            }
            Way::Form => {
                form.push(("client_id", c.client_id.clone()));
                form.push(("client_secret", secret.expose().to_owned()));
            }
        }
        let given = c.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.clone()));
        // What the configuration says of a parameter counts.
        form.retain(|(name, _)| !c.endpoint_params.contains_key(*name));
        form.extend(given);
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let body = pairs.join("&").into_bytes();
        HttpRequest { method: Method::POST, url: c.token_url.to_string(), headers, body }
    }
}

/// The value of `Authorization`, and how long it lives.
fn read(status: u16, body: &[u8]) -> Result<(String, Duration), String> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if !(200..300).contains(&status) {
        // Not all of the answer: it may repeat the secret.
        let error = answer.and_then(|a| a.error);
        let word = error.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let word: String = word.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(40).collect();
        return Err(format!("status {status} {word}").trim_end().to_owned());
    }
    let answer = answer.ok_or("the answer is no JSON")?;
    let token =
        answer.access_token.filter(|t| !t.is_empty()).ok_or("there is no access_token in the answer")?;
    let kind = answer.token_type.filter(|k| !k.is_empty() && !k.eq_ignore_ascii_case("bearer"));
    let seconds = answer.expires_in.and_then(|v| match v {
        serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    });
    // Nothing said: until a server refuses it.
    let lives = seconds
        .filter(|s| *s > 0.0)
        .map_or(LONGEST, |s| Duration::try_from_secs_f64(s).unwrap_or(LONGEST).min(LONGEST));
    Ok((format!("{} {token}", kind.as_deref().unwrap_or("Bearer")), lives))
}

/// As forms and credentials in them are encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_servers() {
        for (status, body, expect) in [
            (200, r#"{"access_token":"a","token_type":"bearer","expires_in":60}"#, Ok(("Bearer a", 60))),
            (200, r#"{"access_token":"a","expires_in":"60"}"#, Ok(("Bearer a", 60))),
            (201, r#"{"access_token":"a","token_type":"MAC"}"#, Ok(("MAC a", 86_400))),
            (200, r#"{"access_token":"a","expires_in":1e300}"#, Ok(("Bearer a", 86_400))),
            (200, r#"{"access_token":"a","expires_in":-5}"#, Ok(("Bearer a", 86_400))),
            (200, r#"{"access_token":""}"#, Err("there is no access_token in the answer")),
            (200, "access_token=a", Err("the answer is no JSON")),
            (400, r#"{"error":"invalid_client","x":"s3cret"}"#, Err("status 400 invalid_client")),
            (401, "s3cret", Err("status 401")),
            (500, r#"{"error":{"code":1}}"#, Err("status 500")),
        ] {
            let got = read(status, body.as_bytes());
            let got = got.as_ref().map(|(h, d)| (h.as_str(), d.as_secs())).map_err(String::as_str);
            assert_eq!(got, expect, "{body}");
        }
        assert_eq!(encoded("a b&ä=~"), "a+b%26%C3%A4%3D~");
    }
}
