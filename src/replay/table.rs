//! A report as text for a terminal.

use std::fmt::Write;

use crate::chart;
use crate::model::Duration;

use super::recorder::DAY_MS;
use super::report::{MONTH_FROM_MS, Month, Report, RuleReport, Suggestion};

/// More days than this are shown as months.
const MOST_DAYS: usize = 62;

/// The report, at most about `width` columns wide.
pub fn text(report: &Report, width: usize) -> String {
    let mut out = String::new();
    if report.rules.is_empty() {
        out.push_str("no alerting and no sigma rules\n");
    }
    for rule in &report.rules {
        one(&mut out, rule, width);
        out.push('\n');
    }
    out
}

fn one(out: &mut String, rule: &RuleReport, width: usize) {
    let _ = writeln!(
        out,
        "{}:{}: {} ({}, {}, {} series, {})",
        rule.file,
        rule.line,
        rule.rule,
        rule.kind,
        rule.interval_seconds.map_or_else(|| "row by row".to_owned(), |s| format!("every {}", seconds(s))),
        rule.series,
        days(rule.days)
    );
    let mut rows = vec![["band", "for", "does", "events", "a day"].map(str::to_owned).to_vec()];
    for band in &rule.bands {
        rows.push(vec![
            band.sigma.map_or_else(|| "-".to_owned(), |s| format!("{s}σ")),
            seconds(band.for_seconds),
            band.action.to_owned(),
            band.events.to_string(),
            band.events_a_day.map_or_else(|| "-".to_owned(), short),
        ]);
    }
    table(out, &rows);
    if rule.series == 0 && rule.kind == "sigma" {
        let why =
            if rule.failures > 0 { "see below" } else { "the expression found nothing in this history" };
        let _ = writeln!(out, "  no series: {why}");
    }
    let _ = write!(out, "  pages: {}", rule.pages);
    if let Some(a_day) = rule.pages_a_day {
        let _ = write!(out, " ({} a day)", short(a_day));
    }
    match rule.month {
        Some(Month { pages, low, high }) => {
            let (pages, low, high) = (short(pages), short(low), short(high));
            let _ = writeln!(out, ", expected a month: {pages} (95 %: {low} to {high})");
        }
        None if rule.days > 0.0 => {
            let _ = writeln!(
                out,
                "; {} of history say nothing of a month: that takes {} at least, and 30 to be sound",
                days(rule.days),
                days(MONTH_FROM_MS as f64 / DAY_MS as f64)
            );
        }
        None => out.push('\n'),
    }
    if let (Some(budget), Some(allowed)) = (&rule.budget, rule.allowed) {
        let verdict = match rule.over_budget {
            true => "OVER BUDGET",
            false if short_of_budget(rule) => {
                "within budget so far (the history is shorter than the budget's time)"
            }
            false => "within budget",
        };
        let _ = writeln!(
            out,
            "  budget: {budget}, {} in this time; the bands ask for {}: {verdict}",
            short(allowed),
            rule.asked,
        );
    }
    // Of little history nearly anything keeps the budget: that says nothing.
    if let Some(suggestion) = rule.suggestion.as_ref().filter(|_| rule.over_budget || rule.month.is_some()) {
        suggest(out, rule, suggestion);
    }
    if let Some(l) = &rule.labels {
        let _ = writeln!(
            out,
            "  labelled windows found: {} of {}; pages within one: {} of {} ({} %); a random clock that fires as often: {} %, p = {}",
            l.found,
            l.windows,
            l.hits,
            l.pages,
            short(100.0 * l.share),
            short(100.0 * l.clock_share),
            p_value(l.p_value)
        );
    }
    if rule.failures > 0 {
        let _ = writeln!(
            out,
            "  {} of {} evaluations failed, the first: {}",
            rule.failures,
            rule.evaluations,
            rule.first_failure.as_deref().unwrap_or_default()
        );
    }
    if !rule.by_day.is_empty() {
        out.push_str(&chart::text::bars(&periods(&rule.by_day), width));
    }
}

/// Days, or months where there are too many days to look at.
fn periods(by_day: &[(String, u64)]) -> Vec<(String, f64)> {
    let letters = if by_day.len() > MOST_DAYS { "YYYY-MM".len() } else { usize::MAX };
    let mut rows: Vec<(String, f64)> = Vec::new();
    for (day, n) in by_day {
        let name = format!("  {}", day.get(..letters).unwrap_or(day));
        match rows.last_mut() {
            Some((last, sum)) if *last == name => *sum += *n as f64,
            _ => rows.push((name, *n as f64)),
        }
    }
    rows
}

fn suggest(out: &mut String, rule: &RuleReport, suggestion: &Suggestion) {
    if suggestion.too_noisy {
        out.push_str("  too noisy to look for a threshold that keeps the budget\n");
        return;
    }
    let pages = |n: Option<u64>| match n {
        Some(1) => " (1 page)".to_owned(),
        n => n.map_or_else(String::new, |n| format!(" ({n} pages)")),
    };
    let sigma = suggestion
        .sigma
        .map_or_else(|| "none up to 100".to_owned(), |s| format!("{s}σ{}", pages(suggestion.sigma_pages)));
    let hold = suggestion.for_seconds.map_or_else(
        || "none up to 6h".to_owned(),
        |s| format!("{}{}", seconds(s), pages(suggestion.for_pages)),
    );
    let lowest = rule.bands.iter().find(|b| b.action == "page").or(rule.bands.first());
    let now = lowest.map_or_else(String::new, |b| {
        format!(" (now {}σ for {})", b.sigma.unwrap_or_default(), seconds(b.for_seconds))
    });
    let _ = writeln!(out, "  smallest that keeps the budget, one at a time: {sigma}; for: {hold}{now}");
}

/// Columns side by side, numbers to the right.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            // Words stand left, numbers right.
            let _ = if i == 2 { write!(line, " {cell}{pad}") } else { write!(line, " {pad}{cell}") };
            line.push(' ');
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Less was replayed than the budget is for.
fn short_of_budget(rule: &RuleReport) -> bool {
    !rule.over_budget && rule.budget_days.is_some_and(|d| rule.days < d)
}

/// A time as people say it.
fn days(days: f64) -> String {
    match days * 86_400.0 {
        _ if days >= 1.0 => format!("{} days", short(days)),
        s if s >= 7200.0 => format!("{} hours", short(s / 3600.0)),
        s if s >= 120.0 => format!("{} minutes", short(s / 60.0)),
        s => format!("{} seconds", short(s)),
    }
}

fn seconds(s: f64) -> String {
    Duration::from_ms((s * 1000.0).round() as i64).to_string()
}

/// Three digits are what a person reads.
fn short(v: f64) -> String {
    if !v.is_finite() {
        return "-".to_owned();
    }
    match v.abs() {
        a if a >= 100.0 || a == a.trunc() => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        a if a >= 0.01 => format!("{v:.2}"),
        _ => format!("{v:.1e}"),
    }
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "under 0.001".to_owned() } else { format!("{p:.3}") }
}
