//! Writing the ledger from a thread of its own, so that a disk that hangs holds up no page.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::ledger::{Ledger, LedgerError};
use crate::paging::engine::{Change, Engine, Now, RECORD_TABLES, Stored, incident_key, read_incident};

/// A transaction that takes longer is gone on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a failure the whole is written again, ms.
const RETRY_MS: i64 = 2000;

/// How often old incidents are looked for, ms.
const PRUNE_EVERY_MS: i64 = 3_600_000;
/// How long resolved incidents are kept, ms, and how many at the most.
const KEEP_MS: i64 = 90 * 86_400_000;
const KEEP: usize = 20_000;

/// What the ledger's thread is asked to do.
enum Work {
    /// One transaction; it is answered.
    Write(Vec<Change>),
    /// Incidents that were resolved before this time (ms) go; not answered.
    Prune(i64),
}

/// The ledger as the dispatcher's thread sees it.
pub(super) struct Book {
    work: SyncSender<Work>,
    done: Receiver<Result<(), LedgerError>>,
    ledger: Ledger,
    /// A transaction was not waited for, and its answer is still to come.
    owed: bool,
    degraded: bool,
    retry_at: i64,
    prune_at: i64,
}

/// What became of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// On the disk.
    Synced,
    /// Nothing was to be written.
    Nothing,
    /// Not on the disk: the ledger is broken, or hangs.
    Lost,
}

/// Everything that the ledger has of the dispatcher; `None` when it cannot be read.
pub(super) fn read(ledger: &Ledger) -> Option<Vec<Stored>> {
    let mut rows = Vec::new();
    for table in RECORD_TABLES {
        match ledger.scan(table, &[], None) {
            Ok(list) => rows.extend(list.into_iter().map(|(key, value)| (table, key, value))),
            Err(error) => {
                tracing::error!(%error, "the ledger cannot be read: incidents from before are not known");
                return None;
            }
        }
    }
    Some(rows)
}

impl Book {
    pub fn start(ledger: Ledger, degraded: bool) -> std::io::Result<Self> {
        let (work, jobs) = sync_channel::<Work>(1);
        let (answer, done) = sync_channel(1);
        let own = ledger.clone();
        std::thread::Builder::new().name("paging-ledger".to_owned()).spawn(move || {
            for job in jobs {
                match job {
                    Work::Write(changes) => {
                        if answer.send(write(&own, &changes)).is_err() {
                            break;
                        }
                    }
                    Work::Prune(before) => {
                        if let Err(error) = prune(&own, before) {
                            tracing::warn!(%error, "old incidents could not be removed");
                        }
                    }
                }
            }
        })?;
        Ok(Self { work, done, ledger, owed: false, degraded, retry_at: 0, prune_at: 0 })
    }

    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    pub fn size(&self) -> u64 {
        self.ledger.size()
    }

    /// When to try again, ms since boot.
    pub fn retry_at(&self) -> Option<i64> {
        self.degraded.then_some(self.retry_at)
    }

    /// Removes incidents that are too old, now and then.
    pub fn prune(&mut self, now: Now) {
        if now.boot >= self.prune_at && !self.degraded && !self.owed {
            // When its thread is busy, the next turn will do.
            if self.work.try_send(Work::Prune(now.wall - KEEP_MS)).is_ok() {
                self.prune_at = now.boot + PRUNE_EVERY_MS;
            }
        }
    }

    /// Writes what has changed, or, after a failure and a while, everything.
    pub fn keep(&mut self, engine: &mut Engine, now: Now) -> Written {
        if !self.degraded {
            if !engine.has_changes() {
                return Written::Nothing;
            }
            let changes = engine.take_changes(now);
            return self.attempt(changes, now);
        }
        if now.boot < self.retry_at {
            return Written::Lost;
        }
        if self.owed {
            match self.done.try_recv() {
                Ok(_) => self.owed = false,
                Err(_) => {
                    self.retry_at = now.boot + RETRY_MS;
                    return Written::Lost;
                }
            }
        }
        let mut changes = Vec::new();
        for (table, key, _) in read(&self.ledger).unwrap_or_default() {
            if engine.is_stale(table, &key) {
                changes.push(Change { table, key, value: None });
            }
        }
        changes.extend(engine.snapshot(now));
        let written = self.attempt(changes, now);
        if written == Written::Synced {
            self.degraded = false;
            tracing::warn!("the ledger takes what is written again: nothing in memory is missing from it");
        }
        written
    }

    fn attempt(&mut self, changes: Vec<Change>, now: Now) -> Written {
        let error = match self.work.send(Work::Write(changes)) {
            Err(_) => "its thread has ended".to_owned(),
            Ok(()) => match self.done.recv_timeout(PATIENCE) {
                Ok(Ok(())) => return Written::Synced,
                Ok(Err(e)) => e.to_string(),
                Err(RecvTimeoutError::Timeout) => {
                    self.owed = true;
                    format!("no answer in {PATIENCE:?}")
                }
                Err(RecvTimeoutError::Disconnected) => "its thread has ended".to_owned(),
            },
        };
        tracing::error!(
            %error,
            "THE LEDGER DOES NOT TAKE WHAT IS WRITTEN: pages go out from memory, and a restart would forget them"
        );
        self.degraded = true;
        self.retry_at = now.boot + RETRY_MS;
        Written::Lost
    }
}

fn write(ledger: &Ledger, changes: &[Change]) -> Result<(), LedgerError> {
    ledger.write(|tx| {
        for change in changes {
            match &change.value {
                Some(value) => tx.put(change.table, &change.key, value)?,
                None => tx.delete(change.table, &change.key)?,
            }
        }
        Ok(())
    })
}

fn prune(ledger: &Ledger, before: i64) -> Result<(), LedgerError> {
    let (table, _) = incident_key(0);
    let mut resolved = Vec::new();
    for (key, value) in ledger.scan(table, &[], None)? {
        if let Some(at) = read_incident(&value).and_then(|i| i.resolved_at) {
            resolved.push((at, key));
        }
    }
    resolved.sort();
    let surplus = resolved.len().saturating_sub(KEEP);
    let old = resolved.partition_point(|(at, _)| *at < before).max(surplus);
    if old == 0 {
        return Ok(());
    }
    ledger.write(|tx| resolved[..old].iter().try_for_each(|(_, key)| tx.delete(table, key)))
}
