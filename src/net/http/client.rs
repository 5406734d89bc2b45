//! Requests and answers over pooled connections.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::{Instant, timeout_at};

use super::connect::{self, Sender, Way};
use super::decode::Decoder;
use super::no_proxy;
use super::oauth2::Tokens;
use super::tls::TlsSource;
use super::url::Url;
use super::{HttpClientConfig, NetError};
use crate::model::{Secret, percent_decode};

/// Connections that were not used for so long are closed.
const IDLE: Duration = Duration::from_secs(300);
/// Idle connections that are kept for one host.
const IDLE_PER_HOST: usize = 4;
const MAX_REDIRECTS: usize = 10;

/// What to ask for.
#[derive(Debug, Clone, Default)]
pub struct HttpRequest {
    pub method: Method,
    /// Absolute, `http` or `https`. A user and password in it are sent as basic authentication.
    pub url: String,
    /// `Host`, `Content-Length` and the configured credentials are added to these.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How long and how large an answer may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For all of it: connecting, redirects, the whole body.
    pub timeout: Duration,
    /// Bytes of the body, after decompression and on the wire.
    pub max_body: usize,
}

/// A complete answer, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Vec<u8>,
}

/// A client with one configuration. Clones share the connections.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: HttpClientConfig,
    base_dir: PathBuf,
    tls: TlsSource,
    proxy: Option<Url>,
    proxy_credentials: Option<String>,
    tokens: Option<Tokens>,
    pool: Pool,
}

/// An answer whose header has come and whose body is still to be read.
pub struct Exchange {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
    decoder: Decoder,
    deadline: Instant,
    timeout: Duration,
    /// To give the connection back when the body is complete.
    give_back: Option<(HttpClient, Key, Sender)>,
}

/// Connections are kept by (TLS?, `host:port`).
type Key = (bool, String);

