//! Rule groups and alerts.

use serde::Serialize;

use super::super::params::Params;
use super::super::respond::{ApiError, ErrorKind, Success};
use super::super::state::State;
use super::series_selector;
use crate::rules::{AlertView, GroupView, RuleType};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    groups: Vec<GroupView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
}

/// `/rules`.
pub(super) fn rules(state: &State, params: &Params) -> Result<Success, ApiError> {
    let kind = params.get("type").to_ascii_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(ApiError::invalid("type", format_args!("not supported value {kind:?}")));
    }
    let exclude_alerts = match params.get("exclude_alerts") {
        "" => false,
        text => text.parse::<bool>().or_else(|_| match text {
            "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
            _ => Err(ApiError::invalid("exclude_alerts", format_args!("not supported value {text:?}"))),
        })?,
    };
    let any_of = |name: &str, value: &str| {
        let mut all = params.all(name).peekable();
        all.peek().is_none() || all.any(|v| v == value)
    };
    let matchers = params.all("match[]").map(series_selector).collect::<Result<Vec<_>, _>>()?;
    let mut groups = state.parts.rules.groups();
    groups.retain(|g| any_of("file[]", &g.file) && any_of("rule_group[]", &g.name));
    for group in &mut groups {
        group.rules.retain(|rule| {
            let of_kind = match kind.as_str() {
                "alert" => rule.kind != RuleType::Recording,
                "record" => rule.kind == RuleType::Recording,
                _ => true,
            };
            of_kind
                && any_of("rule_name[]", &rule.name)
                && (matchers.is_empty()
                    || matchers.iter().any(|set| set.iter().all(|m| m.matches_labels(&rule.labels))))
        });
        if exclude_alerts {
            group.rules.iter_mut().for_each(|r| r.alerts.clear());
        }
    }
    let filtered = !kind.is_empty() || !matchers.is_empty() || params.all("rule_name[]").next().is_some();
    if filtered {
        groups.retain(|g| !g.rules.is_empty());
    }
    let next = paginate(&mut groups, params)?;
    Success::of(&Groups { groups, group_next_token: next })
}

/// Cuts the page out that `group_limit` and `group_next_token` ask for; gives the token of the next one.
fn paginate(groups: &mut Vec<GroupView>, params: &Params) -> Result<Option<String>, ApiError> {
    let limit = match params.get("group_limit") {
        "" => None,
        text => match text.parse::<usize>() {
            Ok(n) if n > 0 => Some(n),
            _ => {
                return Err(ApiError::invalid(
                    "group_limit",
                    "group_limit needs to be a valid number above 0",
                ));
            }
        },
    };
    let token_of = |g: &GroupView| {
        crate::model::Fingerprint::of([(g.file.as_str(), g.name.as_str())].into_iter()).to_string()
    };
    let token = params.get("group_next_token");
    if !token.is_empty() {
        if limit.is_none() {
            let reason = "group_limit needs to be present in order to paginate over the groups";
            return Err(ApiError::invalid("group_limit", reason));
        }
        match groups.iter().position(|g| token_of(g) == token) {
            Some(at) => drop(groups.drain(..at)),
            None => {
                let reason = "there is no such group any more: begin again without a token";
                return Err(ApiError::new(
                    ErrorKind::BadData,
                    format_args!("invalid group_next_token: {reason}"),
                ));
            }
        }
    }
    let Some(limit) = limit.filter(|n| *n < groups.len()) else { return Ok(None) };
    let next = groups.get(limit).map(token_of);
    groups.truncate(limit);
    Ok(next)
}

/// `/alerts`.
pub(super) fn alerts(state: &State) -> Result<Success, ApiError> {
    #[derive(Serialize)]
    struct Alerts {
        alerts: Vec<AlertView>,
    }
    let groups = state.parts.rules.groups();
    let alerts = groups.into_iter().flat_map(|g| g.rules).flat_map(|r| r.alerts).collect();
    Success::of(&Alerts { alerts })
}

/// `/alertmanagers`.
pub(super) fn alertmanagers(state: &State) -> Result<Success, ApiError> {
    let (active, dropped) = state.parts.lifecycle.alertmanagers();
    let list = |urls: &[String]| -> Vec<serde_json::Value> {
        urls.iter().map(|url| serde_json::json!({ "url": url })).collect()
    };
    Success::of(&serde_json::json!({
        "activeAlertmanagers": list(&active), "droppedAlertmanagers": list(&dropped),
    }))
}
