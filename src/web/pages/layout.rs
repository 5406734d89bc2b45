//! What the pages have in common: escaping, the frame around them, the style sheet.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{GoTime, Labels, METRIC_NAME, Timestamp};
use crate::web::state::State;

/// HTML under construction; text is escaped, nothing else gets in but what is written here.
#[derive(Default)]
pub struct Html(pub String);

impl Html {
    /// Markup as it is.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, also within quoted attributes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Anything that prints, escaped.
    pub fn show(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.text(&value.to_string())
    }

    /// A time in UTC, to the second, in machine-readable form too.
    pub fn time(&mut self, t: Timestamp) -> &mut Self {
        if t == 0 {
            return self.raw("never");
        }
        let full = GoTime(Some(t)).to_string();
        let short = full.split('.').next().unwrap_or(&full).trim_end_matches('Z').replace('T', " ");
        let _ = write!(self.0, "<time datetime=\"{full}\">{short} UTC</time>");
        self
    }

    /// The same, and how long ago that was, for people who were just woken.
    pub fn since(&mut self, t: Timestamp, now: Timestamp) -> &mut Self {
        self.time(t);
        if (1..=now).contains(&t) {
            let _ = write!(self.0, " ({} ago)", coarse(now - t));
        }
        self
    }

    /// The time of day in UTC, with the day before it if that is another one than `day`'s.
    pub fn clock(&mut self, t: Timestamp, day: Timestamp) -> &mut Self {
        const DAY: i64 = 86_400_000;
        let full = GoTime(Some(t)).to_string();
        let short = full.split('.').next().unwrap_or(&full).trim_end_matches('Z').replace('T', " ");
        let skipped = if t.div_euclid(DAY) == day.div_euclid(DAY) { 11 } else { 5 };
        let _ = write!(self.0, "<time datetime=\"{full}\">{}</time>", short.get(skipped..).unwrap_or(&short));
        self
    }

    /// An address as a link if it is one of the web, else as text.
    pub fn link(&mut self, text: &str) -> &mut Self {
        if !is_link(text) {
            return self.text(text);
        }
        self.raw("<a rel=\"noreferrer\" href=\"").text(text).raw("\">").text(text).raw("</a>")
    }

    /// `1 alert`, `2 alerts`.
    pub fn count(&mut self, n: usize, word: &str) -> &mut Self {
        let _ = write!(self.0, "{n} {word}{}", if n == 1 { "" } else { "s" });
        self
    }

    /// Labels as small marks, the metric name left out.
    pub fn labels(&mut self, labels: &Labels) -> &mut Self {
        self.marks(&mut labels.iter())
    }

