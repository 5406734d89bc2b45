//! The band around an incident: what was normal, what was measured, and what people did meanwhile.

use crate::chart::svg::{self, BandPoint};
use crate::model::{Labels, METRIC_NAME, Matcher, Order as _, Sample, Timestamp, set, tree};
use crate::paging::incident::Incident;
use crate::storage::Storage;

/// How much of the time before and after an incident is shown, ms.
const BEFORE_MS: i64 = 3 * 3_600_000;
const AFTER_MS: i64 = 3_600_000;
/// An incident of many days is shown from its beginning.
const LONGEST_MS: i64 = 3 * 86_400_000;
/// The label of the recorded series that names their rule.
const RULE: &str = "rule";
/// Samples that are read of one series.
const MAX_SAMPLES: usize = 100_000;

/// A series, as it was recorded.
type Series = (Labels, Vec<Sample>);

/// From when to when the picture of an incident goes, ms.
pub fn window(incident: &Incident, now: Timestamp) -> (Timestamp, Timestamp) {
    let began = incident.alerts.iter().map(|a| a.starts_at).min().unwrap_or(incident.triggered_at);
    let began = began.clamp(incident.triggered_at.saturating_sub(86_400_000), incident.triggered_at);
    let end =
        incident.resolved_at.unwrap_or(now).saturating_add(AFTER_MS).min(now.max(incident.triggered_at));
    (began.saturating_sub(BEFORE_MS), end.min(began.saturating_add(LONGEST_MS)))
}

/// The baseline of the first alert of the incident that a sigma rule with `record: all` has sent: the rule's name,
/// and what it recorded. Blocks while samples are read.
pub fn recorded(storage: &Storage, incident: &Incident, now: Timestamp) -> Option<(String, Vec<BandPoint>)> {
    let (from, to) = window(incident, now);
    incident.alerts.iter().take(10).find_map(|alert| {
        let rule = alert.labels.get("alertname")?;
        let read = |what: &str| {
            let of_rule = series(storage, &format!("sideband_sigma_{what}"), rule, from, to);
            of_rule.into_iter().find(|(labels, _)| {
                labels
                    .iter()
                    .filter(|(n, _)| *n != METRIC_NAME && *n != RULE)
                    .all(|(n, v)| alert.labels.get(n).is_some_and(|own| own == v))
            })
        };
        let (center, stddev, zscore) = (read("center")?, read("stddev")?, read("zscore"));
        let zscore = zscore.map(|(_, s)| s).unwrap_or_default();
        let mut points = join(&center.1, &stddev.1, &zscore);
        // While it knows too little to judge, there is no band.
        let cold: std::collections::BTreeSet<Timestamp> = set(read("ready")
            .into_iter()
            .flat_map(|(_, samples)| samples)
            .filter(|s| s.v == 0.0)
            .map(|s| s.t));
        for p in points.iter_mut().filter(|p| cold.contains(&p.t_ms)) {
            (p.center, p.stddev) = (f64::NAN, f64::NAN);
        }
        (!points.is_empty()).then(|| (rule.clone(), points))
    })
}

fn series(storage: &Storage, name: &str, rule: &str, from: Timestamp, to: Timestamp) -> Vec<Series> {
    let selection = storage.selection(&[Matcher::equal(METRIC_NAME, name), Matcher::equal(RULE, rule)]);
    let mut out: Vec<Series> =
        (0..selection.len()).map(|i| (selection.labels(i).clone(), Vec::new())).collect();
    selection.read(from, to, |i, times, values| {
        let Some((_, samples)) = out.get_mut(i) else { return };
        let room = MAX_SAMPLES.saturating_sub(samples.len());
        let finite = times.iter().zip(values).filter(|(_, v)| v.is_finite());
        samples.extend(finite.take(room).map(|(t, v)| Sample { t: *t, v: *v }));
    });
    out.retain(|(_, samples)| !samples.is_empty());
    out
}

/// The recorded series by time; the value follows from the distance in standard deviations.
fn join(center: &[Sample], stddev: &[Sample], zscore: &[Sample]) -> Vec<BandPoint> {
    let by_time = |s: &[Sample]| tree(s.iter().map(|s| (s.t, s.v)));
    let (stddev, zscore) = (by_time(stddev), by_time(zscore));
    center
        .iter()
        .filter_map(|c| {
            let stddev = *stddev.get(&c.t)?;
            let value = zscore.get(&c.t).map_or(f64::NAN, |z| c.v + z * stddev);
            Some(BandPoint { t_ms: c.t, value, center: c.v, stddev })
        })
        .collect()
}

/// A line without a baseline, of what the rule's expression gave.
pub fn line(samples: &[Sample]) -> Vec<BandPoint> {
    let point = |s: &Sample| BandPoint { t_ms: s.t, value: s.v, center: f64::NAN, stddev: f64::NAN };
    samples.iter().map(point).collect()
}

/// The picture: points as [`recorded`] or [`line`] give them, and what happened.
pub fn draw(incident: &Incident, rule: &str, points: &[BandPoint]) -> String {
    let banded = points.iter().any(|p| p.stddev.is_finite());
    let what = if banded { "the band of 1, 2 and 3 standard deviations around normal" } else { "the value" };
    svg::band(&format!("{rule}: {what}, and incident {}", incident.id), points, &marks(incident))
}

/// What happened, with a word for each.
fn marks(incident: &Incident) -> Vec<(Timestamp, String)> {
    let mut marks: Vec<(Timestamp, String)> = incident
        .notified
        .iter()
        .take(20)
        .map(|n| (n.at, format!("{} {}", if n.automation { "ran" } else { "paged" }, n.whom())))
        .collect();
    if let Some((at, by)) = &incident.first_acknowledged {
        marks.push((*at, format!("acknowledged by {by}")));
    }
    if let Some(at) = incident.resolved_at {
        marks.push((at, "resolved".to_owned()));
    }
    marks.order();
    marks
}
