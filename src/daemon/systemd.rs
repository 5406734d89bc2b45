//! Telling systemd how it goes: the sd_notify protocol (sd_notify(3)), without a library.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::model::{Clock, Timestamp};

/// The service manager's socket, or nobody.
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`; a value that cannot be used counts as none and is logged.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let bytes = path.as_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            match address.and_then(|a| Ok((UnixDatagram::unbound()?, a))) {
                Ok(pair) => Some(pair),
                Err(error) => {
                    tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
                    None
                }
            }
        });
        Self { socket }
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "systemd was not reached");
        }
    }

    /// The daemon serves.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=watching");
    }

    /// A reload begins; [`Self::ready`] ends it. `monotonic` is CLOCK_MONOTONIC in µs.
    pub fn reloading(&self) {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = t.tv_sec * 1_000_000 + t.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// Still alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// A shutdown begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }
}

/// Half of the watchdog's patience, when systemd watches this process (sd_watchdog_enabled(3)).
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|&usec| usec > 0).map(|usec| Duration::from_micros(usec / 2))
}

/// A clock that is asked once in a while whether wall time jumped against boot time.
pub struct JumpDetector {
    last_offset: i64,
}

impl JumpDetector {
    /// Starts from the clocks' present difference.
    pub fn new(clock: &dyn Clock) -> Self {
        Self { last_offset: clock.now() - clock.boottime() }
    }

    /// How far (ms) wall time moved against boot time since the last call, if by more than `tolerance`.
    pub fn jumped(&mut self, clock: &dyn Clock, tolerance: Timestamp) -> Option<i64> {
        let offset = clock.now() - clock.boottime();
        let by = offset - std::mem::replace(&mut self.last_offset, offset);
        (by.abs() > tolerance).then_some(by)
    }
}
