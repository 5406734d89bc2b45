//! Groups of targets, as files write them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Addresses that share labels: an entry of `static_configs`, or of a file of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetGroup {
    /// `host:port`.
    pub targets: Vec<String>,
    #[serde(deserialize_with = "labels")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A value may be nothing, as Prometheus takes it: an empty label, which is none.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let labels: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(labels.map(|l| l.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()))
}

impl TargetGroup {
    /// Checks addresses and label names.
    ///
    /// # Errors
    /// A sentence in Prometheus' words.
    pub fn validate(&self) -> Result<(), String> {
        self.targets.iter().try_for_each(|address| check_address(address))?;
        self.validate_labels()
    }

    /// Checks label names alone: relabelling may still make addresses of what stands here.
    ///
    /// # Errors
    /// A sentence in Prometheus' words.
    pub fn validate_labels(&self) -> Result<(), String> {
        if let Some(name) = self.labels.iter().flatten().map(|(name, _)| name).find(|name| name.is_empty()) {
            return Err(format!("{name:?} is not a valid label name"));
        }
        Ok(())
    }
}

/// An address is a host and perhaps a port, never a URL, nor with a password: it would stand in the label `instance`.
///
/// # Errors
/// A sentence in Prometheus' words, which repeats no password.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.contains('@') {
        return Err("user and password have no place in an address: use basic_auth".to_owned());
    }
    if address.contains('/') { Err(format!("{address:?} is not a valid hostname")) } else { Ok(()) }
}
