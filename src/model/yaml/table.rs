//! Structs that are read by a table of their keys. serde's generated code for a struct is there once for every
//! struct; where there are many with many keys, a table and one reader for all are a tenth of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::FileError;
use super::error::Error;
use super::spanned::Spanned;
use super::tree::Node;

/// A part of a file that is kept as it is, to be read by a table later.
#[derive(Clone)]
pub struct Raw(Node);

/// There may be secrets in it.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw")
    }
}

impl Raw {
    /// Reads it.
    ///
    /// # Errors
    /// What `T` refuses, with the place.
    pub fn read<T: FromYaml>(&self, file: &std::path::Path) -> Result<T, FileError> {
        T::from_yaml(&self.0).map_err(|e| FileError::of(file, &e.or_at(self.0.place)))
    }

    /// Reads it as a key's value.
    ///
    /// # Errors
    /// What the key refuses, with the place.
    pub fn put(&self, key: &mut dyn Key) -> Result<(), Error> {
        key.read(&self.0).map_err(|e| e.or_at(self.0.place))
    }
}

/// The newtype name by which the deserializer of this module knows that the node itself is wanted.
pub(super) const MARK: &str = "$sideband::Raw";

thread_local! {
    /// Handed from the deserializer to the visitor, as a place is to [`Spanned`].
    static HANDED: Cell<Option<Node>> = const { Cell::new(None) };
}

/// Hands a node to the visitor that is called next.
pub(super) fn hand(node: &Node) {
    HANDED.set(Some(node.clone()));
}

impl FromYaml for Raw {
    fn from_yaml(node: &Node) -> Result<Self, Error> {
        Ok(Self(node.clone()))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;

        impl<'de> Visitor<'de> for V {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Raw, D::Error> {
                HANDED.take().map(Raw).ok_or_else(|| de::Error::custom("only YAML is kept as it is"))
            }
        }
        deserializer.deserialize_newtype_struct(MARK, V)
    }
}

/// What can be read from a node.
pub trait FromYaml: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is no such value; the place is added where it is missing.
    fn from_yaml(node: &Node) -> Result<Self, Error>;
}

/// Types that serde reads.
macro_rules! from_yaml_by_serde {
    ($($type:ty)*) => {$(
        impl $crate::model::yaml::FromYaml for $type {
            fn from_yaml(node: &$crate::model::yaml::Node) -> Result<Self, $crate::model::yaml::Error> {
                serde::Deserialize::deserialize(node)
            }
        }
    )*};
}
pub(crate) use from_yaml_by_serde;

from_yaml_by_serde! {
    String bool u64 i64 f64 usize std::path::PathBuf de::IgnoredAny serde_json::Value crate::model::Duration crate::model::Secret
}

impl<T: FromYaml> FromYaml for Option<T> {
    fn from_yaml(node: &Node) -> Result<Self, Error> {
        if node.is_null() { Ok(None) } else { T::from_yaml(node).map(Some) }
    }
}

impl<T: FromYaml> FromYaml for Vec<T> {
    fn from_yaml(node: &Node) -> Result<Self, Error> {
        let items = node.items(&"a sequence")?;
        items.iter().map(|item| T::from_yaml(item).map_err(|e| e.or_at(item.place))).collect()
    }
}

impl<T: FromYaml> FromYaml for BTreeMap<String, T> {
    fn from_yaml(node: &Node) -> Result<Self, Error> {
        let entry = |(key, value): &(Node, Node)| {
            let name = key.text(&"a string").map_err(|e| e.or_at(key.place))?;
            Ok((name.to_owned(), T::from_yaml(value).map_err(|e| e.or_at(value.place))?))
        };
        node.entries(&"a map")?.iter().map(entry).collect()
    }
}

impl<T: FromYaml> FromYaml for Spanned<T> {
    fn from_yaml(node: &Node) -> Result<Self, Error> {
        Ok(Self::new(T::from_yaml(node)?, node.place, node.defined))
    }
}

/// Something that a key sets.
pub trait Key {
    /// Takes the key's value.
    ///
    /// # Errors
    /// As [`FromYaml::from_yaml`].
    fn read(&mut self, node: &Node) -> Result<(), Error>;
}

impl<T: FromYaml> Key for T {
    fn read(&mut self, node: &Node) -> Result<(), Error> {
        *self = T::from_yaml(node)?;
        Ok(())
    }
}

/// Keys that stand among those of another struct.
pub trait Keys {
    /// Each with its name.
    fn keys(&mut self) -> Vec<(&'static str, &mut dyn Key)>;
}

/// Defines a struct that is read by the names of its fields, each of which may be left out. The keys of a field after
/// `..` stand beside the others. Keys that are `not_built` are refused by their names, unless they are empty.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
            $(.. $(#[$inner_doc:meta])* pub $inner:ident: $inner_type:ty,)?
        }
        $(not_built: $not_built:expr)?
    ) => {
        $(#[$meta])*
        #[derive(Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($(#[$inner_doc])* pub $inner: $inner_type,)?
        }

        impl $crate::model::yaml::FromYaml for $name {
            fn from_yaml(node: &$crate::model::yaml::Node) -> Result<Self, $crate::model::yaml::Error> {
                let mut read = Self::default();
                let own: Vec<(_, &mut dyn $crate::model::yaml::Key)> =
                    vec![$((stringify!($field), &mut read.$field),)*];
                let keys = own.into_iter() $(.chain($crate::model::yaml::Keys::keys(&mut read.$inner)))?;
                let not_built: &[&str] = &[];
                $(let not_built = [not_built, $not_built].concat();)?
                $crate::model::yaml::read_keys(node, &mut keys.collect::<Vec<_>>(), &not_built)?;
                Ok(read)
            }
        }
    };
}
pub(crate) use table;

/// Reads a mapping by its keys; one with two names has them as `new|old`.
///
/// # Errors
/// No mapping, an unknown key, one that is `not_built` and not empty, one that is there under both its names, or what
/// a key refuses.
pub fn read_keys(
    node: &Node,
    keys: &mut [(&'static str, &mut dyn Key)],
    not_built: &[&str],
) -> Result<(), Error> {
    let mut seen = vec![false; keys.len()];
    for (name, value) in node.entries(&"a mapping")? {
        let key = name.text(&"a key").map_err(|e| e.or_at(name.place))?;
        let Some(i) = keys.iter().position(|(names, _)| names.split('|').any(|n| n == key)) else {
            if !not_built.contains(&key) {
                let names: Vec<&str> = keys.iter().flat_map(|(names, _)| names.split('|')).collect();
                return Err(Error::unknown("field", key, &names).or_at(name.place));
            }
            if value.is_empty() {
                continue;
            }
            return Err(Error::at(name.place, format_args!("{key} is not built yet")));
        };
        if std::mem::replace(&mut seen[i], true) {
            let name = keys[i].0.split('|').next().unwrap_or_default();
            return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
        }
        keys[i].1.read(value).map_err(|e| e.or_at(value.place))?;
    }
    Ok(())
}
