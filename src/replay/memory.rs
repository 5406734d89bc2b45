//! Series in memory, for histories that are read from files and for what rules record during a replay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::model::{Labels, Matcher, Sample, Timestamp};
use crate::promql::{Each, EvalError, SeriesSet, Source};

/// Samples that one [`Memory`] takes; one is 16 bytes.
pub const MAX_SAMPLES: usize = 50_000_000;

/// Series with their samples, oldest first.
#[derive(Debug, Default)]
pub struct Memory {
    series: Vec<Stored>,
    places: HashMap<Labels, usize>,
    samples: usize,
}

#[derive(Debug)]
struct Stored {
    labels: Labels,
    t: Vec<Timestamp>,
    v: Vec<f64>,
}

impl Stored {
    fn between(&self, min_t: Timestamp, max_t: Timestamp) -> std::ops::Range<usize> {
        let from = self.t.partition_point(|t| *t < min_t);
        let to = self.t.partition_point(|t| *t <= max_t);
        from..to.max(from)
    }
}

impl Memory {
    /// The place of a series, which is made if it is new.
    pub fn series(&mut self, labels: &Labels) -> usize {
        if let Some(place) = self.places.get(labels) {
            return *place;
        }
        let place = self.series.len();
        self.places.insert(labels.clone(), place);
        self.series.push(Stored { labels: labels.clone(), t: Vec::new(), v: Vec::new() });
        place
    }

    /// Adds a sample (t in ms). Of one series they come in order, or [`Memory::sort`] follows. Says whether there was room.
    pub fn push(&mut self, place: usize, t: Timestamp, v: f64) -> bool {
        if self.samples >= MAX_SAMPLES {
            return false;
        }
        if let Some(series) = self.series.get_mut(place) {
            series.t.push(t);
            series.v.push(v);
            self.samples += 1;
        }
        true
    }

    /// Puts every series in the order of time; of samples at the same time the one that came last stays.
    pub fn sort(&mut self) {
        for series in &mut self.series {
            if series.t.is_sorted_by(|a, b| a < b) {
                continue;
            }
            let mut pairs: Vec<(Timestamp, f64)> =
                series.t.iter().copied().zip(series.v.iter().copied()).collect();
            pairs.sort_by_key(|(t, _)| *t);
            // The later one of each time is moved to the front, where deduplication keeps it.
            pairs.reverse();
            pairs.dedup_by_key(|(t, _)| *t);
            pairs.reverse();
            (series.t, series.v) = pairs.into_iter().unzip();
        }
        self.samples = self.series.iter().map(|s| s.t.len()).sum();
    }

    /// Forgets samples before `t`.
    pub fn trim(&mut self, t: Timestamp) {
        for series in &mut self.series {
            let old = series.t.partition_point(|at| *at < t);
            series.t.drain(..old);
            series.v.drain(..old);
        }
        self.samples = self.series.iter().map(|s| s.t.len()).sum();
    }

    /// First and last time of all samples.
    pub fn extent(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.series.iter().filter_map(|s| s.t.first()).min()?;
        let last = self.series.iter().filter_map(|s| s.t.last()).max()?;
        Some((*first, *last))
    }

    /// How many series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Are there no series?
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The labels of a series by its place.
    pub fn labels(&self, place: usize) -> Option<&Labels> {
        self.series.get(place).map(|s| &s.labels)
    }

    /// Calls `each` with every time at which there are samples, oldest first, and these samples by the place of their series.
    pub fn by_time(&self, mut each: impl FnMut(Timestamp, &[(usize, f64)])) {
        let first = |(place, s): (usize, &Stored)| Some(Reverse((*s.t.first()?, place, 0)));
        let mut next: BinaryHeap<Reverse<(Timestamp, usize, usize)>> =
            self.series.iter().enumerate().filter_map(first).collect();
        let mut row = Vec::new();
        while let Some(Reverse((t, ..))) = next.peek().copied() {
            row.clear();
            while let Some(Reverse((at, place, sample))) = next.peek().copied()
                && at == t
            {
                next.pop();
                let series = &self.series[place];
                row.push((place, series.v[sample]));
                if let Some(later) = series.t.get(sample + 1) {
                    next.push(Reverse((*later, place, sample + 1)));
                }
            }
            each(t, &row);
        }
    }

