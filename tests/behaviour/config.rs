//! What somebody reads who has made a mistake in `sideband.yml`, a rule file or a paging file.

use std::path::Path;

use sideband::config;

/// The errors of a configuration in a directory of its own, a line each, with paths from there.
fn errors(files: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let shown = match config::load(&dir.path().join("sideband.yml")) {
        Ok(loaded) => loaded.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    shown.join("\n").replace(&format!("{}/", dir.path().display()), "")
}

fn in_main(text: &str) -> String {
    errors(&[("sideband.yml", text.as_bytes())])
}

#[test]
fn mistakes_in_the_main_file_are_named_at_their_place() {
    let job = |keys: &str| format!("scrape_configs:\n  - job_name: a\n    {keys}\n");
    for (text, expect) in [
        (
            "global:\n  scrape_intervall: 5s\n".into(),
            "2:3: unknown field `scrape_intervall`, did you mean `scrape_interval`?",
        ),
        (job("static_config: []"), "3:5: unknown field `static_config`, did you mean `static_configs`?"),
        (job("kubernetes_sd_config: []"), "3:5: unknown field `kubernetes_sd_config`"),
        ("zebra: 1\n".into(), "1:1: unknown field `zebra`, expected one of global, runtime, rule_files"),
        ("global:\n  - a\n".into(), "2:3: expected a mapping, got a list"),
        ("global\n".into(), "1:1: expected a mapping, got a single value"),
        (
            "global:\n  scrape_interval: [1]\n".into(),
            "2:20: expected a duration like 30s or 1h30m, got a list",
        ),
        (
            "global:\n  scrape_interval: 5\n".into(),
            "2:20: not a valid duration string: \"5\", want one like 30s or 1h30m",
        ),
        (
            "global:\n  scrape_interval: 5s\n  scrape_interval: 6s\n".into(),
            "3:3: duplicate mapping key: scrape_interval, first on line 2",
        ),
        ("global:\n\tscrape_interval: 5s\n".into(), "2:2: tabs disallowed"),
        (
            "global:\n  scrape_interval: 5s\n   evaluation_interval: 5s\n".into(),
            "3:23: mapping values are not allowed",
        ),
        ("global: {scrape_interval: 5s\n".into(), "1:9: unclosed bracket '{'"),
        ("global:\n  external_labels: {\"\": b}\n".into(), "2:25: \"\" is not a valid label name"),
        (job("honor_labels: maybe"), "3:19: expected true or false, got \"maybe\""),
        (job("sample_limit: many"), "3:19: expected a whole number from 0 up, got \"many\""),
        (job("sample_limit: -1"), "3:19: expected a whole number from 0 up, got -1"),
        (job("scrape_timeout: 2m"), "3:21: scrape timeout greater than scrape interval"),
        (job("body_size_limit: 10 mb"), "3:22: body_size_limit: unknown unit or number in size \"10 mb\""),
        (job("kubernetes_sd_configs: [{role: pod}]"), "3:5: kubernetes_sd_configs is not built yet"),
        (job("scrape_failure_log_file: x"), "3:30: scrape_failure_log_file is not built yet"),
        (job("relabel_configs: [{regex: \"(x\", action: keep}]"), "3:23: error parsing regexp"),
        (
            job("relabel_configs: [{source_labels: [a], action: kepp}]"),
            "3:23: unknown relabel action \"kepp\"",
        ),
        (job("metric_relabel_configs: [null]"), "3:30: empty or null metric relabeling rule"),
        (
            job("static_configs: [{targets: ['http://x:9/metrics']}]"),
            "3:22: \"http://x:9/metrics\" is not a valid hostname",
        ),
        (job("file_sd_configs: [{files: [sd.txt]}]"), "3:23: path name \"sd.txt\" is not valid"),
        (job("proxy_url: \"http://u:s3cret@ 9\""), "2:15: proxy_url: invalid URL \"http://u:<secret>@ 9\""),
        (job("basic_auth: s3cret"), "3:17: expected a mapping, got a single value"),
        ("scrape_configs:\n  -\n".into(), "empty or null scrape config section"),
        ("scrape_configs:\n  - static_configs: []\n".into(), "2:5: job_name is empty"),
        (
            "scrape_configs: [{job_name: a}, {job_name: a}]\n".into(),
            "1:33: found multiple scrape configs with job name \"a\"",
        ),
        ("alerting:\n  alertmanagers:\n    - scheme: ftp\n".into(), "3:15: unknown scheme \"ftp\""),
        (
            "alerting:\n  alertmanagers:\n    - {}\n    - static_configs: [{targets: ['http://x']}]\n".into(),
            "4:24: \"http://x\" is not a valid hostname",
        ),
        ("remote_write: [{url: http://x/}]\n".into(), "1:1: remote_write is not built yet"),
        (
            "host:\n  collectors: {cpuu: {}}\n".into(),
            "2:16: unknown collector \"cpuu\", did you mean \"cpu\"?",
        ),
        ("rule_files: [nope.yml]\n".into(), "1:14: nope.yml: no such file"),
        ("rule_files: ['a[.yml']\n".into(), "1:14: invalid rule file path \"a[.yml\""),
        ("paging_file: nope.yml\n".into(), "1:14: nope.yml: No such file"),
        (format!("a: {}", "[".repeat(100_000)), "recursion limit exceeded"),
        (format!("global: {}{}", "{a: ".repeat(100), "}".repeat(100)), "nested deeper than 64 levels"),
    ] {
        let shown = in_main(&text);
        let short: String = text.chars().take(200).collect();
        assert!(
            shown.contains(&format!("sideband.yml:{expect}")) || shown.contains(expect),
            "{short:?}: {shown}"
        );
        assert_eq!(shown.lines().count(), 1, "{short:?}: {shown}");
        assert!(shown.starts_with("sideband.yml:") && !shown.contains("s3cret"), "{short:?}: {shown}");
    }
}

#[test]
fn what_every_job_inherits_is_refused_once() {
    let text = "global: {metric_name_validation_scheme: utf9, scrape_protocols: [Morse]}\n\
                scrape_configs: [{job_name: a}, {job_name: b}]\n";
    let shown = in_main(text);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("for global config"), "{shown}");
}

