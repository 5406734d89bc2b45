//! The page behind a signed link in a page: shows what it is about, and acknowledges when told to.
//!
//! Looking at it changes nothing, since mail and chat programs look at every link. No script, and it fits a phone.

use std::sync::Arc;

use hyper::header::REFERRER_POLICY;
use hyper::{Method, StatusCode};

use super::api::incidents::status_of;
use super::pages::guarded;
use super::pages::layout::{Html, Page};
use super::respond::{Answer, html, method_not_allowed};
use super::server::Asked;
use super::state::State;
use super::views::{CommandError, TokenView};
use crate::paging::incident::State as IncidentState;

/// Answers `/ack/TOKEN`.
pub(super) async fn answer(state: &Arc<State>, asked: &Asked, token: String) -> Answer {
    let act = match *asked.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return method_not_allowed("GET, HEAD, POST"),
    };
    let incidents = Arc::clone(&state.parts.incidents);
    let from = asked.origin();
    let result = tokio::task::spawn_blocking(move || match act {
        true => incidents.acknowledge_by_token(&token, &from),
        false => incidents.read_token(&token),
    })
    .await
    .unwrap_or_else(|_| Err(CommandError::Failed("the work was given up".to_owned())));
    let answer = match result {
        Ok(view) => html(StatusCode::OK, page(state, &view, act)),
        Err(e) => html(status_of(&e), error_page(state, &e)),
    };
    // The address is a key: it must not travel on in a Referer, nor stay in a shared cache.
    guarded(answer).with(REFERRER_POLICY, "no-referrer").with(hyper::header::CACHE_CONTROL, "no-store")
}

fn page(state: &State, view: &TokenView, done: bool) -> String {
    let incident = &view.incident;
    let mut h = Html::default();
    h.raw("<article class=\"card ack\"><p class=\"state ").text(incident.state.as_str()).raw("\">");
    h.text(incident.state.as_str()).raw("</p><h2>").text(&incident.title).raw("</h2>");
    if !incident.severity.is_empty() {
        h.raw("<p>Severity: <b>").text(&incident.severity).raw("</b></p>");
    }
    h.raw("<p>Since ").time(incident.started_at).raw(", ").count(incident.alerts.len(), "alert").raw(".</p>");
    h.raw("<p class=\"hint\">Paged: ").text(&view.person).raw(", step ").text(&view.step.to_string());
    h.raw(" of loop ").text(&view.round.to_string()).raw(".</p>");
    for alert in incident.alerts.iter().take(10) {
        h.raw("<p>").text(
            alert
                .annotations
                .get("summary")
                .or_else(|| alert.labels.get("alertname"))
                .map_or("", String::as_str),
        );
        if let Some(url) = alert.annotations.get("runbook_url").filter(|u| u.starts_with("http")) {
            h.raw(" <a rel=\"noreferrer\" href=\"").text(url).raw("\">Runbook</a>");
        }
        h.raw("</p>");
    }
    match incident.state {
        IncidentState::Triggered => {
            h.raw("<form method=\"post\"><button class=\"big\">Acknowledge as ").text(&view.person);
            h.raw("</button></form><p class=\"hint\">Until somebody acknowledges, the next person is called.</p>");
        }
        IncidentState::Acknowledged => {
            h.raw("<p role=\"status\">").raw(if done { "Done. " } else { "" }).raw("Acknowledged by <b>");
            if let Some(ack) = &incident.acknowledged {
                h.text(&ack.by).raw("</b> at ").time(ack.at);
            }
            h.raw(".</p>");
        }
        IncidentState::Resolved => {
            h.raw("<p role=\"status\">It is over: nothing is left to acknowledge.</p>");
        }
    }
    h.raw("</article>");
    Page { title: "Acknowledge", here: "", bare: true }.render(state, &h)
}

fn error_page(state: &State, e: &CommandError) -> String {
    let mut h = Html::default();
    h.raw("<article class=\"card ack\"><h2>This link does not work</h2><p>")
        .text(&e.to_string())
        .raw("</p></article>");
    Page { title: "Acknowledge", here: "", bare: true }.render(state, &h)
}
