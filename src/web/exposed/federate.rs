//! `/federate`: chosen series with their newest samples and timestamps.

use std::collections::HashSet;

use super::negotiate::Negotiated;
use super::page::ExternalLabels;
use crate::exposition::write::{push_header, push_series, push_timestamp, push_value};
use crate::model::{Labels, MetricType, Order as _, Sample, Timestamp, is_stale_nan};
use crate::storage::Storage;

/// The page: the newest sample, no older than `lookback` ms, of every series that one of the selectors picks.
/// A series without an `instance` gets an empty one, so that the scraper's own does not take its place.
///
/// # Errors
/// A selector cannot be read.
pub fn federate<'a>(
    storage: &Storage,
    selectors: impl Iterator<Item = &'a str>,
    external: &ExternalLabels,
    negotiated: Negotiated,
    now: Timestamp,
    lookback: i64,
) -> Result<Vec<u8>, String> {
    let min_t = now.saturating_sub(lookback);
    let mut chosen: Vec<(Labels, Sample)> = Vec::new();
    let mut seen = HashSet::new();
    for selector in selectors {
        let matchers = crate::web::api::series_selector(selector).map_err(|e| e.message)?;
        for handle in storage.select(&matchers, min_t, now) {
            let Some(sample) = handle.last(min_t, now).filter(|s| !is_stale_nan(s.v)) else { continue };
            if seen.insert(handle.id) {
                chosen.push((handle.labels.clone(), sample));
            }
        }
    }
    chosen.retain(|(labels, _)| !labels.metric_name().is_empty());
    chosen.order_by(|(a, _), (b, _)| a.metric_name().cmp(b.metric_name()).then_with(|| a.cmp(b)));
    let mut extra = external.to_vec();
    if !extra.iter().any(|(n, _)| n == "instance") {
        extra.push(("instance".to_owned(), String::new()));
        extra.order();
    }
    let openmetrics = negotiated.is_openmetrics();
    let mut out = Vec::with_capacity(chosen.len() * 128);
    let mut family: Option<&str> = None;
    for (labels, sample) in &chosen {
        let name = labels.metric_name();
        if family != Some(name) {
            push_header(&mut out, name, MetricType::Unknown, "", "", openmetrics, negotiated.utf8_names);
            family = Some(name);
        }
        push_series(&mut out, labels, &extra, negotiated.utf8_names, false);
        out.push(b' ');
        push_value(&mut out, sample.v);
        out.push(b' ');
        push_timestamp(&mut out, sample.t, openmetrics);
        out.push(b'\n');
    }
    if openmetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    Ok(out)
}
