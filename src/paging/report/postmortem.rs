//! The beginning of a postmortem: what the machine knows is filled in, what only people know is asked for.

use std::fmt::Write as _;

use super::words::span;
use crate::model::Timestamp;
use crate::paging::incident::{AlertRecord, Incident, Notified, State};

/// Alerts that are shown with their labels.
const ALERTS: usize = 20;

/// A postmortem of an incident in Markdown. `picture` is where its picture is: a file, or a data URI. Times are in
/// UTC. What comes from labels and people is escaped.
pub fn markdown(i: &Incident, picture: Option<&str>) -> String {
    let mut out = String::with_capacity(8 * 1024);
    let _ = writeln!(out, "# Postmortem: {}\n", escaped(&title(i)));
    if i.drill {
        out.push_str("**This was a drill.**\n\n");
    }
    facts(&mut out, i);
    out.push_str("\n## Summary\n\n<!-- In three sentences, for somebody who was not there: what broke, who noticed, what helped. -->\n");
    out.push_str("\n## Impact\n\n<!-- Who could not do what, and for how long? -->\n\n## The signal\n");
    if let Some(picture) = picture {
        let _ = writeln!(out, "\n![The value, its band, and what people did]({picture})");
    }
    if explanations(i).next().is_some() {
        out.push_str("\nWhat the alert said last (when it began: see the timeline):\n");
    }
    for text in explanations(i) {
        let _ = writeln!(out, "\n> {}", escaped(text));
    }
    if picture.is_none() && explanations(i).next().is_none() {
        out.push_str("\nNo series of the alert's rule is stored, so there is no picture.\n");
    }
    pages(&mut out, i);
    timeline(&mut out, i);
    alerts(&mut out, i);
    out.push_str(QUESTIONS);
    out
}

/// The part that only people can write.
const QUESTIONS: &str = "
## Five Whys

1. Why was somebody paged?
   -
2. Why did that happen?
   -
3. Why was that possible?
   -
4. Why was it not noticed before?
   -
5. Why is the system built so that it could happen?
   -

## What went well, what did not, where we were lucky

- Well:
- Not well:
- Lucky:

## Was the page worth it?

<!-- Useful or useless? Too early, too late, to the wrong person? What should the rule say instead? -->

## Follow-ups

| what | who | until when | done |
| --- | --- | --- | --- |
|  |  |  |  |
";

/// One line for a person: the summary of its alerts, or the labels that it is about.
pub fn title(i: &Incident) -> String {
    let summary = i.alerts.iter().find_map(|a| a.annotations.get("summary"));
    match summary.or_else(|| i.group_labels.get("alertname")) {
        Some(text) => text.clone(),
        None => i.key.clone(),
    }
}

/// What the alerts say of themselves: why they fired.
fn explanations(i: &Incident) -> impl Iterator<Item = &String> {
    let mut seen = std::collections::BTreeSet::new();
    i.alerts
        .iter()
        .filter_map(|a| a.annotations.get("explanation"))
        .filter(move |text| seen.insert(*text))
        .take(5)
}

fn facts(out: &mut String, i: &Incident) {
    let after = |t: Timestamp| span((t - i.triggered_at).max(0) as f64 / 1000.0);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("Incident", i.id.to_string());
    row("---", "---".to_owned());
    if !i.severity_name.is_empty() {
        row("Severity", escaped(&i.severity_name));
    }
    row("Policy", escaped(&i.policy.name));
    let labels = i.group_labels.iter().map(|(n, v)| escaped(&format!("{n}={v}")));
    let labels = labels.collect::<Vec<_>>().join(", ");
    if !labels.is_empty() {
        row("Labels", labels);
    }
    row("Triggered", time(i.triggered_at));
    let people = || i.notified.iter().filter(|n| !n.automation);
    row(
        "First page",
        match people().next() {
            Some(n) => format!("{}, after {}, to {}", time(n.at), after(n.at), escaped(n.whom())),
            None => "nobody was paged".to_owned(),
        },
    );
    row(
        "Acknowledged",
        match (&i.first_acknowledged, i.state) {
            (Some((at, by)), _) => {
                let ack = i.acknowledged.as_ref().filter(|a| a.at == *at);
                let said = ack.map(|a| remark(&a.actor.comment)).unwrap_or_default();
                format!("{}, after {}, by {}{said}", time(*at), after(*at), escaped(by))
            }
            (None, _) => "by nobody".to_owned(),
        },
    );
    row(
        "Resolved",
        match (i.resolved_at, &i.closed_by) {
            (Some(at), Some(by)) => {
                let said = remark(&by.comment);
                format!("{}, after {}, by {}{said}", time(at), after(at), escaped(&by.by))
            }
            (Some(at), None) => format!("{}, after {}, by itself", time(at), after(at)),
            (None, _) => match i.state {
                State::Acknowledged => "not yet: somebody is on it".to_owned(),
                _ => "not yet".to_owned(),
            },
        },
    );
    if let Some(j) = &i.judged {
        let why = remark(&j.comment);
        row("Judged", format!("{}, by {}{why}", j.verdict.as_str(), escaped(&j.actor.by)));
    }
}

