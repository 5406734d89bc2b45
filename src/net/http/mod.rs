//! The HTTP/1.1 client: pooled connections, TLS, proxies, credentials from files, bounded bodies.

mod client;
mod config;
mod connect;
mod decode;
mod no_proxy;
mod oauth2;
mod tls;
mod url;

pub use client::{Exchange, HttpClient, HttpRequest, HttpResponse, Limits};
pub use config::{Authorization, BasicAuth, HeaderValues, HttpClientConfig, TlsConfig, TlsVersion, UrlText};
pub use oauth2::OAuth2;
pub use tls::TlsClient;

/// What can go wrong between a request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The answer was not complete in time.
    #[error("timeout after {0:?}")]
    Timeout(std::time::Duration),
    /// No connection: name not found, refused, unreachable, or the proxy said no.
    #[error("{0}")]
    Connect(String),
    /// The TLS handshake failed, or a certificate or key is no good.
    #[error("tls: {0}")]
    Tls(String),
    /// The body is larger than the limit in bytes (after decompression).
    #[error("body size limit of {0} bytes exceeded")]
    TooLarge(usize),
    /// The configuration is at fault: a bad URL, a file that cannot be read.
    #[error("{0}")]
    Config(String),
    /// Anything else: the connection broke, the answer is no HTTP, the gzip stream is damaged.
    #[error("{0}")]
    Other(String),
}
