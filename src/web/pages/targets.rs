//! The targets.

use super::layout::{Html, Page};
use crate::model::Order as _;
use crate::web::state::State;

pub fn page(state: &State) -> String {
    let mut targets = state.parts.targets.active();
    targets.order_by(|a, b| (&a.scrape_pool, &a.scrape_url).cmp(&(&b.scrape_pool, &b.scrape_url)));
    let mut h = Html::default();
    if targets.is_empty() {
        h.raw("<p>No targets are configured or discovered.</p>");
    } else {
        h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Targets\"><table><tr><th scope=\"col\">Job</th><th scope=\"col\">Target</th><th scope=\"col\">State</th>");
        h.raw(
            "<th scope=\"col\">Labels</th><th scope=\"col\">Last scrape</th><th scope=\"col\" class=\"num\">Took</th></tr>",
        );
    }
    for t in &targets {
        h.raw("<tr><td>").text(&t.scrape_pool).raw("</td><td><code>").text(&t.scrape_url).raw("</code>");
        if !t.last_error.is_empty() {
            h.raw("<br><span class=\"bad\">").text(&t.last_error).raw("</span>");
        }
        h.raw("</td><td><span class=\"state ").raw(t.health.as_str()).raw("\">").raw(t.health.as_str());
        h.raw("</span></td><td>")
            .labels(&t.labels)
            .raw("</td><td>")
            .time(t.last_scrape)
            .raw("</td><td class=\"num\">");
        h.show(format_args!("{:.1} ms", t.last_scrape_duration * 1000.0)).raw("</td></tr>");
    }
    if !targets.is_empty() {
        h.raw("</table></div>");
    }
    let dropped: usize = state.parts.targets.dropped().1.into_values().sum();
    if dropped > 0 {
        h.raw("<p class=\"dim\">").count(dropped, "target").raw(" dropped by relabelling.</p>");
    }
    Page { title: "Targets", here: "/targets", bare: false }.render(state, &h)
}