impl HttpClient {
    /// A client for this configuration; files are relative to `base_dir`.
    ///
    /// # Errors
    /// The configuration contradicts itself, or a certificate or key cannot be used.
    pub fn new(config: &HttpClientConfig, base_dir: &Path) -> Result<Self, NetError> {
        config.validate().map_err(NetError::Config)?;
        let tls = TlsSource::new(config.tls_config.clone().unwrap_or_default(), base_dir)?;
        let proxy = match config.proxy_url.as_deref() {
            None | Some("") => None,
            Some(url) => Some(Url::parse(url).map_err(NetError::Config)?),
        };
        let proxy_credentials = proxy.as_ref().and_then(|p| p.userinfo.as_deref()).map(basic_of_userinfo);
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            base_dir: base_dir.to_owned(),
            tls,
            proxy,
            proxy_credentials,
            tokens: config.oauth2.as_ref().map(|o| Tokens::new(o, base_dir)).transpose()?,
            pool: Pool::default(),
        })))
    }

    /// Sends a request and reads the whole answer. Any status is an answer, not an error.
    ///
    /// # Errors
    /// See [`NetError`]. Cancelling the future closes the connection.
    pub async fn send(&self, request: HttpRequest, limits: Limits) -> Result<HttpResponse, NetError> {
        let mut exchange = self.start(request, limits).await?;
        let mut body = Vec::new();
        while exchange.read(&mut body).await? {}
        Ok(HttpResponse { status: exchange.status, headers: exchange.headers, body })
    }

    /// Sends a request and waits for the answer's header only.
    ///
    /// # Errors
    /// See [`NetError`].
    pub async fn start(&self, request: HttpRequest, limits: Limits) -> Result<Exchange, NetError> {
        let deadline = Instant::now() + limits.timeout;
        let done = async {
            match &self.0.tokens {
                None => self.follow(request, None, limits, deadline).await,
                Some(tokens) => self.with_token(tokens, request, limits, deadline).await,
            }
        };
        match timeout_at(deadline, done).await {
            Ok(result) => result,
            Err(_) => Err(NetError::Timeout(limits.timeout)),
        }
    }

    /// With a token; one that is not taken any more is exchanged for a new one, once.
    async fn with_token(
        &self,
        tokens: &Tokens,
        request: HttpRequest,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Exchange, NetError> {
        let (token, kept) = tokens.header().await?;
        let exchange = self.follow(request.clone(), Some(&token), limits, deadline).await?;
        if exchange.status != 401 {
            return Ok(exchange);
        }
        tokens.forget(&token);
        if !kept {
            return Ok(exchange);
        }
        let (token, _) = tokens.header().await?;
        self.follow(request, Some(&token), limits, deadline).await
    }

    async fn follow(
        &self,
        mut request: HttpRequest,
        token: Option<&str>,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Exchange, NetError> {
        let mut url = Url::parse(&request.url).map_err(NetError::Config)?;
        let first = (url.https, url.authority());
        for _ in 0..=MAX_REDIRECTS {
            let key = (url.https, url.authority());
            // Credentials are for the host that they were configured for.
            let credentials = (key == first).then_some(token);
            let (response, sender) = self.exchange(&url, &request, credentials).await?;
            let status = response.status().as_u16();
            let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
            match location {
                Some(location)
                    if matches!(status, 301 | 302 | 303 | 307 | 308)
                        && self.0.config.follow_redirects.unwrap_or(true) =>
                {
                    url = url.join(location).map_err(|e| NetError::Other(format!("redirect: {e}")))?;
                    if status < 307 && request.method != Method::GET && request.method != Method::HEAD {
                        request.method = Method::GET;
                        request.body.clear();
                        request
                            .headers
                            .retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
                    }
                    if (url.https, url.authority()) != first {
                        request.headers.retain(|(name, _)| !is_sensitive(name));
                    }
                    // The rest of this answer is not read, so its connection is not used again.
                }
                _ => return self.answer(response, (key, sender), limits, deadline),
            }
        }
        Err(NetError::Other(format!("stopped after {MAX_REDIRECTS} redirects")))
    }

    fn answer(
        &self,
        response: Response<Incoming>,
        (key, sender): (Key, Sender),
        limits: Limits,
        deadline: Instant,
    ) -> Result<Exchange, NetError> {
        let (parts, body) = response.into_parts();
        let encoding = parts.headers.get(header::CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes());
        let gzip = encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip");
        if !gzip && !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
            let encoding = String::from_utf8_lossy(encoding);
            return Err(NetError::Other(format!("unsupported Content-Encoding {encoding:?}")));
        }
        let announced = hyper::body::Body::size_hint(&body).lower();
        if announced > limits.max_body as u64 {
            return Err(NetError::TooLarge(limits.max_body));
        }
        Ok(Exchange {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            decoder: Decoder::new(gzip, limits.max_body),
            deadline,
            timeout: limits.timeout,
            give_back: Some((self.clone(), key, sender)),
        })
    }

    /// One request over one connection: an idle one, or a new one when the idle one turns out to be dead. With
    /// `credentials` it has those of the configuration, and a token where there is one.
    async fn exchange(
        &self,
        url: &Url,
        request: &HttpRequest,
        credentials: Option<Option<&str>>,
    ) -> Result<(Response<Incoming>, Sender), NetError> {
        let inner = &*self.0;
        let list = inner.config.no_proxy.as_deref().unwrap_or_default();
        let proxy = inner.proxy.as_ref().filter(|_| !no_proxy::bypasses(list, &url.host, url.port));
        let key = (url.https, url.authority());
        while let Some(mut sender) = inner.pool.take(&key) {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(self.message(url, proxy, request, credentials)?).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut e) => {
                    // The server may close an idle connection just when it is used again. Nothing was done
                    // when the message came back unsent, or when the method does nothing.
                    let unsent = e.take_message().is_some();
                    let harmless = request.method.is_safe()
                        && (e.error().is_incomplete_message() || e.error().is_closed());
                    if !unsent && !harmless {
                        return Err(protocol_error(e.error()));
                    }
                }
            }
        }
        let way = Way { proxy, proxy_credentials: inner.proxy_credentials.as_deref(), tls: &inner.tls };
        let mut sender = connect::open(url, &way).await?;
        let message = self.message(url, proxy, request, credentials)?;
        let response = sender.send_request(message).await.map_err(|e| protocol_error(&e))?;
        Ok((response, sender))
    }

    fn message(
        &self,
        url: &Url,
        proxy: Option<&Url>,
        request: &HttpRequest,
        credentials: Option<Option<&str>>,
    ) -> Result<Request<Full<Bytes>>, NetError> {
        let bad = |e: &dyn std::fmt::Display| NetError::Config(format!("cannot build the request: {e}"));
        // A proxy that forwards plain HTTP is asked for the absolute URL.
        let through_proxy = proxy.is_some() && !url.https;
        let target = if through_proxy { url.absolute() } else { url.path.clone() };
        let mut message = Request::new(Full::new(Bytes::from(request.body.clone())));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = target.parse().map_err(|e| bad(&e))?;
        let headers = message.headers_mut();
        let mut put = |name: HeaderName, value: &str| -> Result<(), NetError> {
            headers.append(name, HeaderValue::from_str(value).map_err(|e| bad(&e))?);
            Ok(())
        };
        put(header::HOST, &url.host_header())?;
        for (name, value) in &request.headers {
            put(HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?, value)?;
        }
        if let Some(token) = credentials {
            let own = match token {
                Some(token) => Some(token.to_owned()),
                None => self.credentials(url)?,
            };
            if let Some(value) = own {
                put(header::AUTHORIZATION, &value)?;
            }
            for (name, values) in self.0.config.http_headers.iter().flatten() {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?;
                for value in &values.values {
                    put(name.clone(), value)?;
                }
                for value in &values.secrets {
                    put(name.clone(), value.expose())?;
                }
                for file in &values.files {
                    put(name.clone(), &self.file(file)?)?;
                }
            }
        }
        if let (Some(value), true) = (&self.0.proxy_credentials, through_proxy) {
            put(header::PROXY_AUTHORIZATION, value)?;
        }
        if !headers.contains_key(header::USER_AGENT) {
            let agent = HeaderValue::from_static(concat!("sideband/", env!("CARGO_PKG_VERSION")));
            headers.insert(header::USER_AGENT, agent);
        }
        Ok(message)
    }

    /// The value of `Authorization`, with the files read now.
    fn credentials(&self, url: &Url) -> Result<Option<String>, NetError> {
        let config = &self.0.config;
        let pick = |inline: Option<&Secret>, file: Option<&PathBuf>| match (inline, file) {
            (_, Some(file)) => self.file(file),
            (Some(secret), None) => Ok(secret.expose().to_owned()),
            (None, None) => Ok(String::new()),
        };
        if let Some(basic) = &config.basic_auth {
            let username = match &basic.username_file {
                Some(file) => self.file(file)?,
                None => basic.username.clone(),
            };
            let password = pick(Some(&basic.password), basic.password_file.as_ref())?;
            return Ok(Some(basic_header(&username, &password)));
        }
        if let Some(auth) = &config.authorization {
            let kind = match auth.kind.trim() {
                "" => "Bearer",
                kind => kind,
            };
            let credentials = pick(Some(&auth.credentials), auth.credentials_file.as_ref())?;
            return Ok(Some(format!("{kind} {credentials}")));
        }
        if config.bearer_token.is_some() || config.bearer_token_file.is_some() {
            let token = pick(config.bearer_token.as_ref(), config.bearer_token_file.as_ref())?;
            return Ok(Some(format!("Bearer {token}")));
        }
        Ok(url.userinfo.as_deref().map(basic_of_userinfo))
    }

    fn file(&self, file: &Path) -> Result<String, NetError> {
        let path = self.0.base_dir.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| NetError::Config(format!("unable to read {}: {e}", path.display())))?;
        Ok(text.trim().to_owned())
    }
}

