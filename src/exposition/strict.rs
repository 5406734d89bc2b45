//! OpenMetrics 1.0 to the letter: families as wholes, their types, order, and values.
//!
//! Prometheus reads line by line and lets much of this pass; here a page is held against the
//! specification, for checking what a target (or sideband itself) serves.

use std::collections::HashSet;

use super::entry::{Entry, Format, ParseError, Series};
use super::number::parse_value;
use super::scanner::Scanner;
use crate::model::{Labels, METRIC_NAME, MetricType, Timestamp, is_legacy_label_name, is_legacy_metric_name};

/// Runes of names and values that an exemplar's labels may have together.
const EXEMPLAR_RUNES: usize = 128;

/// Checks a page.
///
/// # Errors
/// The first line that breaks a rule, and the rule.
pub fn check(page: &[u8]) -> Result<(), ParseError> {
    let mut checker = Checker { seen_names: HashSet::new(), family: None };
    let mut scanner = Scanner::new(page, Format::OpenMetrics);
    let mut line = 0;
    while let Some(entry) = scanner.next() {
        line += 1;
        let entry = entry?;
        checker.entry(&scanner, entry).map_err(|message| ParseError { line, message })?;
    }
    checker.finish().map_err(|message| ParseError { line, message })
}

struct Checker {
    /// Names of families with every suffix that their types reserve.
    seen_names: HashSet<String>,
    family: Option<Family>,
}

struct Family {
    name: String,
    kind: Option<MetricType>,
    help: bool,
    unit: Option<String>,
    samples: bool,
    group: Option<Group>,
    seen_groups: HashSet<Labels>,
    histogram: Option<Histogram>,
}

/// The samples of one metric: its labels without those that tell its parts apart.
struct Group {
    labels: Labels,
    timestamp: Option<Timestamp>,
    /// The series seen at this timestamp.
    series: HashSet<Labels>,
}

#[derive(Default)]
struct Histogram {
    bound: Option<f64>,
    bucket: f64,
    count: Option<f64>,
    sum: Option<f64>,
    gauge_sum: Option<f64>,
    negative_bounds: bool,
}

fn suffixes(kind: MetricType) -> &'static [&'static str] {
    match kind {
        MetricType::Counter => &["_total", "_created"],
        MetricType::Summary => &["", "_count", "_sum", "_created"],
        MetricType::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Info => &["_info"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
    }
}

fn is_histogram(kind: MetricType) -> bool {
    matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram)
}

impl Family {
    fn new(name: &str, kind: Option<MetricType>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            help: false,
            unit: None,
            samples: false,
            group: None,
            seen_groups: HashSet::new(),
            histogram: None,
        }
    }

    fn kind(&self) -> MetricType {
        self.kind.unwrap_or_default()
    }
}

impl Checker {
    fn entry(&mut self, scanner: &Scanner<'_>, entry: Entry<'_>) -> Result<(), String> {
        match entry {
            Entry::Comment(_) => Err("comments are not allowed".into()),
            Entry::Help { metric, .. } => {
                let family = self.described(scanner, &metric)?;
                if std::mem::replace(&mut family.help, true) {
                    return Err(format!("more than one HELP for metric {metric:?}"));
                }
                Ok(())
            }
            Entry::Type { metric, kind } => {
                let family = self.described(scanner, &metric)?;
                if family.kind.replace(kind).is_some() {
                    return Err(format!("more than one TYPE for metric {metric:?}"));
                }
                Ok(())
            }
            Entry::Unit { metric, unit } => {
                let family = self.described(scanner, &metric)?;
                if family.unit.replace(unit.into_owned()).is_some() {
                    return Err(format!("more than one UNIT for metric {metric:?}"));
                }
                Ok(())
            }
            Entry::Series(series) => self.series(scanner, &series),
        }
    }

    /// The family that a line of metadata speaks of.
    fn described(&mut self, scanner: &Scanner<'_>, metric: &str) -> Result<&mut Family, String> {
        if scanner.last_line().get(7) == Some(&b'"') || !is_legacy_metric_name(metric) {
            return Err(format!("invalid metric name {metric:?}"));
        }
        match &self.family {
            Some(family) if family.name == metric && family.samples => {
                return Err(format!("metadata after samples of metric {metric:?}"));
            }
            Some(family) if family.name == metric => {}
            _ => {
                self.finish()?;
                self.family = Some(Family::new(metric, None));
            }
        }
        Ok(self.family.get_or_insert_with(|| Family::new(metric, None)))
    }

