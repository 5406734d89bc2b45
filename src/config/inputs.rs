//! The files that a configuration was read from, and whether they changed since.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::model::yaml::FileError;
use crate::model::{Glob, Order as _};

/// No configuration file is larger; what is larger is refused (bytes).
const MAX_FILE: u64 = 16 << 20;

/// Every file read and every pattern expanded while a configuration was loaded.
#[derive(Debug, Default, Clone)]
pub struct Inputs {
    files: BTreeMap<PathBuf, u64>,
    patterns: BTreeMap<PathBuf, u64>,
}

impl Inputs {
    /// Reads a file and remembers it, also when it cannot be read (it may appear).
    ///
    /// # Errors
    /// The file is missing, unreadable, too large or no UTF-8.
    pub fn read(&mut self, path: &Path) -> Result<String, FileError> {
        let bytes = read_bounded(path);
        self.files.insert(path.to_owned(), hash_of(bytes.as_ref().ok()));
        let bytes = bytes.map_err(|e| FileError::whole(path, e))?;
        String::from_utf8(bytes).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
            FileError {
                file: path.to_owned(),
                line: line as u64,
                column: column as u64,
                message: "the file is not valid UTF-8".to_owned(),
            }
        })
    }

    /// The files that a pattern names, sorted. Wildcards (`*`, `?`, `[a-z]`) stand in the last part of the
    /// path only. A pattern without wildcard names its file whether it exists or not.
    ///
    /// # Errors
    /// Wildcards elsewhere, or a set that is not closed.
    pub fn expand(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let files = expand(pattern)?;
        self.patterns.insert(pattern.to_owned(), hash_of(Some(&files)));
        Ok(files)
    }

    /// All the files, patterns among them: their directories are worth watching.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().chain(self.patterns.keys()).map(PathBuf::as_path)
    }

    /// A number that changes when any content, or the set of files that a pattern names, changes. Reads
    /// the files as they are now.
    pub fn fingerprint_now(&self) -> u64 {
        let files: Vec<u64> = self.files.keys().map(|p| hash_of(read_bounded(p).ok().as_ref())).collect();
        let patterns: Vec<u64> = self.patterns.keys().map(|p| hash_of(expand(p).ok().as_ref())).collect();
        hash_of(Some(&(files, patterns)))
    }

    /// The same number for the contents as they were read.
    pub fn fingerprint(&self) -> u64 {
        let files: Vec<u64> = self.files.values().copied().collect();
        let patterns: Vec<u64> = self.patterns.values().copied().collect();
        hash_of(Some(&(files, patterns)))
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("larger than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

fn hash_of(value: Option<&impl Hash>) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let text = pattern.to_string_lossy();
    let (directory, last) = match text.rsplit_once('/') {
        Some((directory, last)) => (format!("{directory}/"), last),
        None => (String::new(), text.as_ref()),
    };
    let wild = |s: &str| s.contains(['*', '?', '[']);
    if wild(&directory) {
        return Err(format!("invalid path {text:?}: wildcards may stand in the last part only"));
    }
    if !wild(last) {
        return Ok(vec![pattern.to_owned()]);
    }
    let glob = Glob::new(last).ok_or_else(|| format!("invalid pattern {last:?}"))?;
    let at = if directory.is_empty() { "." } else { &directory };
    let Ok(entries) = std::fs::read_dir(at) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| glob.fits(name) && (!name.starts_with('.') || last.starts_with('.')))
        .map(|name| PathBuf::from(format!("{directory}{name}")))
        .filter(|path| path.is_file())
        .collect();
    files.order();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a.yml", "b.yml", "c.txt", ".hidden.yml"] {
            std::fs::write(path(name), name).unwrap();
        }
        let mut inputs = Inputs::default();
        for (pattern, expect) in [
            ("*.yml", vec!["a.yml", "b.yml"]),
            ("[ab].yml", vec!["a.yml", "b.yml"]),
            ("?.txt", vec!["c.txt"]),
            ("none.yml", vec!["none.yml"]),
            ("none*.yml", vec![]),
        ] {
            let expect: Vec<_> = expect.iter().map(|n| path(n)).collect();
            assert_eq!(inputs.expand(&path(pattern)).unwrap(), expect, "{pattern}");
        }
        assert!(inputs.expand(&path("*/a.yml")).is_err());
        assert_eq!(inputs.read(&path("a.yml")).unwrap(), "a.yml");
        assert!(inputs.read(&path("missing.yml")).is_err());
        assert_eq!(inputs.fingerprint(), inputs.fingerprint_now());
        std::fs::write(path("d.yml"), "").unwrap();
        assert_ne!(inputs.fingerprint(), inputs.fingerprint_now(), "a new file is a change");
        std::fs::remove_file(path("d.yml")).unwrap();
        assert_eq!(inputs.fingerprint(), inputs.fingerprint_now());
        std::fs::write(path("a.yml"), "x").unwrap();
        assert_ne!(inputs.fingerprint(), inputs.fingerprint_now(), "new content is a change");
        std::fs::write(path("bad.yml"), b"a\nb\xff").unwrap();
        let e = inputs.read(&path("bad.yml")).unwrap_err();
        assert_eq!((e.line, e.column), (2, 2));
    }
}
