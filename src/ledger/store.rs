//! Opening, reading, writing, and opening again after a failure.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::Database;

use super::guarded;
use super::library::{self, Op};
use super::place::Place;
use super::{LedgerError, SimulatedDisk};

/// Rows that are shown in one go, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// The longest file that is copied into memory.
const MAX_COPY: u64 = 256 << 20;
/// How long an operation that needs the database for itself waits for others to end, in turns of 10 ms.
const TURNS: u32 = 200;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    place: Arc<Place>,
    slot: Mutex<Slot>,
    changed: Condvar,
    /// An operation failed in a way after which the library refuses all others.
    broken: AtomicBool,
    /// Counts databases that were lost in a panic.
    losses: AtomicU64,
    /// A damaged file is put aside and a new one begun, as soon as somebody writes or reads.
    heals: bool,
}

enum Slot {
    Open(Arc<Database>),
    /// Somebody opens it, or has it for himself.
    Busy,
    /// It failed and is to be opened again.
    Closed,
    /// The file made the library panic; a thread that sleeps for good holds it, and it cannot be opened again.
    Lost(String),
}

impl Ledger {
    /// Opens the file, or makes it. A file that a crash left behind is repaired; one that is damaged stays as it is.
    ///
    /// # Errors
    /// The directory is missing, the disk fails, the file is not a ledger, another process has it open.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let ledger = Self::at(Place::file(path), false);
        ledger.database()?;
        Ok(ledger)
    }

    /// As [`open`](Self::open), but what fails is tried again at every use, and a damaged file is put aside then and a new one
    /// begun. The error beside it is the first one.
    pub fn open_or_heal(path: &Path) -> (Self, Option<LedgerError>) {
        let ledger = Self::at(Place::file(path), true);
        let slot = std::mem::replace(&mut *ledger.slot(), Slot::Busy);
        let error = ledger.reopen(slot, false).err();
        (ledger, error)
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
        let ledger = Self::at(Place::simulated(disk), true);
        ledger.database()?;
        Ok(ledger)
    }

    fn at(place: Place, heals: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                place: Arc::new(place),
                slot: Mutex::new(Slot::Closed),
                changed: Condvar::new(),
                broken: AtomicBool::new(true),
                losses: AtomicU64::new(0),
                heals,
            }),
        }
    }

    /// Runs what `f` asks for in one transaction. When this returns `Ok`, everything in it has been synced to the disk;
    /// otherwise nothing of it is there. Writers wait for each other. Blocks for as long as the disk
    /// takes: call it off the runtime's thread.
    ///
    /// After a failure of the disk the next call opens the file again first.
    ///
    /// # Errors
    /// The disk's, or what `f` returns.
    pub fn write<T>(&self, f: impl FnOnce(&mut Tx) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut tx = Tx { ops: Vec::new() };
        let value = f(&mut tx)?;
        self.run(move |database| library::transact(database, &tx.ops))?;
        Ok(value)
    }

    /// The value of a key; `None` also when there is no such table.
    ///
    /// # Errors
    /// The disk's.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let (table, key) = (table.to_owned(), key.to_vec());
        self.run(move |database| library::read_one(database, &table, &key))
    }

    /// The rows with `from <= key`, and `key < to` when that is given, in the order of their keys.
    ///
    /// # Errors
    /// The disk's.
    pub fn scan(&self, table: &str, from: &[u8], to: Option<&[u8]>) -> Result<Vec<Row>, LedgerError> {
        let (table, from, to) = (table.to_owned(), from.to_vec(), to.map(<[u8]>::to_vec));
        self.run(move |database| library::read_range(database, &table, &from, to.as_deref()))
    }

    /// Shows every row of a table, in the order of the keys, one after the other: for tables that are too large to be
    /// held in memory at once. All of it is of one moment.
    ///
    /// # Errors
    /// The disk's.
    pub fn visit(&self, table: &str, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
        let database = self.database()?;
        let (show, rows) = sync_channel::<Vec<Row>>(2);
        let table = table.to_owned();
        let losses = self.losses();
        let running = guarded::start(move || {
            library::visit_rows(&database, &table, BATCH_BYTES, &mut |batch| show.send(batch).is_ok())
        })?;
        loop {
            match rows.recv_timeout(Duration::from_millis(100)) {
                Ok(batch) => batch.iter().for_each(|(key, value)| each(key, value)),
                Err(RecvTimeoutError::Timeout) if !running.is_over() && self.losses() == losses => {}
                Err(_) => break,
            }
        }
        let done = running.wait(|| self.losses() != losses);
        self.note(done)
    }

    /// What the file has now, in memory: for one that can be read, but not be opened to be written.
    ///
    /// # Errors
    /// It cannot be read either, or is longer than 256 MiB, or damaged.
    pub fn copy_in_memory(&self) -> Result<Self, LedgerError> {
        let bytes = self.inner.place.bytes(MAX_COPY)?;
        Self::on(&SimulatedDisk::holding(bytes))
    }

    /// The names of the tables, sorted.
    ///
    /// # Errors
    /// The disk's.
    pub fn tables(&self) -> Result<Vec<String>, LedgerError> {
        self.run(library::read_tables)
    }

    /// Has the last operation failed on the disk?
    pub fn is_broken(&self) -> bool {
        self.inner.broken.load(Ordering::Acquire)
    }

    /// Size of the file in bytes, free pages included; 0 when that cannot be told.
    pub fn size(&self) -> u64 {
        self.inner.place.size()
    }

    /// Puts a file that opens but cannot be read or written aside, and begins a new one.
    ///
    /// # Errors
    /// The disk's; a simulated disk has no room beside it.
    pub fn begin_afresh(&self, why: &str) -> Result<(), LedgerError> {
        let mut slot = self.settled(self.slot(), |slot| matches!(slot, Slot::Busy));
        let old = std::mem::replace(&mut *slot, Slot::Busy);
        drop(slot);
        close(old);
        self.place_new(why).map(drop)
    }

    /// Gives free pages back to the disk. Everybody else waits meanwhile.
    ///
    /// # Errors
    /// The disk's.
    pub fn compact(&self) -> Result<(), LedgerError> {
        self.alone(library::compact)
    }

    /// Reads every page and compares its checksum: is the file sound? What can be is repaired.
    ///
    /// # Errors
    /// The disk's, or the file is damaged beyond repair.
    pub fn check_integrity(&self) -> Result<bool, LedgerError> {
        self.alone(library::check_integrity)
    }

    fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let database = self.database()?;
        let losses = self.losses();
        let running = guarded::start(move || f(&database))?;
        self.note(running.wait(|| self.losses() != losses))
    }

    /// Runs what needs the database for itself.
    fn alone<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Database) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.database()?;
        let mut turns = 0;
        let database = loop {
            let mut slot = self.settled(self.slot(), |slot| matches!(slot, Slot::Busy));
            let Slot::Open(database) = std::mem::replace(&mut *slot, Slot::Closed) else {
                return Err(LedgerError::Closed);
            };
            match Arc::try_unwrap(database) {
                Ok(database) => {
                    *slot = Slot::Busy;
                    break database;
                }
                Err(shared) => *slot = Slot::Open(shared),
            }
            drop(slot);
            turns += 1;
            if turns > TURNS {
                return Err(LedgerError::Refused("others are using it".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let running = guarded::start(move || {
            let mut database = database;
            let done = f(&mut database);
            (Arc::new(database), done)
        });
        match running.map_err(|e| e.to_string()).and_then(|r| r.wait(|| false)) {
            Ok((database, done)) => {
                self.put(Slot::Open(database));
                self.note(Ok(done))
            }
            Err(why) => self.note(Err(why)),
        }
    }

    /// The database, opened again when an earlier operation broke it.
    fn database(&self) -> Result<Arc<Database>, LedgerError> {
        let mut slot = self.settled(self.slot(), |slot| matches!(slot, Slot::Busy));
        if let (Slot::Open(database), false) = (&*slot, self.is_broken()) {
            return Ok(Arc::clone(database));
        }
        let old = std::mem::replace(&mut *slot, Slot::Busy);
        drop(slot);
        self.reopen(old, self.inner.heals)
    }

    /// The slot is ours (busy); when this returns it is not any more.
    fn reopen(&self, old: Slot, heals: bool) -> Result<Arc<Database>, LedgerError> {
        let why = match old {
            Slot::Lost(why) => why,
            other => {
                // The old handle holds the file's lock.
                close(other);
                match self.open_place() {
                    Ok(database) => return Ok(self.opened(database)),
                    Err(Failed::Error(LedgerError::Damaged(why))) if heals => why,
                    Err(Failed::Error(error)) => {
                        self.put(Slot::Closed);
                        return Err(error);
                    }
                    Err(Failed::Lost(why)) => why,
                }
            }
        };
        // A file that can never be opened again would keep everything in memory for good.
        if heals {
            return self.place_new(&why);
        }
        self.lose(&why);
        Err(LedgerError::Damaged(why))
    }

    fn open_place(&self) -> Result<Database, Failed> {
        let place = Arc::clone(&self.inner.place);
        let running = guarded::start(move || place.open()).map_err(|e| Failed::Error(e.into()))?;
        running.wait(|| false).map_err(Failed::Lost)?.map_err(Failed::Error)
    }

    /// Puts the file aside and begins a new one. The slot is ours (busy).
    fn place_new(&self, why: &str) -> Result<Arc<Database>, LedgerError> {
        self.inner.broken.store(true, Ordering::Release);
        if let Err(error) = self.inner.place.put_aside(why) {
            self.put(Slot::Lost(why.to_owned()));
            return Err(error);
        }
        match self.open_place() {
            Ok(database) => Ok(self.opened(database)),
            Err(Failed::Lost(why)) => {
                self.lose(&why);
                Err(LedgerError::Damaged(why))
            }
            Err(Failed::Error(error)) => {
                // Half a new file is nothing to put aside, again and again.
                self.inner.place.remove();
                self.put(Slot::Closed);
                Err(error)
            }
        }
    }

    fn opened(&self, database: Database) -> Arc<Database> {
        let database = Arc::new(database);
        self.inner.broken.store(false, Ordering::Release);
        self.put(Slot::Open(Arc::clone(&database)));
        database
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.inner.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled<'a>(
        &'a self,
        slot: MutexGuard<'a, Slot>,
        not_yet: impl Fn(&Slot) -> bool,
    ) -> MutexGuard<'a, Slot> {
        self.inner.changed.wait_while(slot, |slot| not_yet(slot)).unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, new: Slot) {
        *self.slot() = new;
        self.inner.changed.notify_all();
    }

    fn losses(&self) -> u64 {
        self.inner.losses.load(Ordering::Acquire)
    }

    /// The library panicked: whoever waits for this database waits in vain.
    fn lose(&self, why: &str) {
        self.inner.losses.fetch_add(1, Ordering::AcqRel);
        self.inner.broken.store(true, Ordering::Release);
        self.put(Slot::Lost(why.to_owned()));
    }

    fn note<T>(&self, done: Result<Result<T, LedgerError>, String>) -> Result<T, LedgerError> {
        let done = match done {
            Ok(done) => done,
            Err(why) => {
                tracing::error!(file = ?self, reason = %why, "the ledger's library gave up");
                self.lose(&why);
                return Err(LedgerError::Damaged(why));
            }
        };
        if matches!(&done, Err(e) if !matches!(e, LedgerError::Refused(_))) {
            self.inner.broken.store(true, Ordering::Release);
        }
        done
    }
}

/// Why a file could not be opened.
enum Failed {
    Error(LedgerError),
    /// The library panicked.
    Lost(String),
}

/// Closing writes, and what writes can panic.
fn close(slot: Slot) {
    if let Slot::Open(database) = slot
        && let Ok(running) = guarded::start(move || drop(database))
    {
        let _ = running.wait(|| false);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        close(std::mem::replace(
            &mut *self.slot.lock().unwrap_or_else(PoisonError::into_inner),
            Slot::Closed,
        ));
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({})", self.inner.place)
    }
}

/// What a transaction is to do.
#[derive(Debug)]
pub struct Tx {
    ops: Vec<Op>,
}

impl Tx {
    /// Sets a key's value; the table is made when it is not there.
    ///
    /// # Errors
    /// None so far; it is carried out at the end.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<(), LedgerError> {
        self.ops.push(Op { table: table.to_owned(), key: key.to_vec(), value: Some(value.to_vec()) });
        Ok(())
    }

    /// Removes a key, whether it is there or not.
    ///
    /// # Errors
    /// None so far; it is carried out at the end.
    pub fn delete(&mut self, table: &str, key: &[u8]) -> Result<(), LedgerError> {
        self.ops.push(Op { table: table.to_owned(), key: key.to_vec(), value: None });
        Ok(())
    }
}
