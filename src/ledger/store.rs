//! Opening, reading, writing, and opening again after a failure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle as _,
};

use super::{LedgerError, SimulatedDisk};
use crate::model::Order as _;

/// Bytes of pages kept in memory. The records are few and small: this is for the hot ones.
const CACHE_BYTES: usize = 256 * 1024;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    /// `None` while it is closed after a failure.
    database: RwLock<Option<Database>>,
    /// An operation failed in a way after which the library refuses all others.
    broken: AtomicBool,
}

enum Place {
    File(PathBuf),
    Simulated(SimulatedDisk),
}

impl Ledger {
    /// Opens the file, or makes it. A file that a crash left behind is repaired.
    ///
    /// # Errors
    /// The directory is missing, the disk fails, the file is not a ledger, another process has it open.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::at(Place::File(path.to_owned()))
    }

    /// A ledger on a file that cannot be opened now: broken, and tried again at every use.
    pub fn broken(path: &Path) -> Self {
        Self {
            inner: Arc::new(Inner {
                place: Place::File(path.to_owned()),
                database: RwLock::new(None),
                broken: AtomicBool::new(true),
            }),
        }
    }

    /// A ledger that forgets everything with its last handle.
    ///
    /// # Errors
    /// Not in practice; the library's constructor can fail.
    pub fn in_memory() -> Result<Self, LedgerError> {
        Self::on(&SimulatedDisk::default())
    }

    /// A ledger on a simulated disk, for tests of failures and crashes.
    ///
    /// # Errors
    /// What the disk was told to fail with.
    pub fn on(disk: &SimulatedDisk) -> Result<Self, LedgerError> {
        Self::at(Place::Simulated(disk.clone()))
    }

    fn at(place: Place) -> Result<Self, LedgerError> {
        let database = place.open()?;
        Ok(Self {
            inner: Arc::new(Inner {
                place,
                database: RwLock::new(Some(database)),
                broken: AtomicBool::new(false),
            }),
        })
    }

    /// Runs `f` in one transaction. When this returns `Ok`, everything in it has been synced to the disk;
    /// otherwise nothing of it is there. Writers wait for each other. Blocks for as long as the disk
    /// takes: call it off the runtime's thread.
    ///
    /// After a failure of the disk the next call opens the file again first.
    ///
    /// # Errors
    /// The disk's, or what `f` returns.
    pub fn write<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        self.heal()?;
        let guard = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(LedgerError::Closed)?;
        let done = transact(database, f);
        self.note(done)
    }

    /// The value of a key; `None` also when there is no such table.
    ///
    /// # Errors
    /// The disk's.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.heal()?;
        let guard = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(LedgerError::Closed)?;
        let done = read_one(database, table, key);
        self.note(done)
    }

    /// The rows with `from <= key`, and `key < to` when that is given, in the order of their keys.
    ///
    /// # Errors
    /// The disk's.
    pub fn scan(&self, table: &str, from: &[u8], to: Option<&[u8]>) -> Result<Vec<Row>, LedgerError> {
        self.heal()?;
        let guard = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(LedgerError::Closed)?;
        let done = read_range(database, table, from, to);
        self.note(done)
    }

    /// Shows every row of a table, in the order of the keys, one after the other: for tables that are too large to be
    /// held in memory at once. All of it is of one moment.
    ///
    /// # Errors
    /// The disk's.
    pub fn visit(&self, table: &str, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
        self.heal()?;
        let guard = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(LedgerError::Closed)?;
        let done = visit_rows(database, table, each);
        self.note(done)
    }

    /// The names of the tables, sorted.
    ///
    /// # Errors
    /// The disk's.
    pub fn tables(&self) -> Result<Vec<String>, LedgerError> {
        self.heal()?;
        let guard = self.inner.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(LedgerError::Closed)?;
        let done = read_tables(database);
        self.note(done)
    }

    /// Has the last operation failed on the disk?
    pub fn is_broken(&self) -> bool {
        self.inner.broken.load(Ordering::Acquire)
    }

    /// Size of the file in bytes, free pages included; 0 when that cannot be told.
    pub fn size(&self) -> u64 {
        match &self.inner.place {
            Place::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            Place::Simulated(disk) => disk.size(),
        }
    }

    /// Puts a file that opens but cannot be read or written aside, and begins a new one.
    ///
    /// # Errors
    /// The disk's; a simulated disk has no room beside it.
    pub fn begin_afresh(&self, why: &str) -> Result<(), LedgerError> {
        let mut guard = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        self.inner.broken.store(true, Ordering::Release);
        *guard = Some(self.inner.place.begin_afresh(why)?);
        self.inner.broken.store(false, Ordering::Release);
        Ok(())
    }

    /// Gives free pages back to the disk. Everybody else waits meanwhile.
    ///
    /// # Errors
    /// The disk's.
    pub fn compact(&self) -> Result<(), LedgerError> {
        self.heal()?;
        let mut guard = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_mut().ok_or(LedgerError::Closed)?;
        let done = database.compact().map_err(|e| LedgerError::from(redb::Error::from(e)));
        self.note(done).map(drop)
    }

    /// Reads every page and compares its checksum: is the file sound? What can be is repaired.
    ///
    /// # Errors
    /// The disk's, or the file is damaged beyond repair.
    pub fn check_integrity(&self) -> Result<bool, LedgerError> {
        let mut guard = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_mut().ok_or(LedgerError::Closed)?;
        Ok(database.check_integrity()?)
    }

    /// Opens the database again when an earlier operation broke it.
    fn heal(&self) -> Result<(), LedgerError> {
        if !self.is_broken() {
            return Ok(());
        }
        let mut guard = self.inner.database.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_broken() {
            return Ok(());
        }
        // The old handle holds the file's lock.
        *guard = None;
        *guard = Some(match self.inner.place.open() {
            // A file that can never be opened again would keep everything in memory for good.
            Err(LedgerError::Damaged(why)) => self.inner.place.begin_afresh(&why)?,
            opened => opened?,
        });
        self.inner.broken.store(false, Ordering::Release);
        Ok(())
    }

    fn note<T>(&self, done: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if matches!(&done, Err(e) if !matches!(e, LedgerError::Refused(_))) {
            self.inner.broken.store(true, Ordering::Release);
        }
        done
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.place {
            Place::File(path) => write!(f, "Ledger({})", path.display()),
            Place::Simulated(_) => f.write_str("Ledger(simulated)"),
        }
    }
}

