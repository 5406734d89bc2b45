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

/// What is missing for people to acknowledge from a page.
pub(super) fn acknowledgement(path: &Path, config: &PagingConfig, reached: &Reached) -> Vec<FileError> {
    if config.policies.is_empty() {
        return Vec::new();
    }
    let kinds: BTreeSet<&str> = reached
        .keys()
        .filter_map(|name| config.receivers.get(name))
        .flat_map(|r| r.integrations.iter().map(|i| i.kind))
        .collect();
    let mut out = Vec::new();
    let mut warn = |why: &str| out.push(FileError::whole(path, why));
    let links = config.acknowledge.key_file.is_some();
    let (pagerduty, slack) = (&config.callbacks.pagerduty, &config.callbacks.slack);
    if pagerduty.is_some() && !kinds.contains("pagerduty") {
        warn("callbacks.pagerduty has no effect: no escalation reaches a receiver with pagerduty_configs");
    }
    if slack.is_some() && !kinds.contains("slack") {
        warn("callbacks.slack has no effect: no escalation reaches a receiver with slack_configs");
    }
    if slack.is_some() && !links {
        warn("callbacks.slack has no effect without acknowledge.key_file, which signs the button");
    }
    let called_back = pagerduty.is_some() && kinds.contains("pagerduty");
    if !links && !called_back {
        warn(
            "no way to acknowledge can be reached from a page: set acknowledge.key_file (links, and Slack's \
             button), or callbacks.pagerduty (only the API is left, for those who may use it)",
        );
    } else if links && config.acknowledge.external_url.is_none() {
        warn(
            "links to acknowledge begin with --web.external-url, or, without it, with the address that is \
             listened on: set acknowledge.external_url to what people's phones reach",
        );
    }
    out
}
