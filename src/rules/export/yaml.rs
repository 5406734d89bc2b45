//! A rule file, written.

use std::fmt::Write as _;

use crate::model::{Duration, Labels};

/// Writes groups and rules; texts are quoted as JSON does, which YAML reads as well.
pub(super) struct Writer {
    out: String,
    /// The group that is being written has no rule yet.
    empty: bool,
}

impl Writer {
    pub fn new() -> Self {
        Self { out: "groups:\n".to_owned(), empty: false }
    }

    pub fn group(&mut self, name: &str, interval: Option<Duration>, limit: usize, offset: Option<Duration>) {
        self.end_group();
        let _ = writeln!(self.out, "  - name: {}", quoted(name));
        if let Some(interval) = interval {
            let _ = writeln!(self.out, "    interval: {interval}");
        }
        if limit > 0 {
            let _ = writeln!(self.out, "    limit: {limit}");
        }
        if let Some(offset) = offset {
            let _ = writeln!(self.out, "    query_offset: {offset}");
        }
        self.out.push_str("    rules:\n");
        self.empty = true;
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.empty) {
            self.out.push_str("      []\n");
        }
    }

    /// A title and sentences, a line each.
    pub fn comments(&mut self, title: &str, lines: &[String]) {
        let _ = writeln!(self.out, "      # {}", one_line(title));
        for line in lines {
            let _ = writeln!(self.out, "      #   - {}", one_line(line));
        }
    }

    pub fn recording(&mut self, name: &str, expr: &str, labels: &Labels) {
        self.rule("record", name, expr);
        self.map("labels", labels);
    }

    pub fn alert(
        &mut self,
        name: &str,
        expr: &str,
        hold: Duration,
        keep: Duration,
        labels: &Labels,
        annotations: &Labels,
    ) {
        self.rule("alert", name, expr);
        for (key, duration) in [("for", hold), ("keep_firing_for", keep)] {
            if !duration.is_zero() {
                let _ = writeln!(self.out, "        {key}: {duration}");
            }
        }
        self.map("labels", labels);
        self.map("annotations", annotations);
    }

    fn rule(&mut self, key: &str, name: &str, expr: &str) {
        self.empty = false;
        let _ = writeln!(self.out, "      - {key}: {}", quoted(name));
        let _ = writeln!(self.out, "        expr: {}", quoted(expr));
    }

    fn map(&mut self, key: &str, labels: &Labels) {
        if labels.is_empty() {
            return;
        }
        let _ = writeln!(self.out, "        {key}:");
        for (name, value) in labels.iter() {
            let _ = writeln!(self.out, "          {}: {}", quoted(name), quoted(value));
        }
    }

    pub fn finish(mut self) -> String {
        self.end_group();
        self.out
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