impl Exchange {
    /// Reads one piece of the body onto the end of `out`; false when there is no more.
    ///
    /// # Errors
    /// See [`NetError`]; the connection is closed then.
    pub async fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, NetError> {
        let Ok(frame) = timeout_at(self.deadline, self.body.frame()).await else {
            self.give_back = None;
            return Err(NetError::Timeout(self.timeout));
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.decoder.piece(data, out).inspect_err(|_| self.give_back = None)?;
                }
                Ok(true)
            }
            Some(Err(e)) => {
                self.give_back = None;
                Err(protocol_error(&e))
            }
            None => {
                if let Some((client, key, sender)) = self.give_back.take() {
                    client.0.pool.put(key, sender);
                }
                self.decoder.end(out)?;
                Ok(false)
            }
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Idle connections.
#[derive(Default)]
struct Pool(Mutex<HashMap<Key, Vec<(Sender, Instant)>>>);

impl Pool {
    fn take(&self, key: &Key) -> Option<Sender> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.get_mut(key)?;
        let now = Instant::now();
        idle.retain(|(sender, since)| !sender.is_closed() && now - *since < IDLE);
        let sender = idle.pop().map(|(sender, _)| sender);
        if idle.is_empty() {
            pool.remove(key);
        }
        sender
    }

    fn put(&self, key: Key, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // Also what other hosts left behind: nobody else would ever look.
        pool.retain(|_, idle| {
            idle.retain(|(sender, since)| !sender.is_closed() && now - *since < IDLE);
            !idle.is_empty()
        });
        let idle = pool.entry(key).or_default();
        if idle.len() < IDLE_PER_HOST {
            idle.push((sender, now));
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

fn is_sensitive(name: &str) -> bool {
    ["authorization", "cookie", "www-authenticate"].iter().any(|s| name.eq_ignore_ascii_case(s))
}

pub(super) fn basic_header(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn basic_of_userinfo(userinfo: &str) -> String {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    basic_header(&percent_decode(user.as_bytes()), &percent_decode(password.as_bytes()))
}

/// hyper's errors say little by themselves; the cause behind them says what happened.
fn protocol_error(e: &hyper::Error) -> NetError {
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(c) = cause {
        let more = c.to_string();
        if !text.contains(&more) {
            text += ": ";
            text += &more;
        }
        cause = c.source();
    }
    NetError::Other(text)
}
