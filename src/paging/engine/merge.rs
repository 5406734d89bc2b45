//! What an alert is after its sender, or another one, has spoken of it again: as Alertmanager decides it.

use crate::model::{Alert, Timestamp};

/// The alert that is known, and what is said of it at `now` (ms). `timeout` (ms) is what ends an alert that was posted
/// without an end.
pub(super) fn merge(old: &Alert, mut new: Alert, now: Timestamp, timeout: i64) -> Alert {
    let over = new.resolved_at(now);
    // A sender that was restarted meanwhile knows only that it is over.
    if over && new.annotations.is_empty() {
        new.annotations = old.annotations.clone();
    }
    let inside = |t: Timestamp| old.starts_at < t && t < old.ends_at;
    if !inside(new.starts_at) && !inside(new.ends_at) {
        return new;
    }
    // One and the same firing, since the two overlap.
    new.starts_at = new.starts_at.min(old.starts_at);
    // Of two ends to come the later one holds, so that of two senders the one that speaks seldom is not cut short;
    // but one that only stands for "nothing was said" gives way.
    let said = old.ends_at != old.updated_at.saturating_add(timeout);
    if over == old.resolved_at(now) && (over || said) {
        new.ends_at = new.ends_at.max(old.ends_at);
    }
    new
}