    fn series(&mut self, scanner: &Scanner<'_>, series: &Series<'_>) -> Result<(), String> {
        syntax(scanner, series)?;
        let labels = scanner.exact_labels().map_err(|e| e.to_string())?;
        let name = labels.metric_name().to_owned();
        if let Some(bad) = labels.iter().map(|(n, _)| n).find(|n| !is_legacy_label_name(n)) {
            return Err(format!("invalid label name {bad:?}"));
        }
        let belongs = self.family.as_ref().is_some_and(|f| {
            name.strip_prefix(f.name.as_str()).is_some_and(|rest| suffixes(f.kind()).contains(&rest))
        });
        if !belongs {
            self.finish()?;
            self.family = Some(Family::new(&name, Some(MetricType::Unknown)));
        }
        let Some(family) = &mut self.family else { return Ok(()) };
        family.samples = true;
        let suffix = &name[family.name.len()..];
        values(family, suffix, &labels, series)?;
        family.grouping(suffix, &labels, series.timestamp)?;
        if is_histogram(family.kind()) {
            family.histogram.get_or_insert_default().sample(suffix, &labels, series.value)?;
        }
        Ok(())
    }

    /// The family is complete.
    fn finish(&mut self) -> Result<(), String> {
        let Some(mut family) = self.family.take() else { return Ok(()) };
        let kind = family.kind();
        let reserved: HashSet<&str> = suffixes(kind).iter().copied().chain([""]).collect();
        for suffix in reserved {
            let name = format!("{}{suffix}", family.name);
            if self.seen_names.contains(&name) {
                return Err(format!("clashing metric name {name:?}"));
            }
            self.seen_names.insert(name);
        }
        let has_unit = family.unit.as_ref().is_some_and(|u| !u.is_empty());
        if has_unit && matches!(kind, MetricType::Info | MetricType::StateSet) {
            return Err(format!("a metric of type {kind} cannot have a unit"));
        }
        family.histogram.take().map_or(Ok(()), Histogram::finish)
    }
}

