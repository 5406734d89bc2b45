//! The route tree: which receivers an alert goes to, and how its group waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Duration, GoQuoted, Labels, MatchOp, set};
use crate::paging::config::RouteConfig;
use crate::paging::matcher::{Matcher, MatcherSyntax, Matchers};

/// What holds where no route says otherwise.
const GROUP_WAIT: Duration = Duration::from_secs(30);
const GROUP_INTERVAL: Duration = Duration::from_secs(300);
const REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3600);

/// Deeper trees are refused: nobody writes them by hand, and matching recurses.
pub const MAX_DEPTH: usize = 32;

/// A node with everything it inherited.
#[derive(Debug)]
pub struct Route {
    /// Its place: the indices of the children from the root, `0/2/1`. Unique.
    pub id: String,
    /// The matchers from the root down, as Alertmanager writes them in a group's key. Not always unique.
    pub key: String,
    pub receiver: String,
    /// Through whom the alerts go instead of straight to the receiver.
    pub escalation_policy: Option<String>,
    pub group_by: BTreeSet<String>,
    /// Every label groups: each alert is a group of its own.
    pub group_by_all: bool,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
    pub mute_time_intervals: Vec<String>,
    pub active_time_intervals: Vec<String>,
    /// Labels of the route for templates, merged from the root down.
    pub labels: BTreeMap<String, String>,
    pub matchers: Matchers,
    pub continues: bool,
    pub children: Vec<Arc<Route>>,
}

/// Why a route cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error(transparent)]
    Matcher(#[from] MatcherSyntax),
    #[error("routes are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl Route {
    /// The tree of a root's configuration.
    ///
    /// # Errors
    /// A matcher that cannot be read; too many levels.
    pub fn tree(config: &RouteConfig) -> Result<Arc<Self>, RouteError> {
        Self::node(config, None, "0".to_owned(), 0)
    }

    fn node(
        config: &RouteConfig,
        parent: Option<&Self>,
        id: String,
        depth: usize,
    ) -> Result<Arc<Self>, RouteError> {
        if depth >= MAX_DEPTH {
            return Err(RouteError::TooDeep);
        }
        let matchers = config.all_matchers()?;
        let mut route = Self {
            key: parent.map_or_else(|| matchers.to_string(), |p| format!("{}/{matchers}", p.key)),
            id,
            receiver: parent.map(|p| p.receiver.clone()).unwrap_or_default(),
            escalation_policy: parent.and_then(|p| p.escalation_policy.clone()),
            group_by: parent.map(|p| p.group_by.clone()).unwrap_or_default(),
            group_by_all: parent.is_some_and(|p| p.group_by_all),
            group_wait: config.group_wait.unwrap_or(parent.map_or(GROUP_WAIT, |p| p.group_wait)),
            group_interval: config
                .group_interval
                .unwrap_or(parent.map_or(GROUP_INTERVAL, |p| p.group_interval)),
            repeat_interval: config
                .repeat_interval
                .unwrap_or(parent.map_or(REPEAT_INTERVAL, |p| p.repeat_interval)),
            // Not inherited: a muted parent says nothing about what its children take.
            mute_time_intervals: config.mute_time_intervals.clone(),
            active_time_intervals: config.active_time_intervals.clone(),
            labels: parent.map(|p| p.labels.clone()).unwrap_or_default(),
            matchers,
            continues: config.continues,
            children: Vec::new(),
        };
        if let Some(receiver) = config.receiver_name() {
            receiver.clone_into(&mut route.receiver);
            // Who names a receiver, and no policy, wants that receiver.
            route.escalation_policy = None;
        }
        if let Some(policy) = &config.escalation_policy {
            route.escalation_policy = Some(policy.value.clone());
        }
        if config.groups_by_all() {
            route.group_by_all = true;
        } else if let Some(names) = &config.group_by {
            route.group_by = set(names.iter().cloned());
            route.group_by_all = false;
        }
        route.labels.extend(config.labels.clone());
        for (i, child) in config.routes.iter().enumerate() {
            let id = format!("{}/{i}", route.id);
            let child = Self::node(child, Some(&route), id, depth + 1)?;
            route.children.push(child);
        }
        Ok(Arc::new(route))
    }

    /// The routes that take an alert, in order: for each matching child the search goes deeper; it goes on
    /// among the siblings only when that child continues. What no child takes belongs to the parent.
    pub fn matching(self: &Arc<Self>, labels: &Labels) -> Vec<Arc<Self>> {
        let mut out = Vec::new();
        self.collect(labels, &mut out);
        out
    }

    fn collect(self: &Arc<Self>, labels: &Labels, out: &mut Vec<Arc<Self>>) {
        if !self.matchers.matches(labels) {
            return;
        }
        let before = out.len();
        for child in &self.children {
            let so_far = out.len();
            child.collect(labels, out);
            if out.len() > so_far && !child.continues {
                break;
            }
        }
        if out.len() == before {
            out.push(Arc::clone(self));
        }
    }

    /// Calls `visit` for this route and all below, depth first.
    pub fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }

    /// The labels by which this route groups an alert.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        if self.group_by_all {
            return labels.clone();
        }
        labels.without(|name| !self.group_by.contains(name))
    }

    /// The key of a group as Alertmanager writes it: the route's matchers and the group's labels.
    pub fn group_key(&self, group_labels: &Labels) -> String {
        let mut key = format!("{}:{{", self.key);
        for (i, (name, value)) in group_labels.iter().enumerate() {
            if i > 0 {
                key.push_str(", ");
            }
            if crate::model::is_legacy_label_name(name) {
                key.push_str(name);
            } else {
                key.push_str(&GoQuoted::new(name).to_string());
            }
            key.push('=');
            key.push_str(&GoQuoted::new(value).to_string());
        }
        key.push('}');
        key
    }
}

/// The matchers of the three ways to write them, where `match_re` keeps the anchors that Alertmanager shows.
pub(super) fn merge_matchers(
    equal: &BTreeMap<String, Option<String>>,
    regex: &BTreeMap<String, Option<String>>,
    list: &[Matcher],
) -> Result<Matchers, MatcherSyntax> {
    let mut all = Vec::with_capacity(equal.len() + regex.len() + list.len());
    for (name, value) in equal {
        all.push(Matcher::new(MatchOp::Equal, name, value.clone().unwrap_or_default())?);
    }
    for (name, value) in regex {
        // Checked alone: what only balances inside the anchors must not pass.
        let value = value.as_deref().unwrap_or_default();
        Matcher::new(MatchOp::Regex, name, value)?;
        all.push(Matcher::new(MatchOp::Regex, name, format!("^(?:{value})$"))?);
    }
    all.extend_from_slice(list);
    Ok(Matchers::new(all))
}
