//! No secret of the file comes out of what is printed of it, and every one of them is known as a secret.

use std::path::Path;

use sideband::paging::config::PagingConfig;

/// Every kind of receiver, with a mark in every secret.
const FILE: &str = "
global:
  http_config: {authorization: {credentials: MARK-a1}, proxy_url: 'http://u:MARK-a2@proxy.test:1'}
  smtp_smarthost: 'h:25'
  smtp_from: a@b
  smtp_auth_password: MARK-a3
  smtp_auth_secret: MARK-a4
  slack_api_url: https://hooks.test/MARK-a5
  opsgenie_api_key: MARK-a6
  wechat_api_secret: MARK-a7
  wechat_api_corp_id: c
  victorops_api_key: MARK-a8
  telegram_bot_token: MARK-a9
  rocketchat_token: MARK-b1
  rocketchat_token_id: MARK-b2
  mattermost_webhook_url: https://mm.test/MARK-b3
route: {receiver: all}
callbacks:
  pagerduty: {secrets: [MARK-b4-long, MARK-b5-long]}
  slack: {secrets: [MARK-b6-long]}
heartbeat: {url: 'https://hc.test/MARK-b7'}
receivers:
- name: all
  alertmanager_configs: [{url: 'http://u:MARK-c1@am.test', http_config: {basic_auth: {username: u, password: MARK-c2}}}]
  discord_configs: [{webhook_url: 'https://d.test/MARK-c3'}]
  email_configs:
  - {to: a@b, auth_username: u, auth_password: MARK-c4, auth_secret: MARK-c5, tls_config: {cert: x, key: MARK-c6}}
  incidentio_configs: [{url: 'https://i.test/MARK-c7', alert_source_token: MARK-c8, http_config: {}}]
  jira_configs: [{api_url: 'http://j.test', project: p, issue_type: t, http_config: {bearer_token: MARK-c9}}]
  mattermost_configs: [{webhook_url: 'https://m.test/MARK-d1'}]
  msteams_configs: [{webhook_url: 'https://t.test/MARK-d2'}]
  msteamsv2_configs: [{webhook_url: 'https://t.test/MARK-d3'}]
  opsgenie_configs: [{api_key: MARK-d4}]
  pagerduty_configs: [{routing_key: MARK-d5}, {service_key: MARK-d6}]
  pushover_configs: [{user_key: MARK-d7, token: MARK-d8}]
  rocketchat_configs: [{token: MARK-d9, token_id: MARK-e1}]
  slack_configs: [{api_url: 'https://s.test/MARK-e2'}, {app_token: MARK-e3, http_config: {}}]
  sns_configs: [{topic_arn: x, sigv4: {access_key: k, secret_key: MARK-e4}}]
  telegram_configs: [{chat_id: 1, bot_token: MARK-e5}]
  victorops_configs: [{api_key: MARK-e6, routing_key: r}]
  webex_configs: [{room_id: r, http_config: {authorization: {credentials: MARK-e7}}}]
  webhook_configs:
  - {url: 'https://w.test/MARK-e8', signing_key: MARK-e9, http_config: {http_headers: {X-A: {secrets: [MARK-f1]}}}}
  wechat_configs: [{api_secret: MARK-f2, corp_id: c}]
";

fn marks() -> impl Iterator<Item = &'static str> {
    FILE.match_indices("MARK-").map(|(at, _)| &FILE[at..at + 7])
}

#[test]
fn nothing_that_is_printed_has_a_secret() {
    let config = PagingConfig::parse(Path::new("paging.yml"), FILE).unwrap();
    let printed = format!("{config:?}");
    assert!(
        printed.contains("rocketchat") && !printed.contains("MARK"),
        "{:?}",
        printed.find("MARK").map(|at| &printed[at - 200..at + 20])
    );
    let file: sideband::paging::config::File =
        sideband::model::yaml::parse(Path::new("p.yml"), FILE).unwrap();
    let printed = format!("{file:?}");
    assert!(!printed.contains("MARK"), "{:?}", printed.find("MARK").map(|at| &printed[at - 200..at + 20]));
    // Every one of them is kept out of texts from elsewhere, whatever stands around it there.
    assert_eq!(marks().count(), 45);
    for mark in marks() {
        let known: Vec<&str> = config.secrets().map(|s| s.expose()).filter(|s| s.contains(mark)).collect();
        assert!(!known.is_empty(), "{mark} is not known to be a secret");
        for secret in known {
            assert!(!config.without_secrets(&format!("a {secret} b")).contains(mark), "{mark}");
        }
    }
    let shown = config.without_secrets(FILE);
    assert!(!shown.contains("MARK"), "{shown}");
    // By its keys alone, most of it goes too: what is left are addresses of webhooks, which only the values tell.
    let by_keys = sideband::config::redact(FILE, std::iter::empty());
    let left: Vec<&str> = marks().filter(|m| by_keys.contains(m)).collect();
    assert_eq!(left, ["MARK-b7", "MARK-c7", "MARK-e8"]);
}

#[test]
fn errors_of_the_file_have_no_secret() {
    let mut seen = 0;
    for mark in marks() {
        // The whole scalar that the mark stands in, put where it does not belong: in a list, in a mapping, with a tag.
        let at = FILE.find(mark).unwrap();
        let start = FILE[..at].rfind([' ', '[']).unwrap() + 1;
        let end = at + FILE[at..].find(['\n', '}', ']', ',']).unwrap();
        let value = &FILE[start..end];
        for wrong in [
            format!("[{value}]"),
            format!("{{a: {value}}}"),
            format!("!!int {value}"),
            format!("!!binary {value}"),
        ] {
            let text = format!("{}{wrong}{}", &FILE[..start], &FILE[end..]);
            if let Err(errors) = PagingConfig::parse(Path::new("paging.yml"), &text) {
                seen += 1;
                for error in errors {
                    assert!(!error.to_string().contains("MARK"), "{error}");
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}