#[test]
fn what_prometheus_takes_is_taken() {
    for text in [
        "scrape_configs:\n  - {job_name: a, honor_labels: yes, honor_timestamps: Off, tls_config: {insecure_skip_verify: on}}\n",
        "global:\n  external_labels: {replica: , zone: ~, a: b}\n",
        "scrape_configs:\n  - job_name: a\n    static_configs: [{targets: [a:1], labels: {env: , zone: ~}}]\n",
        "scrape_configs:\n  - {job_name: a, basic_auth: {username: , password: }}\n",
        "scrape_configs:\n  - {job_name: a, authorization: {type: , credentials: ~}}\n",
        "scrape_configs:\n  - {job_name: a, tls_config: {insecure_skip_verify: , ca_file: , server_name: }}\n",
    ] {
        assert_eq!(in_main(text), "", "{text}");
    }
}

#[test]
fn files_that_are_none() {
    let main = |bytes: &[u8]| errors(&[("sideband.yml", bytes)]);
    assert_eq!(main(b""), "");
    assert_eq!(main(b"# nothing\n"), "");
    assert_eq!(
        main(b"global:\n  scrape_interval: 5s # caf\xe9\n"),
        "sideband.yml:2:28: the file is not valid UTF-8"
    );
    assert!(main(&vec![b'#'; (16 << 20) + 1]).contains("larger than"));
    let none = config::load(Path::new("/nonexistent/sideband.yml")).unwrap_err();
    assert!(none[0].to_string().contains("No such file"), "{none:?}");
    let directory = config::load(&std::env::temp_dir()).unwrap_err();
    assert!(directory[0].to_string().contains("directory"), "{directory:?}");
}

#[test]
fn mistakes_in_other_files_are_named_in_these() {
    let rule = |keys: &str| format!("groups:\n  - name: g\n    rules:\n      - {{{keys}}}\n");
    for (text, expect) in [
        (rule("record: a, expr: 'sum('"), "rules.yml:4:"),
        (rule("alert: a, expr: up, for: soon"), "rules.yml:4:35: not a valid duration"),
        (
            rule("sigma: a, expr: up, baseline: {model: gausian}"),
            "unknown value `gausian`, did you mean `gaussian`?",
        ),
        (
            rule("sigma: a, expr: up, baseline: {windows: 6h}"),
            "unknown field `windows`, did you mean `window`?",
        ),
        ("- name: g\n".into(), "rules.yml:1:1: expected a mapping with the key groups, got a list"),
    ] {
        let shown = errors(&[("sideband.yml", b"rule_files: [rules.yml]\n"), ("rules.yml", text.as_bytes())]);
        assert!(shown.starts_with("rules.yml:4:") || shown.starts_with("rules.yml:1:"), "{text}: {shown}");
        assert!(shown.contains(expect), "{text}: {shown}");
    }
    let receiver = |keys: &str| format!("route: {{receiver: a}}\nreceivers:\n  - {{name: a, {keys}}}\n");
    for (text, expect) in [
        (
            receiver("webhook_configs: [{urll: 'http://x/'}]"),
            "paging.yml:3:34: unknown field `urll`, did you mean `url`?",
        ),
        (
            receiver("webhok_configs: []"),
            "paging.yml:3:15: unknown field `webhok_configs`, did you mean `webhook_configs`?",
        ),
        (
            "route: {receiver: b}\nreceivers: [{name: a}]\n".into(),
            "paging.yml:1:19: undefined receiver \"b\"",
        ),
        ("rout: {receiver: a}\n".into(), "paging.yml:1:1: unknown field `rout`, did you mean `route`?"),
    ] {
        let shown =
            errors(&[("sideband.yml", b"paging_file: paging.yml\n"), ("paging.yml", text.as_bytes())]);
        assert!(shown.contains(expect), "{text}: {shown}");
    }
}
