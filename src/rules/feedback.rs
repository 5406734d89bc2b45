//! What people say of sigma rules and their pages, and what follows from it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::model::{Labels, Timestamp};

use super::context::Context;
use super::file::{RuleKind, SigmaSpec};
use super::group::{Group, Rule};
use super::relearn::{self, Incident, Span};

/// What a person speaks of.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// An alert with these labels, as it was sent.
    Alert(Labels),
    /// A rule by its name, in one group or all, of one series (its labels as the rule sees them) or all.
    Rule { group: Option<String>, rule: String, series: Option<Labels> },
}

/// What people say. Times are ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feedback {
    /// The page of an alert that fired from `from` to `to` was, or was not, worth it.
    Judged { from: Timestamp, to: Timestamp, useful: bool },
    /// This interval was an incident: the baseline is learnt again from stored history without it.
    Incident { from: Timestamp, to: Timestamp },
    /// What is now is normal: the centre moves there at once.
    NewNormal,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Sigma rules that it concerns.
    pub rules: usize,
    /// Pages that were judged.
    pub pages: usize,
    /// Baselines that changed.
    #[serde(rename = "baselines")]
    pub series: usize,
    /// What could not be done, for people.
    pub notes: Vec<String>,
}

impl Taken {
    /// Adds what became of another target.
    pub fn add(&mut self, other: Self) {
        self.rules += other.rules;
        self.pages += other.pages;
        self.series += other.series;
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

/// The sigma rules that a target means, each with the series if it means one.
fn find<'a>(
    groups: impl Iterator<Item = &'a Group>,
    target: &Target,
) -> Vec<(&'a Group, &'a Rule, Option<Labels>)> {
    let mut found = Vec::new();
    for group in groups {
        for rule in &group.rules {
            let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
            match target {
                Target::Alert(alert) => {
                    if alert.get("alertname") == Some(rule.spec.name.as_str())
                        && let Some(series) = series_of(rule, spec, alert)
                    {
                        found.push((group, rule, Some(series)));
                    }
                }
                Target::Rule { group: wanted, rule: name, series } => {
                    if *name == rule.spec.name && wanted.as_ref().is_none_or(|w| *w == group.spec.name) {
                        found.push((group, rule, series.clone()));
                    }
                }
            }
        }
    }
    found
}

/// The series that an alert of a rule is about: the same labels, apart from those that the rule sets.
fn series_of(rule: &Rule, sigma: &SigmaSpec, alert: &Labels) -> Option<Labels> {
    let mut set: BTreeSet<&str> = ["alertname", "band", "severity"].into();
    set.extend(sigma.templates.labels.iter().map(|(n, _)| n.as_str()));
    set.extend(sigma.bands.iter().flat_map(|b| b.iter().map(|(n, _)| n)));
    let bare = alert.without(|n| set.contains(n));
    let state = rule.state();
    state.sigma.series.keys().find(|l| l.without(|n| set.contains(n)) == bare).cloned()
}

/// Acts on what a person says. May read much history: not for a thread that must not wait.
pub fn feedback<'a>(
    context: &Context<'_>,
    groups: impl Iterator<Item = &'a Group>,
    target: &Target,
    feedback: &Feedback,
    now: Timestamp,
) -> Taken {
    let mut taken = Taken::default();
    for (group, rule, series) in find(groups, target) {
        let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
        taken.rules += 1;
        match *feedback {
            Feedback::Judged { from, to, useful } => {
                let id = series.map_or(0, |l| l.fingerprint().0);
                taken.pages += usize::from(rule.state().sigma.pages.mark(id, from, to, useful));
            }
            Feedback::NewNormal => {
                taken.series += new_normal(context, group, rule, spec, series.as_ref(), now)
            }
            Feedback::Incident { from, to } => {
                taken.add(take_out(context, group, rule, spec, series, (from, to), now));
            }
        }
    }
    taken
}

/// Evaluations that say at most where a series is now.
const PRESENT: i64 = 20;

fn new_normal(
    context: &Context<'_>,
    group: &Group,
    rule: &Rule,
    spec: &SigmaSpec,
    series: Option<&Labels>,
    now: Timestamp,
) -> usize {
    let config = spec.detector.config();
    let end = rule.state().evaluated_at.unwrap_or(now) - group.query_offset_ms;
    let span = Span { start: end - PRESENT * group.interval_ms, end, step: group.interval_ms };
    // Only where the expression itself is judged. What cannot be read is not needed.
    let plain = !config.baseline.counter && config.judge.terms.iter().all(|t| t.mean.is_none());
    let history =
        if plain { relearn::read(context, &rule.spec, span).unwrap_or_default() } else { Vec::new() };
    rule.state().sigma.rebase(spec, series, &history)
}

fn take_out(
    context: &Context<'_>,
    group: &Group,
    rule: &Rule,
    spec: &SigmaSpec,
    series: Option<Labels>,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Taken {
    let mut taken = Taken::default();
    let window = spec.detector.config().baseline.window.ms();
    let (count, end) = {
        let state = &mut *rule.state();
        state.sigma.incidents.add(Incident { series: series.clone(), from, to }, window);
        (state.sigma.series.len(), state.evaluated_at.unwrap_or(now) - group.query_offset_ms)
    };
    if to < end - window {
        taken
            .notes
            .push(format!("{}: it is older than the window; nothing of it is remembered", rule.spec.name));
        return taken;
    }
    match relearn::read(context, &rule.spec, Span::of(spec, end, group.interval_ms, count)) {
        Ok(history) => {
            let done = relearn::relearn(
                group,
                rule,
                spec,
                history,
                series.as_ref(),
                end,
                relearn::Worth { least: 0.5, dense: false },
            );
            taken.series = done.series;
            if done.too_short > 0 || done.series == 0 {
                taken.notes.push(format!(
                    "{}: the stored history is too short to learn again from: {} baselines stay as they are, and the \
                     interval is left out at the next warm start",
                    rule.spec.name,
                    done.too_short.max(1)
                ));
            }
        }
        Err(e) => taken.notes.push(format!("{}: the stored history cannot be read: {e}", rule.spec.name)),
    }
    taken
}
