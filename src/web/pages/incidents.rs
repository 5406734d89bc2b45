//! Incidents: those of the last time, and one of them with all that happened.

use std::sync::Arc;

use super::layout::{Html, Page, counted, is_link};
use crate::model::{Timestamp, percent_encode};
use crate::paging::IncidentView;
use crate::paging::incident::State as IncidentState;
use crate::web::api::postmortem;
use crate::web::state::State;

/// Incidents of the list.
const LISTED: usize = 200;
/// Alerts that are shown of an incident.
const ALERTS: usize = 50;

/// The newest incidents, also those that are over.
pub async fn list(state: &Arc<State>) -> String {
    let incidents = Arc::clone(&state.parts.incidents);
    let found = tokio::task::spawn_blocking(move || incidents.list(true, LISTED)).await;
    let mut h = Html::default();
    match found {
        Ok(Ok(list)) if list.is_empty() => {
            h.raw("<p>None so far.</p>");
        }
        Ok(Ok(list)) => table(&mut h, state, &list),
        Ok(Err(e)) => {
            h.raw("<p class=\"bad\" role=\"alert\">Incidents cannot be read: ").show(e).raw("</p>");
        }
        Err(_) => {
            h.raw("<p class=\"bad\" role=\"alert\">Incidents cannot be read.</p>");
        }
    }
    Page { title: "Incidents", here: "/incidents", bare: false }.render(state, &h)
}

fn table(h: &mut Html, state: &State, list: &[IncidentView]) {
    h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Incidents\"><table><tr>");
    for name in ["State", "Incident", "Since", "Severity", "Paged", "Judged"] {
        h.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    h.raw("</tr>");
    for i in list {
        h.raw("<tr><td><span class=\"state ").raw(i.state.as_str()).raw("\">").raw(i.state.as_str());
        h.raw("</span></td><td class=\"wide\"><a href=\"")
            .text(&state.options.route_prefix)
            .raw("/incidents/");
        h.text(&percent_encode(&i.id)).raw("\">").text(&i.title).raw("</a>");
        h.raw(if i.drill { " (drill)" } else { "" }).raw("</td><td>").time(i.started_at).raw("</td><td>");
        h.text(&i.severity).raw("</td><td>").text(&counted(&i.notified())).raw("</td><td>");
        h.raw(i.judged.as_ref().map_or("", |j| j.verdict)).raw("</td></tr>");
    }
    h.raw("</table></div>");
}

/// One incident; the error is a page too.
pub async fn one(state: &Arc<State>, id: &str) -> Result<String, String> {
    let (incidents, wanted) = (Arc::clone(&state.parts.incidents), id.to_owned());
    let found = tokio::task::spawn_blocking(move || incidents.get(&wanted)).await;
    let incident = match found {
        Ok(Ok(incident)) => incident,
        Ok(Err(e)) => return Err(missing(state, &e.to_string())),
        Err(_) => return Err(missing(state, "the incident cannot be read")),
    };
    let picture = match postmortem::record(state, id).await {
        Ok(record) => postmortem::band(state, &record).await,
        Err(_) => None,
    };
    let mut h = Html::default();
    let prefix = &state.options.route_prefix;
    head(&mut h, &incident);
    explanations(&mut h, &incident);
    if incident.state != IncidentState::Resolved {
        commands(&mut h, prefix, &incident);
    }
    facts(&mut h, &incident, state.now());
    if let Some(svg) = picture {
        h.raw("<h2>The signal</h2><div class=\"scroll newest\" tabindex=\"0\" role=\"region\" aria-label=\"The signal\">");
        h.raw(&svg).raw("</div>");
    }
    judgement(&mut h, prefix, &incident);
    pages(&mut h, &incident);
    timeline(&mut h, &incident);
    alerts(&mut h, &incident);
    h.raw("<p><a href=\"").text(prefix).raw("/api/v1/incidents/").text(&percent_encode(&incident.id));
    h.raw("/postmortem\">Begin a postmortem (Markdown)</a></p>");
    let title = format!("Incident {}", incident.id);
    Ok(Page { title: &title, here: "/incidents", bare: false }.render(state, &h))
}

