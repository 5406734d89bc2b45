//! A target: what discovery and relabelling made of an address.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::job::ScrapeJob;
use super::relabel::process;
use super::target_group::{TargetGroup, check_address};
use crate::model::{Duration, Fingerprint, Labels, LabelsBuilder, query_encode};

/// Something to scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Before relabelling.
    pub discovered: Labels,
    /// What its series carry.
    pub labels: Labels,
    pub url: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Labels (also those with `__`) and URL: what it is known by across reloads.
    pub key: u64,
}

/// What became of one address.
#[derive(Debug)]
pub(super) enum Outcome {
    Target(Box<Target>),
    /// Dropped by a rule: the labels before relabelling.
    Dropped(Labels),
    Failed(String),
}

/// Every address of a group.
pub(super) fn of_group(job: &ScrapeJob, group: &TargetGroup) -> Vec<Outcome> {
    group
        .targets
        .iter()
        .map(|address| {
            let mut labels = LabelsBuilder::default();
            for (name, value) in group.labels.iter().flatten() {
                labels.set(name, value);
            }
            labels.set("__address__", address);
            populate(job, labels).unwrap_or_else(Outcome::Failed)
        })
        .collect()
}

/// What keeps targets of the static groups from being scraped, a sentence each.
pub(super) fn faults(job: &ScrapeJob) -> Vec<String> {
    let outcomes = job.static_groups.iter().flat_map(|group| of_group(job, group));
    outcomes
        .filter_map(|outcome| if let Outcome::Failed(reason) = outcome { Some(reason) } else { None })
        .collect()
}

fn populate(job: &ScrapeJob, mut labels: LabelsBuilder) -> Result<Outcome, String> {
    let (interval, timeout) = (job.interval.to_string(), job.timeout.to_string());
    for (name, value) in [
        ("job", job.name.as_str()),
        ("__scrape_interval__", &interval),
        ("__scrape_timeout__", &timeout),
        ("__metrics_path__", &job.metrics_path),
        ("__scheme__", &job.scheme),
    ] {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    }
    for (name, values) in &job.params {
        let label = format!("__param_{name}");
        if let (Some(first), None) = (values.first(), labels.get(&label)) {
            labels.set(&label, first);
        }
    }
    let discovered = labels.build();
    if !process(&mut labels, &job.relabel) {
        return Ok(Outcome::Dropped(discovered));
    }
    let address = labels.get("__address__").unwrap_or_default().to_owned();
    if address.is_empty() {
        return Err("no address".into());
    }
    check_address(&address)?;
    let interval = time(&labels, "__scrape_interval__", "scrape interval")?;
    let timeout = time(&labels, "__scrape_timeout__", "scrape timeout")?;
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval (\"{timeout}\" > \"{interval}\")"
        ));
    }
    let meta: Vec<String> =
        labels.iter().map(|(n, _)| n).filter(|n| n.starts_with("__meta_")).map(str::to_owned).collect();
    for name in meta {
        labels.remove(&name);
    }
    if labels.get("instance").is_none() {
        labels.set("instance", &address);
    }
    let all = labels.build();
    let url = url(job, &all, &address)?;
    let key = Fingerprint::of(all.iter().chain([("", url.as_str())])).0;
    let labels = all.without(|name| name.starts_with("__"));
    Ok(Outcome::Target(Box::new(Target { discovered, labels, url, interval, timeout, key })))
}

fn time(labels: &LabelsBuilder, label: &str, what: &str) -> Result<Duration, String> {
    let text = labels.get(label).unwrap_or_default();
    let time: Duration = text.parse().map_err(|e| format!("error parsing {what}: {e}"))?;
    if time.is_zero() {
        return Err(format!("{what} cannot be 0"));
    }
    Ok(time)
}

fn url(job: &ScrapeJob, labels: &Labels, address: &str) -> Result<String, String> {
    let scheme = labels.get("__scheme__").unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("unsupported protocol scheme {scheme:?}"));
    }
    let path = labels.get("__metrics_path__").unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &job.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix("__param_") {
            let values = params.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url = format!("{scheme}://{address}{slash}{path}");
    let mut separator = '?';
    if !query.is_empty() {
        let _ = write!(url, "?{query}");
        separator = '&';
    }
    for (name, values) in params {
        for value in values {
            url.push(separator);
            separator = '&';
            url.push_str(&query_encode(name));
            url.push('=');
            url.push_str(&query_encode(value));
        }
    }
    Ok(url)
}

impl Target {
    /// The first moment after `now` (ms) at which it is scraped: targets are spread over their interval
    /// by what they are, and always at the same offset, also after a restart.
    pub fn next_scrape(&self, now: i64, seed: u64) -> i64 {
        let interval = self.interval.ms().max(1);
        let mixed = (self.key ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        let offset = (mixed % interval.unsigned_abs()).cast_signed();
        let since = (now - offset).rem_euclid(interval);
        now - since + interval
    }
}
