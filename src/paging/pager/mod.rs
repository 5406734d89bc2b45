//! Runs the dispatcher: one thread that owns it, a second that writes the ledger, and a task for every attempt to
//! send.

mod book;
mod called;
mod handle;
mod heartbeat;
mod worker;

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};

use super::acklink::{AckLinks, KeyError};
use super::callbacks::Seen;
use super::config::PagingConfig;
use super::engine::{Engine, Now};
use super::link_key;
use super::metrics::PagingMetrics;
use super::receivers::{NoTemplates, Render, SenderParts, Senders, Threads, Transport};
use crate::ledger::{Ledger, LedgerError};
use crate::model::{Clock, SystemClock};

pub use handle::{LinkedAck, OnCallView, PagerHandle};

/// Commands that wait at once.
const QUEUE: usize = 1024;

/// Why paging cannot start, or cannot take a configuration.
#[derive(Debug, thiserror::Error)]
pub enum PagerError {
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A receiver that is reached cannot be sent to.
    #[error("{0}")]
    CannotSend(String),
    #[error("{0}")]
    Receiver(String),
    #[error("the thread of paging cannot be started: {0}")]
    Thread(std::io::Error),
    /// It has been shut down.
    #[error("paging has ended")]
    Ended,
}

/// What paging needs beside its configuration and its ledger.
pub struct PagerOptions {
    pub clock: Arc<dyn Clock>,
    /// Stands in messages as `externalURL`; `acknowledge.external_url` comes before it in links.
    pub external_url: String,
    /// Where a key for acknowledgement links is made and kept, for a configuration that names none; `None`: pages
    /// then carry no links.
    pub own_key_file: Option<PathBuf>,
    pub render: Arc<dyn Render>,
    pub metrics: PagingMetrics,
    /// Instead of the real receivers, for tests.
    pub transport: Option<Arc<dyn Transport>>,
}

impl Default for PagerOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            external_url: String::new(),
            own_key_file: None,
            render: Arc::new(NoTemplates),
            metrics: PagingMetrics::default(),
            transport: None,
        }
    }
}

/// Starts paging.
#[derive(Debug, Clone, Copy)]
pub struct Pager;

impl Pager {
    /// Reads the ledger and goes on where it stopped. Call it within a tokio runtime: what is sent is sent there.
    /// A ledger that cannot be read is said loudly, and pages go out from memory.
    ///
    /// # Errors
    /// The key of acknowledgement links, or a receiver, cannot be used.
    pub fn spawn(
        config: PagingConfig,
        ledger: Ledger,
        options: PagerOptions,
    ) -> Result<PagerHandle, PagerError> {
        let config = Arc::new(config);
        let now = Now { wall: options.clock.now(), boot: options.clock.boottime() };
        let read = book::read(&ledger).or_else(|e| match e {
            LedgerError::Damaged(why) => {
                ledger.begin_afresh(&why)?;
                book::read(&ledger)
            }
            other => Err(other),
        });
        let degraded = read.is_err();
        // A full or read-only disk can often be read when the file cannot be opened to be written.
        let read = read.or_else(|error| {
            let copied = ledger.copy_in_memory().and_then(|copy| book::read(&copy)).map_err(|_| error)?;
            tracing::error!(
                "the ledger can only be read: what it has is known, and what happens is kept in memory only"
            );
            Ok::<_, LedgerError>(copied)
        });
        let unread = read.is_err();
        let (rows, listed) = read.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger cannot be read: incidents from before are not known");
            (Vec::new(), true)
        });
        let instance = new_instance(now);
        let mut engine = Engine::restore(Arc::clone(&config), &instance, rows, now);
        if !listed {
            engine.list_incidents_anew();
        }
        let plant = Plant {
            instance: engine.instance().to_owned(),
            external_url: options.external_url,
            own_key_file: options.own_key_file,
            own_key: OnceLock::new(),
            render: options.render,
            clock: Arc::clone(&options.clock),
            threads: Threads::load((!degraded).then(|| ledger.clone())),
            seen: Arc::new(Seen::load((!degraded).then(|| ledger.clone()))),
            fixed: options.transport,
        };
        let (links, transport) = plant.build(&config)?;
        let (tx, rx) = sync_channel(QUEUE);
        let runtime = tokio::runtime::Handle::current();
        let shared = handle::Shared::new(
            tx.clone(),
            options.metrics.clone(),
            Arc::clone(&options.clock),
            ledger.clone(),
        );
        shared.configure(&config, links);
        engine.set_durable(now, !degraded);
        shared.durable().store(!degraded, std::sync::atomic::Ordering::Relaxed);
        let worker = worker::Worker {
            engine,
            book: book::Book::start(ledger, degraded, unread).map_err(PagerError::Thread)?,
            transport,
            clock: options.clock,
            metrics: options.metrics.clone(),
            runtime: runtime.clone(),
            tx,
            under_way: 0,
            durable: shared.durable(),
        };
        let thread = std::thread::Builder::new()
            .name("paging".to_owned())
            .spawn(move || worker.run(&rx))
            .map_err(PagerError::Thread)?;
        let beat = heartbeat::Heart::new(options.metrics);
        beat.configure(&runtime, &config);
        Ok(PagerHandle::new(shared, plant, beat, thread))
    }
}

/// What makes senders out of a configuration.
struct Plant {
    instance: String,
    external_url: String,
    own_key_file: Option<PathBuf>,
    own_key: OnceLock<Option<Vec<u8>>>,
    render: Arc<dyn Render>,
    clock: Arc<dyn Clock>,
    threads: Arc<Threads>,
    seen: Arc<Seen>,
    fixed: Option<Arc<dyn Transport>>,
}

impl Plant {
    fn build(
        &self,
        config: &Arc<PagingConfig>,
    ) -> Result<(Option<AckLinks>, Arc<dyn Transport>), PagerError> {
        if let Some(e) = config.unsendable.first() {
            return Err(PagerError::CannotSend(e.to_string()));
        }
        let settings = &config.acknowledge;
        let url = settings.external_url.as_deref().unwrap_or(&self.external_url);
        let links = match &settings.key_file {
            Some(file) => Some(AckLinks::from_file(file, &self.instance, url)?),
            // Without a policy there is nothing to acknowledge.
            None if config.policies.is_empty() => None,
            None => self.own_key().and_then(|key| AckLinks::new(key, &self.instance, url)),
        };
        for secrets in [&config.callbacks.pagerduty, &config.callbacks.slack].into_iter().flatten() {
            secrets.read().map_err(|e| PagerError::Receiver(format!("callbacks: {e}")))?;
        }
        if let Some(fixed) = &self.fixed {
            return Ok((links, Arc::clone(fixed)));
        }
        let parts = SenderParts {
            links: links.clone(),
            external_url: self.external_url.clone(),
            render: Arc::clone(&self.render),
            clock: Arc::clone(&self.clock),
            threads: Arc::clone(&self.threads),
        };
        let senders = Senders::new(config, parts).map_err(PagerError::Receiver)?;
        Ok((links, Arc::new(senders)))
    }

    /// The key that sideband made by itself; read once, so that a reload changes no link.
    fn own_key(&self) -> Option<&[u8]> {
        let file = self.own_key_file.as_deref()?;
        self.own_key.get_or_init(|| link_key::load_or_make(file)).as_deref()
    }
}

/// A text that no other ledger has.
fn new_instance(now: Now) -> String {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0u8; 8];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        // No randomness this early: the clocks and the process tell ledgers apart well enough.
        let mixed = (now.wall as u64) ^ (now.boot as u64).rotate_left(32) ^ u64::from(std::process::id());
        bytes = mixed.to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}
