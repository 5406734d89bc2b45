//! Alerts and rules.

use serde_json::Value;

use super::layout::{Html, Page};
use crate::model::{Duration, format_float_go};
use crate::web::params::encode;
use crate::web::state::State;
use crate::web::views::{AlertState, RuleHealth, RuleKind, RuleView};

/// Active alerts shown of one rule.
const MAX_ALERTS: usize = 100;

/// Every alert, the firing ones first.
pub fn alerts(state: &State) -> String {
    let groups = state.parts.rules.groups();
    let mut rules: Vec<&RuleView> =
        groups.iter().flat_map(|g| &g.rules).filter(|r| r.kind != RuleKind::Recording).collect();
    rules.sort_by_key(|r| std::cmp::Reverse(r.state()));
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
        h.raw("\"><table><tr><th scope=\"col\">Rule</th><th scope=\"col\">Expression</th><th scope=\"col\">State</th><th scope=\"col\" class=\"num\">Took</th></tr>");
        for rule in &group.rules {
            h.raw("<tr><td>")
                .text(&rule.name)
                .raw("<br><span class=\"dim\">")
                .raw(kind(rule.kind))
                .raw("</span></td><td>");
            expression(&mut h, state, rule);
            if !rule.last_error.is_empty() {
                h.raw("<br><span class=\"bad\">").text(&rule.last_error).raw("</span>");
            }
            let word = match rule.health {
                RuleHealth::Good => "ok",
                RuleHealth::Bad => "err",
                RuleHealth::Unknown => "unknown",
            };
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

fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Recording => "recording",
        RuleKind::Alerting => "alert",
        RuleKind::Sigma => "sigma",
    }
}

fn expression(h: &mut Html, state: &State, rule: &RuleView) {
    h.raw("<a href=\"").text(&state.options.route_prefix).raw("/graph?g0.expr=").text(&encode(&rule.query));
    if rule.kind == RuleKind::Sigma {
        h.raw("&amp;band=").text(&encode(&rule.name));
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
    if !rule.last_error.is_empty() {
        h.raw("<p class=\"bad\">").text(&rule.last_error).raw("</p>");
    }
    if let Some(sigma) = &rule.sigma {
        record(h, sigma);
    }
    if !rule.alerts.is_empty() {
        h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Alerts of ")
            .text(&rule.name);
        h.raw("\"><table><tr><th scope=\"col\">State</th><th scope=\"col\">Labels</th><th scope=\"col\">Since</th><th scope=\"col\" class=\"num\">Value</th></tr>");
        let mut sorted: Vec<_> = rule.alerts.iter().collect();
        sorted.sort_by_key(|a| (a.state != AlertState::Firing, a.active_at));
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
fn record(h: &mut Html, sigma: &Value) {
    let Some(text) = sigma["record"]["text"].as_str() else { return };
    h.raw("<p>").text(text);
    let all = &sigma["record"]["all"];
    let (useful, useless) = (all["useful"].as_u64().unwrap_or(0), all["useless"].as_u64().unwrap_or(0));
    if let Some(p) = all["coinPValue"].as_f64().filter(|_| useful + useless > 0) {
        h.show(format_args!(
            " {useful} of {} judged pages were useful: a coin does as well with a chance of {:.1} %.",
            useful + useless,
            p * 100.0
        ));
    }
    let budget = &sigma["pageBudget"];
    if let (Some(pages), Some(per)) = (budget["pages"].as_u64(), budget["per"].as_f64()) {
        let used = budget["used"].as_u64().unwrap_or(0);
        h.show(format_args!(
            " Page budget: {used} of {pages} in {}, ",
            Duration::from_ms((per * 1000.0) as i64)
        ));
        h.text(budget["state"].as_str().unwrap_or_default());
        if let Some(from) = budget["pagesFrom"].as_f64() {
            h.show(format_args!("; pages from {from:.1}σ"));
        }
        h.raw(".");
    }
    h.raw("</p>");
}
