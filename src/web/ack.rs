//! The page behind a signed link in a page: shows what it is about, and acknowledges when told to.
//!
//! Looking at it changes nothing, since mail and chat programs look at every link. No script, and it fits a phone.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::header::REFERRER_POLICY;
use hyper::{Method, StatusCode};

use super::api::incidents::{MAX_TEXT, status_of};
use super::pages::guarded;
use super::pages::layout::{Html, Page, is_link};
use super::respond::{Answer, html, method_not_allowed};
use super::server::Asked;
use super::state::State;
use super::views::{CommandError, TokenView};
use crate::model::percent_encode;
use crate::paging::IncidentView;
use crate::paging::incident::State as IncidentState;

/// Alerts that are shown.
const ALERTS: usize = 10;

/// Answers `/ack/TOKEN`.
pub(super) async fn answer(state: &Arc<State>, asked: &Asked, token: String) -> Answer {
    let act = match *asked.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return method_not_allowed("GET, HEAD, POST"),
    };
    let incidents = Arc::clone(&state.parts.incidents);
    let from = asked.origin();
    let comment: String = asked.params.get("comment").chars().take(MAX_TEXT).collect();
    let result = tokio::task::spawn_blocking(move || match act {
        true => incidents.acknowledge_by_token(&token, &from, &comment),
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
    h.raw("<p>Since ").since(incident.started_at, state.now()).raw(", ");
    h.count(incident.alerts.len(), "alert").raw(".</p>");
    alerts(&mut h, incident);
    match incident.state {
        IncidentState::Triggered => {
            h.raw("<form method=\"post\"><p><button class=\"big\">Acknowledge as ").text(&view.person);
            h.raw("</button></p><p><label>A word to the others (may stay empty)<br>");
            h.raw("<input class=\"full\" name=\"comment\" maxlength=\"1000\"></label></p></form><p class=\"hint\">");
            match incident.next_step_at {
                Some(at) => h.raw("Until somebody does, the escalation goes on at ").time(at).raw("."),
                None => h.raw("Until somebody does, the escalation goes on."),
            };
            h.raw(" You were paged in step ").show(view.step).raw(" of loop ").show(view.round).raw(".</p>");
        }
        IncidentState::Acknowledged => {
            h.raw("<p role=\"status\">").raw(if done { "Done. " } else { "" }).raw("Acknowledged");
            if let Some(ack) = &incident.acknowledged {
                h.raw(" by <b>").text(&ack.by).raw("</b> at ").time(ack.at).raw(".</p>");
                if !ack.comment.is_empty() {
                    h.raw("<blockquote>").text(&ack.comment).raw("</blockquote>");
                }
            }
        }
        IncidentState::Resolved => {
            h.raw("<p role=\"status\">It is over: nothing is left to acknowledge.</p>");
        }
    }
    h.raw("<p><a href=\"").text(&state.options.route_prefix).raw("/incidents/");
    h.text(&percent_encode(&incident.id)).raw("\">Everything about it</a></p></article>");
    Page { title: "Acknowledge", here: "", bare: true }.render(state, &h)
}

/// What each alert says, but for what stands above already or was said by another one.
fn alerts(h: &mut Html, incident: &IncidentView) {
    let mut said = BTreeSet::from([incident.title.as_str()]);
    for alert in incident.alerts.iter().take(ALERTS) {
        let summary = alert.annotations.get("summary").or_else(|| alert.labels.get("alertname"));
        let more = ["description", "explanation", "page_budget"].map(|n| alert.annotations.get(n));
        for text in std::iter::once(summary).chain(more).flatten() {
            if said.insert(text) {
                h.raw("<p>").text(text).raw("</p>");
            }
        }
        if let Some(url) = alert.annotations.get("runbook_url").filter(|u| is_link(u) && said.insert(u)) {
            h.raw("<p><a rel=\"noreferrer\" href=\"").text(url).raw("\">Runbook</a></p>");
        }
    }
    if incident.alerts.len() > ALERTS {
        h.raw("<p>And ").show(incident.alerts.len() - ALERTS).raw(" more.</p>");
    }
}

fn error_page(state: &State, e: &CommandError) -> String {
    let mut h = Html::default();
    h.raw("<article class=\"card ack\"><h2>This link does not work</h2><p>")
        .text(&e.to_string())
        .raw("</p></article>");
    Page { title: "Acknowledge", here: "", bare: true }.render(state, &h)
}
