//! The key of acknowledgement links when nobody configured one: made once, and kept beside the ledger.
//!
//! It is worth what the ledger is worth: a link names an incident of that ledger, and lives no longer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::rand::SecureRandom as _;

/// Bytes of randomness in a key.
const BYTES: usize = 32;
/// Its text is hexadecimal; a file with anything else was not written to its end, or not by sideband.
const DIGITS: usize = 2 * BYTES;

/// The key in `path`; a new one is written there (mode 0600, synced) when there is none.
///
/// Where it cannot be read or written, a key that only this process knows is better than pages without links: links
/// then end with the process, and the log says so. `None` only when there is no randomness.
pub fn load_or_make(path: &Path) -> Option<Vec<u8>> {
    match read(path) {
        Ok(Some(key)) => return Some(key),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "the key of acknowledgement links cannot be read: \
                links in pages from before do not work, and those from now on end with this process");
            return fresh();
        }
    }
    let key = fresh()?;
    if let Err(error) = write(path, &key) {
        tracing::warn!(file = %path.display(), %error, "the key of acknowledgement links cannot be kept: \
            links in pages end with this process");
    }
    Some(key)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let key = bytes.trim_ascii_end();
            let whole = key.len() == DIGITS && key.iter().all(u8::is_ascii_hexdigit);
            Ok(whole.then(|| key.to_vec()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn fresh() -> Option<Vec<u8>> {
    let mut bytes = [0u8; BYTES];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    let mut text = String::with_capacity(DIGITS);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16)?);
        }
    }
    Some(text.into_bytes())
}

/// Whole or not at all: beside it first, then renamed.
fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("key.new");
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Made anew, so that its mode is ours and no link of somebody else's is followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(key)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledge.key");
        let key = load_or_make(&path).unwrap();
        assert_eq!(key.len(), DIGITS);
        assert_eq!(load_or_make(&path).unwrap(), key);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = load_or_make(&dir.path().join("b.key")).unwrap();
        assert_ne!(other, key);
    }

    #[test]
    fn what_is_no_key_is_made_anew() {
        for damaged in ["", "short", &"x".repeat(DIGITS), &"0".repeat(DIGITS - 1)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("acknowledge.key");
            std::fs::write(&path, damaged).unwrap();
            // What a write that was cut short has left.
            std::fs::write(path.with_extension("key.new"), "0").unwrap();
            let key = load_or_make(&path).unwrap();
            assert_ne!(key, damaged.as_bytes());
            assert_eq!(load_or_make(&path).unwrap(), key);
        }
    }

    #[test]
    fn without_a_place_for_it_links_still_work() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone").join("acknowledge.key");
        let (a, b) = (load_or_make(&gone).unwrap(), load_or_make(&gone).unwrap());
        assert_eq!(a.len(), DIGITS);
        assert_ne!(a, b);
        // A directory in its place can be neither read nor replaced.
        assert!(load_or_make(dir.path()).is_some());
    }
}
