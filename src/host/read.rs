//! Reading files of /proc and /sys again and again, and what can be wrong with them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// No file read here is larger, whatever the machine.
const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// Why a collector has nothing, or not all, to say.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    /// This kernel or machine does not have it: no fault.
    #[error("{0} is not there")]
    NoData(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    /// A field that would give a metric a name that is none.
    #[error("not the name of a metric: {0:?}")]
    Name(String),
    #[error("{path}: not understood: {text:?}")]
    Malformed { path: PathBuf, text: String },
}

impl CollectError {
    /// A line that does not look as it should.
    pub fn malformed(path: &Path, text: &str) -> Self {
        Self::Malformed { path: path.to_owned(), text: text.chars().take(120).collect() }
    }

    /// An error of reading; a file that is not there is no data.
    pub fn io(path: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::NoData(path.to_owned())
        } else {
            Self::Io { path: path.to_owned(), error }
        }
    }
}

/// A file that is kept open between collections: reading it from the start gives today's text.
pub(super) struct KernelFile {
    path: PathBuf,
    file: Option<File>,
}

impl KernelFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The path, for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text, read into `buffer`.
    ///
    /// # Errors
    /// The file cannot be read, or is no UTF-8.
    pub fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<&'a str, CollectError> {
        self.read_bytes(buffer)?;
        std::str::from_utf8(buffer)
            .map_err(|_| CollectError::malformed(&self.path, &String::from_utf8_lossy(buffer)))
    }

    /// The whole content, read into `buffer`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_bytes(&mut self, buffer: &mut Vec<u8>) -> Result<(), CollectError> {
        if let Some(file) = &self.file {
            if read_all(file, buffer).is_ok() && !buffer.is_empty() {
                return Ok(());
            }
            // What it pointed to is gone (a device, a cgroup): look again.
            self.file = None;
        }
        let file = File::open(&self.path).map_err(|e| CollectError::io(&self.path, e))?;
        read_all(&file, buffer).map_err(|e| CollectError::io(&self.path, e))?;
        self.file = Some(file);
        Ok(())
    }

    /// A line of this file is not understood.
    pub fn malformed(&self, line: &str) -> CollectError {
        CollectError::malformed(&self.path, line)
    }
}

fn read_all(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(buffer.capacity().max(8 * 1024), 0);
    let mut len = 0;
    loop {
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if len == buffer.len() {
            if len >= MAX_FILE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB"));
            }
            buffer.resize(len * 2, 0);
        }
    }
    buffer.truncate(len);
    Ok(())
}

/// A small file that is read seldom, without the white space around its text.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub(super) fn read_trimmed(path: &Path) -> Result<String, CollectError> {
    let mut buffer = Vec::new();
    let file = File::open(path).map_err(|e| CollectError::io(path, e))?;
    read_all(&file, &mut buffer).map_err(|e| CollectError::io(path, e))?;
    match String::from_utf8(buffer) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(CollectError::malformed(path, &e.to_string())),
    }
}

/// A small file that holds one number.
///
/// # Errors
/// As [`read_trimmed`], or it is no number.
pub(super) fn read_number(path: &Path) -> Result<f64, CollectError> {
    let text = read_trimmed(path)?;
    number(&text).ok_or_else(|| CollectError::malformed(path, &text))
}

/// A number as the kernel prints it: decimal digits, perhaps a sign, perhaps a fraction.
pub(super) fn number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        return None;
    }
    match text.parse::<u64>() {
        Ok(n) => Some(n as f64),
        Err(_) => text.parse().ok(),
    }
}
