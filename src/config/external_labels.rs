//! `external_labels`: the one place where environment variables are expanded, as in Prometheus.

use crate::model::{Labels, LabelsBuilder};

/// Expands `$VAR`, `${VAR}` and `$$` (a dollar sign) in the values. A variable that is not set becomes
/// empty; its name is returned beside the labels, so that somebody can warn about it.
pub fn expand<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    env: impl Fn(&str) -> Option<String>,
) -> (Labels, Vec<String>) {
    let mut out = LabelsBuilder::default();
    let mut unset = Vec::new();
    for (name, value) in labels {
        out.set(name, &expand_value(value, &env, &mut unset));
    }
    (out.build(), unset)
}

fn expand_value(value: &str, env: &impl Fn(&str) -> Option<String>, unset: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            (name, tail)
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            after.split_at(end)
        };
        if name.is_empty() {
            // A lone dollar sign stays.
            out.push('$');
        } else if let Some(value) = env(name) {
            out.push_str(&value);
        } else {
            unset.push(name.to_owned());
        }
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let env = |name: &str| (name == "POD").then(|| "p-1".to_owned());
        for (value, expect) in [
            ("x", "x"),
            ("$POD", "p-1"),
            ("a${POD}b", "ap-1b"),
            ("$POD-x", "p-1-x"),
            ("$$POD", "$POD"),
            ("$", "$"),
            ("100$ ", "100$ "),
        ] {
            let (labels, unset) = expand([("a", value)].into_iter(), env);
            assert_eq!((labels.get("a"), unset.len()), (Some(expect), 0), "{value}");
        }
        let (labels, unset) = expand([("a", "${NONE}")].into_iter(), env);
        assert!(labels.is_empty());
        assert_eq!(unset, ["NONE"]);
    }
}
