//! What the storage says of alerts from before a restart: `for` goes on (`ALERTS_FOR_STATE`), and what fired and does not any
//! more is said to be over (`ALERTS`).

use std::collections::HashMap;

use crate::model::{Labels, METRIC_NAME, Matcher, Timestamp, is_stale_nan};
use crate::storage::Storage;

/// An alert that fired when the last process ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fired {
    pub labels: Labels,
    pub active_at: Timestamp,
}

/// The alerts of a rule that fired at the last evaluation before `ts`, if that is at most `tolerance_ms` ago.
pub(super) fn fired_before(storage: &Storage, rule: &str, ts: Timestamp, tolerance_ms: i64) -> Vec<Fired> {
    let matchers = [
        Matcher::equal(METRIC_NAME, "ALERTS"),
        Matcher::equal("alertname", rule),
        Matcher::equal("alertstate", "firing"),
    ];
    let from = ts.saturating_sub(tolerance_ms);
    let mut labels: Vec<Labels> = Vec::new();
    for series in storage.select(&matchers, from, ts - 1) {
        if series.last(from, ts - 1).is_some_and(|s| s.v.is_finite() && !is_stale_nan(s.v)) {
            labels.push(series.labels.without(|n| n == METRIC_NAME || n == "alertstate"));
        }
    }
    if labels.is_empty() {
        return Vec::new();
    }
    let since = ForStates::find(storage, rule, ts, tolerance_ms);
    let fired = |labels: Labels| since.0.get(&labels).map(|k| Fired { active_at: k.active_at, labels });
    labels.into_iter().filter_map(fired).collect()
}

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
