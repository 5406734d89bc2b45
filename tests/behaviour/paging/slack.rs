//! What Slack is told, and what its answers mean.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sideband::ledger::Ledger;
use sideband::model::{Labels, SystemClock};
use sideband::paging::PagerOptions;
use sideband::paging::incident::Actor;

use super::receivers::{PATIENCE, Server, alert, ben, incident, start, start_with, told};

#[tokio::test]
async fn slack_keeps_one_message_up_to_date_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_memory().unwrap();
    let server = Server::start(|asked, nth| {
        // The first update is put off.
        if asked.line.ends_with("chat.update") && nth == 1 {
            return (429, String::new());
        }
        (200, json!({"ok": true, "channel": "C42", "ts": "1700000000.000100"}).to_string())
    })
    .await;
    let integration = format!(
        "slack_configs: [{{bot_token: xoxb-very-secret, app_url: '{}/api/chat.postMessage', channel: '#ops', send_resolved: true}}]",
        server.url
    );
    let callbacks = "callbacks: {slack: {secrets: [12345678]}}";
    let pager = start(dir.path(), &integration, callbacks, ledger.clone());
    assert!(pager.alerts(vec![alert("Slow", false)]));
    let first = server.until(1).await.remove(0);
    assert_eq!(first.line, "POST /api/chat.postMessage");
    assert_eq!(first.headers["authorization"], "Bearer xoxb-very-secret");
    let body = first.json();
    let button = &body["attachments"][0]["actions"][0];
    assert_eq!(
        (&body["channel"], &button["name"]),
        (&json!("#ops"), &json!("sideband_acknowledge")),
        "{body}"
    );
    assert_eq!(body["attachments"][0]["callback_id"], "sideband_acknowledge");
    let claim = pager.check_link(button["value"].as_str().unwrap()).unwrap();
    assert_eq!(claim.person, "anna");
    told(&pager, "page delivered").await;
    pager.shutdown().await;

    let pager = start(dir.path(), &integration, callbacks, ledger);
    let id = incident(&pager).await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    let all = server.until(4).await;
    let lines: Vec<&str> = all[1..4].iter().map(|a| a.line.as_str()).collect();
    assert_eq!(lines, ["POST /api/chat.update", "POST /api/chat.update", "POST /api/chat.postMessage"]);
    assert_eq!(all[1].headers["idempotency-key"], all[2].headers["idempotency-key"]);
    let update = all[2].json();
    assert_eq!((&update["channel"], &update["ts"]), (&json!("C42"), &json!("1700000000.000100")));
    let attachment = &update["attachments"][0];
    assert!(attachment["text"].as_str().unwrap().starts_with("Acknowledged by ben"), "{update}");
    assert!(attachment["actions"].is_null() && update["username"].is_null(), "{update}");
    let reply = all[3].json();
    assert_eq!(
        (&reply["thread_ts"], &reply["text"]),
        (&json!("1700000000.000100"), &json!("Acknowledged by ben"))
    );
    assert!(reply["reply_broadcast"].is_null());

    assert!(pager.resolve(id, ben()).await.unwrap().is_ok());
    let all = server.until(6).await;
    assert_eq!(all[4].json()["attachments"][0]["color"], "good");
    assert_eq!(all[5].json()["thread_ts"], "1700000000.000100");
    pager.shutdown().await;
}

