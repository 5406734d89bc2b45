//! The page behind a feedback link: was this page worth it?
//!
//! Looking at it changes nothing, since mail and chat programs look at every link. No script, and it fits a phone.

use std::sync::Arc;

use hyper::header::REFERRER_POLICY;
use hyper::{Method, StatusCode};

use super::api::feedback::verdict;
use super::api::incidents::{MAX_TEXT, status_of};
use super::pages::guarded;
use super::pages::layout::{Html, Page};
use super::respond::{Answer, html, method_not_allowed};
use super::server::Asked;
use super::state::State;
use super::views::{CommandError, IncidentFeedback, TokenView};

/// Answers `/judge/TOKEN`.
pub(super) async fn answer(state: &Arc<State>, asked: &Asked, token: String) -> Answer {
    let said = match *asked.method() {
        Method::GET | Method::HEAD => None,
        Method::POST => match verdict(asked.params.get("verdict")) {
            Ok(Some(verdict)) => Some(verdict),
            _ => return finish(html(StatusCode::BAD_REQUEST, error_page(state, "Say useful or useless."))),
        },
        _ => return method_not_allowed("GET, HEAD, POST"),
    };
    let done = said.is_some();
    let said = IncidentFeedback {
        verdict: said,
        address: asked.origin(),
        comment: asked.params.get("comment").chars().take(MAX_TEXT).collect(),
        ..IncidentFeedback::default()
    };
    let incidents = Arc::clone(&state.parts.incidents);
    let result = tokio::task::spawn_blocking(move || match done {
        true => incidents.judge_by_token(&token, &said),
        false => incidents.read_judge_token(&token),
    })
    .await
    .unwrap_or_else(|_| Err(CommandError::Failed("the work was given up".to_owned())));
    finish(match result {
        Ok(view) => html(StatusCode::OK, page(state, &view, done)),
        Err(e) => html(status_of(&e), error_page(state, &e.to_string())),
    })
}

/// The address is a key: it must not travel on in a Referer, nor stay in a shared cache.
fn finish(answer: Answer) -> Answer {
    guarded(answer).with(REFERRER_POLICY, "no-referrer").with(hyper::header::CACHE_CONTROL, "no-store")
}

fn page(state: &State, view: &TokenView, done: bool) -> String {
    let incident = &view.incident;
    let mut h = Html::default();
    h.raw("<article class=\"card ack\"><h2>").text(&incident.title).raw("</h2>");
    h.raw("<p>Since ")
        .since(incident.started_at, state.now())
        .raw(", ")
        .count(incident.alerts.len(), "alert")
        .raw(".</p>");
    for text in incident.alerts.iter().take(5).filter_map(|a| a.annotations.get("explanation")) {
        h.raw("<p>").text(text).raw("</p>");
    }
    if let Some(judged) = &incident.judged {
        h.raw("<p role=\"status\">").raw(if done { "Thank you. " } else { "" }).raw("Judged <b>");
        h.text(judged.verdict).raw("</b> by ").text(&judged.by).raw(" at ").time(judged.at).raw(".</p>");
    }
    h.raw("<form method=\"post\"><p><label>Why? (may stay empty)<br><input class=\"full\" name=\"comment\" maxlength=\"1000\"></label></p>");
    h.raw(
        "<p><button class=\"big\" name=\"verdict\" value=\"useful\">It was worth waking up for</button></p>",
    );
    h.raw("<p><button class=\"big\" name=\"verdict\" value=\"useless\">It was not</button></p></form>");
    h.raw("<p class=\"hint\">The rule's record decides what becomes of the rule. The last word counts.</p></article>");
    Page { title: "Was it useful?", here: "", bare: true }.render(state, &h)
}

fn error_page(state: &State, reason: &str) -> String {
    let mut h = Html::default();
    h.raw("<article class=\"card ack\"><h2>This link does not work</h2><p>")
        .text(reason)
        .raw("</p></article>");
    Page { title: "Was it useful?", here: "", bare: true }.render(state, &h)
}
