//! A query, its picture and its values; with the band of a sigma rule behind it.

use std::sync::Arc;

use super::layout::{Html, Page};
use super::svg::{Band, Chart};
use crate::model::{Duration, Labels, METRIC_NAME, Order as _, Sample, Timestamp, format_float};
use crate::promql::Value;
use crate::rules::RuleType;
use crate::web::api::evaluate_range;
use crate::web::params::{Params, parse_time};
use crate::web::respond::ApiError;
use crate::web::state::State;

/// Points of a line.
const POINTS: i64 = 240;
/// Series drawn and listed.
const MAX_SERIES: usize = 24;
/// Bands drawn.
const MAX_BANDS: usize = 4;
/// The label of the band's series that names the rule.
const RULE_LABEL: &str = "rule";

/// What was asked for.
struct Asked {
    expr: String,
    range: i64,
    end: Timestamp,
    band: String,
}

impl Asked {
    /// Takes the names of Prometheus's pages too, since alerts link to them.
    fn read(params: &Params, now: Timestamp) -> Self {
        let first = |names: [&str; 2]| {
            names.into_iter().map(|n| params.get(n)).find(|v| !v.is_empty()).unwrap_or_default().to_owned()
        };
        let range = first(["range", "g0.range_input"]).parse::<Duration>().map_or(3_600_000, Duration::ms);
        let end = parse_time(&first(["end", "g0.end_input"])).unwrap_or(now);
        Self {
            expr: first(["expr", "g0.expr"]),
            range: range.clamp(10_000, 400 * 86_400_000),
            end: end.clamp(0, now.saturating_add(86_400_000)),
            band: params.get("band").to_owned(),
        }
    }

    fn start(&self) -> Timestamp {
        self.end - self.range
    }

    fn step(&self) -> i64 {
        (self.range / POINTS).max(1000)
    }
}

pub async fn page(state: &Arc<State>, params: &Params) -> String {
    let mut asked = Asked::read(params, state.now());
    let groups = state.parts.rules.groups();
    let sigma: Vec<(String, String)> = groups
        .iter()
        .flat_map(|g| &g.rules)
        .filter(|r| r.kind == RuleType::Sigma)
        .map(|r| (r.name.clone(), r.query.clone()))
        .collect();
    if asked.band.is_empty()
        && let Some((name, _)) = sigma.iter().find(|(_, query)| *query == asked.expr)
    {
        asked.band.clone_from(name);
    } else if asked.expr.is_empty()
        && let Some((_, query)) = sigma.iter().find(|(name, _)| *name == asked.band)
    {
        asked.expr.clone_from(query);
    }
    let mut h = Html::default();
    form(&mut h, state, &asked, &sigma);
    if asked.expr.is_empty() {
        h.raw("<p class=\"dim\">Write an expression, <code>up</code> for example.</p>");
    } else {
        match rows(state, &asked, &asked.expr).await {
            Ok(rows) => {
                let bands = bands(state, &asked, &rows).await;
                picture(&mut h, &asked, &rows, &bands);
            }
            Err(e) => {
                h.raw("<p class=\"bad\" role=\"alert\">").text(&e.message).raw("</p>");
            }
        }
    }
    Page { title: "Graph", here: "/graph", bare: false }.render(state, &h)
}

fn form(h: &mut Html, state: &State, asked: &Asked, sigma: &[(String, String)]) {
    h.raw("<form class=\"wide\" action=\"").text(&state.options.route_prefix).raw("/graph\">");
    h.raw("<label class=\"grow\">Expression<br><input name=\"expr\" spellcheck=\"false\" autocapitalize=\"none\" value=\"");
    h.text(&asked.expr).raw("\"></label><label>Range<br><select name=\"range\">");
    let chosen = Duration::from_ms(asked.range).to_string();
    let mut ranges = vec!["5m", "15m", "1h", "6h", "1d", "7d"];
    if !ranges.contains(&chosen.as_str()) {
        ranges.push(&chosen);
    }
    for range in ranges {
        h.raw("<option").raw(if range == chosen { " selected>" } else { ">" }).raw(range).raw("</option>");
    }
    h.raw("</select></label>");
    if !sigma.is_empty() {
        h.raw("<label>Band<br><select name=\"band\"><option value=\"\">none</option>");
        for (name, _) in sigma {
            h.raw("<option")
                .raw(if *name == asked.band { " selected>" } else { ">" })
                .text(name)
                .raw("</option>");
        }
        h.raw("</select></label>");
    }
    h.raw("<button>Show</button></form>");
}

