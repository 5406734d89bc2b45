//! What the server knows of a connection, and a stream that gives up on clients that dribble or do not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Waiting for a request.
pub(super) const IDLE: u8 = 0;
/// Some of a request's head has come.
const HEAD: u8 = 1;
/// A request is being answered.
pub(super) const BUSY: u8 = 2;

/// What the server knows of a connection while it lives.
pub(super) struct Connection {
    phase: AtomicU8,
    /// When the phase began: milliseconds on the runtime's clock, which only order matters of.
    since: AtomicU64,
    born: Instant,
    /// Told when it should make room.
    pub close: Notify,
}

impl Connection {
    pub fn new() -> Self {
        let connection = Self {
            phase: AtomicU8::new(IDLE),
            since: AtomicU64::new(0),
            born: Instant::now(),
            close: Notify::new(),
        };
        connection.enter(IDLE);
        connection
    }

    /// Is a request being answered?
    pub fn is_busy(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == BUSY
    }

    /// When the phase began; only to be compared.
    pub fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    /// Begins a phase.
    pub fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
        // Connections are compared with each other, so count from a common origin: the process's first.
        static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let origin = *ORIGIN.get_or_init(|| self.born);
        let since = Instant::now().saturating_duration_since(origin);
        self.since.store(since.as_millis() as u64, Ordering::Relaxed);
    }
}

/// A stream that gives up on clients that dribble a request's head or do not take the answer.
pub(super) struct GuardedIo<S> {
    stream: S,
    connection: Arc<Connection>,
    header_timeout: Duration,
    write_timeout: Duration,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedIo<S> {
    /// `header_timeout`: from the first byte of a request to the end of its headers; `write_timeout`: while the
    /// client takes no byte.
    pub fn new(
        stream: S,
        connection: Arc<Connection>,
        header_timeout: Duration,
        write_timeout: Duration,
    ) -> Self {
        Self { stream, connection, header_timeout, write_timeout, read_timer: None, write_timer: None }
    }
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
