//! Writing the ledger from a thread of its own, so that a disk that hangs holds up no page.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::ledger::{Ledger, LedgerError};
use crate::model::Order as _;
use crate::paging::config::History;
use crate::paging::engine::{
    Change, Engine, INCIDENT_TABLES, Now, RECENT_INCIDENTS, RECORD_TABLES, SENT_TABLE, Stored, read_resolved,
    sent_at,
};

/// A transaction that takes longer is gone on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a failure the whole is written again, ms.
const RETRY_MS: i64 = 2000;

/// How often old incidents are looked for, ms.
const PRUNE_EVERY_MS: i64 = 3_600_000;
/// Incidents that go in one transaction.
const PRUNE_AT_ONCE: usize = 500;
/// Bytes of free pages from which on the file is made smaller.
const WASTE: u64 = 8 << 20;
/// Failures of a file that is called damaged before it is put aside.
const DAMAGED: u32 = 2;

/// What the ledger's thread is asked to do.
enum Work {
    /// One transaction; it is answered.
    Write(Vec<Change>),
    /// Incidents that were resolved before this time (ms) go, and the oldest beyond so many bytes; not answered.
    Prune(i64, u64),
}

/// The ledger as the dispatcher's thread sees it.
pub(super) struct Book {
    work: SyncSender<Work>,
    done: Receiver<Result<(), LedgerError>>,
    /// How often in a row the file was called damaged.
    damaged: u32,
    ledger: Ledger,
    /// What it had at the start is not known here, and therefore left alone.
    unread: bool,
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

/// What the dispatcher needs of the ledger: all that is open, and the incidents that were resolved last; also
/// whether the lists of incidents are there.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(ledger: &Ledger) -> Result<(Vec<Stored>, bool), LedgerError> {
    let mut rows = others(ledger)?;
    let (table, open, resolved) = INCIDENT_TABLES;
    let mut keys: Vec<Vec<u8>> = ledger.scan(open, &[], None)?.into_iter().map(|(key, _)| key).collect();
    let mut old: Vec<_> =
        ledger.scan(resolved, &[], None)?.iter().filter_map(|(k, v)| read_resolved(k, v)).collect();
    let listed = !keys.is_empty() || !old.is_empty();
    if !listed {
        rows.extend(ledger.scan(table, &[], None)?.into_iter().map(|(key, value)| (table, key, value)));
        return Ok((rows, false));
    }
    old.order_by_key(|(_, at, _)| *at);
    keys.extend(old.iter().rev().take(RECENT_INCIDENTS).map(|(id, ..)| id.to_be_bytes().to_vec()));
    for key in keys {
        if let Some(value) = ledger.get(table, &key)? {
            rows.push((table, key, value));
        }
    }
    Ok((rows, true))
}

/// All records but those of incidents.
fn others(ledger: &Ledger) -> Result<Vec<Stored>, LedgerError> {
    let mut rows = Vec::new();
    for table in RECORD_TABLES.into_iter().filter(|t| *t != INCIDENT_TABLES.0) {
        rows.extend(ledger.scan(table, &[], None)?.into_iter().map(|(key, value)| (table, key, value)));
    }
    Ok(rows)
}

