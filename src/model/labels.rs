//! Label sets: sorted by name, immutable, shared, one allocation each.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Fingerprint, GoQuoted, METRIC_NAME, tree};

/// An immutable label set. Names are unique and sorted by byte order; no value is empty
/// (an empty label is an absent one, as everywhere in Prometheus).
///
/// Stored as one shared byte string: for each label the varint length of the name, the name,
/// the varint length of the value, the value.
#[derive(Clone)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// From pairs in any order; the last of several with one name wins, empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The pairs in the order of their names.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// As [`Self::iter`], as bytes: where only equality counts, the text need not be checked again.
    pub fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let mut part = || {
                let n = take_len(&mut rest)?;
                let (head, tail) = rest.split_at_checked(n)?;
                rest = tail;
                Some(head)
            };
            Some((part()?, part()?))
        })
    }

    /// The value of a label, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Sorted: stop at the first name that is past the one looked for.
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric name, empty when there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// As names and values that anybody can read.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        tree(self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// A builder that starts with these labels.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Without the labels for whose name `drop` is true.
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        if !self.iter().any(|(n, _)| drop(n)) {
            return self.clone();
        }
        Self::from_sorted(self.iter().filter(|(n, _)| !drop(n)))
    }

    /// From pairs that are sorted by name, unique and without empty values.
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::with_capacity(128);
        for (name, value) in pairs {
            push_str(&mut bytes, name);
            push_str(&mut bytes, value);
        }
        Self(Arc::from(bytes))
    }

    /// The identity as Prometheus and Alertmanager compute it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.iter())
    }

    /// The encoded form: equal sets have equal bytes. For hashing and for storing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the encoded form back; `None` when it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut last: Option<&str> = None;
        while !rest.is_empty() {
            let name = checked_str(&mut rest)?;
            let value = checked_str(&mut rest)?;
            if last.is_some_and(|l| l >= name) || value.is_empty() {
                return None;
            }
            last = Some(name);
        }
        Some(Self(Arc::from(bytes)))
    }
}

fn push_str(out: &mut Vec<u8>, s: &str) {
    let mut n = s.len();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(s.as_bytes());
}

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let mut n = 0usize;
    for shift in (0..63).step_by(7) {
        let (&b, tail) = rest.split_first()?;
        *rest = tail;
        n |= usize::from(b & 0x7f) << shift;
        if b < 0x80 {
            return Some(n);
        }
    }
    None
}

fn checked_str<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let n = take_len(rest)?;
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    std::str::from_utf8(head).ok()
}

/// Iterator over the pairs of a label set.
#[derive(Clone)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some((checked_str(&mut self.0)?, checked_str(&mut self.0)?))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for Labels {
    /// Pair by pair, by name and then by value; a set comes after its own prefix.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As a selector: `name{a="b", c="d"}`, values quoted with Go's escapes; names outside the old
/// alphabet are quoted inside the braces.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let bare = is_legacy_metric_name(name);
        if bare {
            f.write_str(name)?;
        }
        let mut first = true;
        let mut sep = |f: &mut fmt::Formatter<'_>| {
            let s = if first { "" } else { ", " };
            first = false;
            f.write_str(s)
        };
        if bare && self.len() == 1 {
            return Ok(());
        }
        f.write_char('{')?;
        if !bare && !name.is_empty() {
            sep(f)?;
            write!(f, "{}", GoQuoted::new(name))?;
        }
        for (n, v) in self.iter().filter(|(n, _)| *n != METRIC_NAME) {
            sep(f)?;
            if is_legacy_label_name(n) {
                f.write_str(n)?;
            } else {
                write!(f, "{}", GoQuoted::new(n))?;
            }
            f.write_char('=')?;
            write!(f, "{}", GoQuoted::new(v))?;
        }
        f.write_char('}')
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, the alphabet of metric names before UTF-8 names came.
pub fn is_legacy_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, the alphabet of label names before UTF-8 names came.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy_metric_name(name) && !name.contains(':')
}

/// Builds a label set; keeps the pairs sorted.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(i) if value.is_empty() => {
                self.pairs.remove(i);
            }
            Ok(i) => value.clone_into(&mut self.pairs[i].1),
            Err(_) if value.is_empty() => {}
            Err(i) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value of a label, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        let i = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.pairs[i].1)
    }

    /// The pairs so far, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_unique_and_without_empty_values() {
        let l = Labels::from_pairs([("b", "2"), ("a", "0"), ("c", ""), ("a", "1")]);
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((l.get("b"), l.get("bb"), l.get("c")), (Some("2"), None, None));
        assert_eq!(Labels::from_bytes(l.as_bytes()), Some(l.clone()));
        assert_eq!(Labels::from_bytes(&l.as_bytes()[1..]), None);
    }

    #[test]
    fn display_is_a_selector() {
        for (pairs, text) in [
            (vec![("__name__", "up"), ("job", "a\"b\n")], r#"up{job="a\"b\n"}"#),
            (vec![("__name__", "up")], "up"),
            (vec![("job", "x")], r#"{job="x"}"#),
            (vec![("__name__", "a.b"), ("k.k", "v")], r#"{"a.b", "k.k"="v"}"#),
            (vec![], "{}"),
        ] {
            assert_eq!(Labels::from_pairs(pairs).to_string(), text);
        }
    }

    #[test]
    fn fingerprint_is_the_one_of_prometheus() {
        // The offset basis of FNV-1a is the fingerprint of the empty set in Alertmanager.
        assert_eq!(Labels::empty().fingerprint().to_string(), "cbf29ce484222325");
    }
}
