//! Templates and warnings: what is found when the files are read, and what goes out all the same.

use std::path::Path;

use sideband::config;
use sideband::paging::config::PagingConfig;

fn load(dir: &Path, paging: &str, files: &[(&str, &str)]) -> Result<config::Loaded, Vec<String>> {
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    std::fs::write(dir.join("paging.yml"), paging).unwrap();
    std::fs::write(dir.join("main.yml"), "paging_file: paging.yml\n").unwrap();
    config::load(&dir.join("main.yml")).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn templates_are_checked_when_the_file_is_read() {
    for (receiver, files, expect) in [
        // In order.
        (
            "slack_configs: [{api_url: 'http://s.test/', title: '{{ template \"mine\" . }}'}]",
            &[("a.tmpl", "{{ define \"mine\" }}x{{ end }}")][..],
            "",
        ),
        (
            "slack_configs: [{api_url: 'http://s.test/', title: '{{ template \"slack.default.title\" . }}'}]",
            &[],
            "",
        ),
        (
            "email_configs: [{to: a@b, from: a@b, smarthost: 'h:25', html: '{{ template \"email.default.html\" . }}{{ .AckURL }}'}]",
            &[],
            "",
        ),
        (
            "jira_configs: [{api_url: 'http://j.test', project: p, issue_type: t, summary: '{{ template \"jira.default.summary\" . }}'}]",
            &[],
            "",
        ),
        // In a file, by its place in the file.
        ("webhook_configs: [{url: 'http://w.test/'}]", &[("a.tmpl", "one\ntwo {{ if }}\n")], "a.tmpl:2:"),
        (
            "webhook_configs: [{url: 'http://w.test/'}]",
            &[("a.tmpl", "{{ nothing }}")],
            "function \"nothing\" not defined",
        ),
        // In the paging file, by the place of the integration and the key.
        (
            "slack_configs: [{api_url: 'http://s.test/', title: '{{ .x'}]",
            &[],
            "paging.yml:5:19: receiver \"p\": slack_configs[0].title: template, line 1",
        ),
        (
            "slack_configs: [{api_url: 'http://s.test/', fields: [{title: a, value: '{{ template \"nope\" . }}'}]}]",
            &[],
            "slack_configs[0].fields[0].value: there is no template \"nope\"",
        ),
        (
            "pagerduty_configs: [{routing_key: k, details: {a: {b: '{{ bogus }}'}}}]",
            &[],
            "pagerduty_configs[0].details.a.b: template",
        ),
        (
            "webhook_configs: [{url: 'http://w.test/', payload: {a: ['{{ bogus }}']}}]",
            &[],
            "webhook_configs[0].payload.a: template",
        ),
        ("sns_configs: [{topic_arn: x, subject: '{{ bogus }}'}]", &[], "sns_configs[0].subject"),
        // What a file of the configuration calls counts too, as far as it is reached.
        (
            "slack_configs: [{api_url: 'http://s.test/', title: '{{ template \"mine\" . }}'}]",
            &[(
                "a.tmpl",
                "{{ define \"mine\" }}{{ if .x }}{{ else }}{{ template \"gone\" }}{{ end }}{{ end }}",
            )],
            "there is no template \"gone\"",
        ),
        (
            "webhook_configs: [{url: 'http://w.test/'}]",
            &[("a.tmpl", "{{ define \"unused\" }}{{ template \"gone\" }}{{ end }}")],
            "",
        ),
        // A secret is not quoted.
        (
            "webhook_configs: [{url: 'http://w.test/{{ s3cr3t }}'}]",
            &[],
            "webhook_configs[0].url: is no template",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text =
            format!("templates: ['*.tmpl']\nroute: {{receiver: p}}\nreceivers:\n- name: p\n  {receiver}\n");
        match load(dir.path(), &text, files) {
            Ok(_) => assert!(expect.is_empty(), "{receiver}: accepted"),
            Err(errors) => {
                assert!(!expect.is_empty() && errors.len() == 1, "{receiver}: {errors:?}");
                assert!(errors[0].contains(expect) && !errors[0].contains("s3cr3t"), "{}", errors[0]);
            }
        }
    }
    // A template file that is named without a wildcard must be there; its change is seen by the watch.
    let dir = tempfile::tempdir().unwrap();
    let text = "templates: [gone.tmpl]\nroute: {receiver: p}\nreceivers: [{name: p}]\n";
    let errors = load(dir.path(), text, &[]).err().unwrap();
    assert!(errors[0].contains("gone.tmpl"), "{errors:?}");
}

#[test]
fn who_cannot_acknowledge_is_told() {
    const LINK: &str = "no way to acknowledge is sure to be reachable";
    let hook = "webhook_configs: [{url: 'http://w.test/'}]";
    let slack = "slack_configs: [{api_url: 'http://s.test/'}]";
    for (receiver, more, expect) in [
        (hook, "", &[LINK][..]),
        (hook, "acknowledge: {key_file: k}", &[LINK]),
        // Without a key_file sideband makes a key of its own.
        (hook, "acknowledge: {external_url: 'http://me.test'}", &[]),
        (hook, "acknowledge: {key_file: k, external_url: 'http://me.test'}", &[]),
        ("pagerduty_configs: [{routing_key: k}]", "callbacks: {pagerduty: {secrets: [12345678]}}", &[]),
        (hook, "callbacks: {pagerduty: {secrets: [12345678]}}", &["callbacks.pagerduty has no effect", LINK]),
        (slack, "callbacks: {slack: {secrets: [12345678]}}", &[LINK]),
        (
            slack,
            "acknowledge: {external_url: 'http://me.test'}\ncallbacks: {slack: {secrets: [12345678]}}",
            &[],
        ),
        (
            hook,
            "acknowledge: {external_url: 'http://me.test'}\ncallbacks: {slack: {secrets: [12345678]}}",
            &["callbacks.slack has no effect: no escalation"],
        ),
    ] {
        let text = format!(
            "route: {{receiver: p, escalation_policy: x}}\nreceivers:\n- name: p\n  {receiver}\n\
             escalation_policies: [{{name: x, steps: [{{notify: [receiver/p]}}]}}]\n{more}\n"
        );
        let config = PagingConfig::parse(Path::new("paging.yml"), &text).unwrap();
        let said: Vec<String> =
            config.warnings.iter().chain(&config.hints).map(ToString::to_string).collect();
        assert_eq!(said.len(), expect.len(), "{receiver} {more}: {said:?}");
        for (sentence, part) in said.iter().zip(expect) {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
    // Where nobody is escalated to, nobody has to acknowledge.
    let config =
        PagingConfig::parse(Path::new("p.yml"), "route: {receiver: p}\nreceivers: [{name: p}]\n").unwrap();
    assert!(config.warnings.is_empty() && config.hints.is_empty());
}

#[test]
fn files_of_receivers_that_are_not_there_are_named_together() {
    let dir = tempfile::tempdir().unwrap();
    let text = "
route: {receiver: a}
receivers:
- name: a
  webhook_configs: [{url_file: secrets/a.url, signing_key_file: there.key}]
  pagerduty_configs: [{routing_key_file: secrets/pd.key, http_config: {basic_auth: {username: x, password_file: pw}}}]
- name: reached by nobody
  webhook_configs: [{url_file: secrets/b.url}]
";
    std::fs::write(dir.path().join("there.key"), "k").unwrap();
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), text).unwrap();
    let said = config.without_files().unwrap();
    for part in ["a (secrets/a.url)", "a (secrets/pd.key)", "a (pw)"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("b.url") && !said.contains("there.key"), "{said}");
    for file in ["secrets/a.url", "secrets/pd.key", "pw"] {
        std::fs::create_dir_all(dir.path().join("secrets")).unwrap();
        std::fs::write(dir.path().join(file), "x").unwrap();
    }
    assert_eq!(config.without_files(), None);
}

#[test]
fn kinds_that_cannot_be_sent_to_are_named_with_their_place() {
    for kind in ["jira", "sns", "wechat"] {
        let body = match kind {
            "jira" => "api_url: 'http://j.test', project: p, issue_type: t",
            "sns" => "topic_arn: x",
            _ => "api_secret: s, corp_id: c",
        };
        let dir = tempfile::tempdir().unwrap();
        let text = format!("route: {{receiver: p}}\nreceivers:\n- name: p\n  {kind}_configs: [{{{body}}}]\n");
        let loaded = load(dir.path(), &text, &[]).unwrap();
        let warning = loaded.warnings.iter().find(|w| w.contains("cannot be sent to")).expect(kind);
        assert!(
            warning.contains("paging.yml:4:") && warning.contains("\"p\"") && warning.contains("use "),
            "{warning}"
        );
        let refused =
            config::load_to_run(&dir.path().join("main.yml"), &mut config::Inputs::default()).err().unwrap();
        assert_eq!(refused.len(), 1);
    }
}

#[test]
fn how_many_at_once() {
    for (value, good) in
        [("1", true), ("64", true), ("0", false), ("65", false), ("-1", false), ("many", false)]
    {
        let text = format!("route: {{receiver: p}}\nreceivers: [{{name: p, max_concurrency: {value}}}]\n");
        assert_eq!(PagingConfig::parse(Path::new("p.yml"), &text).is_ok(), good, "{value}");
    }
}
