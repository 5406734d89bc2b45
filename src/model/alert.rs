//! An alert as rules send it and paging receives it.

use super::{Fingerprint, Labels, Timestamp};

/// One alert instance. Its label set (with `alertname`) is its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    /// When it began to fire, ms.
    pub starts_at: Timestamp,
    /// When it was resolved, or when it is to be taken as resolved if nothing more is heard of it, ms.
    pub ends_at: Timestamp,
    /// When the sender last said so, ms.
    pub updated_at: Timestamp,
    /// Link to the rule's expression.
    pub generator_url: String,
}

impl Alert {
    /// The identity of the alert.
    pub fn fingerprint(&self) -> Fingerprint {
        self.labels.fingerprint()
    }

    /// The `alertname` label, empty when there is none.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or_default()
    }

    /// Has it ended at `now` (ms)?
    pub fn resolved_at(&self, now: Timestamp) -> bool {
        self.ends_at <= now
    }
}
