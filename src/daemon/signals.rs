//! Signals as a stream of events.

use std::io;
use std::os::unix::net::UnixStream as StdStream;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP
    Reload,
    /// SIGTERM or SIGINT
    Terminate,
}

/// Receives the process's signals.
pub struct Signals {
    reload: UnixStream,
    terminate: UnixStream,
}

impl Signals {
    /// Takes over SIGHUP, SIGTERM and SIGINT; SIGXFSZ does nothing.
    ///
    /// # Errors
    /// The system refuses a socket or a handler.
    pub fn new() -> io::Result<Self> {
        // A file that must not grow any more is an error of the write, not the end of the process.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { reload: pipe(&[SIGHUP])?, terminate: pipe(&[SIGTERM, SIGINT])? })
    }

    /// The next signal. Several of one kind that come at once may be one.
    pub async fn next(&mut self) -> Signal {
        let (mut a, mut b) = ([0u8; 64], [0u8; 64]);
        // Both ends of the sockets live as long as the process: a read cannot end.
        tokio::select! {
            biased;
            _ = self.terminate.read(&mut a) => Signal::Terminate,
            _ = self.reload.read(&mut b) => Signal::Reload,
        }
    }
}

fn pipe(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = StdStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    read.set_nonblocking(true)?;
    UnixStream::from_std(read)
}