fn missing(state: &State, why: &str) -> String {
    let mut h = Html::default();
    h.raw("<p class=\"bad\" role=\"alert\">").text(why).raw("</p>");
    Page { title: "Incident", here: "/incidents", bare: false }.render(state, &h)
}

fn head(h: &mut Html, i: &IncidentView) {
    h.raw("<p><span class=\"state ").raw(i.state.as_str()).raw("\">").raw(i.state.as_str());
    h.raw("</span> <b>").text(&i.title).raw("</b>").raw(if i.drill { " (drill)" } else { "" }).raw("</p>");
}

fn facts(h: &mut Html, i: &IncidentView, now: Timestamp) {
    h.raw("<dl><dt>Since</dt><dd>").since(i.started_at, now).raw("</dd>");
    if !i.severity.is_empty() {
        h.raw("<dt>Severity</dt><dd>").text(&i.severity).raw("</dd>");
    }
    h.raw("<dt>Policy</dt><dd>").text(&i.policy).raw("</dd>");
    if let Some(at) = i.next_step_at {
        h.raw("<dt>Next</dt><dd>step ").show(i.step).raw(" of loop ").show(i.round).raw(", at ").time(at);
        h.raw("</dd>");
    }
    if let Some(ack) = &i.acknowledged {
        h.raw("<dt>Acknowledged</dt><dd>by ").text(&ack.by).raw(", ").time(ack.at);
        comment(h, &ack.comment);
        h.raw("</dd>");
    }
    if let Some(at) = i.resolved_at {
        let by = if i.resolved_by.is_empty() { "itself" } else { &i.resolved_by };
        h.raw("<dt>Resolved</dt><dd>by ").text(by).raw(", ").time(at);
        comment(h, &i.resolved_comment);
        h.raw("</dd>");
    }
    if !i.group_labels.is_empty() {
        h.raw("<dt>Labels</dt><dd>").pairs(&i.group_labels).raw("</dd>");
    }
    h.raw("</dl>");
}

fn comment(h: &mut Html, text: &str) {
    if !text.is_empty() {
        h.raw(": ").text(text);
    }
}

/// What the alerts say of themselves, and what to do about it.
fn explanations(h: &mut Html, i: &IncidentView) {
    let mut seen = std::collections::BTreeSet::new();
    // What was said last of something that is over is mild, and misleads: the timeline has what was said at first.
    let names: &[&str] = match i.state {
        IncidentState::Resolved => &["description"],
        _ => &["description", "explanation", "page_budget"],
    };
    for &name in names {
        for text in i.alerts.iter().filter_map(|a| a.annotations.get(name)).take(ALERTS) {
            if seen.insert(text) {
                h.raw("<p>").text(text).raw("</p>");
            }
        }
    }
    for url in i.alerts.iter().filter_map(|a| a.annotations.get("runbook_url")).take(ALERTS) {
        if is_link(url) && seen.insert(url) {
            h.raw("<p><a rel=\"noreferrer\" href=\"").text(url).raw("\">Runbook</a></p>");
        }
    }
}

/// What it was worth, once somebody knows.
fn judgement(h: &mut Html, prefix: &str, i: &IncidentView) {
    h.raw("<h2>Was it worth a page?</h2><p>");
    if let Some(j) = &i.judged {
        h.raw("Judged <b>").text(j.verdict).raw("</b>");
        if !j.by.is_empty() {
            h.raw(" by ").text(&j.by);
        }
        h.raw(". The last word counts. ");
    }
    verdict(h, prefix, i, "useful", "Useful");
    verdict(h, prefix, i, "useless", "Useless");
    h.raw("</p>");
}

