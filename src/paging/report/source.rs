//! The incidents of the ledger, old ones too.

use super::{Facts, Report, ReportOptions, Tally};
use crate::ledger::{Ledger, LedgerError};
use crate::model::set;
use crate::paging::engine::{SENT_TABLE, incident_key, read_incident, read_sent};
use crate::paging::incident::Incident;

/// The report over all incidents in the ledger. `recent` are those in memory, which may be newer than what the
/// ledger has of them. Blocks while the disk is read.
///
/// # Errors
/// The ledger cannot be read.
pub fn of_ledger(ledger: &Ledger, recent: &[Facts], options: ReportOptions) -> Result<Report, LedgerError> {
    let mut tally = Tally::new(options);
    recent.iter().for_each(|f| tally.add(f));
    let known: std::collections::BTreeSet<u64> = set(recent.iter().map(|f| f.id));
    let (table, _) = incident_key(0);
    ledger.visit(table, &mut |_, value| {
        if let Some(incident) = read_incident(value).filter(|i| !known.contains(&i.id)) {
            tally.add(&Facts::from(&incident));
        }
    })?;
    ledger.visit(SENT_TABLE, &mut |key, value| {
        if let Some((at, sent)) = read_sent(key, value) {
            tally.add_sent(at, &sent);
        }
    })?;
    Ok(tally.finish())
}

/// One incident of the ledger.
///
/// # Errors
/// The ledger cannot be read.
pub fn incident_in(ledger: &Ledger, id: u64) -> Result<Option<Incident>, LedgerError> {
    let (table, key) = incident_key(id);
    Ok(ledger.get(table, &key)?.and_then(|bytes| read_incident(&bytes)))
}
