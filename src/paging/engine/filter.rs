//! Which alerts of a group may be spoken of now: inhibition, silences, time intervals.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, Now};
use crate::model::{Alert, Fingerprint, Labels};
use crate::paging::config::PagingConfig;
use crate::paging::inhibit::InhibitRule;
use crate::paging::route::Route;

/// The firing sources of each inhibition, by the values that must be equal; made once for many targets.
pub(super) struct Inhibitor {
    rules: Vec<ByValues>,
}

/// By the values of the labels in `equal`.
type ByValues = HashMap<Vec<Option<String>>, Sources>;

#[derive(Default, Clone, Copy)]
struct Sources {
    any: Option<Fingerprint>,
    /// One that does not match the target's side.
    one_sided: Option<Fingerprint>,
}

impl Inhibitor {
    pub fn new<'a>(
        rules: &[InhibitRule],
        firing: impl Iterator<Item = (Fingerprint, &'a Labels)> + Clone,
    ) -> Self {
        let index = |rule: &InhibitRule| {
            let mut sources = ByValues::new();
            for (fingerprint, labels) in firing.clone().filter(|(_, l)| rule.source.matches(l)) {
                let entry = sources.entry(equal(rule, labels)).or_default();
                entry.any.get_or_insert(fingerprint);
                if !rule.target.matches(labels) {
                    entry.one_sided.get_or_insert(fingerprint);
                }
            }
            sources
        };
        Self { rules: rules.iter().map(index).collect() }
    }

    /// The alert that mutes this one, if any. `rules` are those that it was made of.
    pub fn muted_by(&self, rules: &[InhibitRule], target: &Labels) -> Option<Fingerprint> {
        let with_sources = rules.iter().zip(&self.rules).filter(|(_, sources)| !sources.is_empty());
        with_sources.filter(|(rule, _)| rule.target.matches(target)).find_map(|(rule, sources)| {
            let found = sources.get(&equal(rule, target))?;
            if rule.source.matches(target) { found.one_sided } else { found.any }
        })
    }
}

fn equal(rule: &InhibitRule, labels: &Labels) -> Vec<Option<String>> {
    rule.equal.iter().map(|name| labels.get(name).map(str::to_owned)).collect()
}

/// The time intervals by which the route is silent at this time, as Alertmanager names them: all of those in which it
/// would be active, when none of them holds; otherwise those in which it is mute, as often as one of their alternatives
/// holds.
pub(super) fn time_muted_by(config: &PagingConfig, route: &Route, now: Now) -> Vec<String> {
    let times = |name: &String| {
        let alternatives = config.time_intervals.get(name).into_iter().flatten();
        alternatives.filter(|i| i.contains(now.wall)).count()
    };
    let active = &route.active_time_intervals;
    if !active.is_empty() && active.iter().all(|name| times(name) == 0) {
        return active.clone();
    }
    let mute = route.mute_time_intervals.iter();
    mute.flat_map(|name| std::iter::repeat_n(name.clone(), times(name))).collect()
}

impl Engine {
    /// What inhibits now. Alerts that come later do not count.
    pub(super) fn inhibitor(&self, now: Now) -> Inhibitor {
        let firing = self
            .alerts
            .iter()
            .filter(|(_, e)| !e.alert.resolved_at(now.wall))
            .map(|(f, e)| (*f, &e.alert.labels));
        Inhibitor::new(&self.config.inhibit_rules, firing)
    }

    /// The alerts among these that are not muted.
    pub(super) fn unmuted(
        &self,
        inhibitor: &Inhibitor,
        route: &Route,
        alerts: &[Arc<Alert>],
        now: Now,
    ) -> Vec<Arc<Alert>> {
        if !time_muted_by(&self.config, route, now).is_empty() {
            return Vec::new();
        }
        let rules = &self.config.inhibit_rules;
        let muted = |a: &Alert| {
            inhibitor.muted_by(rules, &a.labels).is_some() || self.silenced_by(a, now).next().is_some()
        };
        alerts.iter().filter(|a| !muted(a)).cloned().collect()
    }

    /// The silences that mute an alert now.
    pub(super) fn silenced_by<'a>(&'a self, alert: &'a Alert, now: Now) -> impl Iterator<Item = &'a str> {
        self.silences
            .values()
            .filter(move |s| s.mutes(&alert.labels, now.wall))
            .map(|s| s.silence.id.as_str())
    }
}