fn pages(h: &mut Html, i: &IncidentView) {
    h.raw("<h2>Who was paged</h2>");
    if i.pages.is_empty() {
        h.raw("<p>Nobody.</p>");
        return;
    }
    h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Pages\"><table><tr>");
    for name in ["When (UTC)", "Who", "Arrived", "By", "Loop, step"] {
        h.raw("<th scope=\"col\">").raw(name).raw("</th>");
    }
    h.raw("</tr>");
    for p in &i.pages {
        h.raw("<tr><td>").clock(p.at, i.started_at).raw("</td><td class=\"nowrap\">");
        h.text(if p.user.is_empty() { &p.target } else { &p.user });
        h.raw(if p.automation { " (automation)" } else { "" }).raw("</td><td>");
        for a in &p.arrivals {
            match a.at {
                Some(at) => {
                    h.raw("<span class=\"good\">after ").show((at - p.at).max(0)).raw(" ms</span> ");
                }
                None => {
                    h.raw("<span class=\"bad\">not yet: ").text(&a.error).raw("</span> ");
                }
            }
        }
        h.raw("</td><td class=\"nowrap\">").text(&p.receiver).raw("</td><td>");
        h.show(p.round).raw(", ").show(p.step).raw("</td></tr>");
    }
    h.raw("</table></div>");
}

fn timeline(h: &mut Html, i: &IncidentView) {
    h.raw("<h2>Timeline</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline\"><table>");
    h.raw("<tr><th scope=\"col\">When (UTC)</th><th scope=\"col\">What</th></tr>");
    for e in &i.history {
        h.raw("<tr><td>").clock(e.at, i.started_at).raw("</td><td>").text(&e.what).raw("</td></tr>");
    }
    h.raw("</table></div>");
}

fn alerts(h: &mut Html, i: &IncidentView) {
    h.raw("<h2>Alerts</h2>");
    for a in i.alerts.iter().take(ALERTS) {
        h.raw("<article class=\"card\"><h3>").text(a.labels.get("alertname").map_or("alert", String::as_str));
        h.raw("</h3><p>").pairs(&a.labels).raw("</p><dl>");
        for (name, value) in a.annotations.iter().filter(|(n, _)| *n != "explanation") {
            h.raw("<dt>").text(name).raw("</dt><dd>").link(value).raw("</dd>");
        }
        h.raw("<dt>since</dt><dd>").time(a.starts_at).raw("</dd></dl></article>");
    }
}

/// Acknowledge, resolve, and a word to it.
fn commands(h: &mut Html, prefix: &str, i: &IncidentView) {
    h.raw("<form method=\"post\" action=\"");
    action(h, prefix, i, if i.state == IncidentState::Triggered { "ack" } else { "resolve" });
    h.raw("<p><label>Comment (may stay empty)<br><input class=\"full\" name=\"comment\" maxlength=\"1000\"></label></p><p>");
    if i.state == IncidentState::Triggered {
        h.raw("<button class=\"primary\">Acknowledge</button> <button formaction=\"");
        h.text(prefix)
            .raw("/api/v1/incidents/")
            .text(&percent_encode(&i.id))
            .raw("/resolve\">Resolve</button>");
    } else {
        h.raw("<button>Resolve</button>");
    }
    h.raw("</p></form>");
}

/// The rest of a form's first tag, and what every form says.
fn action(h: &mut Html, prefix: &str, i: &IncidentView, command: &str) {
    h.text(prefix).raw("/api/v1/incidents/").text(&percent_encode(&i.id)).raw("/").raw(command);
    h.raw("\"><input type=\"hidden\" name=\"page\" value=\"incident\">");
    h.raw("<input type=\"hidden\" name=\"by\" value=\"web page\">");
}

fn verdict(h: &mut Html, prefix: &str, i: &IncidentView, verdict: &str, name: &str) {
    h.raw("<form method=\"post\" action=\"");
    action(h, prefix, i, "judge");
    h.raw("<input type=\"hidden\" name=\"verdict\" value=\"").raw(verdict).raw("\"><button>");
    h.raw(name).raw("</button></form> ");
}
