//! The report as one HTML file: nothing is loaded from elsewhere, there is no script, and it prints.

use super::shape::Report;
use super::text::{RECEIVERS, SENT_RULES, days, ends, hours, summary};
use super::words::p_value;
use crate::chart::{self, escape_into, svg};

/// Rules that are listed.
const RULES: usize = 200;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1d21;--dim:#565d66;--line:#d5d9de;--band:#0a58ca;--bad:#b3261e;--good:#1b6e3c}\
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e8ea;--dim:#a4abb3;--line:#363c43;--band:#7db2ff;--bad:#ff8a80;--good:#6fd08c}}\
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--band:#0a58ca;--bad:#b3261e;--good:#1b6e3c}\
figure,tr{break-inside:avoid}h2{break-after:avoid}}\
*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--fg)}\
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}.dim{color:var(--dim)}ul{padding-left:1.2rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:0 2rem}figure{margin:0;max-width:40rem}svg{width:100%;height:auto;display:block}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--dim);font-weight:600}.num{text-align:right;font-variant-numeric:tabular-nums}code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}\
.better{color:var(--good)}.worse{color:var(--bad)}";

/// The report as a page of its own.
pub fn html(r: &Report) -> String {
    let (first, last) = ends(r);
    let mut p = Page(String::with_capacity(32 * 1024));
    p.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    p.raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Paging from ");
    p.text(first).raw(" to ").text(last).raw("</title><link rel=\"icon\" href=\"data:,\"><style>");
    p.raw(STYLE).raw("</style></head><body><main><h1>Paging report</h1><p class=\"dim\">");
    p.text(first).raw(" to ").text(last).raw(", times in ").text(&r.location);
    p.raw("</p><ul>");
    for line in summary(r) {
        p.raw("<li>").text(&line).raw("</li>");
    }
    p.raw("</ul><div class=\"charts\">");
    for (title, rows) in [days(r), hours(r)] {
        p.figure(&title, chart::svg::columns, &rows);
    }
    p.raw("</div>");
    persons(&mut p, r);
    rules(&mut p, r);
    if !r.noisiest.is_empty() {
        p.raw("<h2>The noisiest series</h2>");
        p.head(&[("Series", false), ("Incidents", true), ("Pages", true)]);
        for s in &r.noisiest {
            p.raw("<tr><td><code>").text(&s.series).raw("</code></td>");
            p.number(s.incidents).number(s.pages).raw("</tr>");
        }
        p.raw("</tbody></table>");
    }
    sent(&mut p, r);
    p.raw("</main></body></html>\n");
    p.0
}

fn persons(p: &mut Page, r: &Report) {
    if r.by_person.is_empty() {
        return;
    }
    let bars: Vec<(String, f64)> = r.by_person.iter().map(|x| (x.person.clone(), x.pages as f64)).collect();
    p.figure("Pages by person", svg::bars, &bars);
    p.head(&[("Person", false), ("Pages", true), ("At night", true), ("Acknowledged", true)]);
    for x in &r.by_person {
        p.raw("<tr><td>").text(&x.person).raw("</td>");
        p.number(x.pages).number(x.at_night).number(x.acknowledged).raw("</tr>");
    }
    p.raw("</tbody></table>");
}

fn rules(p: &mut Page, r: &Report) {
    if r.by_rule.is_empty() {
        return;
    }
    p.raw("<h2>Rules: better than a coin?</h2><p class=\"dim\">Of the incidents that people judged: how likely is it that a coin ");
    p.raw("would have at least as many useful ones (exact binomial test, at 5 %)?</p>");
    p.head(&[
        ("Rule", false),
        ("Incidents", true),
        ("Pages", true),
        ("At night", true),
        ("By itself", true),
        ("Useful", true),
        ("Useless", true),
        ("Verdict", false),
    ]);
    for x in r.by_rule.iter().take(RULES) {
        p.raw("<tr><td>").text(&x.rule).raw("</td>");
        p.number(x.incidents).number(x.pages).number(x.at_night).number(x.by_itself);
        p.number(x.useful).number(x.useless).raw("<td class=\"");
        p.raw(match x.coin {
            super::CoinVerdict::Better => "better",
            super::CoinVerdict::Worse => "worse",
            _ => "dim",
        });
        p.raw("\">").text(x.coin.words());
        if x.useful + x.useless > 0 {
            p.raw(" (").text(&p_value(x.coin_p)).raw(")");
        }
        p.raw("</td></tr>");
    }
    p.raw("</tbody></table>");
    if r.by_rule.len() > RULES {
        p.raw("<p>… and ").text(&(r.by_rule.len() - RULES).to_string()).raw(" more.</p>");
    }
}

fn sent(p: &mut Page, r: &Report) {
    for (title, list) in [(RECEIVERS, &r.sent.by_receiver), (SENT_RULES, &r.sent.by_rule)] {
        if list.is_empty() {
            continue;
        }
        p.raw("<h2>").text(title).raw("</h2>");
        p.head(&[("Name", false), ("Notifications", true), ("At night", true)]);
        for x in list.iter().take(RULES) {
            p.raw("<tr><td>").text(&x.name).raw("</td>");
            p.number(x.notifications).number(x.at_night).raw("</tr>");
        }
        p.raw("</tbody></table>");
    }
}

/// HTML under construction: only what is written here is markup.
struct Page(String);

impl Page {
    fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        escape_into(&mut self.0, text);
        self
    }

    fn number(&mut self, n: u64) -> &mut Self {
        self.raw("<td class=\"num\">").text(&n.to_string()).raw("</td>")
    }

    fn head(&mut self, columns: &[(&str, bool)]) {
        self.raw("<table><thead><tr>");
        for (name, numeric) in columns {
            self.raw(if *numeric { "<th scope=\"col\" class=\"num\">" } else { "<th scope=\"col\">" });
            self.text(name).raw("</th>");
        }
        self.raw("</tr></thead><tbody>");
    }

    fn figure(&mut self, title: &str, draw: fn(&str, &[(String, f64)]) -> String, rows: &[(String, f64)]) {
        self.raw("<section><h2>").text(title).raw("</h2><figure>");
        let picture = draw(title, rows);
        self.raw(&picture).raw("</figure></section>");
    }
}