impl Book {
    pub fn start(ledger: Ledger, degraded: bool, unread: bool) -> std::io::Result<Self> {
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
                    Work::Prune(before, size) => {
                        if let Err(error) = prune(&own, before, size) {
                            tracing::warn!(%error, "old incidents could not be removed");
                        }
                    }
                }
            }
        })?;
        Ok(Self { work, done, damaged: 0, ledger, unread, owed: false, degraded, retry_at: 0, prune_at: 0 })
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
    pub fn prune(&mut self, now: Now, history: History) {
        if now.boot >= self.prune_at && !self.degraded && !self.owed {
            // When its thread is busy, the next turn will do.
            if self.work.try_send(Work::Prune(now.wall.saturating_sub(history.time_ms), history.size)).is_ok()
            {
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
        if self.damaged >= DAMAGED {
            self.damaged = 0;
            if let Err(error) = self.ledger.begin_afresh("it can be neither read nor written") {
                tracing::error!(%error, "the damaged ledger cannot be put aside");
            }
        }
        for (table, key, _) in others(&self.ledger).unwrap_or_default() {
            if !self.unread && engine.is_stale(table, &key) {
                changes.push(Change { table, key, value: None });
            }
        }
        changes.extend(engine.snapshot(now));
        let written = self.attempt(changes, now);
        if written == Written::Synced {
            self.degraded = false;
            tracing::warn!("the ledger takes what is written again: nothing in memory is missing from it");
            if self.unread {
                tracing::error!(
                    "what the ledger had before the start could not be read then: a restart takes it up"
                );
            }
        }
        written
    }

    fn attempt(&mut self, changes: Vec<Change>, now: Now) -> Written {
        let error = match self.work.send(Work::Write(changes)) {
            Err(_) => "its thread has ended".to_owned(),
            Ok(()) => match self.done.recv_timeout(PATIENCE) {
                Ok(Ok(())) => {
                    self.damaged = 0;
                    return Written::Synced;
                }
                Ok(Err(e)) => {
                    self.damaged += u32::from(matches!(e, LedgerError::Damaged(_)));
                    e.to_string()
                }
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

/// Removes resolved incidents, the oldest first: those from before `before` (ms), and what is more than `size` bytes.
/// What is open is not even looked at.
fn prune(ledger: &Ledger, before: i64, size: u64) -> Result<(), LedgerError> {
    prune_sent(ledger, before)?;
    let (table, _, list) = INCIDENT_TABLES;
    let rows = ledger.scan(list, &[], None)?;
    let mut resolved: Vec<_> = rows.iter().filter_map(|(k, v)| read_resolved(k, v)).collect();
    resolved.order_by_key(|(_, at, _)| *at);
    let mut total: u64 = resolved.iter().map(|(.., bytes)| bytes).sum();
    let go: Vec<[u8; 8]> = resolved
        .iter()
        .take_while(|(_, at, bytes)| {
            let go = *at < before || total > size;
            total -= bytes;
            go
        })
        .map(|(id, ..)| id.to_be_bytes())
        .collect();
    for keys in go.chunks(PRUNE_AT_ONCE) {
        ledger.write(|tx| {
            keys.iter().try_for_each(|key| {
                tx.delete(table, key)?;
                tx.delete(list, key)
            })
        })?;
    }
    if !go.is_empty() {
        tracing::info!(incidents = go.len(), "old incidents were removed from the ledger");
    }
    if !go.is_empty() && ledger.size() > 2 * total + WASTE {
        ledger.compact()?;
    }
    Ok(())
}

/// Removes what is too old of what plain routes have sent.
fn prune_sent(ledger: &Ledger, before: i64) -> Result<(), LedgerError> {
    let mut go = Vec::new();
    ledger.visit(SENT_TABLE, &mut |key, _| {
        if sent_at(key).is_none_or(|at| at < before) {
            go.push(key.to_vec());
        }
    })?;
    for keys in go.chunks(PRUNE_AT_ONCE) {
        ledger.write(|tx| keys.iter().try_for_each(|key| tx.delete(SENT_TABLE, key)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{INCIDENT_TABLES, prune};
    use crate::ledger::Ledger;

    #[test]
    fn the_oldest_resolved_incidents_go_first() {
        let (table, open, list) = INCIDENT_TABLES;
        // (resolved at, bytes), and which stay for (before, size)
        let resolved = [(50u64, 10u32), (10, 10), (30, 10), (40, 10)];
        for (before, size, stay) in [
            (0, 1000, vec![0u64, 1, 2, 3, 9]),
            (35, 1000, vec![0, 3, 9]),
            (0, 20, vec![0, 3, 9]),
            (0, 25, vec![0, 3, 9]),
            (45, 0, vec![9]),
        ] {
            let ledger = Ledger::in_memory().unwrap();
            ledger
                .write(|tx| {
                    for (id, (at, bytes)) in resolved.iter().enumerate() {
                        let key = (id as u64).to_be_bytes();
                        tx.put(table, &key, b"{}")?;
                        tx.put(list, &key, &[at.to_be_bytes().as_slice(), &bytes.to_be_bytes()].concat())?;
                    }
                    tx.put(table, &9u64.to_be_bytes(), b"{}")?;
                    tx.put(open, &9u64.to_be_bytes(), b"")
                })
                .unwrap();
            prune(&ledger, before, size).unwrap();
            let keys = ledger.scan(table, &[], None).unwrap();
            let found: Vec<u64> =
                keys.iter().map(|(k, _)| u64::from_be_bytes(k.as_slice().try_into().unwrap())).collect();
            assert_eq!(found, stay, "{before} {size}");
        }
    }
}
