//! Which number belongs to which label set: an append-only file, rewritten when most of it is of series
//! that are gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::model::Labels;

use super::frame::{self, Reader};

/// Records of gone series that are not worth a rewrite.
const GONE_TOLERATED: usize = 1000;

/// The log as it is written.
#[derive(Debug)]
pub(super) struct SeriesLog {
    path: PathBuf,
    file: Option<File>,
    pub len: u64,
    /// Records in it.
    pub records: usize,
}

impl SeriesLog {
    pub fn new(path: &Path, len: u64, records: usize) -> Self {
        Self { path: path.to_owned(), file: None, len, records }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the series and empties the list; on an error they stay in it.
    pub fn append(&mut self, new: &mut Vec<(u32, Labels)>) -> io::Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().create(true).append(true).open(&self.path)?),
        };
        let mut out = Vec::new();
        for some in new.chunks(512) {
            out.clear();
            some.iter().for_each(|(id, labels)| write_record(&mut out, *id, labels));
            // A torn record is skipped when it is read, so writing them again does no harm.
            file.write_all(&out)?;
            self.len += out.len() as u64;
        }
        self.records += new.len();
        *new = Vec::new();
        Ok(())
    }

    /// A handle to sync what was written.
    pub fn file(&self) -> Option<File> {
        self.file.as_ref()?.try_clone().ok()
    }

    pub fn wants_rewrite(&self, alive: usize) -> bool {
        self.records > GONE_TOLERATED + 2 * alive
    }

    /// A file beside the log, to write the series into that are left.
    pub fn fresh(&self) -> io::Result<(PathBuf, File)> {
        let path = self.path.with_extension("tmp");
        Ok((path.clone(), File::create(path)?))
    }

    /// Puts a file of [`SeriesLog::fresh`] in the log's place.
    pub fn replace(&mut self, path: &Path, len: u64, records: usize) -> io::Result<()> {
        fs::rename(path, &self.path)?;
        (self.file, self.len, self.records) = (None, len, records);
        Ok(())
    }
}

pub(super) fn write_record(out: &mut Vec<u8>, id: u32, labels: &Labels) {
    frame::write(out, |out| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(labels.as_bytes());
    });
}

pub(super) fn read_record(bytes: &[u8]) -> Option<(u32, Labels)> {
    let mut r = Reader(bytes);
    Some((r.u32()?, Labels::from_bytes(r.0)?))
}