    /// The series that pass the matchers, with all of their samples.
    pub fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (&Labels, Vec<Sample>)> {
        self.chosen(matchers).into_iter().map(|i| {
            let s = &self.series[i];
            (&s.labels, s.t.iter().zip(&s.v).map(|(t, v)| Sample { t: *t, v: *v }).collect())
        })
    }

    fn chosen(&self, matchers: &[Matcher]) -> Vec<usize> {
        (0..self.series.len())
            .filter(|i| matchers.iter().all(|m| m.matches_labels(&self.series[*i].labels)))
            .collect()
    }
}

struct Chosen<'a> {
    memory: &'a Memory,
    places: Vec<usize>,
}

impl SeriesSet for Chosen<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        &self.memory.series[self.places[i]].labels
    }

    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>) {
        for (i, place) in self.places.iter().enumerate() {
            let series = &self.memory.series[*place];
            let range = series.between(min_t, max_t);
            each(i, &series.t[range.clone()], &series.v[range]);
        }
    }

    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        let series = &self.memory.series[self.places[i]];
        let at = series.between(min_t, max_t).next_back()?;
        Some(Sample { t: series.t[at], v: series.v[at] })
    }
}

impl Source for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        Ok(Box::new(Chosen { memory: self, places: self.chosen(matchers) }))
    }
}

/// History with what the replayed rules write laid over it. What they write is never taken from the history: there it may come
/// from other versions of the rules.
pub struct Layered<'a> {
    pub history: &'a dyn Source,
    pub recorded: &'a Memory,
    pub written: &'a Written,
}

/// What the replayed rules write.
#[derive(Debug, Default)]
pub struct Written {
    /// Metrics of recording rules.
    pub metrics: HashSet<String>,
    /// Names of alerting and sigma rules.
    pub alerts: HashSet<String>,
}

impl Written {
    fn hides(&self, series: &Labels) -> bool {
        let name = series.metric_name();
        let of = |label: &str| series.get(label).is_some_and(|rule| self.alerts.contains(rule));
        self.metrics.contains(name)
            || name.starts_with("sideband_sigma_") && of("rule")
            || matches!(name, "ALERTS" | "ALERTS_FOR_STATE") && of("alertname")
    }
}

struct Both<'a> {
    below: Box<dyn SeriesSet + 'a>,
    /// Which series of `below` are seen, and for each of `below` where, if it is.
    seen: Vec<usize>,
    place: Vec<Option<usize>>,
    above: Chosen<'a>,
}

impl SeriesSet for Both<'_> {
    fn len(&self) -> usize {
        self.seen.len() + self.above.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        match self.seen.get(i) {
            Some(below) => self.below.labels(*below),
            None => self.above.labels(i - self.seen.len()),
        }
    }

    fn read(&self, min_t: Timestamp, max_t: Timestamp, each: Each<'_>) {
        if !self.seen.is_empty() {
            self.below.read(min_t, max_t, &mut |i, t, v| {
                if let Some(Some(place)) = self.place.get(i) {
                    each(*place, t, v);
                }
            });
        }
        self.above.read(min_t, max_t, &mut |i, t, v| each(self.seen.len() + i, t, v));
    }

    fn last(&self, i: usize, min_t: Timestamp, max_t: Timestamp) -> Option<Sample> {
        match self.seen.get(i) {
            Some(below) => self.below.last(*below, min_t, max_t),
            None => self.above.last(i - self.seen.len(), min_t, max_t),
        }
    }
}

