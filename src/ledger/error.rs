//! What can go wrong below the records.

use std::io;
use std::path::PathBuf;

/// Why the ledger did not do what it was asked to. After any of these nothing of the transaction is kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk has no room left.
    #[error("ledger: the disk is full: {0}")]
    Full(#[source] io::Error),
    /// The disk fails, or is not writable.
    #[error("ledger: {0}")]
    Io(#[source] io::Error),
    /// An earlier failure has closed the database, and it could not be opened again yet.
    #[error("ledger: closed after an earlier failure")]
    Closed,
    /// Another process has the file open.
    #[error("ledger {0}: another process has it open")]
    Locked(PathBuf),
    /// The file is not a ledger, or is damaged.
    #[error("ledger: damaged: {0}")]
    Damaged(String),
    /// The caller's own reason to give up a transaction.
    #[error("ledger: {0}")]
    Refused(String),
}

impl From<io::Error> for LedgerError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(e)
            }
            // Not what was written there, or cut off: that is the file, not the disk.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(e.to_string()),
            _ => Self::Io(e),
        }
    }
}

impl From<redb::Error> for LedgerError {
    fn from(e: redb::Error) -> Self {
        match e {
            redb::Error::Io(e) => e.into(),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Closed,
            redb::Error::DatabaseAlreadyOpen => Self::Locked(PathBuf::new()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Each operation of the database library has an error type of its own; all of them fold into one.
macro_rules! from_library_errors {
    ($($kind:ident)*) => {$(
        impl From<redb::$kind> for LedgerError {
            fn from(e: redb::$kind) -> Self {
                redb::Error::from(e).into()
            }
        }
    )*};
}

from_library_errors!(DatabaseError TransactionError TableError StorageError CommitError);
