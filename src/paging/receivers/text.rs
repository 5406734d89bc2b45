//! What is said when the configuration does not say how: subjects and lists, in Alertmanager's layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::Order as _;
use crate::paging::notification::{DIGEST, Notification, NotifiedAlert, Reason};

/// Alerts that a text lists; the rest is counted.
const MAX_LISTED: usize = 20;

/// What a body says of all alerts before it lists them: a list need not repeat it.
const SAID: [&str; 5] = ["summary", "description", "explanation", "page_budget", "runbook_url"];

/// `[FIRING:2] Slow flask (a b)`: status, the group's labels, and what else all alerts share. A page has the summary in
/// their place: it is what stands on a locked phone.
pub(super) fn subject(n: &Notification) -> String {
    let mut out = String::new();
    if let Some(incident) = &n.incident {
        if incident.drill {
            out.push_str("DRILL: ");
        }
        if n.reason == Reason::Acknowledged {
            out.push_str("[ACKNOWLEDGED] ");
        }
    }
    if n.why == DIGEST {
        out.push_str("[DIGEST] ");
    }
    let firing = firing(n).count() + n.more;
    match n.status() {
        "firing" => {
            let _ = write!(out, "[FIRING:{firing}]");
        }
        _ => out.push_str("[RESOLVED]"),
    }
    if let Some(summary) = summary(n) {
        out.push_str(&summary);
        return out;
    }
    for value in sorted(&n.group_labels) {
        out.push(' ');
        out.push_str(value);
    }
    let common = n.common_labels();
    let more: Vec<&str> = sorted_names(common.keys().copied())
        .into_iter()
        .filter(|name| !n.group_labels.contains_key(*name))
        .filter_map(|name| common.get(name).copied())
        .collect();
    if !more.is_empty() {
        let _ = write!(out, " ({})", more.join(" "));
    }
    out
}

/// ` the queue is deep (QueueDeep)`: what all alerts of a page say of themselves, on one line.
fn summary(n: &Notification) -> Option<String> {
    if n.incident.is_none() || n.why == DIGEST {
        return None;
    }
    let annotations = n.common_annotations();
    let mut out = String::new();
    for word in annotations.get("summary")?.split_whitespace() {
        out.push(' ');
        out.push_str(word);
    }
    match n.common_labels().get("alertname") {
        _ if out.is_empty() => None,
        Some(name) => Some(format!("{out} ({name})")),
        None => Some(out),
    }
}

/// The name of the alert comes first, then the others.
fn sorted_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.order_by_key(|name| (*name != "alertname", *name));
    names
}

fn sorted(labels: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    sorted_names(labels.keys().map(String::as_str))
        .into_iter()
        .filter_map(|n| labels.get(n).map(String::as_str))
}

pub(super) fn firing(n: &Notification) -> impl Iterator<Item = &NotifiedAlert> {
    n.alerts.iter().filter(|a| a.ends_at.is_none())
}

pub(super) fn resolved(n: &Notification) -> impl Iterator<Item = &NotifiedAlert> {
    n.alerts.iter().filter(|a| a.ends_at.is_some())
}

/// Labels, annotations and source of alerts, one after the other.
pub(super) fn list<'a>(alerts: impl Iterator<Item = &'a NotifiedAlert>) -> String {
    list_without(alerts, &BTreeMap::new())
}

/// The same without the annotations that were said already.
fn list_without<'a>(alerts: impl Iterator<Item = &'a NotifiedAlert>, said: &BTreeMap<&str, &str>) -> String {
    let mut out = String::new();
    let mut more = 0;
    for (i, alert) in alerts.enumerate() {
        if i >= MAX_LISTED {
            more += 1;
            continue;
        }
        out.push_str("Labels:\n");
        for (name, value) in &alert.labels {
            let _ = writeln!(out, " - {name} = {value}");
        }
        let new = || alert.annotations.iter().filter(|(name, _)| !said.contains_key(name.as_str()));
        if new().next().is_some() {
            out.push_str("Annotations:\n");
        }
        for (name, value) in new() {
            let _ = writeln!(out, " - {name} = {value}");
        }
        if !alert.generator_url.is_empty() {
            let _ = writeln!(out, "Source: {}", alert.generator_url);
        }
    }
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
    out
}

