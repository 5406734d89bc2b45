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
        DbCommand::Restore { storage_path, force, from } => {
            restore(from, &storage_path.join(LEDGER_FILE), *force)
        }
        DbCommand::Verify { storage_path } => verify(&storage_path.join(LEDGER_FILE)),
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
    Ledger::open(path).map_err(|e| refusal(path, &e))
}

/// Names the file once, and what can be done.
fn refusal(path: &Path, error: &LedgerError) -> String {
    match error {
        LedgerError::Locked(_) => {
            format!("{}: a sideband that runs has it open: stop that first", path.display())
        }
        other => format!("{}: {other}", path.display()),
    }
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

/// The copy is checked, written beside its place, and put there in one step.
fn restore(from: &Path, to: &Path, force: bool) -> Result<(), String> {
    if from.canonicalize().ok().is_some_and(|from| to.canonicalize().ok() == Some(from)) {
        return Err(format!("{}: that is the ledger itself", from.display()));
    }
    if to.exists() {
        if !force {
            return Err(format!("{}: there is a ledger already; --force takes its place", to.display()));
        }
        // A damaged one may go; one that a process uses may not.
        if let Err(e @ LedgerError::Locked(_)) = Ledger::open(to) {
            return Err(refusal(to, &e));
        }
    }
    verify(from)?;
    let mut name = to.as_os_str().to_owned();
    name.push(".restoring");
    let new = std::path::PathBuf::from(name);
    let file = |e: std::io::Error| format!("{}: {e}", new.display());
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file(e)),
        _ => {}
    }
    backup(from, &new)?;
    std::fs::rename(&new, to).map_err(file)?;
    if let Some(directory) = to.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(file)?;
    }
    Ok(())
}

/// Every page and every record.
fn verify(path: &Path) -> Result<(), String> {
    let ledger = open(path)?;
    let mut wrong = Vec::new();
    match ledger.check_integrity() {
        Ok(true) => {}
        Ok(false) => wrong.push("the file was damaged and has been repaired".to_owned()),
        Err(e) => wrong.push(e.to_string()),
    }
    let mut rows = Vec::new();
    let read = for_each_record(&ledger, |table, key, value| {
        rows.push((table.to_owned(), key.to_vec(), value.to_vec()));
        Ok(())
    });
    if let Err(e) = read {
        wrong.push(e.to_string());
    }
    wrong.extend(crate::paging::engine::verify(&rows));
    if wrong.is_empty() {
        println!("{}: {} records, all in order", path.display(), rows.len());
        return Ok(());
    }
    Err(wrong.iter().map(|w| format!("{}: {w}", path.display())).collect::<Vec<_>>().join("\n"))
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
