//! The first page: is everything well, and what is to be done?

use std::sync::Arc;

use super::layout::{Html, Page, counted};
use crate::model::percent_encode;
use crate::paging::IncidentView;
use crate::paging::incident::State as IncidentState;
use crate::rules::AlertState;
use crate::scrape::TargetHealth;
use crate::web::state::State;

/// Incidents on the page.
const INCIDENTS: usize = 50;

pub async fn page(state: &Arc<State>) -> String {
    let targets = state.parts.targets.active();
    let down: Vec<_> = targets.iter().filter(|t| t.health == TargetHealth::Down).collect();
    let groups = state.parts.rules.groups();
    let alerts: Vec<_> = groups.iter().flat_map(|g| &g.rules).flat_map(|r| &r.alerts).collect();
    let firing: Vec<_> = alerts.iter().filter(|a| a.state == AlertState::Firing).collect();
    let pending = alerts.len() - firing.len();
    let incidents = Arc::clone(&state.parts.incidents);
    let incidents = tokio::task::spawn_blocking(move || incidents.list(false, INCIDENTS)).await;

    let mut h = Html::default();
    if (state.parts.pager)().is_some_and(|p| !p.is_durable()) {
        h.raw("<p class=\"bad\" role=\"alert\">The ledger cannot be written: pages go out from memory, and a restart ")
            .raw("would forget the incidents. Look at the disk.</p>");
    }
    h.raw("<div class=\"tiles\">");
    tile(
        &mut h,
        state,
        "/targets",
        "Targets up",
        &format!("{} / {}", targets.len() - down.len(), targets.len()),
        !down.is_empty(),
    );
    tile(&mut h, state, "/alerts", "Alerts firing", &firing.len().to_string(), !firing.is_empty());
    tile(&mut h, state, "/alerts", "Alerts pending", &pending.to_string(), false);
    let series = state.parts.storage.series_count();
    tile(&mut h, state, "/status", "Series", &series.to_string(), false);
    h.raw("</div><h2>Open incidents</h2>");
    match incidents {
        Ok(Ok(list)) if list.is_empty() => {
            h.raw("<p>None: nobody is being called.</p>");
        }
        Ok(Ok(list)) => list.iter().for_each(|i| incident(&mut h, state, i)),
        Ok(Err(e)) => {
            h.raw("<p class=\"bad\" role=\"alert\">Incidents cannot be read: ").show(e).raw("</p>");
        }
        Err(_) => {
            h.raw("<p class=\"bad\" role=\"alert\">Incidents cannot be read.</p>");
        }
    }
    h.raw("<h2>Firing alerts</h2>");
    if firing.is_empty() {
        h.raw("<p>None.</p>");
    } else {
        h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Firing alerts\"><table><tr><th scope=\"col\">Alert</th><th scope=\"col\">Labels</th><th scope=\"col\">Since</th></tr>");
        for alert in firing {
            h.raw("<tr><td>").text(alert.labels.get("alertname").unwrap_or_default()).raw("</td><td>");
            h.labels(&alert.labels).raw("</td><td>").time(alert.active_at).raw("</td></tr>");
        }
        h.raw("</table></div>");
    }
    if !down.is_empty() {
        h.raw("<h2>Targets down</h2><ul>");
        for target in down {
            h.raw("<li><code>")
                .text(&target.scrape_url)
                .raw("</code> ")
                .text(&target.last_error)
                .raw("</li>");
        }
        h.raw("</ul>");
    }
    Page { title: "Overview", here: "/", bare: false }.render(state, &h)
}

fn tile(h: &mut Html, state: &State, path: &str, name: &str, value: &str, bad: bool) {
    h.raw("<a class=\"card\" href=\"").text(&state.options.route_prefix).raw(path).raw("\"><b");
    h.raw(if bad { " class=\"bad\">" } else { ">" }).text(value).raw("</b>").raw(name).raw("</a>");
}

fn incident(h: &mut Html, state: &State, i: &IncidentView) {
    h.raw("<article class=\"card\"><p class=\"state ").raw(i.state.as_str()).raw("\">").raw(i.state.as_str());
    h.raw("</p><h3><a href=\"").text(&state.options.route_prefix).raw("/incidents/");
    h.text(&percent_encode(&i.id)).raw("\">").text(&i.title).raw("</a></h3><p>");
    if !i.severity.is_empty() {
        h.raw("Severity <b>").text(&i.severity).raw("</b>. ");
    }
    h.raw("Since ").since(i.started_at, state.now()).raw(", ").count(i.alerts.len(), "alert").raw(". ");
    if let Some(ack) = i.acknowledged.as_ref().filter(|_| i.state == IncidentState::Acknowledged) {
        h.raw("Acknowledged by <b>").text(&ack.by).raw("</b>. ");
    } else {
        h.raw("Step ").show(i.step).raw(", loop ").show(i.round).raw(". ");
        if let Some(at) = i.next_step_at {
            h.raw("Next step at ").time(at).raw(". ");
        }
    }
    if !i.pages.is_empty() {
        h.raw("Notified: ").text(&counted(&i.notified())).raw(".");
    }
    h.raw("</p><p>").pairs(&i.group_labels).raw("</p>");
    if i.state == IncidentState::Triggered {
        button(h, state, i, "ack", "Acknowledge");
    }
    button(h, state, i, "resolve", "Resolve");
    h.raw("</article>");
}

fn button(h: &mut Html, state: &State, i: &IncidentView, command: &str, name: &str) {
    h.raw("<form method=\"post\" action=\"").text(&state.options.route_prefix).raw("/api/v1/incidents/");
    h.text(&percent_encode(&i.id)).raw("/").raw(command);
    h.raw("\"><input type=\"hidden\" name=\"page\" value=\"overview\"><input type=\"hidden\" name=\"by\" value=\"web page\">");
    h.raw(if command == "ack" { "<button class=\"primary\"" } else { "<button" })
        .raw(" aria-label=\"")
        .raw(name)
        .raw(": ")
        .text(&i.title)
        .raw("\">")
        .raw(name)
        .raw("</button></form> ");
}
