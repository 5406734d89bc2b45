//! A disk in memory that fails, fills up and loses power when it is told to.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A disk in memory. Clones are the same disk. What was written is lost at a [`crash`](Self::crash) unless
/// it had been synced.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// What would be there after a loss of power.
    synced: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<Pending>,
    /// Changing operations that still succeed; `None`: all.
    healthy_for: Option<u64>,
    /// Bytes that fit; `None`: any number.
    capacity: Option<u64>,
    syncs: u64,
    /// Counts power cuts: handles opened before one are dead.
    generation: u64,
    /// Somebody who is alive has it open, as the lock of a file says.
    held: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("len", &self.bytes.len()).field("syncs", &self.syncs).finish()
    }
}

enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl SimulatedDisk {
    /// After this many more changing operations every one fails, until [`repair`](Self::repair).
    pub fn fail_after(&self, operations: u64) {
        self.lock().healthy_for = Some(operations);
    }

    /// Nothing fits beyond this size.
    pub fn limit(&self, bytes: u64) {
        self.lock().capacity = Some(bytes);
    }

    /// The disk works again, with room.
    pub fn repair(&self) {
        let mut state = self.lock();
        state.healthy_for = None;
        state.capacity = None;
    }

    /// The power fails: of the operations since the last sync only those survive for whose number `survives`
    /// is true (a real disk reorders them). Handles that are open are dead from now on. The disk works
    /// again afterwards.
    pub fn crash(&self, mut survives: impl FnMut(usize) -> bool) {
        let mut state = self.lock();
        let mut bytes = std::mem::take(&mut state.synced);
        for (i, operation) in std::mem::take(&mut state.pending).into_iter().enumerate() {
            if survives(i) {
                operation.apply(&mut bytes);
            }
        }
        state.synced.clone_from(&bytes);
        state.bytes = bytes;
        state.generation += 1;
        state.held = false;
        state.healthy_for = None;
        state.capacity = None;
    }

    /// One with this on it.
    pub fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.lock();
            state.synced.clone_from(&bytes);
            state.bytes = bytes;
        }
        disk
    }

    /// What a reader sees.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// How often it was synced.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Bytes in use.
    pub fn size(&self) -> u64 {
        self.lock().bytes.len() as u64
    }

    /// Opens it; `None` while another one has it open.
    pub(super) fn handle(&self) -> Option<impl StorageBackend> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.held, true) {
            return None;
        }
        Some(Handle { disk: self.clone(), generation: state.generation })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, operation: Pending) -> io::Result<()> {
        self.spend()?;
        let end = match &operation {
            Pending::Write(offset, data) => offset + data.len(),
            Pending::Length(len) => *len,
        };
        if self.capacity.is_some_and(|c| end as u64 > c) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        operation.apply(&mut self.bytes);
        self.pending.push(operation);
        Ok(())
    }

    fn spend(&mut self) -> io::Result<()> {
        match &mut self.healthy_for {
            Some(0) => Err(io::Error::other("simulated failure of the disk")),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

/// One opening of the disk.
#[derive(Debug)]
struct Handle {
    disk: SimulatedDisk,
    generation: u64,
}

impl Handle {
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("the power was cut"))
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(mut state) = self.alive() {
            state.held = false;
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.alive()?;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes =
            state.bytes.get(from..from.saturating_add(out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.alive()?.change(Pending::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.spend()?;
        let mut synced = std::mem::take(&mut state.synced);
        for operation in std::mem::take(&mut state.pending) {
            operation.apply(&mut synced);
        }
        state.synced = synced;
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.alive()?.change(Pending::Write(offset, data.to_vec()))
    }
}