type Rows = Vec<(Labels, Vec<Sample>)>;

async fn rows(state: &Arc<State>, asked: &Asked, query: &str) -> Result<Rows, ApiError> {
    match evaluate_range(state, query, asked.start(), asked.end, asked.step()).await?.value {
        Value::Matrix(rows) => Ok(rows),
        _ => Ok(Rows::new()),
    }
}

/// The bands of the chosen rule, those of the drawn series first.
async fn bands(state: &Arc<State>, asked: &Asked, lines: &Rows) -> Vec<Band> {
    if asked.band.is_empty() {
        return Vec::new();
    }
    let of = |what: &str| {
        let mut value = String::new();
        for c in asked.band.chars() {
            if matches!(c, '"' | '\\') {
                value.push('\\');
            }
            if c != '\n' {
                value.push(c);
            }
        }
        // A baseline that knows two or three values has a band so wide that nothing else would be seen beside it.
        let rule = format!("{{{RULE_LABEL}=\"{value}\"}}");
        format!("sideband_sigma_{what}{rule} and sideband_sigma_ready{rule} == 1")
    };
    let (Ok(centers), Ok(deviations)) =
        (rows(state, asked, &of("center")).await, rows(state, asked, &of("stddev")).await)
    else {
        return Vec::new();
    };
    let identity = |labels: &Labels| labels.without(|n| n == METRIC_NAME);
    let drawn = |labels: &Labels| {
        lines.iter().any(|(line, _)| {
            line.iter().filter(|(n, _)| *n != METRIC_NAME).all(|(n, v)| labels.get(n) == Some(v))
        })
    };
    let mut chosen: Vec<&(Labels, Vec<Sample>)> = centers.iter().collect();
    chosen.order_by_key(|(labels, _)| !drawn(labels));
    chosen
        .into_iter()
        .take(MAX_BANDS)
        .filter_map(|(labels, center)| {
            let (_, deviation) = deviations.iter().find(|(l, _)| identity(l) == identity(labels))?;
            let points = center
                .iter()
                .filter_map(|c| {
                    let d = deviation.binary_search_by_key(&c.t, |s| s.t).ok().map(|i| deviation[i].v)?;
                    (c.v.is_finite() && d.is_finite()).then_some((c.t, c.v, d))
                })
                .collect();
            Some(Band { points })
        })
        .collect()
}

fn picture(h: &mut Html, asked: &Asked, rows: &Rows, bands: &[Band]) {
    let finite: Vec<Vec<Sample>> = rows
        .iter()
        .take(MAX_SERIES)
        .map(|(_, samples)| samples.iter().copied().filter(|s| s.v.is_finite()).collect())
        .collect();
    h.raw("<p class=\"dim\">");
    match rows.len() {
        0 => h.raw("No data in this time."),
        n => h.show(n).raw(" series").raw(if n > MAX_SERIES { ", not all shown." } else { "." }),
    };
    if !bands.is_empty() {
        h.raw(" The shaded bands are 1, 2 and 3 standard deviations around what is normal (dashed) to <b>");
        h.text(&asked.band).raw("</b>.");
    } else if !asked.band.is_empty() {
        h.raw(" There is no band to draw: it is stored by a rule with <code>record: all</code> only, and from then on.");
    }
    h.raw("</p>");
    let label = format!("{} over the last {}", asked.expr, Duration::from_ms(asked.range));
    let chart = Chart {
        start: asked.start(),
        end: asked.end,
        gap: asked.step().saturating_mul(3) / 2,
        lines: finite.iter().map(Vec::as_slice).collect(),
        bands,
        label: &label,
    };
    h.raw("<div class=\"scroll newest\" tabindex=\"0\" role=\"region\" aria-label=\"Picture\">");
    chart.draw(h);
    h.raw("</div>");
    if rows.is_empty() {
        return;
    }
    h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Values\"><table><tr><th scope=\"col\">Series</th><th scope=\"col\" class=\"num\">Last value</th></tr>");
    for (i, (labels, samples)) in rows.iter().take(MAX_SERIES).enumerate() {
        h.raw("<tr><td><span class=\"key c")
            .show(i % 6)
            .raw("\"></span><code>")
            .show(labels)
            .raw("</code></td><td class=\"num\">");
        h.text(&samples.last().map(|s| format_float(s.v)).unwrap_or_default()).raw("</td></tr>");
    }
    h.raw("</table></div>");
}
