//! The label index: from a label set to its series, and from matchers to series.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Labels, MatchOp, Matcher};

use super::series::Series;
use super::table::Table;

/// Numbers of selections; 0 is of none.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;
/// Selections that are remembered, and the series numbers they may hold together.
const CACHED_SELECTIONS: usize = 64;
const CACHED_IDS: usize = 256 * 1024;
/// From so many candidates on, a regular expression is tried on the label's values, not on each series.
const DIRECT: usize = 16;

/// Series numbers of one label pair, ascending. Most pairs have one.
#[derive(Debug)]
enum Postings {
    One(u32),
    Many(Vec<u32>),
}

impl Postings {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, id]),
            Self::Many(ids) => {
                if ids.len() == ids.capacity() {
                    ids.reserve_exact(2 + ids.len() / 4);
                }
                ids.push(id);
            }
        }
    }
}

type Values = BTreeMap<Box<str>, Postings>;

/// Which series there are. Owns no label set: those are in the series table.
#[derive(Debug, Default)]
pub(super) struct Index {
    hasher: RandomState,
    /// Open addressing; a power of two, or empty.
    slots: Vec<u32>,
    used: usize,
    names: BTreeMap<Box<str>, Values>,
    pairs: usize,
    selections: Mutex<Selections>,
}

#[derive(Debug, Default)]
struct Selections {
    entries: Vec<(Vec<Matcher>, Arc<Selected>)>,
    ids: usize,
}

/// Series that pass some matchers, with their labels: whoever asks again takes all of it with one count.
#[derive(Debug)]
pub(super) struct Selected {
    /// No other selection has it, in the whole process.
    pub number: u64,
    /// Ascending.
    pub ids: Box<[u32]>,
    /// As many.
    pub labels: Box<[Labels]>,
}

impl Index {
    pub fn hash(&self, labels: &Labels) -> u32 {
        self.hasher.hash_one(labels.as_bytes()) as u32
    }

