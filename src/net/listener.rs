//! The HTTP server: accepts, bounds, times out, drains. What is answered is a [`Handler`]'s business.
//!
//! HTTP/1.1 only: every client of such an endpoint speaks it, and one protocol is one set of limits to get right.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::auth::Security;
use super::connection::{BUSY, Connection, GuardedIo, IDLE};

/// What a server allows. The defaults suit a daemon of a few megabytes.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Open connections over all addresses. When they are used up, the one that has been idle longest gives way.
    pub max_connections: usize,
    /// Bytes of a request line with its headers, at least 8 KiB.
    pub max_header_bytes: usize,
    /// From the first byte of a request to the end of its headers; also a TLS handshake.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of a response that is ready.
    pub write_stall_timeout: Duration,
    /// How long running requests may go on after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_connections: 512,
            max_header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            write_stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub addr: SocketAddr,
    /// Did it come over TLS?
    pub tls: bool,
    /// Did it show a client certificate that the configured authorities vouch for?
    pub verified_certificate: bool,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Errors are answers too.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Opens an address: `host:port`, `:port` for every interface, `[::]:port`.
///
/// # Errors
/// The address has no port, is not resolvable, is taken, or may not be opened.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let listener = match address.strip_prefix(':') {
        // Both families where the machine has IPv6, as Go does; else what there is.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => listener,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await?,
        },
        None if address.contains(':') => TcpListener::bind(address).await?,
        None => {
            let message = "the port is missing: HOST:PORT, or :PORT for every interface, is wanted";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    };
    Ok(listener)
}

/// Serves until `shutdown`, then lets running requests finish within the drain timeout.
///
/// Every listener shares the limits. Returns when the last connection is gone.
pub async fn run<H: Handler>(
    listeners: Vec<TcpListener>,
    handler: Arc<H>,
    security: Arc<Security>,
    limits: ServerLimits,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let server = Arc::new(Server {
        handler,
        security,
        permits: Arc::new(Semaphore::new(limits.max_connections)),
        connections: Mutex::default(),
        limits,
        stopping,
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    shutdown.await;
    let _ = stop.send(true);
    let deadline = Instant::now() + server.limits.drain_timeout;
    while let Some(connections) = accepting.join_next().await {
        let Ok(mut connections) = connections else { continue };
        // Whatever is left when the time is up is cut off when the set is dropped.
        let _ = tokio::time::timeout_at(deadline, async { while connections.join_next().await.is_some() {} })
            .await;
    }
}

struct Server<H> {
    handler: Arc<H>,
    security: Arc<Security>,
    limits: ServerLimits,
    permits: Arc<Semaphore>,
    connections: Mutex<Vec<Weak<Connection>>>,
    stopping: watch::Receiver<bool>,
}

impl<H: Handler> Server<H> {
    async fn accept(self: Arc<Self>, listener: TcpListener) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let mut stopping = self.stopping.clone();
        loop {
            while tasks.try_join_next().is_some() {}
            let (stream, addr, permit) = tokio::select! {
                () = stopped(&mut stopping) => return tasks,
                next = self.next_connection(&listener) => match next {
                    Ok(next) => next,
                    Err(e) => {
                        tracing::warn!(error = %e, "cannot accept connections");
                        // Out of file descriptors, most likely: let some be closed first.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            tasks.spawn(Arc::clone(&self).serve(stream, addr, permit));
        }
    }

    async fn next_connection(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let (stream, addr) = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                // The client was gone before we came: nobody's problem.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(e),
            }
        };
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_idlest();
                Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?
            }
        };
        Ok((stream, addr, permit))
    }

    /// Asks the connection that has waited longest for a request to make room.
    fn evict_idlest(&self) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let idlest =
            connections.iter().filter_map(Weak::upgrade).filter(|c| !c.is_busy()).min_by_key(|c| c.since());
        if let Some(connection) = idlest {
            connection.close.notify_one();
        }
    }

    fn remember(&self, connection: &Arc<Connection>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= 2 * self.limits.max_connections.max(8) {
            connections.retain(|c| c.strong_count() > 0);
        }
        connections.push(Arc::downgrade(connection));
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, addr: SocketAddr, permit: OwnedSemaphorePermit) {
        let connection = Arc::new(Connection::new());
        self.remember(&connection);
        // Small answers must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let mut peer = Peer { addr, tls: false, verified_certificate: false };
        match self.security.tls() {
            None => self.serve_http(stream, peer, &connection).await,
            Some(config) => {
                let accept = tokio_rustls::TlsAcceptor::from(config.server).accept(stream);
                match tokio::time::timeout(self.limits.header_timeout, accept).await {
                    Ok(Ok(stream)) => {
                        peer.tls = true;
                        peer.verified_certificate =
                            config.verifies_clients && stream.get_ref().1.peer_certificates().is_some();
                        self.serve_http(stream, peer, &connection).await;
                    }
                    Ok(Err(e)) => tracing::debug!(%addr, error = %e, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%addr, "TLS handshake took too long"),
                }
            }
        }
        drop(permit);
    }

    async fn serve_http<S>(&self, stream: S, peer: Peer, connection: &Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (header_timeout, write_timeout) = (self.limits.header_timeout, self.limits.write_stall_timeout);
        let io = TokioIo::new(GuardedIo::new(stream, Arc::clone(connection), header_timeout, write_timeout));
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            connection.enter(BUSY);
            let answer = match wrong_host(&request) {
                None => Ok(Arc::clone(&self.handler).handle(request, peer)),
                Some(why) => Err(bad_request(why)),
            };
            let connection = Arc::clone(connection);
            async move {
                let response = match answer {
                    Ok(answer) => answer.await,
                    Err(refusal) => refusal,
                };
                connection.enter(IDLE);
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle_timeout)
            .max_buf_size(self.limits.max_header_bytes.max(8192));
        let mut serving = pin!(builder.serve_connection(io, service));
        let mut stopping = self.stopping.clone();
        tokio::select! {
            result = serving.as_mut() => {
                if let Err(e) = result {
                    tracing::debug!(addr = %peer.addr, error = %e, "connection failed");
                }
            }
            () = connection.close.notified() => {}
            () = stopped(&mut stopping) => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
    }
}

/// What is wrong with the `Host` header, by the rules of HTTP/1.1 (RFC 9112, 3.2).
fn wrong_host(request: &Request<Incoming>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() >= Version::HTTP_11 => Some("missing required Host header"),
        (Some(_), Some(_)) => Some("too many Host headers"),
        (Some(host), None) if !host.as_bytes().iter().all(|b| is_host_byte(*b)) => {
            Some("malformed Host header")
        }
        _ => None,
    }
}

/// Bytes of names, addresses, ports and percent-encodings (RFC 3986, 3.2.2).
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&b)
}

fn bad_request(why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("400 Bad Request: {why}\n"))));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns when the shutdown begins.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the shutdown too.
    let _ = stopping.wait_for(|stop| *stop).await;
}
