//! The report in short, and the way to all of it.

use std::sync::Arc;

use super::layout::{Html, Page};
use crate::chart::svg;
use crate::model::percent_encode;
use crate::paging::report::{days, hours, summary};
use crate::web::api::report;
use crate::web::params::Params;
use crate::web::state::State;

/// What can be chosen.
const SINCE: [&str; 4] = ["1d", "7d", "30d", "90d"];

pub async fn page(state: &Arc<State>, params: &Params) -> String {
    let mut h = Html::default();
    let asked = match params.get("since") {
        "" => "30d",
        since => since,
    };
    h.raw("<form class=\"wide\" action=\"").text(&state.options.route_prefix).raw("/report\">");
    h.raw("<label>Of the last<br><select name=\"since\">");
    for since in SINCE {
        h.raw(if since == asked { "<option selected>" } else { "<option>" }).raw(since).raw("</option>");
    }
    h.raw("</select></label><button>Show</button></form>");
    match report::make(state, params).await {
        Ok(report) => {
            h.raw("<ul>");
            for line in summary(&report) {
                h.raw("<li>").text(&line).raw("</li>");
            }
            h.raw("</ul><div class=\"charts\">");
            for (title, rows) in [days(&report), hours(&report)] {
                h.raw("<section><h2>")
                    .raw(&title)
                    .raw("</h2>")
                    .raw(&svg::columns(&title, &rows))
                    .raw("</section>");
            }
            h.raw("</div><p>The whole report, with people, rules and series: ");
            for (format, name) in [("html", "to keep and print"), ("text", "as text"), ("json", "as JSON")] {
                h.raw("<a href=\"").text(&state.options.route_prefix).raw("/api/v1/report?since=");
                h.text(&percent_encode(asked))
                    .raw("&amp;format=")
                    .raw(format)
                    .raw("\">")
                    .raw(name)
                    .raw("</a> ");
            }
            h.raw("</p>");
        }
        Err(e) => {
            h.raw("<p class=\"dim\">").text(&e.message).raw(".</p>");
        }
    }
    Page { title: "Report", here: "/report", bare: false }.render(state, &h)
}
