//! Questions about labels: names, values, series, and where the memory goes.

use std::collections::BTreeSet;

use crate::model::{Labels, METRIC_NAME, Matcher, Order as _, Timestamp, set};

use super::Storage;

/// A name and a number, for [`Stats`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsEntry {
    pub name: String,
    pub value: u64,
}

/// What the index is made of; the lists are the largest first.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub series: usize,
    pub label_pairs: usize,
    pub chunks: usize,
    /// Times of the oldest and the newest sample, ms; `None` when there is none.
    pub min_t: Option<Timestamp>,
    pub max_t: Option<Timestamp>,
    pub series_by_metric: Vec<StatsEntry>,
    pub values_by_label: Vec<StatsEntry>,
    /// Bytes of the names and values of a label over all series.
    pub bytes_by_label: Vec<StatsEntry>,
    pub series_by_pair: Vec<StatsEntry>,
}

impl Storage {
    /// The label names of the series that pass the matchers (none: of all) and may have samples in
    /// `[min_t, max_t]` (ms), sorted.
    pub fn label_names(&self, matchers: &[Matcher], min_t: Timestamp, max_t: Timestamp) -> Vec<String> {
        let head = self.0.read();
        let alive = |id: &u32| head.table.get(*id).is_some_and(|s| s.overlaps(min_t, max_t));
        if matchers.is_empty() {
            let names = head.index.names().filter_map(|(name, mut values)| {
                values.any(|(_, ids)| ids.iter().rev().any(alive)).then(|| name.to_owned())
            });
            return names.collect();
        }
        let selected = head.index.select(matchers, &head.table);
        let series = selected.ids.iter().filter(|id| alive(id)).filter_map(|id| head.table.get(*id));
        let names: BTreeSet<&str> = set(series.flat_map(|s| s.labels.iter().map(|(n, _)| n)));
        names.into_iter().map(str::to_owned).collect()
    }

    /// The values of a label of the series that pass the matchers (none: of all) and may have samples
    /// in `[min_t, max_t]` (ms), sorted.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        min_t: Timestamp,
        max_t: Timestamp,
    ) -> Vec<String> {
        let head = self.0.read();
        let alive = |id: &u32| head.table.get(*id).is_some_and(|s| s.overlaps(min_t, max_t));
        if matchers.is_empty() {
            let values = head.index.values(name);
            let values = values.filter(|(_, ids)| ids.iter().rev().any(alive));
            return values.map(|(value, _)| value.to_owned()).collect();
        }
        let selected = head.index.select(matchers, &head.table);
        let series = selected.ids.iter().filter(|id| alive(id)).filter_map(|id| head.table.get(*id));
        let values: BTreeSet<&str> = set(series.filter_map(|s| s.labels.get(name)));
        values.into_iter().map(str::to_owned).collect()
    }

    /// The label sets that pass the matchers and may have samples in `[min_t, max_t]` (ms), sorted.
    pub fn series(&self, matchers: &[Matcher], min_t: Timestamp, max_t: Timestamp) -> Vec<Labels> {
        let mut all: Vec<Labels> =
            self.select(matchers, min_t, max_t).into_iter().map(|s| s.labels).collect();
        all.order();
        all
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.0.read().table.len()
    }

    /// What the index is made of, with lists of at most `top` entries.
    pub fn stats(&self, top: usize) -> Stats {
        let head = self.0.read();
        let mut stats =
            Stats { series: head.table.len(), label_pairs: head.index.pairs(), ..Stats::default() };
        for (_, series) in head.table.iter() {
            stats.chunks += series.chunks().count();
            if let Some(first) = series.memory_start(&head.columns) {
                stats.min_t = Some(stats.min_t.map_or(first, |t| t.min(first)));
                stats.max_t = stats.max_t.max(Some(series.last.t));
            }
        }
        for (name, values) in head.index.names() {
            let (mut count, mut bytes) = (0, 0);
            for (value, ids) in values {
                count += 1;
                bytes += (name.len() + value.len()) as u64 * ids.len() as u64;
                let n = ids.len() as u64;
                if name == METRIC_NAME {
                    add_top(&mut stats.series_by_metric, top, value, n);
                }
                add_top(&mut stats.series_by_pair, top, &format!("{name}={value}"), n);
            }
            add_top(&mut stats.values_by_label, top, name, count);
            add_top(&mut stats.bytes_by_label, top, name, bytes);
        }
        stats
    }
}

/// Keeps the `top` largest entries, largest first, in the order they came where they are equal.
fn add_top(list: &mut Vec<StatsEntry>, top: usize, name: &str, value: u64) {
    if list.len() < top || list.last().is_some_and(|l| l.value < value) {
        let at = list.partition_point(|e| e.value >= value);
        list.insert(at, StatsEntry { name: name.to_owned(), value });
        list.truncate(top);
    }
}