impl Family {
    fn grouping(
        &mut self,
        suffix: &str,
        labels: &Labels,
        timestamp: Option<Timestamp>,
    ) -> Result<(), String> {
        let kind = self.kind();
        let identity = match kind {
            // Info metrics cannot be told apart.
            MetricType::Info => Labels::empty(),
            _ => labels.without(|name| match (kind, suffix) {
                _ if name == METRIC_NAME => true,
                (MetricType::Summary, "") => name == "quantile",
                (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => name == "le",
                (MetricType::StateSet, _) => name == self.name,
                _ => false,
            }),
        };
        let same_group = self.group.as_ref().is_some_and(|g| g.labels == identity);
        let same_time = self.group.as_ref().is_some_and(|g| g.timestamp == timestamp);
        if (!same_group || !same_time)
            && let Some(done) = self.histogram.take()
        {
            done.finish()?;
        }
        match &mut self.group {
            Some(group) if same_group => {
                if group.timestamp.is_some() != timestamp.is_some() {
                    return Err("mix of samples with and without timestamps within a metric".into());
                }
                if timestamp < group.timestamp && kind != MetricType::Info {
                    return Err("timestamps go backwards within a metric".into());
                }
                if !same_time {
                    group.series.clear();
                }
                group.timestamp = timestamp;
                if !group.series.insert(labels.clone()) && timestamp.is_none() {
                    return Err(format!("duplicate series {labels}"));
                }
            }
            _ => {
                if self.seen_groups.contains(&identity) {
                    return Err("samples of one metric are not together".into());
                }
                self.seen_groups.insert(identity.clone());
                self.group =
                    Some(Group { labels: identity, timestamp, series: HashSet::from([labels.clone()]) });
            }
        }
        Ok(())
    }
}

/// What the scanner lets pass: trailing commas, exemplars with too long labels, names outside braces only.
fn syntax(scanner: &Scanner<'_>, series: &Series<'_>) -> Result<(), String> {
    let text = series.text;
    if text.first() == Some(&b'{') {
        return Err("a metric name in braces".into());
    }
    if text.ends_with(b",}") || text.ends_with(b"{,}") {
        return Err("a comma after the last label".into());
    }
    if memchr::memchr(b'{', text).is_some_and(|i| text.get(i + 1) == Some(&b'"')) {
        return Err("a label name in quotes".into());
    }
    let Some(exemplar) = &series.exemplar else { return Ok(()) };
    let behind = scanner.last_line().get(text.len()..).unwrap_or_default();
    let end = memchr::memrchr(b'}', behind).unwrap_or_default();
    if end > 0 && behind[end - 1] == b',' {
        return Err("a comma after the last label of an exemplar".into());
    }
    let runes: usize = exemplar.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
    if runes > EXEMPLAR_RUNES {
        return Err(format!("labels of an exemplar longer than {EXEMPLAR_RUNES} characters"));
    }
    Ok(())
}

/// The bound in an `le` or `quantile` label; infinities only as `+Inf` and `-Inf`.
fn bound(labels: &Labels, name: &str) -> Option<f64> {
    let text = labels.get(name)?;
    let v = parse_value(text.as_bytes()).ok()?;
    let spelled = v.is_finite() || matches!(text, "+Inf" | "-Inf");
    (spelled && !v.is_nan()).then_some(v)
}

/// Labels, values and exemplars that the type demands or forbids.
fn values(family: &Family, suffix: &str, labels: &Labels, series: &Series<'_>) -> Result<(), String> {
    let (kind, v) = (family.kind(), series.value);
    match (kind, suffix) {
        (MetricType::StateSet, _) => {
            if labels.get(&family.name).is_none() {
                return Err(format!("a state without the label {:?}", family.name));
            }
            if v != 0.0 && v != 1.0 {
                return Err("a state is neither 0 nor 1".into());
            }
        }
        (MetricType::Info, _) if v != 1.0 => return Err("an info metric is not 1".into()),
        (MetricType::Summary, "") => {
            if !bound(labels, "quantile").is_some_and(|q| (0.0..=1.0).contains(&q)) {
                return Err("a quantile is missing or not in [0, 1]".into());
            }
            if v < 0.0 {
                return Err("a quantile's value is negative".into());
            }
        }
        (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") if bound(labels, "le").is_none() => {
            return Err("a bucket's le is missing or no number".into());
        }
        _ => {}
    }
    let counts = matches!(suffix, "_bucket" | "_count" | "_gcount");
    if counts && v.fract() != 0.0 {
        return Err("a count is not whole".into());
    }
    if matches!(suffix, "_total" | "_sum" | "_gsum") && v.is_nan() || counts && v.is_nan() {
        return Err("a counter is NaN".into());
    }
    if (counts || matches!(suffix, "_total" | "_sum")) && v < 0.0 {
        return Err("a counter is negative".into());
    }
    let exemplars =
        is_histogram(kind) && suffix == "_bucket" || kind == MetricType::Counter && suffix == "_total";
    if series.exemplar.is_some() && !exemplars {
        return Err("an exemplar on a sample that cannot have one".into());
    }
    Ok(())
}

impl Histogram {
    fn sample(&mut self, suffix: &str, labels: &Labels, v: f64) -> Result<(), String> {
        match suffix {
            "_bucket" => {
                let Some(bound) = bound(labels, "le") else { return Ok(()) };
                if self.bound.is_some_and(|last| bound <= last) {
                    return Err("buckets are not in the order of their bounds".into());
                }
                if v < self.bucket {
                    return Err("buckets are not cumulative".into());
                }
                self.negative_bounds |= bound < 0.0;
                self.bound = Some(bound);
                self.bucket = v;
            }
            "_count" | "_gcount" => self.count = Some(v),
            "_sum" => self.sum = Some(v),
            "_gsum" => self.gauge_sum = Some(v),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        if self.bound != Some(f64::INFINITY) {
            return Err("a histogram has no bucket +Inf".into());
        }
        if self.count.is_some_and(|count| count != self.bucket) {
            return Err("a histogram's count is not its bucket +Inf".into());
        }
        if self.count.is_some() != (self.sum.is_some() || self.gauge_sum.is_some()) {
            return Err("a histogram has a count or a sum and not the other".into());
        }
        if self.negative_bounds && self.sum.is_some() {
            return Err("a histogram with negative bounds has a sum".into());
        }
        if !self.negative_bounds && self.gauge_sum.is_some_and(|sum| sum < 0.0) {
            return Err("a histogram's sum is negative and no bound is".into());
        }
        Ok(())
    }
}
