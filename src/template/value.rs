//! The values that templates work on: the kinds of Go that matter to rules and messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Labels, tree};

use super::time::{Calendar, Time};

/// How deep lists, maps and structures may be nested, so that no recursion over a value is unbounded.
pub const MAX_NESTING: u16 = 64;

/// A value of a template. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value at all: an absent key, the dot of a template without data.
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(Arc<str>),
    /// A text that html mode does not escape again where it is of the right kind.
    Safe(SafeKind, Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
    Struct(Arc<Struct>),
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    Calendar(Calendar),
}

/// What a safe text is safe for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafeKind {
    Html,
    Url,
}

/// A list; the kind decides which methods it has.
#[derive(Debug, Clone)]
pub struct List {
    pub kind: ListKind,
    pub items: Vec<Value>,
    nesting: u16,
}

/// Methods of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Of anything.
    Plain,
    /// Of texts.
    Strings,
    /// Has `Firing` and `Resolved`.
    Alerts,
    /// Name and value pairs: has `Names` and `Values`.
    Pairs,
}

/// A map with text keys.
#[derive(Debug, Clone)]
pub struct Map {
    pub kind: MapKind,
    pub entries: BTreeMap<Arc<str>, Value>,
    nesting: u16,
}

/// What a map gives for an absent key, and its methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// An absent key is no value.
    Any,
    /// Labels of a rule: an absent key is the empty text.
    Labels,
    /// Labels of a message: besides, they have `SortedPairs`, `Remove`, `Names`, `Values`, and print as `a=b, c=d`.
    Kv,
    /// As `Kv`, but never set: `null` in JSON.
    NoKv,
}

/// A structure with named fields; asking for another one is an error.
#[derive(Debug, Clone)]
pub struct Struct {
    pub name: &'static str,
    pub fields: Vec<Field>,
    nesting: u16,
}

/// A field of a structure.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: &'static str,
    /// Its key in JSON.
    pub json: &'static str,
    pub value: Value,
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A plain list.
    ///
    /// # Errors
    /// The value would be nested deeper than [`MAX_NESTING`].
    pub fn list(items: Vec<Value>) -> Result<Self, String> {
        Self::list_of(ListKind::Plain, items)
    }

    /// A list with methods.
    ///
    /// # Errors
    /// As [`Value::list`].
    pub fn list_of(kind: ListKind, items: Vec<Value>) -> Result<Self, String> {
        let nesting = deeper(items.iter())?;
        Ok(Self::List(Arc::new(List { kind, items, nesting })))
    }

    /// A map.
    ///
    /// # Errors
    /// As [`Value::list`].
    pub fn map(kind: MapKind, entries: BTreeMap<Arc<str>, Value>) -> Result<Self, String> {
        let nesting = deeper(entries.values())?;
        Ok(Self::Map(Arc::new(Map { kind, entries, nesting })))
    }

    /// A structure.
    ///
    /// # Errors
    /// As [`Value::list`].
    pub fn structure(name: &'static str, fields: Vec<Field>) -> Result<Self, String> {
        let nesting = deeper(fields.iter().map(|f| &f.value))?;
        Ok(Self::Struct(Arc::new(Struct { name, fields, nesting })))
    }

    /// A label set as rules see it.
    pub fn labels(labels: &Labels) -> Self {
        Self::label_map(MapKind::Labels, labels)
    }

    /// A label set as messages see it.
    pub fn kv(labels: &Labels) -> Self {
        Self::label_map(MapKind::Kv, labels)
    }

    fn label_map(kind: MapKind, labels: &Labels) -> Self {
        let entries = tree(labels.iter().map(|(n, v)| (Arc::from(n), Self::str(v))));
        Self::Map(Arc::new(Map { kind, entries, nesting: 1 }))
    }

    /// A list of texts.
    pub fn strings(texts: Vec<Self>) -> Self {
        Self::List(Arc::new(List { kind: ListKind::Strings, items: texts, nesting: 1 }))
    }

    /// The text of a value of a text kind.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) | Self::Safe(_, s) => Some(s),
            _ => None,
        }
    }

    /// Is it true for `if`, `and`, `or`, `not`?
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(i) | Self::Duration(i) => *i != 0,
            Self::Calendar(c) => c.number() != 0,
            Self::Uint(u) => *u != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) | Self::Safe(_, s) => !s.is_empty(),
            Self::List(l) => !l.items.is_empty(),
            Self::Map(m) => !m.entries.is_empty(),
            Self::Struct(_) | Self::Time(_) => true,
        }
    }

    /// Go's name of the type, for error texts.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::Safe(SafeKind::Html, _) => "template.HTML",
            Self::Safe(SafeKind::Url, _) => "template.URL",
            Self::List(l) => match l.kind {
                ListKind::Plain => "[]interface {}",
                ListKind::Strings => "[]string",
                ListKind::Alerts => "template.Alerts",
                ListKind::Pairs => "template.Pairs",
            },
            Self::Map(m) => match m.kind {
                MapKind::Any => "map[string]interface {}",
                MapKind::Labels => "map[string]string",
                MapKind::Kv | MapKind::NoKv => "template.KV",
            },
            Self::Struct(s) => s.name,
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Calendar(Calendar::Month(_)) => "time.Month",
            Self::Calendar(Calendar::Weekday(_)) => "time.Weekday",
        }
    }

    fn nesting(&self) -> u16 {
        match self {
            Self::List(l) => l.nesting,
            Self::Map(m) => m.nesting,
            Self::Struct(s) => s.nesting,
            _ => 0,
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::str(s)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::str(s)
    }
}

fn deeper<'a>(children: impl Iterator<Item = &'a Value>) -> Result<u16, String> {
    let nesting = 1 + children.map(Value::nesting).max().unwrap_or_default();
    if nesting > MAX_NESTING {
        return Err(format!("value is nested deeper than {MAX_NESTING}"));
    }
    Ok(nesting)
}
