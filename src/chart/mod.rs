//! Pictures of numbers, for terminals and for pages: pure functions from values to text.
//!
//! Whatever comes in, the result is bounded, well-formed and free of `NaN`; text is escaped. Colours are
//! `currentColor` and CSS variables with a fallback, so that a picture fits into light and dark pages.

pub mod axes;
mod escape;
pub mod svg;
pub mod text;

pub use escape::escape_into;
