//! What people say of pages and of what is normal: `/api/v1/incidents/ID/judge` and `/api/v1/rules/feedback`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::super::guard;
use super::super::params::parse_time;
use super::super::respond::{ApiError, ErrorKind, Success};
use super::super::server::Asked;
use super::super::state::State;
use super::super::views::{Baseline, IncidentFeedback, RuleFeedback};
use super::blocking;
use super::incidents::by_whom;
use crate::model::{Labels, Timestamp, tree};
use crate::paging::incident::Verdict;

/// The body, as JSON or as a form; what is empty was not said.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    verdict: String,
    baseline: String,
    from: Value,
    to: Value,
    by: String,
    comment: String,
    group: String,
    rule: String,
    series: std::collections::BTreeMap<String, String>,
}

/// A time as the API takes it: Unix seconds, as number or text, or RFC 3339.
fn moment(name: &str, said: &Value) -> Result<Option<Timestamp>, ApiError> {
    let text = match said {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let wrong = || ApiError::invalid(name, format_args!("cannot parse {text:?} to a valid timestamp"));
    parse_time(&text).map(Some).ok_or_else(wrong)
}

/// `POST /api/v1/incidents/ID/judge`.
pub(super) async fn judge(state: &Arc<State>, asked: &Asked, id: &str) -> Result<Success, ApiError> {
    let said = said(state, asked)?;
    let (from, to) = interval(&said)?;
    if !said.rule.is_empty() || !said.group.is_empty() || !said.series.is_empty() {
        return Err(ApiError::new(
            ErrorKind::BadData,
            "rule, group and series belong to /api/v1/rules/feedback",
        ));
    }
    let feedback = IncidentFeedback {
        verdict: verdict(&said.verdict)?,
        baseline: baseline(&said.baseline)?,
        from,
        to,
        by: said.by,
        address: asked.origin(),
        comment: said.comment,
    };
    if feedback.verdict.is_none() && feedback.baseline.is_none() {
        let reason = "say a verdict (useful or useless), a baseline (incident or new_normal), or both";
        return Err(ApiError::new(ErrorKind::BadData, reason));
    }
    let (incidents, id) = (Arc::clone(&state.parts.incidents), id.to_owned());
    let (incident, taken) = blocking(move || Ok(incidents.judge(&id, &feedback)?)).await?;
    // What became of the feedback of this very request stands beside what the incident has.
    let mut answer = serde_json::json!(incident);
    answer["feedback"] = serde_json::json!(taken);
    Success::of(&answer)
}

/// `POST /api/v1/rules/feedback`.
pub(super) async fn rule(state: &Arc<State>, asked: &Asked) -> Result<Success, ApiError> {
    let said = said(state, asked)?;
    let (from, to) = interval(&said)?;
    let missing = |what: &str| ApiError::new(ErrorKind::BadData, format_args!("{what} is missing"));
    if said.rule.is_empty() {
        return Err(missing("rule"));
    }
    if !said.verdict.is_empty() {
        return Err(ApiError::new(
            ErrorKind::BadData,
            "a verdict is said of an incident: /api/v1/incidents/ID/judge",
        ));
    }
    let baseline = baseline(&said.baseline)?.ok_or_else(|| missing("baseline (incident or new_normal)"))?;
    let from = match (baseline, from) {
        (_, Some(from)) => from,
        (Baseline::NewNormal, None) => 0,
        (Baseline::Incident, None) => return Err(missing("from")),
    };
    let feedback = RuleFeedback {
        group: Some(said.group).filter(|g| !g.is_empty()),
        rule: said.rule,
        series: Some(said.series).filter(|s| !s.is_empty()).map(|s| Labels::from_pairs(&s)),
        baseline,
        from,
        to: to.unwrap_or_else(|| state.now()),
    };
    let rules = Arc::clone(&state.parts.rules);
    Success::of(&blocking(move || Ok(rules.feedback(&feedback)?)).await?)
}

fn interval(said: &Said) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
    let (from, to) = (moment("from", &said.from)?, moment("to", &said.to)?);
    match (from, to) {
        (Some(from), Some(to)) if to < from => {
            Err(ApiError::new(ErrorKind::BadData, "to must not be before from"))
        }
        both => Ok(both),
    }
}

/// The word of a verdict; none when it is empty.
pub(in crate::web) fn verdict(word: &str) -> Result<Option<Verdict>, ApiError> {
    match word {
        "" => Ok(None),
        "useful" => Ok(Some(Verdict::Useful)),
        "useless" => Ok(Some(Verdict::Useless)),
        other => Err(ApiError::invalid("verdict", format_args!("want useful or useless, not {other:?}"))),
    }
}

fn baseline(word: &str) -> Result<Option<Baseline>, ApiError> {
    match word {
        "" => Ok(None),
        "incident" => Ok(Some(Baseline::Incident)),
        "new_normal" => Ok(Some(Baseline::NewNormal)),
        other => {
            Err(ApiError::invalid("baseline", format_args!("want incident or new_normal, not {other:?}")))
        }
    }
}

fn said(state: &State, asked: &Asked) -> Result<Said, ApiError> {
    guard::check(state.posture(), asked.headers()).map_err(|e| ApiError::new(ErrorKind::Forbidden, e))?;
    let text = asked.body.trim_ascii_start();
    let mut said: Said = if text.starts_with(b"{") {
        serde_json::from_slice(text)
            .map_err(|e| ApiError::new(ErrorKind::BadData, format_args!("bad body: {e}")))?
    } else {
        let get = |name| asked.params.get(name).to_owned();
        let labels = asked.params.all("series").filter_map(|pair| pair.split_once('='));
        Said {
            verdict: get("verdict"),
            baseline: get("baseline"),
            from: get("from").into(),
            to: get("to").into(),
            by: get("by"),
            comment: get("comment"),
            group: get("group"),
            rule: get("rule"),
            series: tree(labels.map(|(n, v)| (n.to_owned(), v.to_owned()))),
        }
    };
    by_whom(asked, &mut said.by, &mut said.comment);
    Ok(said)
}
