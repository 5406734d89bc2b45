//! Alerts and rules.

use super::layout::{Html, Page};
use crate::model::{Duration, Order as _, format_float_go, percent_encode};
use crate::rules::{AlertState, RuleType, RuleView, SigmaView};
use crate::web::state::State;

/// Active alerts shown of one rule.
const MAX_ALERTS: usize = 100;

/// Every alert, the firing ones first.
pub fn alerts(state: &State) -> String {
    let groups = state.parts.rules.groups();
    let mut rules: Vec<&RuleView> =
        groups.iter().flat_map(|g| &g.rules).filter(|r| r.kind != RuleType::Recording).collect();
    rules.order_by_key(|r| std::cmp::Reverse(r.state()));
    let mut h = Html::default();
    if rules.is_empty() {
        h.raw("<p>There are no alerting rules.</p>");
    }
    for rule in rules {
        alert_rule(&mut h, state, rule);
    }
    Page { title: "Alerts", here: "/alerts", bare: false }.render(state, &h)
}

/// Every rule, by group.
pub fn rules(state: &State) -> String {
    let groups = state.parts.rules.groups();
    let mut h = Html::default();
    if groups.is_empty() {
        h.raw("<p>There are no rules.</p>");
    }
    for group in &groups {
        h.raw("<h2>")
            .text(&group.name)
            .raw("</h2><p class=\"dim\"><code>")
            .text(&group.file)
            .raw("</code>, every ");
        h.show(Duration::from_ms((group.interval * 1000.0) as i64))
            .raw(", last at ")
            .time(group.last_evaluation);
        h.show(format_args!(", took {:.1} ms", group.evaluation_time * 1000.0)).raw("</p>");
        h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Group ").text(&group.name);
        h.raw("\"><table><tr><th scope=\"col\">Rule</th><th scope=\"col\">State</th><th scope=\"col\" class=\"num\">Took</th></tr>");
        for rule in &group.rules {
            h.raw("<tr><td class=\"wide\">").text(&rule.name).raw(" <span class=\"dim\">");
            h.raw(kind(rule.kind)).raw("</span><br>");
            expression(&mut h, state, rule);
            if let Some(reason) = rule.health.error() {
                h.raw("<br><span class=\"bad\">").text(reason).raw("</span>");
            }
            if let Some(sigma) = &rule.sigma {
                learning(&mut h, sigma);
            }
            let word = rule.health.as_str();
            h.raw("</td><td><span class=\"state ")
                .raw(word)
                .raw("\">")
                .raw(word)
                .raw("</span></td><td class=\"num\">");
            h.show(format_args!("{:.1} ms", rule.evaluation_time * 1000.0)).raw("</td></tr>");
        }
        h.raw("</table></div>");
    }
    Page { title: "Rules", here: "/rules", bare: false }.render(state, &h)
}

fn kind(kind: RuleType) -> &'static str {
    match kind {
        RuleType::Recording => "recording",
        RuleType::Alerting => "alert",
        RuleType::Sigma => "sigma",
    }
}

fn expression(h: &mut Html, state: &State, rule: &RuleView) {
    h.raw("<a href=\"")
        .text(&state.options.route_prefix)
        .raw("/graph?g0.expr=")
        .text(&percent_encode(&rule.query));
    if rule.kind == RuleType::Sigma {
        h.raw("&amp;band=").text(&percent_encode(&rule.name));
    }
    h.raw("\"><code>").text(&rule.query).raw("</code></a>");
}

fn alert_rule(h: &mut Html, state: &State, rule: &RuleView) {
    let worst = rule.state().as_str();
    h.raw("<section class=\"card\"><p class=\"state ").raw(worst).raw("\">").raw(worst).raw("</p><h2>");
    h.text(&rule.name).raw("</h2><p>");
    expression(h, state, rule);
    if rule.duration > 0.0 {
        h.raw(" for ").show(Duration::from_ms((rule.duration * 1000.0) as i64));
    }
    h.raw("</p>");
    if let Some(reason) = rule.health.error() {
        h.raw("<p class=\"bad\">").text(reason).raw("</p>");
    }
    if let Some(sigma) = &rule.sigma {
        record(h, sigma);
    }
    if !rule.alerts.is_empty() {
        h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Alerts of ")
            .text(&rule.name);
        h.raw("\"><table><tr><th scope=\"col\">State</th><th scope=\"col\">Labels</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"num\">Value</th></tr>");
        let mut sorted: Vec<_> = rule.alerts.iter().collect();
        sorted.order_by_key(|a| (a.state != AlertState::Firing, a.active_at));
        for alert in sorted.into_iter().take(MAX_ALERTS) {
            h.raw("<tr><td><span class=\"state ")
                .raw(alert.state.as_str())
                .raw("\">")
                .raw(alert.state.as_str());
            h.raw("</span></td><td class=\"wide\">").labels(&alert.labels);
            for name in ["summary", "description", "explanation", "page_budget"] {
                if let Some(text) = alert.annotations.get(name) {
                    h.raw("<div>").text(text).raw("</div>");
                }
            }
            h.raw("</td><td>").time(alert.active_at).raw("</td><td class=\"num\">");
            h.text(&format_float_go(alert.value)).raw("</td></tr>");
        }
        h.raw("</table></div>");
        if rule.alerts.len() > MAX_ALERTS {
            h.raw("<p class=\"dim\">and ").show(rule.alerts.len() - MAX_ALERTS).raw(" more</p>");
        }
    }
    h.raw("</section>");
}

/// What a sigma rule's pages were worth, and what is left of its budget.
fn record(h: &mut Html, sigma: &SigmaView) {
    h.raw("<p>").text(&sigma.record.text);
    let all = &sigma.record.all;
    let judged = all.useful + all.useless;
    if judged > 0 {
        h.show(format_args!(
            " {} of {judged} judged pages were useful: a coin does as well with a chance of {:.1} %.",
            all.useful,
            all.coin_p_value * 100.0
        ));
    }
    if let Some(budget) = &sigma.page_budget {
        let per = Duration::from_ms((budget.per * 1000.0) as i64);
        h.show(format_args!(" Page budget: {} of {} in {per}, {}", budget.used, budget.pages, budget.state));
        if let Some(from) = budget.pages_from {
            h.show(format_args!("; pages from {from:.1}σ"));
        }
        if budget.noise.is_some() {
            h.raw(", since noise may reach that, by what is known so far");
        }
        h.raw(".");
    }
    h.raw("</p>");
    learning(h, sigma);
}

/// When it will be able to page.
fn learning(h: &mut Html, sigma: &SigmaView) {
    let Some(learning) = &sigma.learning else { return };
    h.raw("<div class=\"dim\">Learns what is normal: ");
    h.show(format_args!("{} of {} series know enough to fire", learning.ready, learning.series));
    // A rough number: to the minute where it is minutes.
    let seconds = learning.seconds.clamp(0.0, 1e9);
    let round = if seconds >= 120.0 { 60.0 } else { 1.0 };
    let rest = Duration::from_ms(((seconds / round).ceil() * round * 1000.0) as i64);
    if seconds > 0.0 {
        h.show(format_args!("; all of them in about {rest}"));
    }
    h.raw(".</div>");
}
