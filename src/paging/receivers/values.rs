//! Values of alerts where a service would take them for something else: what calls people there must come from the
//! configuration, not from a label.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::tree;
use crate::paging::engine::Job;
use crate::paging::notification::Notification;

/// Words that, after an `@`, call all who are in a channel.
const CALLS: [&str; 4] = ["channel", "here", "everyone", "all"];
/// What parts them where it shows least: a space without width.
const GAP: char = '\u{200b}';

/// The job with every value that comes from alerts and people (labels, annotations, severities, who acknowledged) as
/// `change` makes it. Names of users, policies and receivers are the configuration's own.
pub(super) fn changed(job: &Job, change: fn(&str) -> String) -> Job {
    let map = |pairs: &BTreeMap<String, String>| tree(pairs.iter().map(|(n, v)| (change(n), change(v))));
    let mut n = Notification::clone(&job.notification);
    n.group_labels = map(&n.group_labels);
    n.route_labels = map(&n.route_labels);
    for a in &mut n.alerts {
        a.labels = map(&a.labels);
        a.annotations = map(&a.annotations);
        a.generator_url = change(&a.generator_url);
    }
    for note in &mut n.notes {
        *note = change(note);
    }
    if let Some(i) = &mut n.incident {
        i.severity = change(&i.severity);
        i.acknowledged_by = i.acknowledged_by.as_deref().map(change);
        i.comment = change(&i.comment);
    }
    Job { notification: Arc::new(n), ..job.clone() }
}

/// A text that calls nobody: neither `@here`, `@channel`, `@all`, `@everyone`, nor somebody by `<@…>`.
pub(super) fn uncalled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        if before.ends_with('<') {
            out.push(GAP);
        }
        out.push('@');
        rest = &after[1..];
        let starts = |word: &&str| rest.get(..word.len()).is_some_and(|r| r.eq_ignore_ascii_case(word));
        if CALLS.iter().any(starts) {
            out.push(GAP);
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::uncalled;

    #[test]
    fn nobody_is_called() {
        for (text, expect) in [
            ("", ""),
            ("no call", "no call"),
            ("@here and @Everyone", "@\u{200b}here and @\u{200b}Everyone"),
            ("<@123> <@&7>", "<\u{200b}@123> <\u{200b}@&7>"),
            ("<@all>", "<\u{200b}@\u{200b}all>"),
            ("ann@example.org, @ann, @ä @", "ann@example.org, @ann, @ä @"),
        ] {
            assert_eq!(uncalled(text), expect);
        }
    }
}
