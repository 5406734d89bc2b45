//! The HTTP server: accepts, bounds, times out, drains. What is answered is a [`Handler`]'s business.
//!
//! HTTP/1.1 only: every client of such an endpoint speaks it, and one protocol is one set of limits to get right.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::auth::Security;

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
        None => TcpListener::bind(address).await?,
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
        let idlest = connections
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|c| c.phase.load(Ordering::Relaxed) != BUSY)
            .min_by_key(|c| c.since.load(Ordering::Relaxed));
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
        let io = TokioIo::new(GuardedIo {
            stream,
            connection: Arc::clone(connection),
            header_timeout: self.limits.header_timeout,
            write_timeout: self.limits.write_stall_timeout,
            read_timer: None,
            write_timer: None,
        });
        let service = hyper::service::service_fn(|request| {
            connection.enter(BUSY);
            let answer = Arc::clone(&self.handler).handle(request, peer);
            let connection = Arc::clone(connection);
            async move {
                let response = answer.await;
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

/// Returns when the shutdown begins.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the shutdown too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Waiting for a request.
const IDLE: u8 = 0;
/// Some of a request's head has come.
const HEAD: u8 = 1;
/// A request is being answered.
const BUSY: u8 = 2;

/// What the server knows of a connection while it lives.
struct Connection {
    phase: AtomicU8,
    /// When the phase began: milliseconds on the runtime's clock, which only order matters of.
    since: AtomicU64,
    born: Instant,
    close: Notify,
}

impl Connection {
    fn new() -> Self {
        let connection = Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            born: Instant::now(),
            close: Notify::new(),
        };
        connection.enter(IDLE);
        connection
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        // Connections are compared with each other, so count from a common origin: the process's first.
        static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let origin = *ORIGIN.get_or_init(|| self.born);
        let since = Instant::now().saturating_duration_since(origin);
        self.since.store(since.as_millis() as u64, Ordering::Relaxed);
    }
}

/// A stream that gives up on clients that dribble a request's head or do not take the answer.
struct GuardedIo<S> {
    stream: S,
    connection: Arc<Connection>,
    header_timeout: Duration,
    write_timeout: Duration,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

/// Is the time up? Starts the timer if it is not running.
fn expired(timer: &mut Option<Pin<Box<Sleep>>>, after: Duration, cx: &mut Context<'_>) -> bool {
    timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(after))).as_mut().poll(cx).is_ready()
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if polled.is_ready() {
            if buf.filled().len() > before && this.connection.phase.load(Ordering::Relaxed) == IDLE {
                this.connection.enter(HEAD);
                this.read_timer = None;
            }
            return polled;
        }
        if this.connection.phase.load(Ordering::Relaxed) == HEAD {
            if expired(&mut this.read_timer, this.header_timeout, cx) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "request head took too long",
                )));
            }
        } else {
            this.read_timer = None;
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> GuardedIo<S> {
    fn guard<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_timer = None;
        } else if expired(&mut self.write_timer, self.write_timeout, cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "client takes no data")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, data);
        self.guard(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.guard(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.guard(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.guard(cx, polled)
    }
}
