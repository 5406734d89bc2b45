//! Which labels count: `by`/`without` of aggregations, `on`/`ignoring` of binary operators.

use super::value::{RESERVED, is_reserved};
use crate::model::Labels;

/// A choice of labels.
#[derive(Debug, Clone)]
pub(super) struct Grouping<'a> {
    /// Only these when true; all but these (and the metric name) when not.
    only: bool,
    /// Sorted, each once.
    names: Vec<&'a str>,
}

impl<'a> Grouping<'a> {
    pub fn new(only: bool, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self { only, names }
    }

    /// The chosen pairs of a label set. With `nameless` what belongs to the metric name is not seen.
    fn chosen<'l>(&'l self, labels: &'l Labels, nameless: bool) -> impl Iterator<Item = (&'l str, &'l str)> {
        let mut names = self.names.iter().peekable();
        labels.iter().filter(move |(name, _)| {
            // Both are sorted: one pass is enough.
            while names.next_if(|n| **n < *name).is_some() {}
            let named = names.peek().is_some_and(|n| **n == *name);
            if self.only { named && !(nameless && is_reserved(name)) } else { !named && !is_reserved(name) }
        })
    }

    /// Bytes that are the same for label sets of the same group.
    pub fn key(&self, labels: &Labels, nameless: bool, out: &mut Vec<u8>) {
        out.clear();
        let mut names = self.names.as_slice();
        for (name, value) in labels.iter_bytes() {
            while names.first().is_some_and(|n| n.as_bytes() < name) {
                names = &names[1..];
            }
            let named = names.first().is_some_and(|n| n.as_bytes() == name);
            let chosen = if self.only {
                named && !(nameless && is_reserved_bytes(name))
            } else {
                !named && !is_reserved_bytes(name)
            };
            if chosen {
                out.extend_from_slice(name);
                out.push(0xff);
                out.extend_from_slice(value);
                out.push(0xff);
            } else if self.only && names.is_empty() {
                break;
            }
        }
    }

    /// The labels of the group.
    pub fn labels(&self, labels: &Labels, nameless: bool) -> Labels {
        Labels::from_sorted(self.chosen(labels, nameless))
    }
}

fn is_reserved_bytes(name: &[u8]) -> bool {
    name.starts_with(b"__") && RESERVED.iter().any(|r| r.as_bytes() == name)
}
