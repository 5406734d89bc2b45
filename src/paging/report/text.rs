//! The report for a terminal.

use std::fmt::Write as _;

use super::shape::{DayCount, HourCount, Report};
use super::words::{count, p_value, percent, span};
use crate::chart;

const WIDTH: usize = 80;
/// Rules that are listed.
const RULES: usize = 25;
/// Of plain routes.
pub(super) const RECEIVERS: &str = "Sent without a policy, by receiver";
pub(super) const SENT_RULES: &str = "Sent without a policy, by rule";
/// More days than this are shown as weeks.
const DAYS: usize = 62;

/// The report as plain text, 80 columns wide, but for long names.
pub fn text(r: &Report) -> String {
    let mut out = String::new();
    let (first, last) = ends(r);
    let _ = writeln!(out, "Report from {first} to {last} ({})\n", r.location);
    for line in summary(r) {
        let _ = writeln!(out, "  {line}");
    }
    for (title, rows) in [days(r), hours(r)] {
        section(&mut out, &title, &rows);
    }
    if !r.by_person.is_empty() {
        out.push_str("\nLoad by person\n");
        let width = r.by_person.iter().map(|p| p.person.chars().count()).max().unwrap_or(0).max(6);
        let _ =
            writeln!(out, "  {:width$}  {:>6}  {:>8}  {:>12}", "person", "pages", "at night", "acknowledged");
        for p in &r.by_person {
            let _ = writeln!(
                out,
                "  {:width$}  {:>6}  {:>8}  {:>12}",
                p.person, p.pages, p.at_night, p.acknowledged
            );
        }
    }
    if !r.by_rule.is_empty() {
        out.push_str("\nRules\n");
        let shown = &r.by_rule[..r.by_rule.len().min(RULES)];
        let width = shown.iter().map(|x| x.rule.chars().count()).max().unwrap_or(0).max(4);
        let _ = writeln!(
            out,
            "  {:width$}  {:>9}  {:>6}  {:>6}  {:>7}  coin",
            "rule", "incidents", "pages", "useful", "useless"
        );
        for x in shown {
            let _ = write!(
                out,
                "  {:width$}  {:>9}  {:>6}  {:>6}  {:>7}  {}",
                x.rule,
                x.incidents,
                x.pages,
                x.useful,
                x.useless,
                x.coin.words()
            );
            let judged = x.useful + x.useless > 0;
            let _ = if judged { writeln!(out, " ({})", p_value(x.coin_p)) } else { writeln!(out) };
        }
        if r.by_rule.len() > shown.len() {
            let _ = writeln!(out, "  … and {} more", r.by_rule.len() - shown.len());
        }
    }
    if !r.noisiest.is_empty() {
        out.push_str("\nThe noisiest series\n");
        for s in &r.noisiest {
            let _ = writeln!(
                out,
                "  {}, {}: {}",
                count(s.incidents, "incident"),
                count(s.pages, "page"),
                s.series
            );
        }
    }
    for (title, list) in [(RECEIVERS, &r.sent.by_receiver), (SENT_RULES, &r.sent.by_rule)] {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{title}");
        for x in list.iter().take(RULES) {
            let n = count(x.notifications, "notification");
            let _ = writeln!(out, "  {n}, {} at night: {}", x.at_night, x.name);
        }
        if list.len() > RULES {
            let _ = writeln!(out, "  … and {} more", list.len() - RULES);
        }
    }
    out.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The report in a few sentences.
pub fn summary(r: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, {}; {} at night ({})",
        count(r.incidents, "incident"),
        count(r.pages, "page"),
        count(r.pages_at_night, "page"),
        r.night
    )];
    if r.sent.notifications > 0 {
        lines.push(format!(
            "{} of routes without a policy, {} at night: sent is all that is known, nobody can acknowledge them",
            count(r.sent.notifications, "notification"),
            r.sent.at_night
        ));
    }
    let a = &r.acknowledgements;
    lines.push(match (a.median_seconds, a.p90_seconds, a.max_seconds) {
        (Some(median), Some(p90), Some(max)) => format!(
            "{} acknowledged: half of them within {}, nine of ten within {}, the slowest after {}",
            count(a.count, "incident"),
            span(median),
            span(p90),
            span(max)
        ),
        _ => "nothing was acknowledged".to_owned(),
    });
    let x = &r.resolutions;
    lines.push(match x.self_resolved_share {
        Some(share) => format!(
            "{} of {} resolved by themselves ({}), {} of them by an automation; {} closed by hand; {} open",
            x.by_itself,
            x.resolved,
            percent(share),
            x.by_automation,
            x.by_hand,
            x.open
        ),
        None => format!("none resolved, {} open", x.open),
    });
    lines.push(match &r.drills.last_good {
        Some(at) => {
            format!(
                "{}, {} good, the last good one on {}",
                count(r.drills.count, "drill"),
                r.drills.good,
                day_of(at)
            )
        }
        None if r.drills.count == 0 => "no drill: does a page arrive? (sideband drill)".to_owned(),
        None => format!("{}, none of them good", count(r.drills.count, "drill")),
    });
    lines
}

fn section(out: &mut String, title: &str, rows: &[(String, f64)]) {
    let _ = writeln!(out, "\n{title}");
    for line in chart::text::bars(rows, WIDTH - 2).lines() {
        let _ = writeln!(out, "  {line}");
    }
}

/// Of a report without incidents, but with notifications of plain routes, those are what its pictures show.
fn shows_notifications(r: &Report) -> bool {
    r.incidents == 0 && r.sent.notifications > 0
}

fn subject(r: &Report) -> &'static str {
    if shows_notifications(r) { "Notifications" } else { "Incidents" }
}

/// Incidents by day, or by week when there are many days; with a title.
pub fn days(r: &Report) -> (String, Vec<(String, f64)>) {
    let of = |d: &DayCount| if shows_notifications(r) { d.notifications } else { d.incidents };
    let title = |span: &str| format!("{} by {span}", subject(r));
    if r.by_day.len() <= DAYS {
        let short = |d: &DayCount| d.day.get(5..).unwrap_or(&d.day).to_owned();
        return (title("day"), r.by_day.iter().map(|d| (short(d), of(d) as f64)).collect());
    }
    let week = |w: &[DayCount]| {
        let first = w.first().map(|d| d.day.clone()).unwrap_or_default();
        (first, w.iter().map(of).sum::<u64>() as f64)
    };
    (title("week"), r.by_day.chunks(7).map(week).collect())
}

/// Incidents by hour of the day, for a picture; with a title.
pub fn hours(r: &Report) -> (String, Vec<(String, f64)>) {
    let of = |h: &HourCount| if shows_notifications(r) { h.notifications } else { h.incidents };
    let rows = r.by_hour.iter().map(|h| (format!("{:02}", h.hour), of(h) as f64)).collect();
    (format!("{} by hour of the day", subject(r)), rows)
}

/// The first and the last day, in the report's location.
pub(super) fn ends(r: &Report) -> (&str, &str) {
    let first = r.by_day.first().map_or(day_of(&r.from), |d| &d.day);
    (first, r.by_day.last().map_or(day_of(&r.to), |d| &d.day))
}

fn day_of(time: &str) -> &str {
    time.get(..10).unwrap_or(time)
}
