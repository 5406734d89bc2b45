//! Which message of a chat stands for which group or incident, so that it is brought up to date instead of being
//! written again. Kept in the ledger: a restart does not forget it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::model::{Order as _, Timestamp};

const TABLE: &str = "paging.threads";
const VERSION: u32 = 1;
/// Messages that are remembered at once; the oldest go.
const MAX: usize = 10_000;
/// How long one is remembered after it was last touched, ms.
const KEEP_MS: i64 = 30 * 86_400_000;
/// How long one of something that is over is, ms.
const KEEP_OVER_MS: i64 = 3_600_000;
/// The longest that a delivery waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    pub channel: String,
    /// The chat's name for the message.
    pub ts: String,
    /// The idempotency key of what was said last.
    pub last: String,
    /// When, ms.
    pub at: Timestamp,
    /// What it stands for is over: it is kept for what is said once more after a crash, and for nothing else.
    #[serde(default)]
    pub over: bool,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    r: T,
}

/// All of them.
pub struct Threads {
    ledger: Option<Ledger>,
    known: Mutex<HashMap<String, Thread>>,
}

impl Threads {
    /// As the ledger has them. One that cannot be read is forgotten: a new message is written then.
    pub fn load(ledger: Option<Ledger>) -> Arc<Self> {
        let rows = ledger.as_ref().map(|l| l.scan(TABLE, &[], None)).transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "messages of before the start are not known, and are written anew");
            None
        });
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = String::from_utf8(key).ok()?;
            let record: Versioned<Thread> = serde_json::from_slice(&value).ok()?;
            (record.v == VERSION).then_some((key, record.r))
        };
        let known = rows.into_iter().flatten().filter_map(read).collect();
        Arc::new(Self { ledger, known: Mutex::new(known) })
    }

    /// The message that stands for `key`.
    pub fn get(&self, key: &str) -> Option<Thread> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Remembers a message, or forgets it. A ledger that is broken or slow holds up nothing: it is remembered until
    /// the next restart.
    pub async fn set(self: &Arc<Self>, key: &str, thread: Option<Thread>, now: Timestamp) {
        let gone = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut gone = Vec::new();
            match &thread {
                Some(thread) => {
                    known.insert(key.to_owned(), thread.clone());
                }
                None => {
                    if known.remove(key).is_none() {
                        return;
                    }
                    gone.push(key.to_owned());
                }
            }
            if known.len() > MAX || gone.is_empty() {
                let mut old: Vec<(Timestamp, String)> = known
                    .iter()
                    .filter(|(_, t)| t.at < now - if t.over { KEEP_OVER_MS } else { KEEP_MS })
                    .map(|(k, t)| (t.at, k.clone()))
                    .collect();
                if known.len() - old.len() > MAX {
                    old = known.iter().map(|(k, t)| (t.at, k.clone())).collect();
                    old.order();
                    old.truncate(known.len() - MAX);
                }
                for (_, key) in old {
                    known.remove(&key);
                    gone.push(key);
                }
            }
            gone
        };
        let Some(ledger) = self.ledger.clone() else { return };
        let key = key.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            ledger.write(|tx| {
                for key in &gone {
                    tx.delete(TABLE, key.as_bytes())?;
                }
                if let Some(thread) = &thread {
                    let record = serde_json::to_vec(&Versioned { v: VERSION, r: thread });
                    tx.put(TABLE, key.as_bytes(), &record.unwrap_or_default())?;
                }
                Ok(())
            })
        });
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the place of a message could not be written down"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the place of a message could not be written down in time"),
        }
    }
}
