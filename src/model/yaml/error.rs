//! What goes wrong while a tree is read or turned into values.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::spanned::Place;
use crate::model::nearest;

/// What is wrong with a value: a message and its place, which the nearest mapping or sequence adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    place: Place,
    message: String,
}

impl Error {
    /// What is wrong at a place; `Place::default()` is unknown.
    #[must_use]
    pub fn at(place: Place, message: impl Display) -> Self {
        Self(Box::new(Inner { place, message: message.to_string() }))
    }

    /// Adds the place if there is none yet.
    #[cold]
    #[must_use]
    pub fn or_at(mut self, place: Place) -> Self {
        if !self.0.place.is_known() {
            self.0.place = place;
        }
        self
    }

    /// Where it is wrong.
    pub fn place(&self) -> Place {
        self.0.place
    }

    /// A name that is none of those expected: the one that was probably meant, or all of them.
    #[cold]
    pub(super) fn unknown(what: &str, name: &str, expected: &[&str]) -> Self {
        de::Error::custom(match nearest(name, expected.iter().copied()) {
            Some(meant) => format!("unknown {what} `{name}`, did you mean `{meant}`?"),
            None => format!("unknown {what} `{name}`, expected one of {}", expected.join(", ")),
        })
    }

    /// A value of another type. What stands where a mapping or a list belongs is not repeated: it may be a secret
    /// without its key.
    #[cold]
    pub(super) fn mismatch(found: &Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_yaml_words(expected);
        let found = match found {
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            _ if matches!(expected.as_str(), "a mapping" | "a list") => "a single value".to_owned(),
            Unexpected::Str(text) => format!("{text:?}"),
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            other => other.to_string(),
        };
        de::Error::custom(format_args!("expected {expected}, got {found}"))
    }
}

/// What serde's generated code expects is named by Rust's types.
fn in_yaml_words(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "f64" => "a number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        _ if words.starts_with("struct ") => "a mapping".to_owned(),
        _ => words,
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// The place is added by who knows it.
impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::at(Place::default(), message)
    }
}

impl de::Error for Error {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self::at(Place::default(), message)
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(&found, expected)
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(&found, expected)
    }

    #[cold]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("field", field, expected)
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, expected)
    }
}
