//! `db`: looks into the ledger, or copies it.

use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;

use crate::daemon::LEDGER_FILE;
use crate::ledger::{Ledger, LedgerError};

use super::flags::DbCommand;

/// Runs the command; exit code 1 with the reason when the ledger cannot be read.
pub fn run(command: DbCommand) -> ExitCode {
    let done = match &command {
        DbCommand::Dump { storage_path } => dump(&storage_path.join(LEDGER_FILE)),
        DbCommand::Backup { storage_path, to } => backup(&storage_path.join(LEDGER_FILE), to),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn open(path: &Path) -> Result<Ledger, String> {
    if !path.is_file() {
        return Err(format!("{}: no ledger is there", path.display()));
    }
    Ledger::open(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A line a record: table, key, and the value as JSON where it is JSON, otherwise in base64.
fn dump(path: &Path) -> Result<(), String> {
    let ledger = open(path)?;
    for_each_record(&ledger, |table, key, value| {
        let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let key = match std::str::from_utf8(key) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => format!("base64:{}", base64(key)),
        };
        let value = serde_json::from_slice::<serde_json::Value>(value)
            .unwrap_or_else(|_| serde_json::json!({ "base64": base64(value) }));
        println!("{}", serde_json::json!({ "table": table, "key": key, "value": value }));
        Ok(())
    })
    .map_err(|e| e.to_string())
}

fn backup(path: &Path, to: &Path) -> Result<(), String> {
    if to.exists() {
        return Err(format!("{}: exists already", to.display()));
    }
    let from = open(path)?;
    let copy = Ledger::open(to).map_err(|e| format!("{}: {e}", to.display()))?;
    copy.write(|tx| for_each_record(&from, |table, key, value| tx.put(table, key, value)))
        .map_err(|e| e.to_string())
}

fn for_each_record(
    ledger: &Ledger,
    mut each: impl FnMut(&str, &[u8], &[u8]) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    for table in ledger.tables()? {
        for (key, value) in ledger.scan(&table, &[], None)? {
            each(&table, &key, &value)?;
        }
    }
    Ok(())
}
