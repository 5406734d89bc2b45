//! Values that remember where they stand.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Visitor};

/// A place in a file: line and column from 1, the column in characters; 0 is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    line: u32,
    column: u32,
}

impl Place {
    pub(super) fn new(line: usize, column: usize) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: number(line), column: number(column) }
    }

    /// The line from 1, 0 when unknown.
    pub fn line(&self) -> u64 {
        self.line.into()
    }

    /// The column in characters from 1, 0 when unknown.
    pub fn column(&self) -> u64 {
        self.column.into()
    }

    pub(super) fn is_known(self) -> bool {
        self.line > 0
    }
}

/// A value and the place in the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    /// Where the value is used: of an alias the place of the alias, of a merged key that of the merge.
    pub referenced: Place,
    /// Where the value is written: of an alias the place of the anchor's value.
    pub defined: Place,
}

impl<T> Spanned<T> {
    pub fn new(value: T, referenced: Place, defined: Place) -> Self {
        Self { value, referenced, defined }
    }
}

/// The newtype name by which the deserializer of this module knows that a place is wanted.
pub(super) const MARK: &str = "$sideband::Spanned";

thread_local! {
    /// Handed from the deserializer to the visitor, which takes it first of all: serde has no other way
    /// for it that would not need code for every type. Another deserializer leaves it empty.
    static HANDED: Cell<Option<(Place, Place)>> = const { Cell::new(None) };
}

/// Hands places to the visitor that is called next.
pub(super) fn hand(referenced: Place, defined: Place) {
    HANDED.set(Some((referenced, defined)));
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Spanned<T>, D::Error> {
                let (referenced, defined) = HANDED.take().unwrap_or_default();
                Ok(Spanned { value: T::deserialize(inner)?, referenced, defined })
            }
        }
        deserializer.deserialize_newtype_struct(MARK, V(PhantomData))
    }
}
