//! Slack: incoming webhooks, and the Web API with a bot token.
//!
//! With a token one message stands for a group or an incident. It is brought up to date in its place, and what
//! happened is told in its thread. An update rings no bell, so a further page is told to the channel too.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::slack_text::{self, cut, escaped};
use super::text;
use super::{Message, Thread, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::{AttachmentField, SLACK_POST_MESSAGE, SlackAction, SlackConfig};
use crate::paging::engine::Outcome;
use crate::paging::notification::Reason;

/// Characters that Slack shows of a title and of a text.
const MAX_TITLE: usize = 1024;
const MAX_TEXT: usize = 8000;
/// The name of the button that acknowledges.
pub const BUTTON: &str = "sideband_acknowledge";
/// What the engine says of a group that is spoken of for the first time (again).
const FIRST: &str = "first notification";

/// One attempt.
pub(super) async fn send(config: &SlackConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

async fn attempt(config: &SlackConfig, message: &Message<'_>, client: &HttpClient) -> Result<(), Outcome> {
    let token = message.secret(config.app_token.as_ref(), config.app_token_file.as_deref())?;
    let url = if token.is_empty() {
        message.secret(config.api_url.as_ref().map(|u| &u.0), config.api_url_file.as_deref())?
    } else {
        config.app_url.as_ref().map_or(SLACK_POST_MESSAGE, |u| u.0.as_str()).to_owned()
    };
    let job = slack_text::job(message.job, config.link_names.is_some_and(|b| b.0));
    let escaped = message.escaped(&job, slack_text::escaped);
    let texts = if config.escape_values.is_none_or(|b| b.0) { &escaped } else { message };
    let channel = Channel { config, message, texts, client, token, url };
    let root = channel.body();
    if !config.updates() {
        return channel.call("", &root).await.map(drop);
    }
    let key = format!("{}\u{0}{}", message.dedup_key(), message.integration());
    let n = message.notification();
    let threads = message.threads();
    let known = threads.get(&key);
    // What was over and comes back gets a message of its own, unless this very one was written already.
    let again = |t: &Thread| t.over || n.why == FIRST && n.reason == Reason::Group;
    let known = known.filter(|t| !again(t) || t.last == message.job.key);
    let thread = match known {
        Some(thread) if channel.update(&thread, &root).await? => {
            if thread.last != message.job.key {
                channel.call("", &channel.reply(&thread)).await?;
            }
            thread
        }
        _ => {
            let answer = channel.call("", &root).await?;
            let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            Thread { channel: text("channel"), ts: text("ts"), last: String::new(), at: 0, over: false }
        }
    };
    let keep = !thread.ts.is_empty();
    let thread = Thread {
        last: message.job.key.clone(),
        at: message.now(),
        // Not forgotten yet: a crash before the outbox knows that this was said must not say it twice.
        over: message.is_over(),
        ..thread
    };
    threads.set(&key, keep.then_some(thread), message.now()).await;
    Ok(())
}

/// Where to, and with what.
struct Channel<'a> {
    config: &'a SlackConfig,
    message: &'a Message<'a>,
    /// The same, for what Slack reads as text.
    texts: &'a Message<'a>,
    client: &'a HttpClient,
    /// Empty for an incoming webhook.
    token: String,
    url: String,
}

impl Channel<'_> {
    /// Calls a method of the API (by default the configured one), and reads its answer.
    async fn call(&self, method: &str, body: &Value) -> Result<Value, Outcome> {
        let url = match (method, self.url.rsplit_once('/')) {
            ("", _) | (_, None) => self.url.clone(),
            (method, Some((base, _))) => format!("{base}/{method}"),
        };
        let mut request = json_request(Method::POST, url, body, self.message)?;
        if !self.token.is_empty() {
            request.headers.push(("Authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        let answer = post(self.client, request, self.config.timeout).await?;
        // An incoming webhook answers `ok`, which is no JSON.
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        refused(&answer).map_or(Ok(answer), Err)
    }

    /// Brings a message up to date; false when it is not there any more, or cannot be changed.
    async fn update(&self, thread: &Thread, root: &Value) -> Result<bool, Outcome> {
        let mut body = root.clone();
        if let Value::Object(fields) = &mut body {
            for name in ["username", "icon_emoji", "icon_url"] {
                fields.remove(name);
            }
            fields.insert("channel".to_owned(), thread.channel.clone().into());
            fields.insert("ts".to_owned(), thread.ts.clone().into());
        }
        match self.call("chat.update", &body).await {
            Ok(_) => Ok(true),
            Err(Outcome::Final { reason }) if GONE.iter().any(|g| reason.ends_with(g)) => {
                tracing::info!(%reason, "the message of a group cannot be updated: a new one is written");
                Ok(false)
            }
            Err(outcome) => Err(outcome),
        }
    }

    /// A line of the thread.
    fn reply(&self, thread: &Thread) -> Value {
        let (n, message, texts) = (self.texts.notification(), self.message, self.texts);
        // What Alertmanager's users wait for in a channel rings there too: further alerts, and being reminded.
        let rings = match n.reason {
            Reason::Page => true,
            Reason::Group => n.status() == "firing" && n.why != "some alerts resolved",
            Reason::Acknowledged | Reason::Resolved => false,
        };
        let mut text = match n.reason {
            Reason::Page => {
                let (who, loops) = n.incident.as_ref().map_or((String::new(), 0), |i| {
                    (escaped(i.user.as_deref().unwrap_or(&i.target)), i.round)
                });
                let step = n.incident.as_ref().map_or(0, |i| i.step);
                format!("{}\nPaged: {who} (step {step}, loop {loops})", texts.title(None))
            }
            Reason::Acknowledged => text::acknowledged(n),
            Reason::Group | Reason::Resolved => {
                format!("{}: {}", texts.title(self.config.title.as_deref()), n.why)
            }
        };
        if let Some(url) = message.ack_url() {
            text = format!("{text}\n<{url}|Acknowledge>");
        }
        if let Some(url) = message.feedback_url().filter(|_| n.reason == Reason::Resolved) {
            text = format!("{text}\n<{url}|Was it worth it?>");
        }
        let mut reply = json!({
            "channel": thread.channel, "thread_ts": thread.ts, "text": cut(&text, MAX_TEXT),
        });
        if rings {
            reply["reply_broadcast"] = true.into();
        }
        for (name, template) in [
            ("username", Some(self.config.username.as_deref().unwrap_or("sideband"))),
            ("icon_emoji", self.config.icon_emoji.as_deref()),
            ("icon_url", self.config.icon_url.as_deref()),
        ] {
            if let Some(value) = template.map(|t| message.text(t)).filter(|v| !v.is_empty()) {
                reply[name] = value.into();
            }
        }
        reply
    }

    /// A message of its own.
    fn body(&self) -> Value {
        let (config, message, texts) = (self.config, self.message, self.texts);
        let n = texts.notification();
        let color = message.text_or(config.color.as_deref(), || {
            match n.reason {
                Reason::Acknowledged => "warning",
                _ if message.is_over() || n.status() != "firing" => "good",
                _ => "danger",
            }
            .to_owned()
        });
        let title = texts.title(config.title.as_deref());
        let mut body_text = texts.text_or(config.text.as_deref(), || text::body(n, None));
        if n.reason == Reason::Acknowledged {
            body_text = format!("{}\n{body_text}", text::acknowledged(n));
        }
        if let Some(url) = message.ack_url() {
            body_text = format!("<{url}|Acknowledge>\n{body_text}");
        }
        let mut attachment = Map::new();
        let mut put = |name: &str, value: Value| {
            if value.as_str().is_none_or(|s| !s.is_empty()) && !value.is_null() {
                attachment.insert(name.to_owned(), value);
            }
        };
        let plain =
            |t: &Option<String>| Value::from(t.as_deref().map(|t| message.text(t)).unwrap_or_default());
        let part = |t: &Option<String>| Value::from(t.as_deref().map(|t| texts.text(t)).unwrap_or_default());
        put("title", cut(&title, MAX_TITLE).into());
        put(
            "title_link",
            message.text_or(config.title_link.as_deref(), || message.external_url().to_owned()).into(),
        );
        put("pretext", part(&config.pretext));
        put("text", cut(&body_text, MAX_TEXT).into());
        put("fallback", texts.text_or(config.fallback.as_deref(), || title.clone()).into());
        put("callback_id", plain(&config.callback_id));
        put("footer", part(&config.footer));
        put("image_url", plain(&config.image_url));
        put("thumb_url", plain(&config.thumb_url));
        put("color", color.into());
        let default_in = || vec!["fallback".to_owned(), "pretext".to_owned(), "text".to_owned()];
        put("mrkdwn_in", config.mrkdwn_in.clone().unwrap_or_else(default_in).into());
        let short = config.short_fields.is_some_and(|b| b.0);
        let fields: Vec<Value> = config.fields.iter().flatten().map(|f| field(f, texts, short)).collect();
        if !fields.is_empty() {
            put("fields", fields.into());
        }
        let mut actions: Vec<Value> =
            config.actions.iter().flatten().map(|a| action(a, message, texts)).collect();
        if let Some(token) = message.button_token() {
            let text = "Acknowledge";
            actions.push(
                json!({"type": "button", "name": BUTTON, "text": text, "style": "primary", "value": token}),
            );
            if config.callback_id.as_deref().unwrap_or_default().is_empty() {
                // Without one Slack does not send the button's name back.
                put("callback_id", BUTTON.into());
            }
        }
        if !actions.is_empty() {
            put("actions", actions.into());
        }
        let mut body = Map::new();
        for (name, value) in [
            ("channel", plain(&config.channel)),
            ("username", message.text_or(config.username.as_deref(), || "sideband".to_owned()).into()),
            ("icon_emoji", plain(&config.icon_emoji)),
            ("icon_url", plain(&config.icon_url)),
            ("text", part(&config.message_text)),
        ] {
            if value.as_str().is_some_and(|s| !s.is_empty()) {
                body.insert(name.to_owned(), value);
            }
        }
        if config.link_names.is_some_and(|b| b.0) {
            body.insert("link_names".to_owned(), true.into());
        }
        body.insert("attachments".to_owned(), json!([attachment]));
        Value::Object(body)
    }
}

/// Errors after which a new message does what the update could not.
const GONE: [&str; 6] = [
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "update_failed",
    "channel_not_found",
    "is_inactive",
];

/// The Web API says no with status 200.
fn refused(answer: &Value) -> Option<Outcome> {
    if answer.get("ok")?.as_bool()? {
        return None;
    }
    let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
    let reason = format!("Slack: {}", cut(error, 200));
    Some(match error {
        "ratelimited"
        | "rate_limited"
        | "fatal_error"
        | "internal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        | "org_login_required" => Outcome::Retry { reason, after_ms: None },
        _ => Outcome::Final { reason },
    })
}

fn field(f: &AttachmentField, message: &Message<'_>, short: bool) -> Value {
    json!({
        "title": message.text(f.title.as_deref().unwrap_or_default()),
        "value": message.text(f.value.as_deref().unwrap_or_default()),
        "short": f.short.map_or(short, |b| b.0),
    })
}

fn action(a: &SlackAction, message: &Message<'_>, texts: &Message<'_>) -> Value {
    let mut out = Map::new();
    for (name, text) in [
        ("type", &a.r#type),
        ("text", &a.text),
        ("url", &a.url),
        ("style", &a.style),
        ("name", &a.name),
        ("value", &a.value),
    ] {
        if let Some(text) = text {
            let read = if name == "text" { texts } else { message };
            out.insert(name.to_owned(), read.text(text).into());
        }
    }
    if let Some(c) = &a.confirm {
        let part = |t: &Option<String>| t.as_deref().map(|t| texts.text(t));
        out.insert(
            "confirm".to_owned(),
            json!({
                "text": part(&c.text), "title": part(&c.title), "ok_text": part(&c.ok_text),
                "dismiss_text": part(&c.dismiss_text),
            }),
        );
    }
    Value::Object(out)
}