impl Place {
    /// Renames the file to `NAME.damaged-SECONDS`, and makes a new one.
    fn begin_afresh(&self, why: &str) -> Result<Database, LedgerError> {
        let Self::File(path) = self else { return Err(LedgerError::Damaged(why.to_owned())) };
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut name = path.clone().into_os_string();
        name.push(format!(".damaged-{seconds}"));
        std::fs::rename(path, &name)?;
        tracing::error!(
            file = %path.display(), aside = %PathBuf::from(name).display(), reason = why,
            "THE LEDGER IS DAMAGED: it was put aside and a new one begun; incidents that only it knew are lost to this process"
        );
        self.open()
    }

    fn open(&self) -> Result<Database, LedgerError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        match self {
            Self::File(path) => {
                let database = builder.create(path).map_err(|e| match e.into() {
                    LedgerError::Locked(_) => LedgerError::Locked(path.clone()),
                    other => other,
                })?;
                // A new file is only there after a crash when its directory has been synced too.
                if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
                    std::fs::File::open(directory)?.sync_all()?;
                }
                Ok(database)
            }
            Self::Simulated(disk) => Ok(builder.create_with_backend(disk.handle())?),
        }
    }
}

fn transact<T>(
    database: &Database,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    let mut transaction = database.begin_write()?;
    // Said aloud, though it is the default: everything above rests on it.
    transaction.set_durability(Durability::Immediate).map_err(|e| LedgerError::Damaged(e.to_string()))?;
    let value = f(&mut Tx { transaction: &transaction })?;
    transaction.commit()?;
    Ok(value)
}

fn read_one(database: &Database, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
    let transaction = database.begin_read()?;
    match transaction.open_table(definition(table)) {
        Ok(table) => Ok(table.get(key)?.map(|v| v.value().to_vec())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn read_range(
    database: &Database,
    table: &str,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<Vec<Row>, LedgerError> {
    if to.is_some_and(|to| to <= from) {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let rows = match to {
        Some(to) => table.range::<&[u8]>(from..to)?,
        None => table.range::<&[u8]>(from..)?,
    };
    let mut out = Vec::new();
    for row in rows {
        let (key, value) = row?;
        out.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(out)
}

fn visit_rows(
    database: &Database,
    table: &str,
    each: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), LedgerError> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for row in table.range::<&[u8]>(..)? {
        let (key, value) = row?;
        each(key.value(), value.value());
    }
    Ok(())
}

fn read_tables(database: &Database) -> Result<Vec<String>, LedgerError> {
    let mut names: Vec<String> =
        database.begin_read()?.list_tables()?.map(|table| table.name().to_owned()).collect();
    names.order();
    Ok(names)
}

fn definition(table: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(table)
}

/// A write transaction under way.
pub struct Tx<'a> {
    transaction: &'a redb::WriteTransaction,
}

impl Tx<'_> {
    /// Sets a key's value; the table is made when it is not there.
    ///
    /// # Errors
    /// The disk's.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), LedgerError> {
        self.transaction.open_table(definition(table))?.insert(key, value)?;
        Ok(())
    }

    /// Removes a key, whether it is there or not.
    ///
    /// # Errors
    /// The disk's.
    pub fn delete(&mut self, table: &str, key: &[u8]) -> Result<(), LedgerError> {
        self.transaction.open_table(definition(table))?.remove(key)?;
        Ok(())
    }

    /// The value of a key as this transaction sees it.
    ///
    /// # Errors
    /// The disk's.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let table = self.transaction.open_table(definition(table))?;
        let value = table.get(key)?.map(|v| v.value().to_vec());
        Ok(value)
    }
}
