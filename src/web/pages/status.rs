//! Status: the process, its flags, its storage, its configuration.

use std::sync::Arc;

use super::layout::{Html, Page};
use crate::web::state::State;

pub async fn page(state: &Arc<State>) -> String {
    let facts = state.parts.lifecycle.runtime();
    let storage = state.parts.storage.clone();
    let stats = tokio::task::spawn_blocking(move || storage.stats(10)).await.unwrap_or_default();
    let mut h = Html::default();
    h.raw("<h2>Process</h2><table>");
    row(&mut h, "Version", |h| {
        h.text(env!("CARGO_PKG_VERSION")).raw(" ").text(&state.options.revision);
    });
    row(&mut h, "Started", |h| _ = h.time(facts.started_at));
    row(&mut h, "Last reload", |h| {
        h.raw(if facts.last_reload_ok {
            "<span class=\"good\">good</span>, "
        } else {
            "<span class=\"bad\">failed</span>, "
        });
        h.time(facts.last_reload_at);
    });
    row(&mut h, "Retention", |h| _ = h.text(&facts.storage_retention));
    row(&mut h, "Series", |h| _ = h.show(stats.series));
    row(&mut h, "Chunks", |h| _ = h.show(stats.chunks));
    row(&mut h, "Samples from", |h| _ = h.time(stats.min_t.unwrap_or(0)));
    row(&mut h, "to", |h| _ = h.time(stats.max_t.unwrap_or(0)));
    h.raw("</table><h2>Largest metrics</h2><table><tr><th scope=\"col\">Metric</th><th scope=\"col\" class=\"num\">Series</th></tr>");
    for entry in &stats.series_by_metric {
        h.raw("<tr><td><code>")
            .text(&entry.name)
            .raw("</code></td><td class=\"num\">")
            .show(entry.value)
            .raw("</td></tr>");
    }
    h.raw("</table>");
    if !state.options.flags.is_empty() {
        h.raw("<h2>Flags</h2><table>");
        for (name, value) in &state.options.flags {
            h.raw("<tr><th scope=\"row\"><code>--")
                .text(name)
                .raw("</code></th><td><code>")
                .text(value)
                .raw("</code></td></tr>");
        }
        h.raw("</table>");
    }
    h.raw("<h2>Configuration</h2><pre tabindex=\"0\">")
        .text(&state.parts.lifecycle.config_yaml())
        .raw("</pre>");
    Page { title: "Status", here: "/status", bare: false }.render(state, &h)
}

fn row(h: &mut Html, name: &str, value: impl FnOnce(&mut Html)) {
    h.raw("<tr><th scope=\"row\">").raw(name).raw("</th><td>");
    value(h);
    h.raw("</td></tr>");
}
