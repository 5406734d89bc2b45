//! What must hold in the tree of routes.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Check;
use super::file::RouteConfig;
use super::people::Policy;
use crate::model::yaml::{FileError, Spanned};
use crate::model::{Duration, is_legacy_label_name};
use crate::paging::time_interval::TimeInterval;

impl Check<'_> {
    pub(super) fn root(&mut self, root: &Spanned<RouteConfig>) {
        let r = &root.value;
        if r.receiver_name().is_none() {
            self.at(root, "root route must specify a default receiver");
        }
        if !r.equal.is_empty() || !r.regex.is_empty() || !r.matchers.matchers.is_empty() {
            self.at(root, "root route must not have any matchers");
        }
        if !r.mute_time_intervals.is_empty() {
            self.at(root, "root route must not have any mute time intervals");
        }
        if !r.active_time_intervals.is_empty() {
            self.at(root, "root route must not have any active time intervals");
        }
        if r.continues {
            self.at(root, "cannot have continue in root route");
        }
    }

    pub(super) fn route(
        &mut self,
        near: &Spanned<RouteConfig>,
        r: &RouteConfig,
        receivers: &BTreeSet<String>,
        intervals: &BTreeMap<String, Vec<TimeInterval>>,
        policies: &BTreeMap<String, Policy>,
        depth: usize,
    ) {
        if depth >= crate::paging::route::MAX_DEPTH {
            self.at(near, crate::paging::route::RouteError::TooDeep);
            return;
        }
        if let Some(receiver) = &r.receiver
            && !receiver.value.is_empty()
            && !receivers.contains(&receiver.value)
        {
            self.at(receiver, format!("undefined receiver {:?} used in route", receiver.value));
        }
        if let Some(policy) = &r.escalation_policy
            && !policies.contains_key(&policy.value)
        {
            self.at(policy, format!("undefined escalation policy {:?} used in route", policy.value));
        }
        let mut seen = BTreeSet::new();
        for name in r.group_by.iter().flatten() {
            if !seen.insert(name) && name != "..." {
                self.at(near, format!("duplicated label {name:?} in group_by"));
            }
            if name == "..." {
                if r.group_by.iter().flatten().any(|other| other != "...") {
                    self.at(near, "cannot have wildcard group_by (`...`) and other labels at the same time");
                }
            } else if !is_label_name(name) {
                self.at(near, format!("invalid label name {name:?} in group_by list"));
            }
        }
        for name in r.labels.keys().filter(|n| !is_label_name(n)) {
            self.at(near, format!("invalid label name {name:?} in route labels"));
        }
        for name in r.equal.keys().chain(r.regex.keys()) {
            self.legacy_name(near, name);
        }
        self.nulls(near, &r.regex);
        for warning in &r.matchers.warnings {
            self.warnings.push(FileError::at(self.path, near, warning));
        }
        if let Err(e) = r.all_matchers() {
            self.at(near, e);
        }
        if r.group_interval.is_some_and(Duration::is_zero) {
            self.at(near, "group_interval cannot be zero");
        }
        if r.repeat_interval.is_some_and(Duration::is_zero) {
            self.at(near, "repeat_interval cannot be zero");
        }
        for name in r.mute_time_intervals.iter().chain(&r.active_time_intervals) {
            if !intervals.contains_key(name) {
                self.at(near, format!("undefined time interval {name:?} used in route"));
            }
        }
        for child in &r.routes {
            self.route(near, child, receivers, intervals, policies, depth + 1);
        }
    }

    pub(super) fn legacy_name<T>(&mut self, near: &Spanned<T>, name: &str) {
        if !is_legacy_label_name(name) {
            self.at(near, format!("invalid label name {name:?}"));
        }
    }

    pub(super) fn nulls<T>(&mut self, near: &Spanned<T>, pairs: &BTreeMap<String, Option<String>>) {
        for (name, _) in pairs.iter().filter(|(_, v)| v.is_none()) {
            self.at(near, format!("invalid regexp value for {name:?}"));
        }
    }
}

/// Any text can be the name of a label, but one that begins with a dash is taken for a slip.
fn is_label_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-')
}
