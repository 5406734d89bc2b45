//! What goes wrong while a tree is read or turned into values.

use std::fmt::{self, Display};

use serde::de;

use super::spanned::Place;

/// What is wrong with a value: a message and its place, which the nearest mapping or sequence adds.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    message: String,
}

impl Error {
    pub(super) fn at(place: Place, message: impl Display) -> Self {
        Self(Box::new(Inner { place, message: message.to_string() }))
    }

    /// Adds the place if there is none yet.
    #[cold]
    pub(super) fn or_at(mut self, place: Place) -> Self {
        if !self.0.place.is_known() {
            self.0.place = place;
        }
        self
    }

    pub(super) fn place(&self) -> Place {
        self.0.place
    }

    #[cold]
    pub(super) fn unknown(what: &str, name: &str, expected: &[&str]) -> Self {
        let expected = expected.join(", ");
        Self::at(Place::default(), format_args!("unknown {what} `{name}`, expected one of {expected}"))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self::at(Place::default(), message)
    }

    #[cold]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("field", field, expected)
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("variant", variant, expected)
    }
}
