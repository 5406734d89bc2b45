//! The keys that Prometheus and Alertmanager have for every HTTP client.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::oauth2::OAuth2;
use crate::model::yaml::{Key, Keys, from_yaml_by_serde};
use crate::model::{Secret, without_password};

/// Name and password, each inline or in a file that is read again for every request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    pub username: String,
    pub username_file: Option<PathBuf>,
    pub password: Secret,
    pub password_file: Option<PathBuf>,
}

/// The `Authorization` header as a scheme and its credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    /// The scheme; empty means `Bearer`.
    #[serde(rename = "type")]
    pub kind: String,
    pub credentials: Secret,
    pub credentials_file: Option<PathBuf>,
}

/// A version of TLS by Prometheus' names. rustls speaks 1.2 and 1.3 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// A URL that may have a password in it, which is not printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UrlText(String);

impl<'de> Deserialize<'de> for UrlText {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // As with a secret: an error about the text would repeat it.
        Secret::deserialize(d).map(|text| Self(text.expose().to_owned()))
    }
}

impl std::ops::Deref for UrlText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for UrlText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", without_password(&self.0))
    }
}

/// How a server is trusted, and what it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM text of the authorities to trust instead of the system's.
    pub ca: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// PEM text of the client certificate and its chain.
    pub cert: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub key: Option<Secret>,
    pub key_file: Option<PathBuf>,
    /// The name that the certificate must carry, when it is not the URL's host.
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

/// The values of one extra header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderValues {
    pub values: Vec<String>,
    pub secrets: Vec<Secret>,
    pub files: Vec<PathBuf>,
}

from_yaml_by_serde! { BasicAuth Authorization TlsConfig UrlText HeaderValues Box<OAuth2> }

/// The whole of it. Credentials and keys in files are read again when they are used.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub oauth2: Option<Box<OAuth2>>,
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: Option<TlsConfig>,
    /// `http://[user:password@]host:port`.
    pub proxy_url: Option<UrlText>,
    pub no_proxy: Option<String>,
    /// Not built yet: refused by [`HttpClientConfig::validate`] when true.
    pub proxy_from_environment: Option<bool>,
    /// Not built yet: refused by [`HttpClientConfig::validate`].
    pub proxy_connect_header: Option<BTreeMap<String, Vec<Secret>>>,
    /// Default true.
    pub follow_redirects: Option<bool>,
    /// Accepted; the client speaks HTTP/1.1 in either case, which every server does.
    pub enable_http2: Option<bool>,
    pub http_headers: Option<BTreeMap<String, HeaderValues>>,
}

impl Keys for HttpClientConfig {
    fn keys(&mut self) -> Vec<(&'static str, &mut dyn Key)> {
        vec![
            ("basic_auth", &mut self.basic_auth),
            ("authorization", &mut self.authorization),
            ("oauth2", &mut self.oauth2),
            ("bearer_token", &mut self.bearer_token),
            ("bearer_token_file", &mut self.bearer_token_file),
            ("tls_config", &mut self.tls_config),
            ("proxy_url", &mut self.proxy_url),
            ("no_proxy", &mut self.no_proxy),
            ("proxy_from_environment", &mut self.proxy_from_environment),
            ("proxy_connect_header", &mut self.proxy_connect_header),
            ("follow_redirects", &mut self.follow_redirects),
            ("enable_http2", &mut self.enable_http2),
            ("http_headers", &mut self.http_headers),
        ]
    }
}

/// Headers that belong to the client itself (the list of Prometheus' documentation).
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    // Added by sideband itself to tell its own scrapes apart.
    "x-sideband-instance",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
];

impl HttpClientConfig {
    /// The files that are read when a request is made, as they are written.
    pub fn files(&self) -> Vec<PathBuf> {
        let basic = self.basic_auth.iter().flat_map(|b| [&b.username_file, &b.password_file]);
        let tls = self.tls_config.iter().flat_map(|t| [&t.ca_file, &t.cert_file, &t.key_file]);
        let authorization = self.authorization.iter().map(|a| &a.credentials_file);
        let plain = basic.chain(tls).chain(authorization).chain([&self.bearer_token_file]).flatten().cloned();
        plain.chain(self.oauth2.iter().flat_map(|o| o.files())).collect()
    }

