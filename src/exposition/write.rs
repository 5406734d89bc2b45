//! The pieces of a text exposition.

use super::canonical_bound;
use crate::model::{
    Labels, METRIC_NAME, MetricType, Timestamp, format_float_exposition, is_legacy_label_name,
    is_legacy_metric_name, parse_float, push_int, push_seconds,
};

/// Appends a value.
pub fn push_value(out: &mut Vec<u8>, v: f64) {
    if v.fract() == 0.0 && v.abs() < 1e6 && (v != 0.0 || v.is_sign_positive()) {
        push_int(out, v as i64);
    } else {
        out.extend_from_slice(format_float_exposition(v).as_bytes());
    }
}

/// Appends a timestamp: milliseconds in text, seconds in OpenMetrics.
pub fn push_timestamp(out: &mut Vec<u8>, t: Timestamp, openmetrics: bool) {
    if openmetrics {
        push_seconds(out, t);
    } else {
        push_int(out, t);
    }
}

/// Appends `name{label="value",…}`. `extra` labels are added where the series has none of the name.
/// Without `utf8`, what the old alphabet lacks becomes `_`. `canonical_le` prints whole bucket bounds
/// and quantiles as `1.0`, as OpenMetrics wants them.
pub fn push_series(
    out: &mut Vec<u8>,
    labels: &Labels,
    extra: &[(String, String)],
    utf8: bool,
    canonical_le: bool,
) {
    let name = labels.metric_name();
    let quoted_name = utf8 && !is_legacy_metric_name(name);
    if quoted_name {
        out.extend_from_slice(b"{\"");
        push_escaped(out, name, true);
        out.push(b'"');
    } else {
        push_name(out, name, true);
    }
    let mut open = quoted_name;
    let mut label = |out: &mut Vec<u8>, n: &str, v: &str| {
        out.push(if open { b',' } else { b'{' });
        open = true;
        if utf8 && !is_legacy_label_name(n) {
            out.push(b'"');
            push_escaped(out, n, true);
            out.push(b'"');
        } else {
            push_name(out, n, false);
        }
        out.extend_from_slice(b"=\"");
        let bound = if canonical_le && matches!(n, "le" | "quantile") { parse_float(v) } else { None };
        match bound {
            Some(bound) => push_escaped(out, &canonical_bound(bound), true),
            None => push_escaped(out, v, true),
        }
        out.push(b'"');
    };
    // Both are sorted: merge them.
    let mut extra = extra
        .iter()
        .filter(|(n, v)| labels.get(n).is_none() && (!v.is_empty() || n == "instance"))
        .peekable();
    for (n, v) in labels.iter().filter(|(n, _)| *n != METRIC_NAME) {
        while let Some((en, ev)) = extra.next_if(|(en, _)| en.as_str() < n) {
            label(out, en, ev);
        }
        label(out, n, v);
    }
    for (en, ev) in extra {
        label(out, en, ev);
    }
    if open {
        out.push(b'}');
    }
}

/// Appends a name, with `_` for what the old alphabet does not have.
pub fn push_name(out: &mut Vec<u8>, name: &str, colon: bool) {
    if name.is_empty() {
        out.push(b'_');
    }
    for (i, c) in name.chars().enumerate() {
        let good =
            c.is_ascii_alphabetic() || c == '_' || (colon && c == ':') || (i > 0 && c.is_ascii_digit());
        out.push(if good { c as u8 } else { b'_' });
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for b in text.bytes() {
        match b {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            b => out.push(b),
        }
    }
}

/// Appends the lines that announce a family.
pub fn push_header(
    out: &mut Vec<u8>,
    family: &str,
    kind: MetricType,
    help: &str,
    unit: &str,
    openmetrics: bool,
    utf8: bool,
) {
    let name = |out: &mut Vec<u8>| {
        if utf8 && !is_legacy_metric_name(family) {
            out.push(b'"');
            push_escaped(out, family, true);
            out.push(b'"');
        } else {
            push_name(out, family, true);
        }
    };
    if !help.is_empty() {
        out.extend_from_slice(b"# HELP ");
        name(out);
        out.push(b' ');
        push_escaped(out, help, openmetrics);
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    name(out);
    out.push(b' ');
    let word = match kind {
        MetricType::Unknown if !openmetrics => "untyped",
        kind => kind.as_str(),
    };
    out.extend_from_slice(word.as_bytes());
    out.push(b'\n');
    // The unit has to be the end of the name.
    if openmetrics && !unit.is_empty() && family.strip_suffix(unit).is_some_and(|f| f.ends_with('_')) {
        out.extend_from_slice(b"# UNIT ");
        name(out);
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_headers() {
        let extra = [("env".to_owned(), "p".to_owned()), ("pod".to_owned(), "a\"b".to_owned())];
        for (pairs, utf8, canonical, expect) in [
            (vec![("__name__", "up")], false, false, r#"up{env="p",pod="a\"b"}"#),
            (
                vec![("__name__", "up"), ("env", "own"), ("job", "j\n\\")],
                false,
                false,
                r#"up{env="own",job="j\n\\",pod="a\"b"}"#,
            ),
            (vec![("__name__", "a.b"), ("k.k", "v")], false, false, r#"a_b{env="p",k_k="v",pod="a\"b"}"#),
            (vec![("__name__", "a.b"), ("k.k", "v")], true, false, r#"{"a.b",env="p","k.k"="v",pod="a\"b"}"#),
            (
                vec![("__name__", "x_bucket"), ("le", "5")],
                false,
                true,
                r#"x_bucket{env="p",le="5.0",pod="a\"b"}"#,
            ),
            (
                vec![("__name__", "x_bucket"), ("le", "0.5")],
                false,
                true,
                r#"x_bucket{env="p",le="0.5",pod="a\"b"}"#,
            ),
        ] {
            let mut out = Vec::new();
            push_series(&mut out, &Labels::from_pairs(pairs), &extra, utf8, canonical);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        let mut out = Vec::new();
        push_series(&mut out, &Labels::from_pairs([("__name__", "up")]), &[], false, false);
        out.push(b'\n');
        push_header(&mut out, "x_seconds", MetricType::Unknown, "a \"b\"\n", "seconds", true, false);
        push_header(&mut out, "x_seconds", MetricType::Unknown, "a \"b\"\n", "seconds", false, false);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "up\n# HELP x_seconds a \\\"b\\\"\\n\n# TYPE x_seconds unknown\n# UNIT x_seconds seconds\n\
             # HELP x_seconds a \"b\"\\n\n# TYPE x_seconds untyped\n"
        );
    }
}
