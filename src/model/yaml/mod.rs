//! The one door to the YAML library: strict reading, errors with file, line and column, places kept.

mod de;
mod error;
mod scalar;
mod spanned;
mod table;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use error::Error;
pub use spanned::{Place, Spanned};
pub use table::{FromYaml, Key, Keys, Raw, read_keys};
pub(crate) use table::{from_yaml_by_serde, table};
pub use tree::Node;

/// What is wrong in a file, and where. Lines and columns count from 1; 0 says that the place is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    pub message: String,
}

impl FileError {
    /// An error about the file as a whole.
    pub fn whole(file: &Path, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.to_string() }
    }

    /// An error of a file's text.
    pub fn of(file: &Path, error: &Error) -> Self {
        let place = error.place();
        Self { file: file.to_owned(), line: place.line(), column: place.column(), message: error.to_string() }
    }

    /// An error about a value whose place was kept.
    pub fn at<T>(file: &Path, place: &Spanned<T>, message: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            line: place.referenced.line(),
            column: place.referenced.column(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for FileError {}

/// Reads a file's text into `T`. Unknown keys are errors when `T` denies them, repeated keys always;
/// aliases, nesting and size are bounded; YAML 1.2 booleans only.
///
/// # Errors
/// Bad syntax, or what `T` refuses, with the place.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, FileError> {
    let root = single(file, text)?;
    T::deserialize(&root).map_err(|e| FileError::of(file, &e.or_at(root.place)))
}

/// As [`parse`], for what is read by a table of its keys.
///
/// # Errors
/// As [`parse`].
pub fn read<T: FromYaml>(file: &Path, text: &str) -> Result<T, FileError> {
    let root = single(file, text)?;
    T::from_yaml(&root).map_err(|e| FileError::of(file, &e.or_at(root.place)))
}

/// As [`parse_all`], for what is read by a table of its keys.
///
/// # Errors
/// As [`parse`].
pub fn read_all<T: FromYaml>(file: &Path, text: &str) -> Result<Vec<T>, FileError> {
    let documents = tree::documents(text).and_then(|all| {
        let all = all.iter().filter(|root| !root.is_null());
        all.map(|root| T::from_yaml(root).map_err(|e| e.or_at(root.place))).collect()
    });
    documents.map_err(|e| FileError::of(file, &e))
}

/// Reads every document of a file's text. Empty documents are left out.
///
/// # Errors
/// As [`parse`].
pub fn parse_all<T: DeserializeOwned>(file: &Path, text: &str) -> Result<Vec<T>, FileError> {
    tree::documents(text)
        .map_err(|e| FileError::of(file, &e))?
        .iter()
        .filter(|root| !root.is_null())
        .map(|root| T::deserialize(root).map_err(|e| FileError::of(file, &e.or_at(root.place))))
        .collect()
}

/// The keys of a text's top level, to know what kind of file it is. Of one that is no YAML: the words at the beginning of
/// a line that a colon follows.
pub fn top_keys(text: &str) -> Vec<String> {
    match tree::documents(text) {
        Ok(documents) => documents.first().map(Node::keys).unwrap_or_default(),
        Err(_) => {
            let key = |line: &str| {
                let (key, _) = line.split_once(':')?;
                Some(key.trim_end().trim_matches(['"', '\'']).to_owned())
            };
            text.lines().filter_map(key).collect()
        }
    }
}

/// The only document of a text; a text without any is null.
fn single(file: &Path, text: &str) -> Result<Node, FileError> {
    let mut documents = tree::documents(text).map_err(|e| FileError::of(file, &e))?.into_iter();
    let first = documents.next().unwrap_or_else(|| Node::null(Place::default()));
    match documents.next() {
        None => Ok(first),
        Some(second) => {
            Err(FileError::of(file, &Error::at(second.place, "multiple YAML documents detected")))
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod door {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Doc {
        #[allow(dead_code, reason = "read through Debug only")]
        name: Spanned<String>,
        #[allow(dead_code, reason = "read through Debug only")]
        every: Option<crate::model::Duration>,
    }

    #[test]
    fn errors_name_the_place() {
        for (text, line, part) in [
            ("name: a\nevry: 1m\n", 2, "evry"),
            ("name: a\nname: b\n", 2, "duplicate"),
            ("name: a\nevery: 1q\n", 2, "1q"),
            ("name: [\n", 1, ""),
        ] {
            let e = parse::<Doc>(Path::new("x.yml"), text).unwrap_err();
            assert!(e.line == line && e.to_string().contains(part), "{text:?}: {e}");
        }
        let ok: Doc = parse(Path::new("x.yml"), "name: 0123\nevery: 5m").unwrap();
        assert_eq!((ok.name.value.as_str(), ok.name.referenced.line()), ("0123", 1));
    }
}
