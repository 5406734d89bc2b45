//! What Slack reads as text, and not as its markup.
//!
//! Slack takes `<!channel>`, `<@U0123>` and `<https://…|words>` for mentions and links, wherever they stand. What comes
//! from alerts and from people (labels, annotations, names) must ring nobody's phone and forge no link; what the author
//! of the configuration writes stays as it is. So the values are escaped before a template sees them, by Slack's rule for
//! text from elsewhere: `&`, `<` and `>` become `&amp;`, `&lt;` and `&gt;`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::tree;
use crate::paging::engine::Job;
use crate::paging::notification::Notification;

/// Words that call a whole channel where `link_names` turns names into mentions.
const CALLS: [&str; 3] = ["channel", "here", "everyone"];

/// A text that Slack shows as it is. What is escaped already stays so: rules that were written for Slack look right.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' if !["&amp;", "&lt;", "&gt;"].iter().any(|e| text[at..].starts_with(e)) => {
                out.push_str("&amp;")
            }
            c => out.push(c),
        }
    }
    out
}

/// The same where names become mentions: a space that nobody sees parts `@` from what calls a whole channel.
fn uncalled(text: &str) -> String {
    let mut out = escaped(text);
    for word in CALLS {
        out = out.replace(&format!("@{word}"), &format!("@\u{200b}{word}"));
    }
    out
}

/// The job with a notification whose values are escaped. Names of users, policies and receivers are the configuration's own.
pub(super) fn job(job: &Job, link_names: bool) -> Job {
    let escape: fn(&str) -> String = if link_names { uncalled } else { escaped };
    let map = |pairs: &BTreeMap<String, String>| tree(pairs.iter().map(|(n, v)| (escape(n), escape(v))));
    let mut n = Notification::clone(&job.notification);
    n.group_labels = map(&n.group_labels);
    n.route_labels = map(&n.route_labels);
    for a in &mut n.alerts {
        a.labels = map(&a.labels);
        a.annotations = map(&a.annotations);
        a.generator_url = escape(&a.generator_url);
    }
    for note in &mut n.notes {
        *note = escape(note);
    }
    if let Some(i) = &mut n.incident {
        i.severity = escape(&i.severity);
        i.acknowledged_by = i.acknowledged_by.as_deref().map(escape);
    }
    Job { notification: Arc::new(n), ..job.clone() }
}

/// At most so many characters, and no link, mention or escape that is cut in two.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut out = super::text::cut(text, max);
    if out.len() == text.len() {
        return out;
    }
    let open = out.rfind('<').filter(|at| !out[*at..].contains('>'));
    let half = out.rfind('&').filter(|at| !out[*at..].contains(';') && out.len() - at < 10);
    if let Some(at) = open.into_iter().chain(half).min() {
        out.truncate(at);
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_is_markup() {
        for (text, expect) in [
            ("<!channel> <!here> <@U1>", "&lt;!channel&gt; &lt;!here&gt; &lt;@U1&gt;"),
            ("a & b", "a &amp; b"),
            ("a &amp; b &lt; c &gt; d", "a &amp; b &lt; c &gt; d"),
            ("&ampere; &&lt;", "&amp;ampere; &amp;&lt;"),
            ("<https://x.test|Acknowledge>", "&lt;https://x.test|Acknowledge&gt;"),
            ("größer > 3σ", "größer &gt; 3σ"),
            ("@here stays", "@here stays"),
        ] {
            assert_eq!(escaped(text), expect);
            assert_eq!(escaped(expect), expect, "twice is as once");
        }
        assert_eq!(uncalled("@here, @ann <!here>"), "@\u{200b}here, @ann &lt;!here&gt;");
    }

    #[test]
    fn nothing_is_cut_in_two() {
        for (text, max, expect) in [
            ("short <https://x>", 50, "short <https://x>"),
            ("a <https://x.test|words> b", 12, "a …"),
            ("<https://x|w> and more", 16, "<https://x|w> a…"),
            ("a &lt; b", 5, "a …"),
            ("ää &amp; ää", 7, "ää …"),
            ("a & b and more", 8, "a & b a…"),
        ] {
            assert_eq!(cut(text, max), expect, "{text}");
        }
    }
}
