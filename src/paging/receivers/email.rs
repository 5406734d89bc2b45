//! E-mail: a text and a page, one thread for a group.

use std::time::{Duration, SystemTime};

use lettre::Message as Mail;
use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MessageBuilder, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::idna::ascii_domains;
use super::smtp::{Login, Server};
use super::{Message, hex, text};
use crate::net::http::TlsClient;
use crate::paging::config::EmailConfig;
use crate::paging::engine::Outcome;
use crate::paging::notification::Reason;

/// For the whole conversation.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that the mail has by itself.
const OWN: [&str; 7] = [
    "message-id",
    "content-type",
    "content-transfer-encoding",
    "mime-version",
    "bcc",
    "x-sideband-key",
    "auto-submitted",
];
/// Characters of a header's value.
const MAX_HEADER: usize = 900;
const DEFAULT_HTML: &str = r#"{{ template "email.default.html" . }}"#;
const DEFAULT_SUBJECT: &str = r#"{{ template "email.default.subject" . }}"#;
/// What that is by default.
const PLAIN_SUBJECT: &str = r#"{{ template "__subject" . }}"#;

/// One attempt.
pub(super) async fn send(config: &EmailConfig, message: &Message<'_>, tls: &TlsClient) -> Outcome {
    match tokio::time::timeout(TIMEOUT, attempt(config, message, tls)).await {
        Ok(Ok(())) => Outcome::Delivered,
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::Unsure { reason: format!("timeout after {TIMEOUT:?}") },
    }
}

fn refuse(reason: impl Into<String>) -> Outcome {
    Outcome::Final { reason: reason.into() }
}

async fn attempt(config: &EmailConfig, message: &Message<'_>, tls: &TlsClient) -> Result<(), Outcome> {
    let host = config.smarthost.as_ref().ok_or_else(|| refuse("no smarthost"))?;
    let port = host.port.parse().map_err(|_| refuse(format!("bad port {:?}", host.port)))?;
    let hello = config.hello.as_deref().filter(|h| !h.is_empty()).unwrap_or("localhost");
    if !hello.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refuse(format!("hello: {hello:?} is no name of a host")));
    }
    let login = match config.auth_username.as_deref().filter(|u| !u.is_empty()) {
        Some(name) => {
            let password =
                message.secret(config.auth_password.as_ref(), config.auth_password_file.as_deref())?;
            let secret = message.secret(config.auth_secret.as_ref(), config.auth_secret_file.as_deref())?;
            let name = name.to_owned();
            match (password.is_empty(), secret.is_empty()) {
                (false, _) => Some(Login::Password { name, password }),
                (true, false) => Some(Login::Digest { name, secret }),
                (true, true) => None,
            }
        }
        None => None,
    };
    let mail = mail(config, message)?;
    let server = Server {
        host: if host.host.is_empty() { "localhost" } else { &host.host },
        port,
        hello,
        implicit_tls: config.force_implicit_tls.map(|b| b.0),
        require_tls: config.require_tls.is_none_or(|b| b.0),
        tls,
        login,
    };
    server.send(mail.envelope(), &mail.formatted()).await
}

fn mail(config: &EmailConfig, message: &Message<'_>) -> Result<Mail, Outcome> {
    let addresses = |name: &str, given: &Option<String>| -> Result<Mailboxes, Outcome> {
        let text = message.text(given.as_deref().unwrap_or_default());
        ascii_domains(&text)
            .parse()
            .map_err(|e| refuse(format!("{name}: {text:?} is no list of addresses: {e}")))
    };
    let (to, from) = (addresses("to", &config.to)?, addresses("from", &config.from)?);
    let from: Mailbox = from.into_iter().next().ok_or_else(|| refuse("from: no address"))?;
    let recipients: Vec<Address> = to.clone().into_iter().map(|m| m.email).collect();
    let domain = from.email.domain().to_owned();
    let envelope =
        Envelope::new(Some(from.email.clone()), recipients).map_err(|e| refuse(format!("to: {e}")))?;
    // Unless somebody has defined it anew, it is the subject that every other receiver gets.
    let given = message.built_in(DEFAULT_SUBJECT);
    let given = given.filter(|text| message.built_in(PLAIN_SUBJECT).as_ref() != Some(text));
    let subject = given.unwrap_or_else(|| text::subject(message.notification()));
    let subject = message.headline(subject);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(message.now().unsigned_abs());
    let mut builder: MessageBuilder = Mail::builder()
        .envelope(envelope)
        .date(now)
        .from(from)
        .subject(cut(&subject))
        // Of the row and not of the attempt: who gets it twice can tell.
        .message_id(Some(id(&message.job.key, &domain)));
    for mailbox in to {
        builder = builder.to(mailbox);
    }
    if let Some(thread) = thread(config, message) {
        let thread = id(&thread, &domain);
        builder = builder.in_reply_to(thread.clone()).references(thread);
    }
    builder = header(builder, "X-Sideband-Key", &message.key())?;
    builder = header(builder, "Auto-Submitted", "auto-generated")?;
    for (name, template) in config.headers.iter().flatten() {
        let lower = name.to_ascii_lowercase();
        if OWN.contains(&lower.as_str()) {
            continue;
        }
        let template = template.as_deref().unwrap_or_default();
        let value = if lower == "subject" { message.title(Some(template)) } else { message.text(template) };
        builder = header(builder, name, &value)?;
    }
    let (plain, page) = bodies(config, message);
    let html = |page: String| SinglePart::builder().header(ContentType::TEXT_HTML).body(page);
    let done = match (plain, page) {
        (plain, None) => builder.singlepart(SinglePart::plain(plain.unwrap_or_default())),
        (None, Some(page)) => builder.singlepart(html(page)),
        (Some(plain), Some(page)) => builder
            .multipart(MultiPart::alternative().singlepart(SinglePart::plain(plain)).singlepart(html(page))),
    };
    done.map_err(|e| refuse(format!("the mail cannot be made: {e}")))
}