    /// The same, of labels as the ledger keeps them.
    pub fn pairs(&mut self, labels: &BTreeMap<String, String>) -> &mut Self {
        self.marks(&mut labels.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }

    fn marks(&mut self, labels: &mut dyn Iterator<Item = (&str, &str)>) -> &mut Self {
        self.raw("<span class=\"labels\">");
        for (name, value) in labels.filter(|(n, _)| *n != METRIC_NAME && *n != "alertname") {
            self.raw("<span>").text(name).raw("=").text(value).raw("</span> ");
        }
        self.raw("</span>")
    }
}

/// Nothing but the web: a label or an annotation may come from anywhere.
pub fn is_link(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(char::is_whitespace)
}

/// A time span in one unit: `40 s`, `3 min`, `5 h`, `12 days`.
fn coarse(ms: i64) -> String {
    match ms / 1000 {
        s @ ..=99 => format!("{s} s"),
        s @ 100..=5_999 => format!("{} min", s / 60),
        s @ 6_000..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// Names in the order of their first time, each once, with how often: `a (2×), b`.
pub fn counted(names: &[&str]) -> String {
    let mut seen: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match seen.iter_mut().find(|(n, _)| n == name) {
            Some((_, times)) => *times += 1,
            None => seen.push((name, 1)),
        }
    }
    let one = |(name, times): (&str, usize)| match times {
        1 => name.to_owned(),
        n => format!("{name} ({n}×)"),
    };
    seen.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The frame of a page.
pub struct Page<'a> {
    pub title: &'a str,
    /// The path that the menu shows as the present one.
    pub here: &'a str,
    /// Without a menu.
    pub bare: bool,
}

const MENU: [(&str, &str); 9] = [
    ("/", "Overview"),
    ("/incidents", "Incidents"),
    ("/alerts", "Alerts"),
    ("/rules", "Rules"),
    ("/targets", "Targets"),
    ("/graph", "Graph"),
    ("/oncall", "On call"),
    ("/report", "Report"),
    ("/status", "Status"),
];

impl Page<'_> {
    /// The whole page.
    pub fn render(&self, state: &State, body: &Html) -> String {
        let prefix = &state.options.route_prefix;
        let mut h = Html(String::with_capacity(body.0.len() + 1024));
        h.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        h.raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
        h.text(self.title)
            .raw(" · sideband</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"");
        h.text(prefix).raw("/style.css\"></head><body>");
        if !self.bare {
            h.raw("<a class=\"skip\" href=\"#main\">Skip to content</a><header><nav aria-label=\"Pages\"><b>sideband</b>");
            for (path, name) in MENU {
                h.raw("<a href=\"").text(prefix).raw(path).raw("\"");
                h.raw(if path == self.here { " aria-current=\"page\">" } else { ">" }).raw(name).raw("</a>");
            }
            h.raw("</nav></header>");
        }
        h.raw("<main id=\"main\"><h1>")
            .text(self.title)
            .raw("</h1>")
            .raw(&body.0)
            .raw("</main></body></html>");
        h.0
    }
}

/// Colours hold a contrast of 4.5 to 1 in both schemes.
pub const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1d21;--dim:#565d66;--line:#d5d9de;--card:#f6f7f9;--link:#0a58ca;\
--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c;--band:#0a58ca}\
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e8ea;--dim:#a4abb3;--line:#363c43;--card:#1d2125;\
--link:#7db2ff;--bad:#ff8a80;--warn:#f0b429;--good:#6fd08c;--band:#7db2ff}}\
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--fg)}\
header{border-bottom:1px solid var(--line)}nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:.6rem 1rem;align-items:baseline}\
nav a{padding:.25rem 0}a{color:var(--link)}nav a[aria-current]{color:var(--fg);font-weight:600;text-decoration:none}\
.skip{position:absolute;left:-99rem}.skip:focus{position:static}\
main{max-width:75rem;margin:0 auto;padding:1rem;overflow-wrap:break-word}h1{font-size:1.4rem;margin:.2rem 0 1rem}h2{font-size:1.1rem;margin:1.5rem 0 .5rem}\
:focus-visible{outline:3px solid var(--link);outline-offset:2px}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;\
border-bottom:1px solid var(--line)}th{color:var(--dim);font-weight:600}td.num,th.num{text-align:right;font-variant-numeric:tabular-nums}\
code,pre{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}pre{background:var(--card);padding:.8rem;overflow-x:auto;white-space:pre-wrap}\
.labels span{display:inline-block;background:var(--card);border:1px solid var(--line);border-radius:.3rem;padding:0 .35rem;\
font:.85em ui-monospace,monospace;overflow-wrap:anywhere}\
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;margin:.6rem 0}\
.card h3{margin:.2rem 0;font-size:1.05rem}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem}\
.tiles .card{margin:0}.tiles b{display:block;font-size:1.6rem}.dim,.hint{color:var(--dim)}\
.state{display:inline-block;border:1px solid;border-radius:1rem;padding:0 .6rem;font-size:.9rem;font-weight:600;margin:0}\
.firing,.triggered,.down,.err,.bad{color:var(--bad)}.pending,.acknowledged,.warn{color:var(--warn)}\
.up,.ok,.resolved,.inactive,.good{color:var(--good)}.unknown{color:var(--dim)}\
form{display:inline}form.wide{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}form.wide label{display:block}\
button,input,select{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--dim);border-radius:.35rem;padding:.35rem .7rem;min-height:2.5rem;max-width:100%}\
button{cursor:pointer;font-weight:600}button.primary{background:var(--link);border-color:var(--link);color:var(--bg)}.full{width:100%}.grow{flex:1 1 20rem}.grow input{width:100%;font-family:ui-monospace,monospace}\
.ack{max-width:30rem;margin:1rem auto}.big{width:100%;min-height:3.5rem;font-size:1.2rem;background:var(--link);color:var(--bg);border:0}\
svg{width:100%;height:auto;display:block;background:var(--card);border:1px solid var(--line);border-radius:.5rem}\
svg text{fill:var(--dim);font:12px system-ui,sans-serif}svg .line{fill:none;stroke-width:2}\
.scroll>svg{min-width:32rem}.newest{direction:rtl}.newest>svg{direction:ltr}@media(max-width:40rem){.scroll>svg text{font-size:18px}}\
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1rem;margin:.6rem 0}dt{color:var(--dim)}\
dd{margin:0;overflow-wrap:anywhere}td time,td.nowrap{white-space:nowrap}td .labels{display:block;min-width:11rem}td.wide{min-width:16rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 1rem}\
.key{display:inline-block;width:1.2rem;height:.3rem;vertical-align:middle;margin-right:.4rem}\
.c0{stroke:#0a7a5c;background:#0a7a5c}.c1{stroke:#c2410c;background:#c2410c}.c2{stroke:#7c3aed;background:#7c3aed}\
.c3{stroke:#b91c7a;background:#b91c7a}.c4{stroke:#4d7c0f;background:#4d7c0f}.c5{stroke:#a16207;background:#a16207}\
@media(prefers-color-scheme:dark){.c0{stroke:#34d399;background:#34d399}.c1{stroke:#fb923c;background:#fb923c}\
.c2{stroke:#c4a5ff;background:#c4a5ff}.c3{stroke:#f59ad4;background:#f59ad4}.c4{stroke:#a3e635;background:#a3e635}.c5{stroke:#facc15;background:#facc15}}\
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_say_how_long_ago() {
        let shown = |f: &dyn Fn(&mut Html)| {
            let mut h = Html::default();
            f(&mut h);
            h.0
        };
        let t = 1_795_249_805_894;
        assert!(shown(&|h| _ = h.clock(t, t - 1000)).ends_with(">08:30:05</time>"));
        assert!(shown(&|h| _ = h.clock(t, t - 86_400_000)).ends_with(">11-21 08:30:05</time>"));
        assert!(
            shown(&|h| _ = h.since(t, t + 180_000)).ends_with(">2026-11-21 08:30:05 UTC</time> (3 min ago)")
        );
        // A clock that went back says nothing.
        assert!(shown(&|h| _ = h.since(t, t - 1)).ends_with("</time>"));
        for (ms, text) in [
            (0, "0 s"),
            (99_999, "99 s"),
            (100_000, "1 min"),
            (5_999_999, "99 min"),
            (6_000_000, "1 h"),
            (172_799_999, "47 h"),
            (172_800_000, "2 days"),
            (i64::MAX, "106751991167 days"),
        ] {
            assert_eq!(coarse(ms), text);
        }
    }

    #[test]
    fn only_addresses_of_the_web_become_links() {
        for (text, link) in [
            ("https://a.test/x?y=1&z=\"", true),
            ("http://a", true),
            ("javascript:alert(1)", false),
            ("HTTPS://a", false),
            ("see https://a", false),
            ("https://a b", false),
            ("", false),
        ] {
            let mut h = Html::default();
            h.link(text);
            assert_eq!(h.0.starts_with("<a rel=\"noreferrer\""), link, "{text}");
            assert!(!h.0.contains("z=\"\""), "{}", h.0);
        }
    }

    #[test]
    fn names_are_counted() {
        let names = |list: &[&str]| counted(list);
        assert_eq!(names(&["a", "b", "a"]), "a (2×), b");
        assert_eq!(names(&["b"]), "b");
        assert_eq!(names(&[]), "");
    }
}
