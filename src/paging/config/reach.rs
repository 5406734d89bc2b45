//! What routes and steps reach: whether it can be sent to, and whether anybody can acknowledge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::check::PagingConfig;
use super::people::Target;
use super::receivers::IntegrationConfig;
use crate::model::yaml::FileError;
use crate::paging::route::Route;
use crate::paging::schedule::Schedule;

/// Receivers that a route or the step of a policy reaches, and which it is.
pub(super) type Reached = BTreeMap<String, String>;

pub(super) fn reached(config: &PagingConfig) -> Reached {
    let mut reached = Reached::new();
    let mut policies = BTreeSet::new();
    let mut routes: Vec<&Route> = vec![&config.route];
    while let Some(route) = routes.pop() {
        match &route.escalation_policy {
            Some(policy) => {
                policies.insert(policy.as_str());
            }
            None => {
                reached.entry(route.receiver.clone()).or_insert_with(|| format!("the route {}", route.key));
            }
        }
        routes.extend(route.children.iter().map(Arc::as_ref));
    }
    for policy in policies.into_iter().filter_map(|p| config.policies.get(p)) {
        let by = || format!("the escalation policy {:?}", policy.name);
        for target in policy.steps.iter().flat_map(|s| &s.notify) {
            let people: BTreeSet<&str> = match target {
                Target::Receiver(name) => {
                    reached.entry(name.clone()).or_insert_with(by);
                    continue;
                }
                Target::User(name) => BTreeSet::from([name.as_str()]),
                Target::Schedule(name) | Target::Next(name) => {
                    let people = config.schedules.get(name).map(Schedule::people);
                    people.into_iter().flatten().collect()
                }
            };
            for user in people.into_iter().filter_map(|u| config.users.get(u)) {
                reached.entry(user.receiver.clone()).or_insert_with(by);
            }
        }
    }
    reached
}

/// Receivers that are reached and cannot be sent to.
pub(super) fn unsendable(path: &Path, config: &PagingConfig, reached: &Reached) -> Vec<FileError> {
    let mut out = Vec::new();
    for (name, by) in reached {
        for i in config.receivers.get(name).into_iter().flat_map(|r| &r.integrations) {
            if let IntegrationConfig::CannotSend(why) = &i.config {
                let kind = i.kind;
                let index = i.index;
                let why = format!(
                    "receiver {name:?}, which {by} reaches: {kind}_configs[{index}] cannot be sent to: {why}"
                );
                out.push(FileError::at(path, &i.place, why));
            }
        }
    }
    out
}

/// The kinds of integration that routes and steps reach.
fn kinds<'a>(config: &'a PagingConfig, reached: &Reached) -> BTreeSet<&'a str> {
    let receivers = reached.keys().filter_map(|name| config.receivers.get(name));
    receivers.flat_map(|r| r.integrations.iter().map(|i| i.kind)).collect()
}

/// Callbacks that nobody can call.
pub(super) fn callbacks(path: &Path, config: &PagingConfig, reached: &Reached) -> Vec<FileError> {
    if config.policies.is_empty() {
        return Vec::new();
    }
    let kinds = kinds(config, reached);
    let (pagerduty, slack) = (&config.callbacks.pagerduty, &config.callbacks.slack);
    let mut out = Vec::new();
    for (name, set) in [("pagerduty", pagerduty.is_some()), ("slack", slack.is_some())] {
        if set && !kinds.contains(name) {
            let why = format!(
                "callbacks.{name} has no effect: no escalation reaches a receiver with {name}_configs"
            );
            out.push(FileError::whole(path, why));
        }
    }
    out
}

/// Can people acknowledge from a page? Only the flags of the running process tell where its links lead.
pub(super) fn links(path: &Path, config: &PagingConfig, reached: &Reached) -> Vec<FileError> {
    let called_back = config.callbacks.pagerduty.is_some() && kinds(config, reached).contains("pagerduty");
    let addressed = config.acknowledge.external_url.is_some() || called_back;
    if config.policies.is_empty() || addressed {
        return Vec::new();
    }
    let why = "no way to acknowledge is sure to be reachable from a page: its link begins with \
               --web.external-url, or, without it, with the address that is listened on; set \
               acknowledge.external_url to what people's phones reach";
    vec![FileError::whole(path, why)]
}

/// Files with URLs, keys and passwords of receivers that a route or a step reaches, which are not there: what is sent
/// to them cannot go out until they are. One line for a person, or none.
pub(super) fn without_files(config: &PagingConfig) -> Option<String> {
    let base = config.path.parent().unwrap_or(Path::new(""));
    let mut out = Vec::new();
    for name in reached(config).keys() {
        let integrations = config.receivers.get(name).into_iter().flat_map(|r| &r.integrations);
        for file in integrations.flat_map(|i| &i.files).filter(|f| !base.join(f).exists()) {
            out.push(format!("{name} ({})", file.display()));
        }
    }
    (!out.is_empty()).then(|| {
        format!(
            "{}: nothing can be sent to these receivers until their files exist: {}",
            config.path.display(),
            out.join(", ")
        )
    })
}
