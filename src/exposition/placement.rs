//! Which metric family a series belongs to, in each of the two text formats.

use crate::model::{MetricMetadata, MetricType};

/// The place of a metric name in an exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The family's name, as its TYPE line says it.
    pub family: String,
    pub kind: MetricType,
    pub help: String,
    pub unit: String,
    /// The order of the samples of one group: buckets and quantiles, then sum, count, the rest.
    pub rank: u8,
}

/// Order within a group of samples.
const RANK_SUM: u8 = 1;
const RANK_COUNT: u8 = 2;
const RANK_CREATED: u8 = 3;

/// What a suffix says about the sample of a family of this kind; `None` when the two don't go together.
fn rank_of(kind: MetricType, suffix: &str) -> Option<u8> {
    use MetricType::{Counter, GaugeHistogram, Histogram, Info, Summary};
    match (kind, suffix) {
        (Histogram | GaugeHistogram, "_bucket") | (Counter, "_total") | (Info, "_info") => Some(0),
        (Histogram | Summary, "_sum") | (GaugeHistogram, "_gsum") => Some(RANK_SUM),
        (Histogram | Summary, "_count") | (GaugeHistogram, "_gcount") => Some(RANK_COUNT),
        (Histogram | Summary | Counter, "_created") => Some(RANK_CREATED),
        _ => None,
    }
}

const SUFFIXES: [&str; 8] = ["_bucket", "_sum", "_count", "_created", "_total", "_info", "_gsum", "_gcount"];

/// A metric name, the family that was declared with it, and the suffix between the two.
fn declared(
    name: &str,
    metadata: &dyn Fn(&str) -> Option<MetricMetadata>,
) -> Option<(String, MetricMetadata, &'static str)> {
    // A gauge `x_created` is what older text clients make of the birth of a counter or histogram `x`.
    if let Some(base) = name.strip_suffix("_created") {
        for family in [base.to_owned(), format!("{base}_total")] {
            if let Some(m) = metadata(&family)
                && rank_of(m.kind, "_created").is_some()
            {
                return Some((base.to_owned(), m, "_created"));
            }
        }
    }
    if let Some(m) = metadata(name) {
        return Some((name.to_owned(), m, ""));
    }
    SUFFIXES.into_iter().find_map(|suffix| {
        let base = name.strip_suffix(suffix)?;
        let m = metadata(base)?;
        rank_of(m.kind, suffix)?;
        Some((base.to_owned(), m, suffix))
    })
}

/// Places a metric name in the text format 0.0.4.
pub fn place_text(name: &str, metadata: &dyn Fn(&str) -> Option<MetricMetadata>) -> Placement {
    let alone = |kind, help| Placement { family: name.to_owned(), kind, help, unit: String::new(), rank: 0 };
    let Some((base, m, suffix)) = declared(name, metadata) else {
        return alone(MetricType::Unknown, String::new());
    };
    match (m.kind, suffix) {
        // The format has no place for it in the family.
        (_, "_created") => alone(MetricType::Gauge, m.help),
        (MetricType::Histogram | MetricType::Summary, _) => Placement {
            family: base,
            kind: m.kind,
            help: m.help,
            unit: String::new(),
            rank: rank_of(m.kind, suffix).unwrap_or(0),
        },
        (MetricType::Info | MetricType::StateSet, _) => alone(MetricType::Gauge, m.help),
        (MetricType::GaugeHistogram, _) => alone(MetricType::Unknown, m.help),
        (kind, _) => alone(kind, m.help),
    }
}

/// Places a metric name in OpenMetrics.
pub fn place_openmetrics(name: &str, metadata: &dyn Fn(&str) -> Option<MetricMetadata>) -> Placement {
    let alone = |kind, m: MetricMetadata| Placement {
        family: name.to_owned(),
        kind,
        help: m.help,
        unit: m.unit,
        rank: 0,
    };
    let Some((base, m, suffix)) = declared(name, metadata) else {
        return alone(MetricType::Unknown, MetricMetadata::default());
    };
    match (m.kind, suffix) {
        (MetricType::Counter, "") => match name.strip_suffix("_total") {
            Some(family) => Placement { family: family.to_owned(), ..alone(m.kind, m) },
            // A counter has to have the suffix here, and a name must not change with the format.
            None => alone(MetricType::Unknown, m),
        },
        (MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Info, "") => {
            alone(MetricType::Unknown, m)
        }
        (_, "") => alone(m.kind, m),
        (kind, suffix) => Placement {
            rank: rank_of(kind, suffix).unwrap_or(0),
            family: base,
            kind,
            help: m.help,
            unit: m.unit,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MetricType::*;

    fn known(name: &str) -> Option<MetricMetadata> {
        let kind = match name {
            "text_total" | "odd_counter" | "om" => Counter,
            "text_created" | "temperature" => Gauge,
            "latency" => Histogram,
            "size" => Summary,
            "build" => Info,
            "state" => StateSet,
            "queue" => GaugeHistogram,
            _ => return None,
        };
        Some(MetricMetadata { kind, help: "h".into(), unit: String::new() })
    }

    #[test]
    fn places() {
        for (name, text, openmetrics) in [
            ("text_total", ("text_total", Counter), ("text", Counter)),
            ("text_created", ("text_created", Gauge), ("text", Counter)),
            ("odd_counter", ("odd_counter", Counter), ("odd_counter", Unknown)),
            ("om_total", ("om_total", Counter), ("om", Counter)),
            ("om_created", ("om_created", Gauge), ("om", Counter)),
            ("temperature", ("temperature", Gauge), ("temperature", Gauge)),
            ("temperature_count", ("temperature_count", Unknown), ("temperature_count", Unknown)),
            ("latency_bucket", ("latency", Histogram), ("latency", Histogram)),
            ("latency_sum", ("latency", Histogram), ("latency", Histogram)),
            ("latency_created", ("latency_created", Gauge), ("latency", Histogram)),
            ("size", ("size", Summary), ("size", Summary)),
            ("size_count", ("size", Summary), ("size", Summary)),
            ("build_info", ("build_info", Gauge), ("build", Info)),
            ("state", ("state", Gauge), ("state", StateSet)),
            ("queue_gsum", ("queue_gsum", Unknown), ("queue", GaugeHistogram)),
            ("up", ("up", Unknown), ("up", Unknown)),
        ] {
            let t = place_text(name, &known);
            assert_eq!((t.family.as_str(), t.kind), text, "{name} in text");
            let o = place_openmetrics(name, &known);
            assert_eq!((o.family.as_str(), o.kind), openmetrics, "{name} in OpenMetrics");
        }
    }
}
