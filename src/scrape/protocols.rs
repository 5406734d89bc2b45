//! What a target may answer in: the formats, the alphabet of names, and the Accept header that says so.

use super::relabel::NameValidation;
use crate::exposition::Format;

/// How names outside the old alphabet may be written by a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escaping {
    #[default]
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    /// The word in configuration files and in the Accept header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|e| e.as_str() == word)
    }
}

/// Protocols by their names in configuration files; the last is known and not spoken.
const PROTOCOLS: [(&str, &str); 5] = [
    ("OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1"),
    ("OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0"),
    ("PrometheusText0.0.4", "text/plain;version=0.0.4"),
    ("PrometheusText1.0.0", "text/plain;version=1.0.0"),
    ("PrometheusProto", ""),
];

const DEFAULT_PROTOCOLS: [&str; 4] =
    ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];

fn unknown_protocol(name: &str) -> String {
    format!(
        "unknown scrape protocol {name}, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 \
         PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]"
    )
}

/// Checks a list of `scrape_protocols`.
///
/// # Errors
/// A sentence in Prometheus' words, without the job's name.
pub fn check(list: &[String]) -> Result<(), String> {
    for (i, name) in list.iter().enumerate() {
        if !PROTOCOLS.iter().any(|(known, _)| known == name) {
            return Err(format!("scrape_protocols: {}", unknown_protocol(name)));
        }
        if list[..i].contains(name) {
            return Err(format!("duplicated protocol in scrape_protocols, got [{}]", list.join(" ")));
        }
    }
    Ok(())
}

/// Reads a `metric_name_validation_scheme`.
///
/// # Errors
/// A sentence in Prometheus' words.
pub fn parse_validation(word: Option<String>) -> Result<NameValidation, String> {
    match word.as_deref() {
        None | Some("utf8") => Ok(NameValidation::Utf8),
        Some("legacy") => Ok(NameValidation::Legacy),
        Some(other) => Err(format!("unrecognized ValidationScheme: {other:?}")),
    }
}

/// Reads a `metric_name_escaping_scheme` that goes with the validation.
///
/// # Errors
/// A sentence in Prometheus' words.
pub fn parse_escaping(word: Option<String>, names: NameValidation) -> Result<Escaping, String> {
    match word.as_deref() {
        None if names == NameValidation::Legacy => Ok(Escaping::Underscores),
        None => Ok(Escaping::AllowUtf8),
        Some(word) => match Escaping::parse(word) {
            Some(Escaping::AllowUtf8) if names == NameValidation::Legacy => {
                Err("utf8 metric names requested but validation scheme is not set to UTF8".into())
            }
            Some(escaping) => Ok(escaping),
            None => Err(format!(
                "unknown name escaping scheme: {word:?}, must be one of allow-utf-8, underscores, dots, values"
            )),
        },
    }
}

/// The Accept header: the protocols, or those of the default where none is named, the first weighs most.
///
/// # Errors
/// Nothing that is spoken is among them.
pub(super) fn accept_header(protocols: &[String], escaping: Escaping) -> Result<String, String> {
    let mut names: Vec<&str> = protocols.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = DEFAULT_PROTOCOLS.to_vec();
    }
    names.retain(|name| *name != "PrometheusProto");
    if names.is_empty() {
        return Err("scrape_protocols: PrometheusProto alone is not built yet".into());
    }
    let mut parts = Vec::new();
    let mut weight = PROTOCOLS.len() + 1;
    for name in names {
        let media = PROTOCOLS.iter().find(|(known, _)| *known == name).map_or("", |(_, media)| media);
        let escaped = name.ends_with("1.0.0").then(|| format!(";escaping={}", escaping.as_str()));
        parts.push(format!("{media}{};q=0.{weight}", escaped.unwrap_or_default()));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{weight}"));
    Ok(parts.join(","))
}

/// The format that a `fallback_scrape_protocol` stands for.
///
/// # Errors
/// It is unknown or not spoken.
pub(super) fn format_of(protocol: &str) -> Result<Option<Format>, String> {
    Ok(match protocol {
        "" => None,
        "PrometheusProto" => return Err("PrometheusProto is not built yet".into()),
        name if !PROTOCOLS.iter().any(|(known, _)| *known == name) => return Err(unknown_protocol(name)),
        name if name.starts_with("OpenMetrics") => Some(Format::OpenMetrics),
        _ => Some(Format::Text),
    })
}
