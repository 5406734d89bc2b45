//! Where a ledger is: a file, or a simulated disk.

use std::fmt;
use std::path::{Path, PathBuf};

use redb::Database;

use super::{LedgerError, SimulatedDisk};

/// Bytes of pages kept in memory. The records are few and small: this is for the hot ones.
const CACHE_BYTES: usize = 256 * 1024;

pub(super) enum Place {
    File(PathBuf),
    Simulated(SimulatedDisk),
}

impl Place {
    pub fn file(path: &Path) -> Self {
        Self::File(path.to_owned())
    }

    pub fn simulated(disk: &SimulatedDisk) -> Self {
        Self::Simulated(disk.clone())
    }

    /// Bytes in use; 0 when that cannot be told.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            Self::Simulated(disk) => disk.size(),
        }
    }

    /// All that is there, at the most so much.
    ///
    /// # Errors
    /// The disk's.
    pub fn bytes(&self, most: u64) -> Result<Vec<u8>, LedgerError> {
        match self {
            _ if self.size() > most => Err(LedgerError::Refused("too long for a copy in memory".to_owned())),
            Self::File(path) => Ok(std::fs::read(path)?),
            Self::Simulated(disk) => Ok(disk.bytes()),
        }
    }

    /// Renames the file to `NAME.damaged-SECONDS`.
    pub fn put_aside(&self, why: &str) -> Result<(), LedgerError> {
        let Self::File(path) = self else { return Err(LedgerError::Damaged(why.to_owned())) };
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let aside = |n: u64| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".damaged-{}", seconds + n));
            PathBuf::from(name)
        };
        // Two in a second: neither takes the other's place.
        let name = (0..60).map(aside).find(|name| !name.exists()).unwrap_or_else(|| aside(0));
        std::fs::rename(path, &name)?;
        tracing::error!(
            file = %path.display(), aside = %name.display(), reason = why,
            "THE LEDGER IS DAMAGED: it was put aside and a new one begun; incidents that only it knew are lost to this process"
        );
        Ok(())
    }

    /// Removes a file that could not be made whole.
    pub fn remove(&self) {
        if let Self::File(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Opens the database, or makes it. It may panic on a damaged one.
    ///
    /// # Errors
    /// The disk's; it is damaged, or another process has it.
    pub fn open(&self) -> Result<Database, LedgerError> {
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
            Self::Simulated(disk) => {
                let handle = disk.handle().ok_or_else(|| LedgerError::Locked(PathBuf::from("simulated")))?;
                Ok(builder.create_with_backend(handle)?)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Simulated(_) => f.write_str("simulated"),
        }
    }
}
