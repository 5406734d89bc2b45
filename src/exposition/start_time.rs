//! `_created` lines as start times.

use std::collections::HashMap;

use super::entry::Entry;
use super::scanner::Scanner;
use crate::model::{Labels, METRIC_NAME, Timestamp};

/// The start times of the family that is being read, by the labels of its series without name, `le` and
/// `quantile`. `_created` lines may stand after what they speak of, so they are looked for ahead.
#[derive(Debug, Default)]
pub(super) struct StartTimes {
    family: String,
    by_labels: HashMap<Labels, Timestamp>,
}

impl StartTimes {
    /// Reads the series behind a TYPE line up to the next metadata or the end.
    pub fn ahead(scanner: &Scanner<'_>) -> Self {
        let mut times = Self::default();
        let mut ahead = scanner.fork();
        while let Some(Ok(entry)) = ahead.next() {
            let Entry::Series(series) = entry else {
                // The rest of this family's metadata may follow its TYPE.
                if times.family.is_empty() && !matches!(entry, Entry::Type { .. }) {
                    continue;
                }
                break;
            };
            let Ok(name) = ahead.metric_name() else { break };
            if times.family.is_empty() {
                family_of(&name).clone_into(&mut times.family);
            } else if !name.starts_with(&times.family) {
                break;
            }
            if let (true, Some(labels)) = (ahead.is_created_line(), identity(&ahead)) {
                times.by_labels.insert(labels, (series.value * 1000.0) as Timestamp);
            }
        }
        times
    }

    /// The start of the scanner's current series. Another family's series ends this family.
    pub fn of(&mut self, scanner: &Scanner<'_>) -> Option<Timestamp> {
        if self.by_labels.is_empty() {
            return None;
        }
        let name = scanner.metric_name().ok()?;
        if family_of(&name) != self.family {
            self.by_labels.clear();
            return None;
        }
        self.by_labels.get(&identity(scanner)?).copied()
    }
}

fn family_of(name: &str) -> &str {
    ["_total", "_bucket", "_count", "_sum", "_created"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

fn identity(scanner: &Scanner<'_>) -> Option<Labels> {
    Some(scanner.labels().ok()?.without(|name| matches!(name, METRIC_NAME | "le" | "quantile")))
}