impl Source for Layered<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        min_t: Timestamp,
        max_t: Timestamp,
    ) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        let below = self.history.select(matchers, min_t, max_t)?;
        let above = Chosen { memory: self.recorded, places: self.recorded.chosen(matchers) };
        let mut seen = Vec::with_capacity(below.len());
        let mut place = vec![None; below.len()];
        for (i, slot) in place.iter_mut().enumerate() {
            if !self.written.hides(below.labels(i)) {
                *slot = Some(seen.len());
                seen.push(i);
            }
        }
        if above.is_empty() && seen.len() == below.len() {
            return Ok(below);
        }
        Ok(Box::new(Both { below, seen, place, above }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Engine, Value, parse};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    /// A series: its labels, its samples.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

    fn memory(rows: &[Row<'_>]) -> Memory {
        let mut memory = Memory::default();
        for (pairs, samples) in rows {
            let place = memory.series(&labels(pairs));
            samples.iter().for_each(|(t, v)| assert!(memory.push(place, *t, *v)));
        }
        memory.sort();
        memory
    }

    fn ask(source: &dyn Source, expr: &str, t: i64) -> Vec<(String, f64)> {
        let output = Engine::default().instant(source, &parse(expr).unwrap(), t).unwrap();
        let Value::Vector(vector) = output.value else { panic!("{expr}") };
        let mut rows: Vec<_> = vector.into_iter().map(|s| (s.labels.to_string(), s.v)).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    #[test]
    fn samples_in_any_order_are_sorted_and_the_last_word_counts() {
        let memory = memory(&[(&[("__name__", "a")], &[(3000, 3.0), (1000, 1.0), (2000, 2.0), (1000, 9.0)])]);
        assert_eq!(ask(&memory, "a", 1500), [("a".to_owned(), 9.0)]);
        assert_eq!(ask(&memory, "sum_over_time(a[10s])", 3000), [("{}".to_owned(), 14.0)]);
        assert_eq!(memory.extent(), Some((1000, 3000)));
        assert!(ask(&memory, "b", 1500).is_empty());
    }

    #[test]
    fn what_is_recorded_hides_what_history_has_of_it() {
        let history = memory(&[
            (&[("__name__", "raw"), ("i", "1")], &[(1000, 1.0)]),
            (&[("__name__", "job:raw"), ("i", "old")], &[(1000, 5.0)]),
            (&[("__name__", "ALERTS"), ("alertname", "A")], &[(1000, 1.0)]),
            (&[("__name__", "sideband_sigma_zscore"), ("rule", "A")], &[(1000, 1.0)]),
            (&[("__name__", "sideband_sigma_zscore"), ("rule", "B")], &[(1000, 2.0)]),
        ]);
        let recorded = memory(&[(&[("__name__", "job:raw"), ("i", "new")], &[(1000, 7.0)])]);
        let set = |name: &str| HashSet::from([name.to_owned()]);
        let written = Written { metrics: set("job:raw"), alerts: set("A") };
        let both = Layered { history: &history, recorded: &recorded, written: &written };
        assert!(ask(&both, "ALERTS", 1000).is_empty());
        assert_eq!(ask(&both, "sum(sideband_sigma_zscore)", 1000), [("{}".to_owned(), 2.0)]);
        let rows = ask(&both, "{__name__=~\".*raw\"}", 1000);
        assert_eq!(
            rows,
            [("job:raw{i=\"new\"}".to_owned(), 7.0), ("raw{i=\"1\"}".to_owned(), 1.0)],
            "the old recording is not seen"
        );
        assert_eq!(ask(&both, "sum(max_over_time({i=~\".+\"}[5s]))", 1000), [("{}".to_owned(), 8.0)]);
    }

    #[test]
    fn trimming_forgets_the_oldest() {
        let mut memory = memory(&[(&[("__name__", "a")], &[(1000, 1.0), (2000, 2.0)])]);
        memory.trim(2000);
        assert_eq!(memory.extent(), Some((2000, 2000)));
        assert_eq!(memory.len(), 1);
    }
}
