//! The daemon's own metrics as text: OpenMetrics as the library writes it, or Prometheus' text 0.0.4.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::{ProcessMetrics, register_build_info};

/// Which text format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfMetricsFormat {
    /// Text 0.0.4: counters are named with `_total` in TYPE and HELP, infos are gauges, no UNIT.
    Text,
    /// OpenMetrics 1.0, without the closing `# EOF` (other families may follow).
    OpenMetrics,
}

/// The finished registry, cheap to share. Nothing can be registered any more.
#[derive(Debug, Clone)]
pub struct SelfMetrics(Arc<Registry>);

impl SelfMetrics {
    /// A registry that holds `sideband_build_info` and `process_*`; rooms add theirs before it is sealed
    /// by [`SelfMetrics::new`].
    pub fn registry() -> Registry {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        ProcessMetrics::register(&mut registry);
        registry
    }

    /// Seals a registry.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(registry))
    }

    /// Appends all the metrics to `out`.
    ///
    /// # Errors
    /// A metric's own encoding failed; what `out` holds then ends in the middle.
    pub fn write(&self, format: SelfMetricsFormat, out: &mut String) -> fmt::Result {
        match format {
            SelfMetricsFormat::OpenMetrics => text::encode_registry(out, &self.0),
            SelfMetricsFormat::Text => {
                let mut open_metrics = String::with_capacity(16 * 1024);
                text::encode_registry(&mut open_metrics, &self.0)?;
                to_text_0_0_4(&open_metrics, out);
                Ok(())
            }
        }
    }
}

/// Rewrites the library's output: HELP and TYPE name what the samples are named, words of OpenMetrics
/// become words of 0.0.4, exemplars and UNIT go.
fn to_text_0_0_4(open_metrics: &str, out: &mut String) {
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').unwrap_or((rest, "")));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" | "stateset" | "gaugehistogram" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                out.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            // A label value may hold " # " too, so the exemplar is what follows the closing brace.
            let labelled = line.find(['{', ' ']).is_some_and(|i| line.as_bytes()[i] == b'{');
            let labels_end = if labelled { closing_brace(line) } else { 0 };
            let end = line[labels_end..].find(" # ").map_or(line.len(), |i| labels_end + i);
            out.extend([&line[..end], "\n"]);
        }
    }
}

/// The byte after the brace that closes the labels (quoted ones do not).
fn closing_brace(line: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in line.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return i + 1,
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    use super::super::LabelValue;
    use super::*;

    #[test]
    fn text_names_counters_and_infos_as_their_samples() {
        let mut registry = SelfMetrics::registry();
        let family = Family::<Vec<(String, LabelValue)>, Counter>::default();
        family.get_or_create(&vec![("reason".into(), "a } # \"b".into())]).inc_by(3);
        registry.register("sideband_things", "Things", family);
        let metrics = SelfMetrics::new(registry);
        let mut text = String::new();
        metrics.write(SelfMetricsFormat::Text, &mut text).unwrap();
        for line in [
            "# TYPE sideband_build_info gauge",
            "# HELP sideband_things_total Things.",
            "# TYPE sideband_things_total counter",
            "sideband_things_total{reason=\"a } # \\\"b\"} 3",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
        let mut open = String::new();
        metrics.write(SelfMetricsFormat::OpenMetrics, &mut open).unwrap();
        assert!(open.contains("# TYPE sideband_things counter\n") && !open.contains("# EOF"));
    }

    #[test]
    fn exemplars_are_left_out() {
        let mut out = String::new();
        to_text_0_0_4("x_total{a=\"1\"} 3 # {id=\"7\"} 1.0\ny 1 # {b=\"c\"} 2\n# EOF\n", &mut out);
        assert_eq!(out, "x_total{a=\"1\"} 3\ny 1\n");
    }
}