#[tokio::test]
async fn a_page_that_slack_cannot_update_is_written_anew_and_a_second_page_rings() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|asked, nth| {
        if asked.line.ends_with("chat.update") && nth < 4 {
            return (200, json!({"ok": false, "error": "message_not_found"}).to_string());
        }
        (200, json!({"ok": true, "channel": "C1", "ts": format!("{nth}.0")}).to_string())
    })
    .await;
    let integration = format!(
        "slack_configs: [{{app_token: xoxb-1, app_url: '{}/api/chat.postMessage', channel: '#ops'}}]",
        server.url
    );
    let pager = start(
        dir.path(),
        &integration,
        "severities: [info, page, worse, worst]",
        Ledger::in_memory().unwrap(),
    );
    let worse = |severity: &str| {
        let mut alert = alert("Slow", false);
        alert.labels = Labels::from_pairs([("alertname", "Slow"), ("severity", severity), ("x", severity)]);
        alert
    };
    assert!(pager.alerts(vec![alert("Slow", false)]));
    server.until(1).await;
    told(&pager, "page delivered").await;
    let id = incident(&pager).await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    // chat.update is refused, so a new message is written.
    let all = server.until(3).await;
    assert!(all[1].line.ends_with("chat.update") && all[2].json()["thread_ts"].is_null());
    told(&pager, "message delivered").await;
    // A worse alert reopens it. The update is refused again, and so a message of its own goes out.
    assert!(pager.alerts(vec![worse("worse")]));
    let all = server.until(5).await;
    assert!(all[3].line.ends_with("chat.update") && all[3].json()["ts"] == "2.0", "{:?}", all[3]);
    assert!(all[4].json()["thread_ts"].is_null(), "{:?}", all[4]);
    told(&pager, "loop 2, step 1").await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    server.until(7).await;
    // Once more, and now the message can be updated: the channel hears of it by the thread.
    assert!(pager.alerts(vec![worse("worst")]));
    let all = server.until(9).await;
    assert_eq!(all[7].json()["ts"], "4.0");
    let reply = all[8].json();
    assert_eq!((&reply["thread_ts"], &reply["reply_broadcast"]), (&json!("4.0"), &json!(true)), "{reply}");
    assert!(reply["text"].as_str().unwrap().contains("Paged: anna"), "{reply}");
    pager.shutdown().await;
}

/// A crash after Slack was told of the end, and before the outbox knows: it is told in the same place, and not once more.
#[tokio::test]
async fn slack_hears_of_the_end_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_memory().unwrap();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let (seen, inside) = (Arc::clone(&rows), ledger.clone());
    let server = Server::start(move |asked, _| {
        if asked.line.ends_with("chat.update") {
            let now = inside.scan("paging.outbox", &[], None).unwrap();
            seen.lock().unwrap().extend(now);
        }
        (200, json!({"ok": true, "channel": "C", "ts": "1.0"}).to_string())
    })
    .await;
    let integration = format!(
        "slack_configs: [{{bot_token: x, app_url: '{}/chat.postMessage', channel: c, send_resolved: true}}]",
        server.url
    );
    let pager = start(dir.path(), &integration, "", ledger.clone());
    assert!(pager.alerts(vec![alert("Slow", false)]));
    told(&pager, "page delivered").await;
    let id = incident(&pager).await;
    assert!(pager.resolve(id, ben()).await.unwrap().is_ok());
    told(&pager, "message delivered").await;
    pager.shutdown().await;
    assert_eq!(server.all().len(), 3, "the page, its update, and a line in its thread");
    // As the crash leaves it.
    let rows = std::mem::take(&mut *rows.lock().unwrap());
    assert_eq!(rows.len(), 1);
    ledger.write(|tx| rows.iter().try_for_each(|(key, value)| tx.put("paging.outbox", key, value))).unwrap();
    let pager = start(dir.path(), &integration, "", ledger.clone());
    let all = server.until(4).await;
    assert!(all[3].line.ends_with("chat.update") && all[3].json()["ts"] == "1.0", "{:?}", all[3]);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !ledger.scan("paging.outbox", &[], None).unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pager.shutdown().await;
    assert_eq!(server.all().len(), 4, "{:?}", server.all());
}

