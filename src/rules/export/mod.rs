//! Rule files as plain Prometheus rules: sigma rules become recording and alerting rules, as far as PromQL can say what they say.
//!
//! What it cannot is written beside the rules as comments, and given as remarks: nothing is dropped in silence.

mod expressions;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use crate::model::Labels;
use crate::sigma::{Action, Gate, Model};

use super::file::{AlertingSpec, GroupSpec, RuleFile, RuleKind, RuleSpec, SigmaSpec};
use expressions::Names;
use yaml::Writer;

/// A file of plain rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exported {
    /// YAML.
    pub text: String,
    /// What differs or is left out, a sentence each, with the place in the file it came from.
    pub remarks: Vec<String>,
}

/// The rules of these files as one file of Prometheus 2.42 or later.
pub fn export(files: &[RuleFile]) -> Exported {
    let mut out = Writer::new();
    let mut remarks = Vec::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for group in files.iter().flat_map(|f| &f.groups) {
        // Several files may have groups of one name; one file may not.
        let times = taken.entry(group.name.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { group.name.clone() } else { format!("{} ({times})", group.name) };
        out.group(&name, group.interval, group.limit, group.query_offset);
        for rule in &group.rules {
            match &rule.kind {
                RuleKind::Recording => out.recording(&rule.name, rule.expr.text(), &rule.labels),
                RuleKind::Alerting(alerting) => alert(&mut out, rule, alerting),
                RuleKind::Sigma(spec) => {
                    let found = sigma(&mut out, group, rule, spec);
                    let place = format!("{}:{}: {}", group.file.display(), rule.line, rule.name);
                    remarks.extend(found.into_iter().map(|r| format!("{place}: {r}")));
                }
            }
        }
    }
    Exported { text: out.finish(), remarks }
}

fn alert(out: &mut Writer, rule: &RuleSpec, alerting: &AlertingSpec) {
    out.alert(
        &rule.name,
        rule.expr.text(),
        alerting.hold,
        alerting.keep_firing_for,
        &rule.labels,
        &alerting.annotations,
    );
}

/// Writes what can be said of a sigma rule; gives what cannot.
fn sigma(out: &mut Writer, group: &GroupSpec, rule: &RuleSpec, spec: &SigmaSpec) -> Vec<String> {
    let config = spec.detector.config();
    let names = Names::new(&rule.name);
    let mut remarks = Vec::new();
    if let Some(reason) = impossible(spec) {
        remarks.push(format!("not exported: {reason}"));
        out.comments(&format!("sigma: {}", rule.name), &remarks);
        return remarks;
    }
    differences(group, spec, &mut remarks);
    out.comments(&format!("sigma: {}", rule.name), &remarks);
    let none = Labels::empty();
    for (name, expr) in expressions::recordings(&names, rule, spec) {
        out.recording(&name, &expr, &none);
    }
    // All of these stand on the alerts, and are ignored when an alert is compared with its series.
    let mut added: Vec<&str> = vec!["alertname", "alertstate", "band"];
    added.extend(rule.labels.iter().map(|(n, _)| n));
    added.extend(spec.bands.iter().flat_map(|l| l.iter().map(|(n, _)| n)));
    added.sort_unstable();
    added.dedup();
    let mut lost = Vec::new();
    for (i, band) in config.bands.iter().enumerate().filter(|(_, b)| b.action == Action::Alert) {
        let sigma = crate::model::format_float(band.sigma);
        let mut labels = rule.labels.to_builder();
        for (name, value) in spec.bands.get(i).into_iter().flat_map(Labels::iter) {
            labels.set(name, value);
        }
        labels.set("band", &sigma);
        let labels = plain(&labels.build(), &sigma, &mut lost);
        let annotations = plain(&spec.annotations, &sigma, &mut lost);
        let expr = expressions::condition(&names, rule, config, band, &added);
        out.alert(&rule.name, &expr, band.for_, config.keep_firing_for, &labels, &annotations);
    }
    if !lost.is_empty() {
        lost.sort();
        lost.dedup();
        let said = format!(
            "left out, since Prometheus has no $center, $stddev, $zscore, $samples, $firings, $useful: {}",
            lost.join(", ")
        );
        out.comments(&format!("sigma: {}", rule.name), std::slice::from_ref(&said));
        remarks.push(said);
    }
    remarks
}

/// Templates with the band put in; those that need what Prometheus does not know are left out and named.
fn plain(texts: &Labels, band: &str, lost: &mut Vec<String>) -> Labels {
    const UNKNOWN: [&str; 13] = [
        "$center", "$stddev", "$zscore", "$samples", "$firings", "$useful", ".Center", ".Stddev", ".Zscore",
        ".Samples", ".Firings", ".Useful", ".Band",
    ];
    let mut kept = Labels::empty().to_builder();
    for (name, text) in texts.iter() {
        let mut text = text.to_owned();
        for spelled in ["{{ $band }}", "{{$band}}"] {
            text = text.replace(spelled, band);
        }
        if text.contains("$band") || UNKNOWN.iter().any(|word| text.contains(word)) {
            lost.push(name.to_owned());
        } else {
            kept.set(name, &text);
        }
    }
    kept.build()
}

/// Why nothing of the rule can be said in PromQL.
fn impossible(spec: &SigmaSpec) -> Option<String> {
    let config = spec.detector.config();
    match config.baseline.model {
        Model::Seasonal => return Some("the model seasonal has no counterpart in PromQL".to_owned()),
        Model::Novelty => return Some("the model novelty has no counterpart in PromQL".to_owned()),
        Model::Gaussian | Model::Robust => {}
    }
    let gated = |gate: &Option<Gate>| matches!(gate, Some(Gate::Novelty));
    if config.bands.iter().any(|b| b.action == Action::Alert && gated(&b.gate)) {
        return Some("`gate: novelty` has no counterpart in PromQL".to_owned());
    }
    None
}

/// What the plain rules do otherwise.
fn differences(group: &GroupSpec, spec: &SigmaSpec, out: &mut Vec<String>) {
    let config = spec.detector.config();
    let b = &config.baseline;
    let mut say = |text: String| out.push(text);
    match b.model {
        Model::Robust => say(format!(
            "the MAD is that of distances from the median of their own time, over {}, where the sigma rule takes those from the present \
             median, out of a sketch; the window is plain, and the sigma rule's forgets exponentially",
            b.window
        )),
        _ => say(format!(
            "mean and standard deviation are of a plain window of {}, where the sigma rule forgets exponentially",
            b.window
        )),
    }
    say(format!(
        "nothing freezes: an event longer than the lag ({}) is learnt while it goes on (freeze_at, freeze_max)",
        b.lag
    ));
    if let Some(interval) = group.interval.filter(|i| !i.is_zero())
        && i64::from(b.min_samples) > b.window.ms() / interval.ms().max(1)
    {
        say(format!(
            "min_samples ({}) are more than the window holds at this interval: the alerts never fire",
            b.min_samples
        ));
    }
    say(
        "the small-sample stretch of the band (Student's t) is left out; it is below 2 % from 120 samples on"
            .to_owned(),
    );
    if b.counter {
        say("the counter's increase is irate() over 5m".to_owned());
    }
    if config.judge.longest().is_some() {
        say("the short mean is a plain one (avg_over_time)".to_owned());
    }
    if config.bands.iter().filter(|band| band.action == Action::Alert).count() > 1 {
        say("every band that fires is an alert, where the sigma rule sends only the highest: inhibit the lower ones".to_owned());
    }
    if config.page_budget.is_some() || config.after_page != crate::sigma::AfterPage::default() {
        say("a page changes nothing for the pages after it: no page budget, no quiet time (page_budget, after_page)".to_owned());
    }
    say("the annotation `explanation` and the feedback of people are left out".to_owned());
}