/// Summaries, and who is asked to do what: for people.
pub(super) fn body(n: &Notification, ack_url: Option<&str>) -> String {
    let mut out = String::new();
    for note in &n.notes {
        let _ = writeln!(out, "{note}");
    }
    let common = n.common_annotations();
    let mut said = BTreeMap::new();
    for name in SAID {
        if let Some(text) = common.get(name) {
            let _ = writeln!(out, "{text}");
            said.insert(name, *text);
        }
    }
    if let Some(i) = &n.incident
        && n.reason == Reason::Page
    {
        let _ = writeln!(out, "Incident {} (policy {}, step {}, loop {})", i.id, i.policy, i.step, i.round);
        if !i.notified.is_empty() {
            let _ = writeln!(out, "Notified before: {}", i.notified.join(", "));
        }
    }
    if let Some(url) = ack_url {
        let _ = writeln!(out, "Acknowledge: {url}");
    }
    if !out.is_empty() {
        out.push('\n');
    }
    if firing(n).next().is_some() {
        let _ = write!(out, "Firing:\n{}", list_without(firing(n), &said));
        if n.more > 0 {
            let _ = writeln!(out, "and {} more", n.more);
        }
    }
    if resolved(n).next().is_some() {
        let _ = write!(out, "Resolved:\n{}", list_without(resolved(n), &said));
    }
    out
}

/// That somebody has it in hand, who, and what they said to it.
pub(super) fn acknowledged(n: &Notification) -> String {
    let incident = n.incident.as_ref();
    let who = incident.and_then(|i| i.acknowledged_by.as_deref());
    let who = who.map_or_else(|| "Acknowledged".to_owned(), |who| format!("Acknowledged by {who}"));
    match incident.map(|i| i.comment.as_str()) {
        Some(comment) if !comment.is_empty() => format!("{who}: {comment}"),
        _ => who,
    }
}

/// At most so many units of UTF-16, in which some services count: most characters are one, emoji two.
pub(super) fn cut_utf16(text: &str, max: usize) -> String {
    cut_by(text, max, char::len_utf16)
}

/// At most so many bytes, as they stand in JSON.
pub(super) fn cut_json(text: &str, max: usize) -> String {
    cut_by(text, max, |c| match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_ascii_control() => 6,
        c => c.len_utf8(),
    })
}

fn cut_by(text: &str, max: usize, weight: fn(char) -> usize) -> String {
    if text.chars().map(weight).sum::<usize>() <= max {
        return text.to_owned();
    }
    let mut left = max.saturating_sub(weight('…'));
    let fits = |c: &char| {
        let w = weight(*c);
        let fits = w <= left;
        left = left.saturating_sub(w);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// At most so many characters; what is cut off is shown by an ellipsis.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        type Cut = fn(&str, usize) -> String;
        let cases: [(Cut, &str, usize, &str); 8] = [
            (cut, "ääää", 4, "ääää"),
            (cut, "äääää", 4, "äää…"),
            (cut_utf16, "🔥🔥", 4, "🔥🔥"),
            (cut_utf16, "🔥🔥🔥", 4, "🔥…"),
            (cut_utf16, "a🔥🔥🔥", 4, "a🔥…"),
            (cut_json, "a\nb\"", 6, "a\nb\""),
            (cut_json, "a\nb\"c", 6, "a\n…"),
            (cut_json, "ääää", 7, "ää…"),
        ];
        for (cut, text, max, expect) in cases {
            assert_eq!(cut(text, max), expect, "{text} {max}");
        }
    }
}
