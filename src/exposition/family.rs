//! Metric families, and which of them a sample belongs to.

use std::collections::{BTreeMap, HashMap};

use super::quote::go_quoted as shown;
use crate::model::{MetricType, is_legacy_metric_name};

/// All samples of one metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Family {
    pub name: String,
    pub help: Option<String>,
    pub kind: MetricType,
    /// In the order of the page; summaries and histograms are put together.
    pub metrics: Vec<Metric>,
}

/// One label set of a family.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metric {
    /// In the order of the page.
    pub labels: Vec<(String, String)>,
    pub value: MetricValue,
    /// ms; the last one seen, for summaries and histograms.
    pub timestamp: Option<i64>,
}

/// What a metric holds.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    Single(f64),
    Summary {
        count: Option<f64>,
        sum: Option<f64>,
        /// Quantile and value.
        quantiles: Vec<(f64, f64)>,
    },
    Histogram {
        count: Option<f64>,
        sum: Option<f64>,
        /// Upper bound and cumulative count.
        buckets: Vec<(f64, f64)>,
    },
}

impl Default for MetricValue {
    fn default() -> Self {
        Self::Single(0.0)
    }
}

struct Known {
    family: Family,
    /// There was a TYPE line, or a sample: none may come any more.
    typed: bool,
}

/// Which part of a summary or histogram a sample is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    Own,
    Count,
    Sum,
}

/// A line's value.
pub(super) struct Sample {
    pub part: Part,
    /// A quantile, or the upper bound of a bucket.
    pub bound: Option<f64>,
    pub value: f64,
}

/// The families of a page, as far as it has been read. They go by the number of their first line.
pub(super) struct Gathered {
    legacy_names: bool,
    families: Vec<Known>,
    by_name: HashMap<String, usize>,
    /// Summaries and histograms by family and labels.
    grouped: HashMap<(usize, BTreeMap<String, String>), usize>,
}

impl Gathered {
    pub fn new(legacy_names: bool) -> Self {
        Self { legacy_names, families: Vec::new(), by_name: HashMap::new(), grouped: HashMap::new() }
    }

    /// Those that have samples.
    pub fn with_samples(self) -> Vec<Family> {
        self.families.into_iter().map(|f| f.family).filter(|f| !f.metrics.is_empty()).collect()
    }

    pub fn kind(&self, number: usize) -> MetricType {
        self.families[number].family.kind
    }

    /// The name in quotes.
    pub fn shown_name(&self, number: usize) -> String {
        shown(self.families[number].family.name.as_bytes())
    }

    pub fn set_help(&mut self, number: usize, text: &[u8]) -> Result<(), String> {
        let name = self.shown_name(number);
        let known = &mut self.families[number];
        if known.family.help.is_some() {
            return Err(format!("second HELP line for metric name {name}"));
        }
        known.family.help = Some(String::from_utf8_lossy(text).into_owned());
        Ok(())
    }

    pub fn set_kind(&mut self, number: usize, word: &[u8]) -> Result<(), String> {
        let name = self.shown_name(number);
        let known = &mut self.families[number];
        if known.typed {
            return Err(format!("second TYPE line for metric name {name}, or TYPE reported after samples"));
        }
        known.typed = true;
        known.family.kind = match word.to_ascii_lowercase().as_slice() {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"summary" => MetricType::Summary,
            b"untyped" => MetricType::Unknown,
            b"histogram" => MetricType::Histogram,
            b"gaugehistogram" | b"gauge_histogram" => MetricType::GaugeHistogram,
            _ => return Err(format!("unknown metric type {}", shown(word))),
        };
        Ok(())
    }

    pub fn set_timestamp(&mut self, number: usize, metric: usize, ms: i64) {
        self.families[number].family.metrics[metric].timestamp = Some(ms);
    }

    /// Puts a sample where it belongs: gives the number of its metric within the family.
    pub fn add(
        &mut self,
        number: usize,
        labels: Vec<(String, String)>,
        sample: Sample,
    ) -> Result<usize, String> {
        self.families[number].typed = true;
        let metric = self.metric(number, labels);
        let name = self.shown_name(number);
        match &mut self.families[number].family.metrics[metric].value {
            MetricValue::Single(v) => *v = sample.value,
            MetricValue::Summary { count, sum, quantiles } => match (sample.part, sample.bound) {
                (Part::Count, _) => *count = Some(sample.value.trunc()),
                (Part::Sum, _) => *sum = Some(sample.value),
                (Part::Own, Some(bound)) => quantiles.push((bound, sample.value)),
                (Part::Own, None) => {}
            },
            MetricValue::Histogram { count, sum, buckets } => match (sample.part, sample.bound) {
                (Part::Count, _) if sample.value < 0.0 => {
                    return Err(format!("negative count for histogram {}", name));
                }
                (Part::Count, _) => *count = Some(sample.value),
                (Part::Sum, _) => *sum = Some(sample.value),
                (Part::Own, Some(_)) if sample.value < 0.0 => {
                    return Err(format!("negative bucket population for histogram {name}"));
                }
                (Part::Own, Some(bound)) => buckets.push((bound, sample.value)),
                (Part::Own, None) => {}
            },
        }
        Ok(metric)
    }

    /// The number of the metric that a sample belongs to.
    fn metric(&mut self, number: usize, labels: Vec<(String, String)>) -> usize {
        let value = match self.kind(number) {
            MetricType::Summary => MetricValue::Summary { count: None, sum: None, quantiles: Vec::new() },
            MetricType::Histogram | MetricType::GaugeHistogram => {
                MetricValue::Histogram { count: None, sum: None, buckets: Vec::new() }
            }
            _ => MetricValue::default(),
        };
        let metrics = &mut self.families[number].family.metrics;
        let next = metrics.len();
        if !matches!(value, MetricValue::Single(_)) {
            let known = *self.grouped.entry((number, labels.iter().cloned().collect())).or_insert(next);
            if known < next {
                return known;
            }
        }
        metrics.push(Metric { labels, value, timestamp: None });
        next
    }

    /// The family of a name, which may be a part of a summary or histogram.
    pub fn family(&mut self, name: Vec<u8>) -> Result<(usize, Part), String> {
        let shown_name = shown(&name);
        let Ok(name) = String::from_utf8(name) else {
            return Err(format!("invalid metric name {shown_name}"));
        };
        if name.is_empty() || self.legacy_names && !is_legacy_metric_name(&name) {
            return Err(format!("invalid metric name {shown_name}"));
        }
        if let Some(number) = self.by_name.get(&name) {
            return Ok((*number, Part::Own));
        }
        for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum), ("_bucket", Part::Own)] {
            let Some(number) = name.strip_suffix(suffix).and_then(|n| self.by_name.get(n)) else { continue };
            let fits = match self.families[*number].family.kind {
                MetricType::Summary => part != Part::Own,
                MetricType::Histogram | MetricType::GaugeHistogram => true,
                _ => false,
            };
            if fits {
                return Ok((*number, part));
            }
        }
        let number = self.families.len();
        self.by_name.insert(name.clone(), number);
        self.families.push(Known { family: Family { name, ..Family::default() }, typed: false });
        Ok((number, Part::Own))
    }
}
