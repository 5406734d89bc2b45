//! From what a collector saw to series: label sets are built once and found again by the text they came from.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::model::{Labels, LabelsBuilder, METRIC_NAME, MetricMetadata, MetricType, is_legacy_metric_name};

/// More series than any machine has; beyond it new ones are left out, so that nothing in /proc can
/// take all the memory.
const MAX_SERIES: usize = 50_000;

/// Takes what was collected.
pub trait Sink {
    /// A family, before its first sample ever.
    fn family(&mut self, name: &str, metadata: MetricMetadata);
    /// One sample, taken now.
    fn sample(&mut self, labels: &Labels, value: f64);
    /// A series that was there at the last collection and is not any more.
    fn gone(&mut self, labels: &Labels);
}

/// A family whose name stands in this program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub name: &'static str,
    pub kind: MetricType,
    pub help: &'static str,
}

/// A counter, for tables of metrics.
pub(super) const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricType::Counter, help }
}

/// A gauge, for tables of metrics.
pub(super) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricType::Gauge, help }
}

/// The series seen so far, kept between collections.
#[derive(Default)]
pub(super) struct SeriesCache {
    known: HashMap<Box<[u8]>, Entry>,
    families: HashSet<Box<str>>,
    base: LabelsBuilder,
    round: u64,
    key: Vec<u8>,
    overflowed: bool,
    bad_name: Option<String>,
}

struct Entry {
    labels: Labels,
    seen: u64,
}

impl SeriesCache {
    /// `base` are labels that every series has.
    pub fn new(base: LabelsBuilder) -> Self {
        Self { base, ..Self::default() }
    }

    /// Starts a collection.
    pub fn start(&mut self) {
        self.round += 1;
        self.overflowed = false;
    }

    /// The last name that was refused since this was asked, because it is none.
    pub fn take_bad_name(&mut self) -> Option<String> {
        self.bad_name.take()
    }

    /// Ends a collection: tells what has gone, and forgets it. True when series had to be left out.
    pub fn finish(&mut self, sink: &mut dyn Sink) -> bool {
        let round = self.round;
        self.known.retain(|_, entry| {
            let here = entry.seen == round;
            if !here {
                sink.gone(&entry.labels);
            }
            here
        });
        self.overflowed
    }
}

/// Hands samples on to a sink under their label sets.
pub(super) struct Emitter<'a> {
    pub cache: &'a mut SeriesCache,
    pub sink: &'a mut dyn Sink,
}

impl Emitter<'_> {
    /// A sample of a family known by name.
    pub fn emit(&mut self, metric: &Metric, labels: &[(&str, &str)], value: f64) {
        self.emit_named(&[metric.name], metric.kind, format_args!("{}", metric.help), labels, value);
    }

    /// A sample of a family whose name is put together from parts. A series emitted twice in one collection
    /// counts once, the first time.
    pub fn emit_named(
        &mut self,
        name: &[&str],
        kind: MetricType,
        help: fmt::Arguments<'_>,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let cache = &mut *self.cache;
        cache.key.clear();
        for part in name {
            cache.key.extend_from_slice(part.as_bytes());
        }
        let name_len = cache.key.len();
        for (_, v) in labels {
            // No UTF-8 text holds this byte, so two lists of values never look alike.
            cache.key.push(0xff);
            cache.key.extend_from_slice(v.as_bytes());
        }
        if let Some(entry) = cache.known.get_mut(cache.key.as_slice()) {
            if entry.seen != cache.round {
                entry.seen = cache.round;
                self.sink.sample(&entry.labels, value);
            }
            return;
        }
        if cache.known.len() >= MAX_SERIES {
            cache.overflowed = true;
            return;
        }
        let name = String::from_utf8_lossy(&cache.key[..name_len]).into_owned();
        if !is_legacy_metric_name(&name) {
            cache.bad_name = Some(name);
            return;
        }
        let mut builder = cache.base.clone();
        for (n, v) in labels {
            builder.set(n, v);
        }
        builder.set(METRIC_NAME, &name);
        let built = builder.build();
        if !cache.families.contains(name.as_str()) {
            let metadata = MetricMetadata { kind, help: help.to_string(), unit: String::new() };
            self.sink.family(&name, metadata);
            cache.families.insert(name.into());
        }
        self.sink.sample(&built, value);
        cache.known.insert(cache.key.as_slice().into(), Entry { labels: built, seen: cache.round });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Sink for Log {
        fn family(&mut self, name: &str, metadata: MetricMetadata) {
            self.0.push(format!("{name} is a {}: {}", metadata.kind, metadata.help));
        }
        fn sample(&mut self, labels: &Labels, value: f64) {
            self.0.push(format!("{labels} {value}"));
        }
        fn gone(&mut self, labels: &Labels) {
            self.0.push(format!("{labels} gone"));
        }
    }

    #[test]
    fn families_are_told_once_and_series_that_vanish_too() {
        const M: Metric = gauge("m", "Help.");
        let mut base = LabelsBuilder::default();
        base.set("job", "node");
        let mut cache = SeriesCache::new(base);
        let mut log = Log::default();
        for round in [&["a", "b"][..], &["a", "a"], &[]] {
            cache.start();
            for (i, v) in round.iter().enumerate() {
                Emitter { cache: &mut cache, sink: &mut log }.emit(&M, &[("x", v)], i as f64);
            }
            cache.finish(&mut log);
        }
        assert_eq!(
            log.0,
            [
                "m is a gauge: Help.",
                r#"m{job="node", x="a"} 0"#,
                r#"m{job="node", x="b"} 1"#,
                r#"m{job="node", x="a"} 0"#,
                r#"m{job="node", x="b"} gone"#,
                r#"m{job="node", x="a"} gone"#,
            ]
        );
    }
}
