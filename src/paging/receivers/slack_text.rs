//! What Slack reads as text, and not as its markup.
//!
//! Slack takes `<!channel>`, `<@U0123>` and `<https://…|words>` for mentions and links, wherever they stand. What comes
//! from alerts and from people (labels, annotations, names) must ring nobody's phone and forge no link; what the author
//! of the configuration writes stays as it is. So the values are escaped before a template sees them, by Slack's rule for
//! text from elsewhere: `&`, `<` and `>` become `&amp;`, `&lt;` and `&gt;`.

use super::values::{self, uncalled};
use crate::paging::engine::Job;

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

/// The same where names become mentions (`link_names`).
fn escaped_and_uncalled(text: &str) -> String {
    uncalled(&escaped(text))
}

/// The job with values that are text to Slack.
pub(super) fn job(job: &Job, link_names: bool) -> Job {
    values::changed(job, if link_names { escaped_and_uncalled } else { escaped })
}

/// At most so many characters, and no link, mention or escape that is cut in two.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut out = super::text::cut(text, max);
    if out.len() == text.len() {
        return out;
    }
    let open = out.rfind('<').filter(|at| !out[*at..].contains('>'));
    let half = out.rfind('&').filter(|at| {
        let rest = out[at + 1..].trim_end_matches('…');
        ["amp;", "lt;", "gt;"].iter().any(|e| e.len() > rest.len() && e.starts_with(rest))
    });
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
        assert_eq!(escaped_and_uncalled("@here, @ann <!here>"), "@\u{200b}here, @ann &lt;!here&gt;");
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
