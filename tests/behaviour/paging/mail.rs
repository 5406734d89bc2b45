//! E-mail against a small SMTP server on loopback, with and without TLS.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sideband::ledger::Ledger;
use sideband::model::{Alert, Clock as _, Labels, SystemClock};
use sideband::paging::config::PagingConfig;
use sideband::paging::{Pager, PagerHandle, PagerOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq)]
enum Tls {
    Never,
    Starttls,
    Implicit,
}

/// A server that keeps what it hears. `answers` are given to `RCPT`, one after the other, then `250`.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(tls: Tls, answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let answers: VecDeque<String> = answers.iter().map(|a| (*a).to_owned()).collect();
        let (log, answers) = (Arc::clone(&heard), Arc::new(Mutex::new(answers)));
        let acceptor = acceptor();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (log, answers, acceptor) = (Arc::clone(&log), Arc::clone(&answers), acceptor.clone());
                tokio::spawn(async move {
                    match tls {
                        Tls::Never => drop(talk(tcp, &log, &answers, false, true).await),
                        Tls::Implicit => {
                            if let Ok(io) = acceptor.accept(tcp).await {
                                drop(talk(io, &log, &answers, false, true).await);
                            }
                        }
                        Tls::Starttls => {
                            let Some(tcp) = talk(tcp, &log, &answers, true, true).await else { return };
                            match acceptor.accept(tcp).await {
                                Ok(io) => drop(talk(io, &log, &answers, false, false).await),
                                Err(e) => log.lock().unwrap().push(format!("tls failed: {e}")),
                            }
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// What was heard, once it has a line that begins so.
    async fn until(&self, start: &str) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let heard = self.heard();
            if heard.iter().any(|l| l.starts_with(start)) {
                return heard;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {start:?} in {heard:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn certs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/net_certs")
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certs().join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certs().join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// The server's side; gives the connection back when the client wants TLS on it.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    log: &Mutex<Vec<String>>,
    answers: &Mutex<VecDeque<String>>,
    starttls: bool,
    greet: bool,
) -> Option<S> {
    if greet {
        io.write_all(b"220 mail.test ESMTP\r\n").await.ok()?;
    }
    let mut data = false;
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(io.read_u8().await.ok()?);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        log.lock().unwrap().push(line.clone());
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "." if data => {
                data = false;
                "250 taken".to_owned()
            }
            _ if data => continue,
            "EHLO" if starttls => "250-mail.test\r\n250 STARTTLS".to_owned(),
            "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
            "STARTTLS" if starttls => {
                io.write_all(b"220 go on\r\n").await.ok()?;
                return Some(io);
            }
            // The challenge of RFC 2195.
            "AUTH" if log.lock().unwrap()[0] == "EHLO open.relay" => "503 no login here".to_owned(),
            "AUTH" if line.ends_with("CRAM-MD5") => {
                "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+".to_owned()
            }
            "AUTH" => "235 welcome".to_owned(),
            "RCPT" => answers.lock().unwrap().pop_front().unwrap_or_else(|| "250 ok".to_owned()),
            "DATA" => {
                data = true;
                "354 go on".to_owned()
            }
            "QUIT" => {
                io.write_all(b"221 bye\r\n").await.ok()?;
                return None;
            }
            _ => "250 ok".to_owned(),
        };
        io.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

fn start(dir: &Path, integration: &str) -> PagerHandle {
    std::fs::write(dir.join("key"), "a key that is long enough\n").unwrap();
    let text = format!(
        "
route: {{receiver: p, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers: [{{name: p, email_configs: [{integration}]}}]
users: [{{name: anna, receiver: p}}]
escalation_policies: [{{name: x, steps: [{{notify: [user/anna]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
"
    );
    let config = PagingConfig::parse(&dir.join("paging.yml"), &text).expect(integration);
    assert!(config.unsendable.is_empty());
    Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()).unwrap()
}

fn alert(name: &str, over: bool) -> Alert {
    let now = SystemClock.now();
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("severity", "page")]),
        annotations: Labels::from_pairs([("summary", "Größe\r\nBcc: evil@x.test")]),
        starts_at: now - 1000,
        ends_at: if over { now } else { now + 3_600_000 },
        updated_at: now,
        generator_url: String::new(),
    }
}

/// The values of a header in the mails that were heard; headers are unfolded, bodies left out.
fn header(heard: &[String], name: &str) -> Vec<String> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in heard {
        match line.as_str() {
            "DATA" => inside = true,
            "" => inside = false,
            folded if inside && folded.starts_with(' ') => all.last_mut().unwrap().1.push_str(folded),
            line if inside => {
                let (name, value) = line.split_once(':').expect("a header");
                all.push((name.to_owned(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    all.into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
}

/// Waits until the history of the incident says so.
async fn told(pager: &PagerHandle, part: &str) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let incidents = pager.incidents().await.unwrap();
        let history: Vec<String> =
            incidents.iter().flat_map(|i| i.history.iter().map(|h| h.what.clone())).collect();
        if let Some(line) = history.iter().find(|l| l.contains(part)) {
            return line.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "no {part:?} in {history:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn ca() -> String {
    certs().join("ca.pem").display().to_string()
}

#[tokio::test]
async fn a_page_by_mail_is_encrypted_has_a_link_and_stands_in_a_thread() {
    for (tls, more) in [(Tls::Starttls, ""), (Tls::Implicit, "force_implicit_tls: true, ")] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("password"), "open sesame\n").unwrap();
        let server = Server::start(tls, &[]).await;
        let integration = format!(
            "{{to: 'Anna <anna@x.test>, ben@x.test', from: 'sideband <side@band.test>', send_resolved: true,
              smarthost: '127.0.0.1:{}', hello: me.test, auth_username: side, auth_password_file: password, {more}
              headers: {{X-Mine: 'a: b', Message-ID: '<no>'}}, tls_config: {{ca_file: '{}'}}}}",
            server.port,
            ca()
        );
        let pager = start(dir.path(), &integration);
        assert!(pager.alerts(vec![alert("Slow", false)]));
        told(&pager, "page delivered").await;
        let heard = server.until("QUIT").await;
        let said = |line: &str| heard.iter().any(|l| l == line);
        // base64 of NUL side NUL open sesame
        assert!(said("EHLO me.test") && said("AUTH PLAIN AHNpZGUAb3BlbiBzZXNhbWU="), "{heard:?}");
        assert!(said("MAIL FROM:<side@band.test>"), "{heard:?}");
        assert!(said("RCPT TO:<anna@x.test>") && said("RCPT TO:<ben@x.test>"), "{heard:?}");
        // Nothing but the wish for TLS went out before it.
        let auth = heard.iter().position(|l| l.starts_with("AUTH")).unwrap();
        if tls == Tls::Starttls {
            assert_eq!(&heard[..2], ["EHLO me.test", "STARTTLS"]);
            assert!(auth > 2);
        }
        let mail = heard.join("\n");
        assert!(header(&heard, "Bcc").is_empty() && header(&heard, "X-Mine") == ["a: b"], "{mail}");
        let subject = header(&heard, "Subject");
        assert!(subject.len() == 1 && subject[0].starts_with("[FIRING:1] "), "{mail}");
        assert!(subject[0].ends_with("(Slow)"), "{mail}");
        assert_eq!(header(&heard, "Auto-Submitted"), ["auto-generated"]);
        assert!(mail.contains("https://me.example/ack/") && mail.contains("multipart/alternative"), "{mail}");
        assert!(mail.contains("<h2") || mail.contains("<pre>"), "a page beside the text: {mail}");

        assert!(pager.alerts(vec![alert("Slow", true)]));
        let id: u64 = pager.incidents().await.unwrap()[0].id.parse().unwrap();
        let by = sideband::paging::incident::Actor::new("a", "api", "");
        let _ = pager.resolve(id, by).await.unwrap();
        told(&pager, "message delivered").await;
        let heard = server.heard();
        let (ids, threads) = (header(&heard, "Message-ID"), header(&heard, "References"));
        assert!(ids.len() == 2 && ids[0] != ids[1] && ids[0].ends_with("@band.test>"), "{ids:?}");
        assert!(threads.len() == 2 && threads[0] == threads[1] && threads[0] != ids[0], "{threads:?}");
        assert_eq!(header(&heard, "In-Reply-To"), threads);
        assert_eq!(header(&heard, "X-Sideband-Key").len(), 2);
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_gets_neither_password_nor_mail() {
    for (tls, keys, expect) in [
        // The certificate is not signed by anybody who is trusted.
        (Tls::Starttls, "", "did not take it (tls: 127.0.0.1: invalid peer certificate"),
        (
            Tls::Implicit,
            "force_implicit_tls: true",
            "did not take it (tls: 127.0.0.1: invalid peer certificate",
        ),
        // Signed, but for another name.
        (Tls::Starttls, "tls_config: {ca_file: CA, server_name: other.test}", "not valid for name"),
        // No TLS on offer.
        (Tls::Never, "", "offers no STARTTLS"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(tls, &[]).await;
        let keys = keys.replace("CA", &ca());
        let integration = format!(
            "{{to: a@x.test, from: s@x.test, smarthost: '127.0.0.1:{}', auth_username: u,
              auth_password: open sesame, {keys}}}",
            server.port
        );
        let pager = start(dir.path(), &integration);
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let line = told(&pager, "p/email/0").await;
        assert!(line.contains(expect), "{line}");
        assert!(!line.contains("sesame"), "{line}");
        for line in server.heard() {
            assert!(["EHLO", "STAR", "tls "].contains(&&line[..4.min(line.len())]), "{line}");
        }
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn domains_in_any_script_and_a_login_that_does_not_say_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Tls::Never, &[]).await;
    let integration = format!(
        "{{to: 'Jürgen <j@bücher.test>', from: s@münchen.test, smarthost: '127.0.0.1:{}', require_tls: false,
          auth_username: tim, auth_secret: tanstaaftanstaaf}}",
        server.port
    );
    let pager = start(dir.path(), &integration);
    assert!(pager.alerts(vec![alert("Slow", false)]));
    told(&pager, "page delivered").await;
    let heard = server.until("QUIT").await;
    let said = |line: &str| heard.iter().any(|l| l == line);
    assert!(said("RCPT TO:<j@xn--bcher-kva.test>") && said("MAIL FROM:<s@xn--mnchen-3ya.test>"), "{heard:?}");
    assert!(said("dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"), "{heard:?}");
    assert!(!heard.iter().any(|l| l.contains("tanstaaf")));
    pager.shutdown().await;
}

/// Its network is what a relay trusts; a secret that is given all the same does not lose the page.
#[tokio::test]
async fn a_relay_that_knows_no_login_takes_the_mail() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Tls::Never, &[]).await;
    let integration = format!(
        "{{to: a@x.test, from: s@x.test, smarthost: '127.0.0.1:{}', require_tls: false, hello: open.relay,
          auth_username: tim, auth_secret: tanstaaftanstaaf}}",
        server.port
    );
    let pager = start(dir.path(), &integration);
    assert!(pager.alerts(vec![alert("Slow", false)]));
    let line = told(&pager, "p/email/0").await;
    assert!(line.contains("page delivered"), "{line}");
    pager.shutdown().await;
}

#[tokio::test]
async fn refusals_for_now_and_for_good() {
    for (answers, expect) in [
        (&["451 4.3.0 later"][..], "did not take it (transient error (451): 4.3.0 later"),
        (&["550 5.1.1 nobody here"][..], "will not take it: permanent error (550): 5.1.1 nobody here"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(Tls::Never, answers).await;
        let integration = format!(
            "{{to: a@x.test, from: s@x.test, smarthost: '127.0.0.1:{}', require_tls: false}}",
            server.port
        );
        let pager = start(dir.path(), &integration);
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let line = told(&pager, "p/email/0").await;
        assert!(line.contains(expect), "{line}");
        if answers[0].starts_with('4') {
            // The same mail again, under the same identity.
            told(&pager, "page delivered to p/email/0 (attempt 2)").await;
            let heard = server.until(".").await;
            assert_eq!(header(&heard, "Message-ID").len(), 1, "the first was refused before its text");
        } else {
            assert!(!server.heard().iter().any(|l| l == "DATA"));
        }
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn what_smtp_cannot_do_is_said_when_the_file_is_read() {
    let parse = |keys: &str| {
        let text = format!(
            "route: {{receiver: p}}\nreceivers: [{{name: p, email_configs: [{{to: a@x, from: b@x, smarthost: 'h:25', {keys}}}]}}]\n"
        );
        PagingConfig::parse(Path::new("paging.yml"), &text).unwrap()
    };
    for (keys, expect) in [
        ("auth_username: u, auth_password: s, auth_identity: other", "auth_identity"),
        ("auth_username: u, auth_secret: s, auth_identity: other", "auth_identity"),
    ] {
        let config = parse(keys);
        let text = config.unsendable[0].to_string();
        assert!(text.contains(expect) && text.starts_with("paging.yml:2:"), "{text}");
    }
    assert!(parse("auth_username: u, auth_password: s, auth_secret: x").unsendable.is_empty());
    assert!(parse("auth_username: u, auth_secret: x").unsendable.is_empty());
}
