//! What waits for a receiver, in the ledger: a row for each receiver and alert.

use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, LedgerError};
use crate::model::{Alert, Fingerprint, Labels, Order as _};

/// The table of alerts that wait to be sent.
pub const NOTIFICATIONS_TABLE: &str = "remote.notifications";

/// The shape of the rows. A reader leaves out what a later version wrote.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Row {
    v: u32,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    starts_at: i64,
    ends_at: i64,
    updated_at: i64,
    generator_url: String,
}

/// A change to the queue of a receiver; no alert: it waits no more.
pub(super) struct Change {
    pub receiver: String,
    pub key: Fingerprint,
    pub alert: Option<Alert>,
}

fn row_key(receiver: &str, key: Fingerprint) -> Vec<u8> {
    format!("{receiver} {:016x}", key.0).into_bytes()
}

fn pairs(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Writes changes in one transaction. Blocks for as long as the disk takes.
///
/// # Errors
/// The disk's; then nothing is written.
pub(super) fn write(ledger: &Ledger, changes: &[Change]) -> Result<(), LedgerError> {
    ledger.write(|tx| {
        for change in changes {
            let key = row_key(&change.receiver, change.key);
            let Some(alert) = &change.alert else {
                tx.delete(NOTIFICATIONS_TABLE, &key)?;
                continue;
            };
            let row = Row {
                v: VERSION,
                labels: pairs(&alert.labels),
                annotations: pairs(&alert.annotations),
                starts_at: alert.starts_at,
                ends_at: alert.ends_at,
                updated_at: alert.updated_at,
                generator_url: alert.generator_url.clone(),
            };
            let bytes = serde_json::to_vec(&row).map_err(|e| LedgerError::Refused(e.to_string()))?;
            tx.put(NOTIFICATIONS_TABLE, &key, &bytes)?;
        }
        Ok(())
    })
}

/// What an earlier process left behind: receivers and their alerts, the oldest first. Rows that cannot be read
/// are named in the log and left where they are.
///
/// # Errors
/// The disk's.
pub(super) fn read(ledger: &Ledger) -> Result<Vec<(String, Vec<Alert>)>, LedgerError> {
    let mut all: Vec<(String, Vec<Alert>)> = Vec::new();
    for (key, value) in ledger.scan(NOTIFICATIONS_TABLE, &[], None)? {
        let key = String::from_utf8_lossy(&key);
        let row = match serde_json::from_slice::<Row>(&value) {
            Ok(row) if row.v == VERSION => row,
            Ok(row) => {
                tracing::error!(table = NOTIFICATIONS_TABLE, %key, version = row.v, "ledger: a record of an unknown version is left out");
                continue;
            }
            Err(error) => {
                tracing::error!(table = NOTIFICATIONS_TABLE, %key, %error, "ledger: a record that cannot be read is left out");
                continue;
            }
        };
        let Some((receiver, _)) = key.rsplit_once(' ') else { continue };
        let alert = Alert {
            labels: Labels::from_pairs(row.labels),
            annotations: Labels::from_pairs(row.annotations),
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            updated_at: row.updated_at,
            generator_url: row.generator_url,
        };
        // Rows come sorted by receiver.
        match all.last_mut().filter(|(name, _)| name == receiver) {
            Some((_, alerts)) => alerts.push(alert),
            None => all.push((receiver.to_owned(), vec![alert])),
        }
    }
    for (_, alerts) in &mut all {
        alerts.order_by_key(|a| a.updated_at);
    }
    Ok(all)
}