    pub fn find(&self, labels: &Labels, hash: u32, table: &Table<Series>) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut i = hash as usize & mask;
        loop {
            match self.slots[i] {
                EMPTY => return None,
                GONE => {}
                id => {
                    if table.get(id).is_some_and(|s| s.hash == hash && s.labels == *labels) {
                        return Some(id);
                    }
                }
            }
            i = (i + 1) & mask;
        }
    }

    /// Adds a series that is not there and is in the table already.
    pub fn add(&mut self, id: u32, table: &Table<Series>) {
        let Some(series) = table.get(id) else { return };
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.rebuild(table);
        } else {
            self.place(id, series.hash);
        }
        for (name, value) in series.labels.iter() {
            if !self.names.contains_key(name) {
                self.names.insert(name.into(), Values::new());
            }
            let Some(values) = self.names.get_mut(name) else { continue };
            match values.get_mut(value) {
                Some(ids) => ids.push(id),
                None => {
                    values.insert(value.into(), Postings::One(id));
                    self.pairs += 1;
                }
            }
        }
        self.forget_selections();
    }

    fn place(&mut self, id: u32, hash: u32) {
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        while self.slots[i] != EMPTY {
            i = (i + 1) & mask;
        }
        self.slots[i] = id;
        self.used += 1;
    }

    /// Room for the series of the table and some more.
    fn rebuild(&mut self, table: &Table<Series>) {
        let size = (table.len() * 3 / 2 + 16).next_power_of_two();
        self.slots = vec![EMPTY; size];
        self.used = 0;
        for (id, series) in table.iter() {
            self.place(id, series.hash);
        }
    }

    /// Removes series that are still in the table.
    pub fn remove(&mut self, ids: &[u32], table: &Table<Series>) {
        let mut dead = ids.to_vec();
        dead.sort_unstable();
        let mut touched = std::collections::BTreeSet::new();
        for (id, series) in dead.iter().filter_map(|id| Some((*id, table.get(*id)?))) {
            if let Some(mask) = self.slots.len().checked_sub(1) {
                let mut i = series.hash as usize & mask;
                while self.slots[i] != EMPTY {
                    if self.slots[i] == id {
                        self.slots[i] = GONE;
                        break;
                    }
                    i = (i + 1) & mask;
                }
            }
            touched.extend(series.labels.iter());
        }
        for (name, value) in touched {
            let Some(values) = self.names.get_mut(name) else { continue };
            let left = match values.get_mut(value) {
                Some(Postings::Many(ids)) => {
                    ids.retain(|id| dead.binary_search(id).is_err());
                    ids.shrink_to_fit();
                    ids.len()
                }
                _ => 0,
            };
            if left == 0 && values.remove(value).is_some() {
                self.pairs -= 1;
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
        self.forget_selections();
    }

    fn forget_selections(&mut self) {
        let selections = self.selections.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !selections.entries.is_empty() {
            *selections = Selections::default();
        }
    }

    /// Distinct label pairs.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The label names, each with its values and their series.
    pub fn names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, &[u32])>)> {
        self.names
            .iter()
            .map(|(name, values)| (&**name, values.iter().map(|(v, ids)| (&**v, ids.as_slice()))))
    }

    /// The values of a label name and their series.
    pub fn values(&self, name: &str) -> impl Iterator<Item = (&str, &[u32])> {
        self.names.get(name).into_iter().flatten().map(|(v, ids)| (&**v, ids.as_slice()))
    }

    /// The series that pass all the matchers, ascending. Remembered until a series comes or goes.
    pub fn select(&self, matchers: &[Matcher], table: &Table<Series>) -> Arc<Selected> {
        let lock = || self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, selected)) = lock().entries.iter().find(|(m, _)| m == matchers) {
            return selected.clone();
        }
        let mut ids = self.evaluate(matchers, table);
        ids.retain(|id| table.get(*id).is_some());
        let labels = ids.iter().filter_map(|id| Some(table.get(*id)?.labels.clone())).collect();
        let selected =
            Arc::new(Selected { number: NUMBERS.fetch_add(1, Ordering::Relaxed), ids: ids.into(), labels });
        let n = selected.ids.len();
        let mut selections = lock();
        if n <= CACHED_IDS / 2 {
            while selections.entries.len() >= CACHED_SELECTIONS || selections.ids + n > CACHED_IDS {
                let (_, old) = selections.entries.remove(0);
                selections.ids -= old.ids.len();
            }
            selections.ids += n;
            selections.entries.push((matchers.to_vec(), selected.clone()));
        }
        selected
    }

    fn evaluate(&self, matchers: &[Matcher], table: &Table<Series>) -> Vec<u32> {
        // Equality first: its lists are there already. Then what else asks for a label to be there.
        let mut rest: Vec<&Matcher> = matchers.iter().collect();
        rest.sort_by_key(|m| (m.matches_empty(), m.op != MatchOp::Equal, m.literals().is_none()));
        let mut lists: Vec<&[u32]> = Vec::new();
        rest.retain(|m| {
            let is_list = m.op == MatchOp::Equal && !m.value.is_empty();
            if is_list {
                let postings = self.names.get(m.name.as_str()).and_then(|v| v.get(m.value.as_str()));
                lists.push(postings.map_or(&[], Postings::as_slice));
            }
            !is_list
        });
        lists.sort_by_key(|l| l.len());
        let mut candidates: Option<Vec<u32>> = lists.split_first().map(|(first, others)| {
            first.iter().copied().filter(|id| others.iter().all(|l| l.binary_search(id).is_ok())).collect()
        });
        for m in rest {
            candidates = Some(match candidates {
                Some(ids) if ids.len() <= DIRECT.max(self.count_values(&m.name) / 4) => ids
                    .into_iter()
                    .filter(|id| table.get(*id).is_some_and(|s| m.matches_labels(&s.labels)))
                    .collect(),
                Some(ids) => {
                    let (list, keep) = self.list_of(m);
                    ids.into_iter().filter(|id| list.binary_search(id).is_ok() == keep).collect()
                }
                None => match self.list_of(m) {
                    (list, true) => list,
                    (list, false) => {
                        table.iter().map(|(id, _)| id).filter(|id| list.binary_search(id).is_err()).collect()
                    }
                },
            });
        }
        candidates.unwrap_or_else(|| table.iter().map(|(id, _)| id).collect())
    }

    fn count_values(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, BTreeMap::len)
    }

    /// Series, ascending, and whether the matcher takes exactly those (true) or exactly the others.
    /// Each distinct value is tried once.
    fn list_of(&self, m: &Matcher) -> (Vec<u32>, bool) {
        let keep = !m.matches_empty();
        let Some(values) = self.names.get(m.name.as_str()) else { return (Vec::new(), keep) };
        let mut out = Vec::new();
        let negative = matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex);
        match m.literals() {
            // What a plain alternation names is what it takes (=~) or what it refuses (!~).
            Some(literals) if keep != negative => {
                let lists = literals.filter(|l| !l.is_empty()).filter_map(|l| values.get(l));
                lists.for_each(|l| out.extend_from_slice(l.as_slice()));
            }
            _ if m.op == MatchOp::NotEqual && !keep => {
                out.extend_from_slice(values.get(m.value.as_str()).map_or(&[], Postings::as_slice));
            }
            _ => {
                let lists = values.iter().filter(|(v, _)| m.matches(v) == keep);
                lists.for_each(|(_, l)| out.extend_from_slice(l.as_slice()));
            }
        }
        out.sort_unstable();
        out.dedup();
        (out, keep)
    }
}