    /// Checks what the types alone don't: keys that exclude each other, and keys that are not built.
    ///
    /// # Errors
    /// A sentence that names the keys.
    pub fn validate(&self) -> Result<(), String> {
        let bearer = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        if self.bearer_token.is_some() && self.bearer_token_file.is_some() {
            return Err("at most one of bearer_token & bearer_token_file must be configured".into());
        }
        if bearer && (self.basic_auth.is_some() || self.oauth2.is_some()) {
            return Err(
                "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"
                    .into(),
            );
        }
        if let Some(basic) = &self.basic_auth {
            if !basic.username.is_empty() && basic.username_file.is_some() {
                return Err("at most one of basic_auth username & username_file must be configured".into());
            }
            if !basic.password.is_empty() && basic.password_file.is_some() {
                return Err("at most one of basic_auth password & password_file must be configured".into());
            }
        }
        if let Some(auth) = &self.authorization {
            if bearer {
                return Err("authorization is not compatible with bearer_token & bearer_token_file".into());
            }
            if !auth.credentials.is_empty() && auth.credentials_file.is_some() {
                return Err(
                    "at most one of authorization credentials & credentials_file must be configured".into()
                );
            }
            if auth.kind.trim().eq_ignore_ascii_case("basic") {
                return Err(r#"authorization type cannot be set to "basic", use "basic_auth" instead"#.into());
            }
            if self.basic_auth.is_some() || self.oauth2.is_some() {
                return Err("at most one of basic_auth, oauth2 & authorization must be configured".into());
            }
        }
        if self.basic_auth.is_some() && self.oauth2.is_some() {
            return Err("at most one of basic_auth, oauth2 & authorization must be configured".into());
        }
        self.validate_proxy()?;
        if let Some(tls) = &self.tls_config {
            tls.validate()?;
        }
        for name in self.http_headers.iter().flatten().map(|(name, _)| name) {
            if hyper::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(format!("http_headers: {name:?} is not a valid header name"));
            }
            if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("http_headers: setting header {name:?} is not allowed"));
            }
        }
        self.oauth2.as_ref().map_or(Ok(()), |o| o.validate())
    }

    fn validate_proxy(&self) -> Result<(), String> {
        let proxy_url = self.proxy_url.as_deref().unwrap_or_default();
        let from_environment = self.proxy_from_environment.unwrap_or_default();
        let no_proxy = self.no_proxy.as_deref().unwrap_or_default();
        if from_environment && !proxy_url.is_empty() {
            return Err("if proxy_from_environment is configured, proxy_url must not be configured".into());
        }
        if from_environment && !no_proxy.is_empty() {
            return Err("if proxy_from_environment is configured, no_proxy must not be configured".into());
        }
        if !no_proxy.is_empty() && proxy_url.is_empty() {
            return Err("if no_proxy is configured, proxy_url must also be configured".into());
        }
        if self.proxy_connect_header.is_some() && proxy_url.is_empty() && !from_environment {
            return Err(
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also \
                        be configured"
                    .into(),
            );
        }
        if from_environment {
            return Err("proxy_from_environment is not built yet".into());
        }
        if self.proxy_connect_header.is_some() {
            return Err("proxy_connect_header is not built yet".into());
        }
        if !proxy_url.is_empty() {
            let proxy = super::url::Url::parse(proxy_url).map_err(|e| format!("proxy_url: {e}"))?;
            if proxy.https {
                return Err("proxy_url: only http:// proxies are built yet".into());
            }
        }
        Ok(())
    }
}

impl TlsConfig {
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.ca.is_some() && self.ca_file.is_some() {
            return Err("at most one of ca and ca_file must be configured".into());
        }
        if self.cert.is_some() && self.cert_file.is_some() {
            return Err("at most one of cert and cert_file must be configured".into());
        }
        if self.key.is_some() && self.key_file.is_some() {
            return Err("at most one of key and key_file must be configured".into());
        }
        let has_cert = self.cert.is_some() || self.cert_file.is_some();
        let has_key = self.key.is_some() || self.key_file.is_some();
        if has_cert && !has_key {
            return Err("exactly one of key or key_file must be configured when a client certificate is \
                        configured"
                .into());
        }
        if has_key && !has_cert {
            return Err(
                "exactly one of cert or cert_file must be configured when a client key is configured".into(),
            );
        }
        if let (Some(min), Some(max)) = (self.min_version, self.max_version)
            && max < min
        {
            return Err("tls_config.max_version must be greater than or equal to tls_config.min_version \
                        if both are specified"
                .into());
        }
        if self.max_version.is_some_and(|v| v < TlsVersion::Tls12) {
            return Err("tls_config.max_version: TLS 1.0 and 1.1 are not spoken".into());
        }
        Ok(())
    }
}