/// Nothing that an alert or a person says rings a channel or forges a link; what the configuration says does.
#[tokio::test]
async fn slack_reads_values_as_text() {
    let templates = |clock| Arc::new(sideband::daemon::MessageTemplates::new(clock));
    for (keys, escaped) in [("", true), (", escape_values: false", false)] {
        let dir = tempfile::tempdir().unwrap();
        let server =
            Server::start(|_, _| (200, json!({"ok": true, "channel": "C", "ts": "1"}).to_string())).await;
        let own = "<!here> <{{ .CommonAnnotations.runbook_url }}|Runbook> {{ .CommonAnnotations.summary }}";
        let integration = format!(
            "slack_configs: [{{bot_token: x, app_url: '{0}/chat.postMessage', channel: '#{{{{ .CommonLabels.team }}}}', \
             pretext: '{own}', title_link: '{{{{ .CommonAnnotations.runbook_url }}}}', link_names: true, \
             fields: [{{title: t, value: '{{{{ .CommonLabels.path }}}}'}}]{keys}}}]",
            server.url
        );
        let options = PagerOptions { render: templates(Arc::new(SystemClock)), ..PagerOptions::default() };
        let pager = start_with(dir.path(), &integration, "", Ledger::in_memory().unwrap(), options);
        let mut bad = alert("Slow", false);
        bad.labels = Labels::from_pairs([
            ("alertname", "Slow"),
            ("severity", "page"),
            ("path", "<!channel> & <https://evil.test|Acknowledge> @here"),
            ("team", "r&d"),
        ]);
        bad.annotations = Labels::from_pairs([
            ("summary", "a > b <@U1> &lt;ok&gt;"),
            ("runbook_url", "https://r.test/?a=1&b=2"),
        ]);
        assert!(pager.alerts(vec![bad]));
        let body = server.until(1).await.remove(0).json();
        let a = &body["attachments"][0];
        let text = a["text"].as_str().unwrap();
        assert!(text.starts_with("<https://me.example/ack/"), "our own link is one: {text}");
        assert_eq!((&body["channel"], &a["title_link"]), (&json!("#r&d"), &json!("https://r.test/?a=1&b=2")));
        let (pretext, value) = (a["pretext"].as_str().unwrap(), a["fields"][0]["value"].as_str().unwrap());
        if escaped {
            let expect = "<!here> <https://r.test/?a=1&amp;b=2|Runbook> a &gt; b &lt;@U1&gt; &lt;ok&gt;";
            assert_eq!(pretext, expect);
            let expect = "&lt;!channel&gt; &amp; &lt;https://evil.test|Acknowledge&gt; @\u{200b}here";
            assert_eq!(value, expect);
            assert!(
                !text.contains("<!") && !text.contains("<@") && !text.contains("<https://evil"),
                "{text}"
            );
        } else {
            assert!(value.starts_with("<!channel> & <https://evil"), "{value}");
        }
        told(&pager, "page delivered").await;
        // Whoever acknowledges may call himself what he likes.
        let id = incident(&pager).await;
        let eve = Actor::new("<!channel>", "api", "").saying("on <it>");
        assert!(pager.acknowledge(id, eve).await.unwrap().is_ok());
        let reply = server.until(3).await[2].json();
        let expect = if escaped {
            "Acknowledged by &lt;!channel&gt;: on &lt;it&gt;"
        } else {
            "Acknowledged by <!channel>: on <it>"
        };
        assert_eq!(reply["text"], expect);
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn slacks_refusals() {
    for (error, retried) in [
        ("channel_not_found", false),
        ("invalid_auth", false),
        ("not_in_channel", false),
        ("ratelimited", true),
        ("internal_error", true),
        ("service_unavailable", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, nth| match nth {
            0 => (200, json!({"ok": false, "error": error}).to_string()),
            _ => (200, json!({"ok": true, "channel": "C", "ts": "1"}).to_string()),
        })
        .await;
        let integration = format!(
            "slack_configs: [{{bot_token: x, app_url: '{}/chat.postMessage', channel: c}}]",
            server.url
        );
        let pager = start(dir.path(), &integration, "", Ledger::in_memory().unwrap());
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let line = told(&pager, error).await;
        assert_eq!(line.contains("trying again"), retried, "{line}");
        pager.shutdown().await;
    }
}