fn remark(comment: &str) -> String {
    if comment.is_empty() { String::new() } else { format!(": {}", escaped(comment)) }
}

fn pages(out: &mut String, i: &Incident) {
    out.push_str("\n## Who was paged when\n\n");
    if i.notified.is_empty() {
        out.push_str("Nobody.\n");
        return;
    }
    out.push_str("| time (UTC) | loop, step | who | by | arrived |\n| --- | --- | --- | --- | --- |\n");
    for n in &i.notified {
        let _ = writeln!(
            out,
            "| {} | {}, {} | {}{} | {} | {} |",
            time(n.at),
            n.round + 1,
            n.step + 1,
            escaped(n.whom()),
            if n.automation { " (automation)" } else { "" },
            escaped(&n.receiver),
            arrived(n)
        );
    }
}

fn arrived(n: &Notified) -> String {
    if let Some(at) = n.arrived_at() {
        return format!("after {}", span((at - n.at).max(0) as f64 / 1000.0));
    }
    match n.arrivals.iter().find(|a| !a.error.is_empty()) {
        Some(a) => format!("NO, after {} attempts: {}", a.attempts, escaped(&a.error)),
        None => "not known".to_owned(),
    }
}

fn timeline(out: &mut String, i: &Incident) {
    out.push_str("\n## Timeline\n\n| time (UTC) | after | what |\n| --- | --- | --- |\n");
    for e in &i.history {
        let after = e.at - i.triggered_at;
        let sign = if after < 0 { "-" } else { "" };
        let _ = writeln!(
            out,
            "| {} | {sign}{} | {} |",
            time(e.at),
            span(after.unsigned_abs() as f64 / 1000.0),
            escaped(&e.what)
        );
    }
    out.push_str("|  |  | <!-- what people did meanwhile --> |\n");
}

fn alerts(out: &mut String, i: &Incident) {
    let _ = writeln!(out, "\n## Alerts ({})", i.alert_count);
    for a in i.alerts.iter().take(ALERTS) {
        alert(out, a);
    }
    if i.alert_count > ALERTS.min(i.alerts.len()) {
        let _ = writeln!(out, "\n… and {} more.", i.alert_count - ALERTS.min(i.alerts.len()));
    }
}

fn alert(out: &mut String, a: &AlertRecord) {
    let name = a.labels.get("alertname").map_or("alert", String::as_str);
    let _ = writeln!(out, "\n### {}\n\nSince {} UTC.\n", escaped(name), time(a.starts_at));
    for (name, value) in a.labels.iter().filter(|(n, _)| *n != "alertname") {
        let _ = writeln!(out, "- {} = {}", escaped(name), escaped(value));
    }
    for (name, value) in a.annotations.iter().filter(|(n, _)| *n != "explanation") {
        let _ = writeln!(out, "- {}: {}", escaped(name), escaped(value));
    }
    if !a.generator_url.is_empty() {
        let _ = writeln!(out, "- source: {}", escaped(&a.generator_url));
    }
}

fn time(t: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(t) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => t.to_string(),
    }
}

/// Text that stays text in Markdown, on one line. Addresses stay as they are, so that they can be followed.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let link = text.starts_with("https://") || text.starts_with("http://");
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            '_' | '*' | '#' | '~' if link => out.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
