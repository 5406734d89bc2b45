//! `for` goes on after a restart: what `ALERTS_FOR_STATE` in the storage says.

use std::collections::HashMap;

use crate::model::{Labels, METRIC_NAME, Matcher, Timestamp, is_stale_nan};
use crate::storage::Storage;

/// Since when alerts of a rule were pending before the restart.
#[derive(Debug, Default)]
pub(super) struct ForStates(HashMap<Labels, Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    active_at: Timestamp,
    /// When that was last written.
    seen: Timestamp,
}

impl ForStates {
    /// Looks into the storage for what was written between `ts - tolerance_ms` and `ts`.
    pub fn find(storage: &Storage, rule: &str, ts: Timestamp, tolerance_ms: i64) -> Self {
        let matchers = [Matcher::equal(METRIC_NAME, "ALERTS_FOR_STATE"), Matcher::equal("alertname", rule)];
        let from = ts.saturating_sub(tolerance_ms);
        let mut known = HashMap::new();
        for series in storage.select(&matchers, from, ts - 1) {
            let Some(last) = series.last(from, ts - 1).filter(|s| s.v.is_finite() && !is_stale_nan(s.v))
            else {
                continue;
            };
            let state = Known { active_at: (last.v * 1000.0) as i64, seen: last.t };
            known.insert(series.labels.without(|n| n == METRIC_NAME), state);
        }
        Self(known)
    }

    /// Since when an alert that begins at `ts` counts as active. Time that nobody looked does not count
    /// towards `for`, unless it had passed before.
    pub fn active_at(&self, labels: &Labels, ts: Timestamp, hold_ms: i64) -> Option<Timestamp> {
        let known = self.0.get(labels)?;
        let spent = known.seen.saturating_sub(known.active_at).max(0);
        if spent >= hold_ms {
            return Some(known.active_at);
        }
        Some(known.active_at.saturating_add(ts.saturating_sub(known.seen)).min(ts))
    }
}
