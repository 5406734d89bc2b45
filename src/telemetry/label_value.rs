//! Label values that came from outside.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A label value of a self-metric that may hold any text (a job's or a receiver's name). The metrics
/// library writes values as they are; this one escapes what would end the value early.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelValue(Arc<str>);

impl LabelValue {
    /// The value as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for LabelValue {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl EncodeLabelValue for LabelValue {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        for c in self.0.chars() {
            match c {
                '"' => encoder.write_str("\\\"")?,
                '\\' => encoder.write_str("\\\\")?,
                '\n' => encoder.write_str("\\n")?,
                c => encoder.write_char(c)?,
            }
        }
        Ok(())
    }
}
