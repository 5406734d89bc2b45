//! Which callbacks were heard before. Kept in the ledger too: a restart is no way to be heard twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ledger::Ledger;
use crate::model::{Order as _, Timestamp};

const TABLE: &str = "paging.callbacks";
/// Callbacks that are remembered at once; the oldest go.
const MAX: usize = 10_000;

/// The callbacks that were heard, each until it would be too old anyway.
pub struct Seen {
    ledger: Option<Ledger>,
    /// By identity, the time until which it is remembered, ms.
    known: Mutex<HashMap<String, Timestamp>>,
}

impl Seen {
    /// As the ledger has them.
    pub fn load(ledger: Option<Ledger>) -> Self {
        let rows = ledger.as_ref().and_then(|l| l.scan(TABLE, &[], None).ok()).unwrap_or_default();
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let until: Timestamp = serde_json::from_slice(&value).ok()?;
            Some((String::from_utf8(key).ok()?, until))
        };
        Self { known: Mutex::new(rows.into_iter().filter_map(read).collect()), ledger }
    }

    /// Takes a callback for one's own; false when it was heard before.
    pub fn take(&self, id: &str, until: Timestamp) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(id) {
            return false;
        }
        known.insert(id.to_owned(), until);
        true
    }

    /// It came to nothing: the service may try again.
    pub fn give_back(&self, id: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Writes down that it was heard, and forgets those that are too old. May wait for the disk.
    pub fn keep(&self, id: &str, until: Timestamp, now: Timestamp) {
        let gone: Vec<String> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut gone: Vec<(Timestamp, String)> =
                known.iter().filter(|(_, until)| **until < now).map(|(k, t)| (*t, k.clone())).collect();
            if known.len() - gone.len() > MAX {
                gone = known.iter().map(|(k, t)| (*t, k.clone())).collect();
                gone.order();
                gone.truncate(known.len() - MAX);
            }
            gone.into_iter()
                .map(|(_, key)| {
                    known.remove(&key);
                    key
                })
                .collect()
        };
        let Some(ledger) = &self.ledger else { return };
        let written = ledger.write(|tx| {
            for key in &gone {
                tx.delete(TABLE, key.as_bytes())?;
            }
            tx.put(TABLE, id.as_bytes(), until.to_string().as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a callback could not be written down: after a restart it could be heard again");
        }
    }
}
