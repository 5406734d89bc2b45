//! The process's own metrics: the registry's text, cut into families, in either format.

use prometheus_client::registry::Registry;

use crate::model::{MetricType, Order as _};

/// A family of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFamily {
    /// As the TYPE line of the wanted format says it.
    pub name: String,
    pub kind: MetricType,
    pub help: String,
    pub unit: String,
    /// Sample lines, each with its line end.
    pub lines: String,
}

/// Encodes the registry and cuts it, sorted by name; families of one name become one.
pub fn families(registry: &Registry, openmetrics: bool) -> Vec<OwnFamily> {
    let mut text = String::with_capacity(8 * 1024);
    if prometheus_client::encoding::text::encode_registry(&mut text, registry).is_err() {
        tracing::error!("own metrics cannot be encoded");
        return Vec::new();
    }
    let mut families: Vec<OwnFamily> = Vec::new();
    let mut current: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let Some(comment) = line.strip_prefix("# ") else {
            if let Some(family) = current.and_then(|i| families.get_mut(i)) {
                family.push_sample(line, openmetrics);
            }
            continue;
        };
        let mut words = comment.trim_end_matches('\n').splitn(3, ' ');
        let (Some(what), Some(name), rest) = (words.next(), words.next(), words.next().unwrap_or_default())
        else {
            continue;
        };
        let at = families.iter().position(|f| f.name == name).unwrap_or_else(|| {
            families.push(OwnFamily::named(name));
            families.len() - 1
        });
        current = Some(at);
        match what {
            // The library ends every help text with a full stop of its own.
            "HELP" => families[at].help = rest.replace("..", "."),
            "TYPE" => families[at].kind = MetricType::parse(rest).unwrap_or_default(),
            "UNIT" => rest.clone_into(&mut families[at].unit),
            _ => {}
        }
    }
    // A family without a child has nothing to say.
    families.retain(|f| !f.lines.is_empty());
    if !openmetrics {
        families.iter_mut().for_each(OwnFamily::rename_for_text);
    }
    families.order_by(|a, b| a.name.cmp(&b.name));
    families
}

impl OwnFamily {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: MetricType::Unknown,
            help: String::new(),
            unit: String::new(),
            lines: String::new(),
        }
    }

    fn push_sample(&mut self, line: &str, openmetrics: bool) {
        // Exemplars are OpenMetrics only.
        match line.find(" # {") {
            Some(at) if !openmetrics => {
                self.lines.push_str(&line[..at]);
                self.lines.push('\n');
            }
            _ => self.lines.push_str(line),
        }
    }

    /// In text 0.0.4 a family of one sample is called as its sample is.
    fn rename_for_text(&mut self) {
        match self.kind {
            MetricType::Counter => self.name.push_str("_total"),
            MetricType::Info => {
                self.name.push_str("_info");
                self.kind = MetricType::Gauge;
            }
            MetricType::StateSet => self.kind = MetricType::Gauge,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;

    #[test]
    fn both_formats() {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register("z_requests", "Requests", counter.clone());
        registry.register("a_build", "Build", Info::new([("version", "1")]));
        registry.register("b_bytes", "Bytes.", Gauge::<i64>::default());
        registry.register("h_seconds", "Took", Histogram::new([0.5, 1.0]));
        registry.register("empty", "Nothing", Family::<Vec<(String, String)>, Counter>::default());
        counter.inc();
        let text = families(&registry, false);
        let view: Vec<_> = text.iter().map(|f| (f.name.as_str(), f.kind.as_str(), f.help.as_str())).collect();
        assert_eq!(
            view,
            [
                ("a_build_info", "gauge", "Build."),
                ("b_bytes", "gauge", "Bytes."),
                ("h_seconds", "histogram", "Took."),
                ("z_requests_total", "counter", "Requests."),
            ]
        );
        let om = families(&registry, true);
        assert_eq!((om[0].name.as_str(), om[3].name.as_str()), ("a_build", "z_requests"));
        assert_eq!(om[3].lines, "z_requests_total 1\n");
    }
}
