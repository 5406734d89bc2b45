//! Templates: a table of what Go gives, errors, bounds, and no panic on any text.

use proptest::prelude::*;
use sideband::model::Labels;
use sideband::template::{
    Dialect, Env, Limits, MessageAlert, MessageData, Mode, Template, TemplateError, TemplateSet, Value,
    expand,
};

fn rule(text: &str) -> Result<String, TemplateError> {
    let labels = Value::labels(&Labels::from_pairs([("instance", "db:9100"), ("job", "a&b")]));
    let variables = [("$labels", labels), ("$value", Value::Float(1_234_567.0))];
    let names: Vec<&str> = variables.iter().map(|(n, _)| *n).collect();
    Template::parse(Dialect::Prometheus, "t", text, &names)?.run(
        &Value::Nil,
        &variables,
        None,
        &Env { external_url: "http://h/p", ..Env::default() },
        Limits::default(),
    )
}

#[test]
fn rule_templates() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ $labels.instance }} {{ $labels.none }}|", "db:9100 |"),
        ("{{ $value }} {{ $value | humanize }}", "1.234567e+06 1.235M"),
        (
            "{{ printf \"%.2f|%5d|%-5s|%05d|%x|%q|%v\" 1.005 7 \"ab\" -42 255 \"q\" true }}",
            "1.00|    7|ab   |-0042|ff|\"q\"|true",
        ),
        ("{{ printf \"%d %s\" \"x\" }}", "%!d(string=x) %!s(MISSING)"),
        ("{{ printf \"%s\" \"a\" 1 }}", "a%!(EXTRA int=1)"),
        ("{{ printf \"%.3g %e %g\" 1234.5 1234.5 0.00001 }}", "1.23e+03 1.234500e+03 1e-05"),
        ("a {{- /* comment */ -}} b", "ab"),
        ("a {{- 1 -}} b {{-2}}", "a1b -2"),
        ("{{ if eq $labels.job \"x\" \"a&b\" }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if false }}a{{ else if gt $value 5.0 }}b{{ else }}c{{ end }}", "b"),
        ("{{ range $i, $x := $labels }}{{ $i }}={{ $x }};{{ end }}", "instance=db:9100;job=a&b;"),
        ("{{ range 3 }}{{ . }}{{ if eq . 1 }}{{ break }}{{ end }}{{ end }}", "01"),
        ("{{ range 4 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ else }}none{{ end }}", "023"),
        ("{{ with $labels.none }}a{{ else with $labels.job }}{{ . }}{{ end }}", "a&b"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        (
            "{{ define \"d\" }}<{{ . }}>{{ end }}{{ template \"d\" $labels.job }}{{ block \"e\" 1 }}{{ . }}{{ end }}",
            "<a&b>1",
        ),
        ("{{ and 1 0 }}{{ or 0 \"x\" }}{{ not 1 }}{{ and true (index $labels \"no\") }}", "0xfalse"),
        (
            "{{ len $labels }} {{ index $labels \"job\" }} {{ slice \"abcdef\" 1 3 }} {{ index (args 1 2).arg1 }}",
            "2 a&b bc 2",
        ),
        ("{{ print 1 2 \"a\" 3 }}{{ println \"x\" 1 }}", "1 2a3x 1\n"),
        ("{{ html \"<a>\" }}{{ js \"'\" }}{{ urlquery \"a b\" }}", "&lt;a&gt;\\'a+b"),
        ("{{ `raw\\n` }}{{ 'a' }}{{ 0x10 }}{{ 1e3 }}{{ \"\\u00e9\" }}", "raw\\n97161000é"),
        ("{{ lt 1 2 }}{{ ge \"b\" \"a\" }}{{ ne 1 1 }}", "truetruefalse"),
        ("{{ $labels }}", "map[instance:db:9100 job:a&b]"),
        ("{{ .nothing }}", "<no value>"),
        (
            "{{ toDuration 90.5 }} {{ (toTime 0).Format \"Jan 2, 2006 at 3:04pm (MST)\" }}",
            "1m30.5s Jan 1, 1970 at 12:00am (UTC)",
        ),
        ("{{ title \"hello o'neil foo-bar 0x1F aB..c\" }}", "Hello O'neil Foo-Bar 0X1F AB..C"),
        ("{{ printf \"%[2]s %[1]d\" 1 \"a\" }} {{ printf \"%[3]d\" 1 }}", "a 1 %!d(BADINDEX)"),
        (
            "{{ printf \"%8.3f|%5d|%#o\" \"YWJj\" \"x\" \"y\" }}",
            "%!f(string=     YWJ)|%!d(string=    x)|%!o(string=y)",
        ),
        ("{{ printf \"%q %q %q\" 5 'a' 39 }}", "'\\x05' 'a' '\\''"),
        ("{{ printf \"%g\" 1.5 nil }} {{ urlquery nil }}", "1.5%!(EXTRA <nil>) %3Cno+value%3E"),
        ("{{ printf \"%d\" (args 1 2) }}", "map[%!d(string=arg0):1 %!d(string=arg1):2]"),
        ("{{ print (safeHtml \"a\") 1 (safeHtml \"b\") }}", "a1b"),
        (
            "{{ (toTime 0).Month }} {{ printf \"%02d\" (toTime 0).Month }} {{ eq (toTime 0).Weekday 4 }}",
            "January 01 true",
        ),
        ("{{ humanize \"1_000\" }} {{ if false }}{{ 9223372036854775808 }}{{ end }}", "1k "),
        ("{{ reReplaceAll \"[[a&&b]+\" \"x\" \"a&[b\" }} {{ match \"\\\\d\" \"٣\" }}", "x false"),
        ("{{ define \"e\" }} {{ end }}{{ define \"e\" }}x{{ end }}{{ template \"e\" }}", "x"),
        ("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "db"),
    ] {
        assert_eq!(rule(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_said_at_once_and_where() {
    for (text, part) in [
        ("{{ $label.x }}", "undefined variable"),
        ("{{ nofunction 1 }}", "\"nofunction\" not defined"),
        ("{{ define \"a\" }}x{{ end }}{{ define \"a\" }}y{{ end }}", "multiple definition of template \"a\""),
        ("{{ $value * 100 }}", "unexpected \"*\" in operand"),
        ("{{", "unclosed action"),
        ("{{ if true }}", "unexpected end"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ \"a }}", "unterminated"),
        ("{{ 1 | 2 }}", "non executable command"),
        ("{{ break }}", "outside {{range}}"),
        ("{{ define \"x\" }}{{ $labels.a }}{{ end }}", "undefined variable"),
        ("{{ (1 }}", "unclosed left paren"),
        ("{{ }}", "missing value for command"),
        ("{{ $x, $y := 1 }}", "too many declarations"),
        ("{{ 1.2.3 }}", "unexpected"),
        ("a\n  {{ if }}x{{ end }}", "missing value for if"),
    ] {
        match Template::parse(Dialect::Prometheus, "t", text, &["$labels", "$value"]) {
            Err(TemplateError::Parse { message, line, column, .. }) => {
                assert!(message.contains(part), "{text}: {message}");
                assert!(line == text.matches('\n').count() + 1 && column > 0, "{text}: {line}:{column}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        "{{ query \"up\" }}",
        "{{ template \"none\" }}",
        "{{ humanize \"x\" }}",
        "{{ 1 | len }}",
        "{{ $value.x }}",
    ] {
        assert!(matches!(rule(text), Err(TemplateError::Run(_))), "{text}");
    }
}

#[test]
fn bounds_hold() {
    for text in [
        "{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}",
        "{{ range 1000000000 }}{{ end }}",
        "{{ range 100000 }}{{ printf \"%1000d\" 1 }}{{ end }}",
        "{{ $x := \"0123456789\" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}{{ $x }}",
        "{{ $x := args 1 }}{{ range 100000 }}{{ $x = args $x $x }}{{ end }}",
        "{{ printf \"%999999d%999999d\" 1 1 }}",
        "{{ reReplaceAll \"\" \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" (printf \"%500000d\" 1) }}",
        "{{ $x := args 1 }}{{ range 60 }}{{ $x = args $x $x }}{{ end }}{{ $x }}",
    ] {
        assert!(matches!(rule(text), Err(TemplateError::Run(_))), "{text}");
    }
    let deep = format!("{}1{}", "{{ if true }}".repeat(10_000), "{{ end }}".repeat(10_000));
    assert!(rule(&deep).is_err());
    assert!(rule(&format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
}

#[test]
fn html_mode_escapes_for_the_place() {
    for (text, expected) in [
        ("<p>{{ .v }}</p>", "<p>&lt;&#34;a&#34; &amp; b?&gt;</p>"),
        ("<a title=\"{{ .v }}\">", "<a title=\"&lt;&#34;a&#34; &amp; b?&gt;\">"),
        ("<a href=\"/s?q={{ .v }}&x=1\">", "<a href=\"/s?q=%3c%22a%22%20%26%20b%3f%3e&x=1\">"),
        ("<a href=\"{{ .bad }}\">x</a>", "<a href=\"#ZgotmplZ\">x</a>"),
        ("<a href=\"{{ .url }}\">{{ .url }}</a>", "<a href=\"http://h/?a=b&amp;c\">http://h/?a=b&amp;c</a>"),
        (
            "<script>var x = {{ .v }};</script>{{ .v }}",
            "<script>var x = \"\\u003C\\\"a\\\" \\u0026 b?\\u003E\";</script>&lt;&#34;a&#34; &amp; b?&gt;",
        ),
        ("<b>{{ .html | safeHtml }}</b>{{ .none }}", "<b><i>x</i></b>"),
        ("a<!-- {{ .v }} -->b", "ab"),
        ("<p style=\"color: {{ .bad }}\" {{ .v }}>", "<p style=\"color: ZgotmplZ\" ZgotmplZ>"),
    ] {
        let entries = [
            ("v", "<\"a\" & b?>"),
            ("bad", "javascript:x()"),
            ("url", "http://h/?a=b&c"),
            ("html", "<i>x</i>"),
        ];
        let entries = entries.into_iter().map(|(k, v)| (k.into(), Value::str(v))).collect();
        let dot = Value::map(sideband::template::MapKind::Any, entries).unwrap();
        let env = Env { mode: Mode::Html, ..Env::default() };
        assert_eq!(expand(Dialect::Alertmanager, text, &dot, None, &env).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn message_templates_share_definitions() {
    let mut set = TemplateSet::default();
    set.add(
        Dialect::Alertmanager,
        "a.tmpl",
        "{{ define \"title\" }}[{{ .Status | toUpper }}:{{ .Alerts.Firing | len }}] {{ .GroupLabels.SortedPairs.Values | join \" \" }}{{ end }}",
    )
    .unwrap();
    assert!(set.contains("title"));
    let alert = |status: &str, name: &str| MessageAlert {
        status: status.to_owned(),
        labels: Labels::from_pairs([("alertname", name), ("a", "1")]),
        starts_at: Some(0),
        ..MessageAlert::default()
    };
    let data = MessageData {
        status: "firing".to_owned(),
        alerts: vec![alert("firing", "X"), alert("resolved", "Y")],
        group_labels: Labels::from_pairs([("a", "1"), ("alertname", "X")]),
        ..MessageData::default()
    };
    let run = |text: &str| {
        let env = Env { now: 90_000, ..Env::default() };
        expand(Dialect::Alertmanager, text, &data.to_value().unwrap(), Some(&set), &env)
    };
    for (text, expected) in [
        ("{{ template \"title\" . }}", "[FIRING:1] X 1"),
        (
            "{{ range .Alerts }}{{ .Labels.alertname }} {{ .StartsAt.Format \"15:04\" }} {{ since .StartsAt }};{{ end }}",
            "X 00:00 1m30s;Y 00:00 1m30s;",
        ),
        ("{{ (index .Alerts 0).Labels.SortedPairs.Names }}", "[alertname a]"),
        ("{{ .StartsAt }}", ""),
        ("{{ (index .Alerts 1).StartsAt | tz \"Europe/Paris\" | date \"15:04 MST\" }}", "01:00 CET"),
        ("{{ .CommonLabels.none }}{{ .ExternalURL }}", ""),
        // Labels and pairs say themselves.
        (
            "{{ .GroupLabels }}|{{ .GroupLabels.SortedPairs }}|{{ .CommonAnnotations }}",
            "alertname=X, a=1|alertname=X, a=1|",
        ),
        (
            "{{ printf \"%q\" .GroupLabels }} {{ list .GroupLabels 1 }}",
            "\"alertname=X, a=1\" [alertname=X, a=1 1]",
        ),
        ("{{ .GroupLabels.Remove (stringSlice \"alertname\") }}", "a=1"),
        ("{{ title \"fOO_bAR don't 1ST ÉA\" }}", "Foo_bar Don't 1St Éa"),
    ] {
        match run(text) {
            Ok(text) => assert_eq!(text, expected),
            Err(e) => {
                assert!(expected.is_empty() && e.to_string().contains("can't evaluate field"), "{text}: {e}")
            }
        }
    }
    // Go converts nothing: neither a list of anything into one of texts, nor a safe text into a text.
    for text in [
        "{{ .GroupLabels.Remove (list \"alertname\") }}",
        "{{ append (stringSlice \"a\") \"b\" }}",
        "{{ join \",\" (list \"a\") }}",
        "{{ toUpper (safeHtml \"a\") }}",
        "{{ dict (safeUrl \"a\") 1 }}",
        "{{ index .GroupLabels (safeHtml \"a\") }}",
    ] {
        assert!(run(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\{\\{[- ]?|[ -]?\\}\\}|\\$x?|\\.a|[(|)\"`']|range|if|end|with|printf|\"%[0-9.*+ #-]{0,4}[a-zA-Z]\"|<a href=|[ -~]|é|[0-9]{1,20}){0,12}") {
        for mode in [Mode::Text, Mode::Html] {
            for dialect in [Dialect::Prometheus, Dialect::Alertmanager] {
                let _ = expand(dialect, &text, &Value::Nil, None, &Env { mode, ..Env::default() });
            }
        }
    }

    #[test]
    fn no_layout_makes_it_panic(layout in "([ -~]|2006|01|_2|Jan|\\.000|Z07:00|é){0,8}", text in "[0-9A-Za-z:+. -]{0,20}", v in any::<f64>()) {
        let quoted = |s: &str| s.replace(['\\', '"'], "");
        let text = format!("{{{{ toDate \"{}\" \"{}\" | date \"{}\" }}}}{{{{ humanizeDuration {v:e} }}}}", quoted(&layout), text, quoted(&layout));
        let _ = expand(Dialect::Alertmanager, &text, &Value::Nil, None, &Env::default());
    }
}
