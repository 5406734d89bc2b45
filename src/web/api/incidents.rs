//! `/api/v1/incidents`: list, look at, acknowledge, resolve, judge.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::super::guard;
use super::super::respond::{Answer, ApiError, ErrorKind, Success, method_not_allowed, not_found, see_other};
use super::super::server::Asked;
use super::super::state::State;
use super::super::views::CommandError;
use super::{blocking, feedback, postmortem};
use crate::model::percent_encode;
use crate::paging::IncidentView;

/// How many incidents a list has when the request does not say.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;
/// Characters of what a person wrote that are kept.
pub(in crate::web) const MAX_TEXT: usize = 1_000;

impl From<CommandError> for ApiError {
    fn from(e: CommandError) -> Self {
        let kind = match e {
            CommandError::NotFound(_) => ErrorKind::NotFound,
            CommandError::Conflict(_) => ErrorKind::Conflict,
            CommandError::BadToken(_) => ErrorKind::Forbidden,
            CommandError::Failed(_) => ErrorKind::Internal,
        };
        Self::new(kind, e)
    }
}

/// What a command may say of itself, as JSON or as a form.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    by: String,
    comment: String,
}

#[derive(Clone, Copy)]
enum Command {
    Acknowledge,
    Resolve,
}

/// Answers `/api/v1/incidents/…`.
pub(super) async fn route(state: &Arc<State>, asked: &Asked, path: &[&str]) -> Answer {
    let result = match path {
        [] if asked.reads() => list(state, asked).await,
        [id] if asked.reads() => one(state, id).await,
        [id, "postmortem"] if asked.reads() => {
            return postmortem::markdown(state, asked, id).await.unwrap_or_else(|e| e.answer());
        }
        [id, "band.svg"] if asked.reads() => {
            return postmortem::picture_file(state, id).await.unwrap_or_else(|e| e.answer());
        }
        [id, word @ ("ack" | "acknowledge" | "resolve")] if asked.method() == Method::POST => {
            let command = if *word == "resolve" { Command::Resolve } else { Command::Acknowledge };
            match act(state, asked, id, command).await {
                // A form of one of our pages: back to where the person was.
                Ok(_) if asked.params.get("page") == "overview" => {
                    return see_other(&format!("{}/", state.options.route_prefix));
                }
                Ok(_) if asked.params.get("page") == "incident" => return to_page(state, id),
                Ok(incident) => Success::of(&incident),
                Err(e) => Err(e),
            }
        }
        [id, "judge"] if asked.method() == Method::POST => match feedback::judge(state, asked, id).await {
            Ok(_) if asked.params.get("page") == "incident" => return to_page(state, id),
            said => said,
        },
        [] | [_] | [_, "postmortem" | "band.svg"] => return method_not_allowed("GET"),
        [_, "ack" | "acknowledge" | "resolve" | "judge"] => return method_not_allowed("POST"),
        _ => return not_found(),
    };
    match result {
        Ok(success) => success.answer(),
        Err(e) => e.answer(),
    }
}

/// To the page of an incident.
fn to_page(state: &State, id: &str) -> Answer {
    see_other(&format!("{}/incidents/{}", state.options.route_prefix, percent_encode(id)))
}

async fn list(state: &Arc<State>, asked: &Asked) -> Result<Success, ApiError> {
    let limit = asked.params.limit("limit")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let wanted = asked.params.get("state").to_ascii_lowercase();
    if !matches!(wanted.as_str(), "" | "any" | "all" | "open" | "triggered" | "acknowledged" | "resolved") {
        return Err(ApiError::invalid("state", format_args!("not supported value {wanted:?}")));
    }
    let resolved_too = matches!(wanted.as_str(), "any" | "all" | "resolved");
    let incidents = Arc::clone(&state.parts.incidents);
    let mut all = blocking(move || Ok(incidents.list(resolved_too, MAX_LIMIT)?)).await?;
    if matches!(wanted.as_str(), "triggered" | "acknowledged" | "resolved") {
        all.retain(|i| i.state.as_str() == wanted);
    }
    all.truncate(limit);
    Success::of(&serde_json::json!({ "incidents": all }))
}

async fn one(state: &Arc<State>, id: &str) -> Result<Success, ApiError> {
    let (incidents, id) = (Arc::clone(&state.parts.incidents), id.to_owned());
    Success::of(&blocking(move || Ok(incidents.get(&id)?)).await?)
}

async fn act(
    state: &Arc<State>,
    asked: &Asked,
    id: &str,
    command: Command,
) -> Result<IncidentView, ApiError> {
    guard::check(state.posture(), asked.headers()).map_err(|e| ApiError::new(ErrorKind::Forbidden, e))?;
    let mut said = said(asked)?;
    by_whom(asked, &mut said.by, &mut said.comment);
    let (incidents, id, from) = (Arc::clone(&state.parts.incidents), id.to_owned(), asked.origin());
    blocking(move || match command {
        Command::Acknowledge => Ok(incidents.acknowledge(&id, &said.by, &from, &said.comment)?),
        Command::Resolve => Ok(incidents.resolve(&id, &said.by, &from, &said.comment)?),
    })
    .await
}

/// Who says something, and what: within bounds, and who authenticated is who said it, whatever the body says.
pub(super) fn by_whom(asked: &Asked, by: &mut String, comment: &mut String) {
    if let Some(user) = &asked.user {
        by.clone_from(user);
    }
    if by.is_empty() {
        "api".clone_into(by);
    }
    for text in [by, comment] {
        if let Some((at, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(at);
        }
    }
}

fn said(asked: &Asked) -> Result<Said, ApiError> {
    let text = asked.body.trim_ascii_start();
    if text.starts_with(b"{") {
        return serde_json::from_slice(text)
            .map_err(|e| ApiError::new(ErrorKind::BadData, format_args!("bad body: {e}")));
    }
    let get = |name| asked.params.get(name).to_owned();
    Ok(Said { by: get("by"), comment: get("comment") })
}

/// The status that a failed command's page has.
pub(in crate::web) fn status_of(e: &CommandError) -> StatusCode {
    ApiError::from(e.clone()).kind.status()
}
