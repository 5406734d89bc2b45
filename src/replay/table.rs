//! A report as text for a terminal.

use std::fmt::Write;

use crate::chart;
use crate::model::Duration;

use super::report::{Report, RuleReport, Suggestion};

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
        "{}:{}: {} ({}, {}, {} series, {} days)",
        rule.file,
        rule.line,
        rule.rule,
        rule.kind,
        rule.interval_seconds.map_or_else(|| "row by row".to_owned(), |s| format!("every {}", seconds(s))),
        rule.series,
        short(rule.days)
    );
    let mut rows = vec![["band", "for", "does", "events", "a day"].map(str::to_owned).to_vec()];
    for band in &rule.bands {
        rows.push(vec![
            band.sigma.map_or_else(|| "-".to_owned(), |s| format!("{s}σ")),
            seconds(band.for_seconds),
            band.action.to_owned(),
            band.events.to_string(),
            short(band.events_a_day),
        ]);
    }
    table(out, &rows);
    let _ = write!(
        out,
        "  pages: {} ({} a day), expected a month: {} (95 %: {} to {})",
        rule.pages,
        short(rule.pages_a_day),
        short(rule.pages_a_month),
        short(rule.pages_a_month_low),
        short(rule.pages_a_month_high)
    );
    out.push('\n');
    if let (Some(budget), Some(allowed)) = (&rule.budget, rule.allowed) {
        let verdict = if rule.over_budget { "OVER BUDGET" } else { "within budget" };
        let _ = writeln!(
            out,
            "  budget: {budget}, {} in this time; the bands ask for {}: {verdict}",
            short(allowed),
            rule.asked
        );
    }
    if let Some(suggestion) = &rule.suggestion {
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
    let pages = |n: Option<u64>| n.map_or_else(String::new, |n| format!(" ({n} pages)"));
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