/// The text and the page, of which at least one is there. Both have the link to acknowledge, wherever it comes from.
fn bodies(config: &EmailConfig, message: &Message<'_>) -> (Option<String>, Option<String>) {
    let n = message.notification();
    let url = message.ack_url();
    let plain = match config.text.as_deref() {
        Some("") => None,
        given => Some(message.text_or(given, || text::body(n, None))),
    };
    let page = match config.html.as_deref() {
        Some("") => None,
        given => Some(message.html(given.unwrap_or(DEFAULT_HTML)).unwrap_or_else(|error| {
            let error = given.map(|_| format!("<error expanding template: {error}>"));
            let body = format!("{}\n{}", text::body(n, None), error.unwrap_or_default());
            format!("<!DOCTYPE html><html><body><pre>{}</pre></body></html>", escaped(&body))
        })),
    };
    let plain = plain.or_else(|| page.is_none().then(|| text::body(n, None)));
    let (mut plain, mut page) = (plain, page);
    if let Some(url) = url {
        plain = plain.map(|t| if t.contains(&url) { t } else { format!("Acknowledge: {url}\n\n{t}") });
        page = page.map(|p| with_link(p, &url, "Acknowledge"));
    }
    if let Some(url) = message.feedback_url() {
        plain = plain.map(|t| format!("{}\n\n{FEEDBACK} {url}\n", t.trim_end()));
        page = page.map(|p| with_link(p, &url, FEEDBACK));
    }
    (plain, page)
}

/// What is asked for when it is over, or while it lasts.
const FEEDBACK: &str = "Was it worth it?";

/// A page with a link at its end, unless it has that link already.
fn with_link(page: String, url: &str, text: &str) -> String {
    // The template may have escaped its signs.
    let token = url.rsplit('/').next().unwrap_or(url);
    if page.contains(token) {
        return page;
    }
    let link = format!("<p><a href=\"{}\">{text}</a></p>", escaped(url));
    match page.rfind("</body>") {
        Some(at) => format!("{}{link}{}", &page[..at], &page[at..]),
        None => page + &link,
    }
}

/// What mails about the same thing refer to.
fn thread(config: &EmailConfig, message: &Message<'_>) -> Option<String> {
    let threading = config.threading.as_ref();
    if threading.is_some_and(|t| t.enabled.is_some_and(|b| !b.0)) {
        return None;
    }
    let key = format!("thread {}", message.dedup_key());
    let by_day = threading.is_some_and(|t| t.thread_by_date.as_deref() == Some("daily"));
    if !by_day || message.notification().reason != Reason::Group {
        return Some(key);
    }
    Some(format!("{key} {}", message.notification().at.div_euclid(86_400_000)))
}

/// An identity of its own for every text: `<…@domain>`.
fn id(text: &str, domain: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes()));
    format!("<{}@{domain}>", &digest[..32])
}

fn header(builder: MessageBuilder, name: &str, value: &str) -> Result<MessageBuilder, Outcome> {
    let bad = || refuse(format!("headers: {name:?} is no name of a header"));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(bad());
    }
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|_| bad())?;
    Ok(builder.raw_header(HeaderValue::new(name, cut(value))))
}

/// On one line, and not endless: a label must not begin a header of its own.
fn cut(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text::cut(line.trim(), MAX_HEADER)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
