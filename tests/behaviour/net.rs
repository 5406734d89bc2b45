//! The HTTP client against small servers on loopback. The certificates in `net_certs` are for these
//! tests only.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sideband::model::yaml;
use sideband::net::http::{HttpClient, HttpClientConfig, HttpRequest, HttpResponse, Limits, NetError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What arrived: the number of the connection and the request's header and body.
type Log = Arc<Mutex<Vec<(usize, String)>>>;

/// Answers requests by their first line; `None` closes the connection.
type Handler = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

async fn requests(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    log: Log,
    handler: Handler,
) {
    loop {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            match io.read_u8().await {
                Ok(b) => text.push(b),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        io.read_exact(&mut body).await.unwrap();
        let whole = head + &String::from_utf8(body).unwrap();
        log.lock().unwrap().push((connection, whole.clone()));
        let Some(answer) = handler(&whole) else { return };
        if io.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn serve(handler: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let log = Log::default();
    let (seen, handler): (Log, Handler) = (log.clone(), Arc::new(handler));
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(requests(socket, connection, seen.clone(), handler.clone()));
        }
    });
    (address, log)
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn certs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/net_certs")
}

fn client_in(dir: &Path, config: &str) -> Result<HttpClient, NetError> {
    let config: HttpClientConfig = yaml::parse(Path::new("x.yml"), config).unwrap();
    HttpClient::new(&config, dir)
}

fn client(config: &str) -> HttpClient {
    client_in(Path::new("."), config).unwrap()
}

const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_body: 1000 };

fn get(url: impl Into<String>) -> HttpRequest {
    HttpRequest { url: url.into(), ..HttpRequest::default() }
}

async fn send(client: &HttpClient, url: &str) -> Result<HttpResponse, NetError> {
    client.send(get(url), LIMITS).await
}

#[tokio::test]
async fn connections_are_used_again_and_dead_ones_replaced() {
    let (address, log) = serve(|r| if r.contains("/last") { None } else { ok("hello") }).await;
    let client = client("{}");
    for _ in 0..3 {
        let answer = send(&client, &format!("http://{address}/x")).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    }
    assert!(log.lock().unwrap().iter().all(|(connection, _)| *connection == 0));
    // The server closes without an answer: a GET is tried once more on a new connection.
    assert!(matches!(send(&client, &format!("http://{address}/last")).await, Err(NetError::Other(_))));
    let tried: Vec<usize> = log.lock().unwrap()[3..].iter().map(|(connection, _)| *connection).collect();
    assert_eq!(tried, [0, 1]);
    // A POST that may have had its effect is not.
    let post = HttpRequest {
        method: hyper::Method::POST,
        body: b"{}".to_vec(),
        ..get(format!("http://{address}/last"))
    };
    send(&client, &format!("http://{address}/x")).await.unwrap();
    let before = log.lock().unwrap().len();
    assert!(client.send(post, LIMITS).await.is_err());
    assert_eq!(log.lock().unwrap().len(), before + 1);
}

#[tokio::test]
async fn redirects_are_followed_and_credentials_stay_at_home() {
    let (other, other_log) = serve(|_| ok("other")).await;
    let away = format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/y\r\nContent-Length: 0\r\n\r\n");
    let (address, log) = serve(move |r| match r.split(' ').nth(1).unwrap() {
        "/near" => Some("HTTP/1.1 307 x\r\nLocation: /here\r\nContent-Length: 0\r\n\r\n".into()),
        "/loop" => Some("HTTP/1.1 301 x\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n".into()),
        "/away" => Some(away.clone()),
        _ => ok("here"),
    })
    .await;
    let with_token = client("bearer_token: tok\nhttp_headers: {X-Extra: {values: [a, b]}}");
    let post = HttpRequest {
        method: hyper::Method::POST,
        body: b"data".to_vec(),
        ..get(format!("http://{address}/near"))
    };
    assert_eq!(with_token.send(post, LIMITS).await.unwrap().body, b"here");
    let (_, second) = log.lock().unwrap()[1].clone();
    assert!(
        second.starts_with("post /here")
            && second.ends_with("data")
            && second.contains("authorization: bearer tok")
    );
    assert!(second.contains("x-extra: a\r\nx-extra: b"));
    assert_eq!(send(&with_token, &format!("http://{address}/away")).await.unwrap().body, b"other");
    assert!(!other_log.lock().unwrap()[0].1.contains("authorization"));
    let error = send(&with_token, &format!("http://{address}/loop")).await.unwrap_err();
    assert!(error.to_string().contains("10 redirects"), "{error}");
    let stays = client("follow_redirects: false");
    assert_eq!(send(&stays, &format!("http://{address}/away")).await.unwrap().status, 302);
}

#[tokio::test]
async fn credentials_come_from_the_configuration_from_files_and_from_the_url() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "first\n").unwrap();
    let (address, log) = serve(|_| ok("")).await;
    let last = || log.lock().unwrap().last().unwrap().1.clone();
    let basic = client_in(dir.path(), "basic_auth: {username: me, password_file: password}").unwrap();
    send(&basic, &format!("http://{address}/")).await.unwrap();
    // me:first
    assert!(last().contains("authorization: basic bwu6zmlyc3q="), "{}", last());
    std::fs::write(dir.path().join("password"), "second").unwrap();
    send(&basic, &format!("http://{address}/")).await.unwrap();
    assert!(last().contains("authorization: basic bwu6c2vjb25k"), "{}", last());
    std::fs::remove_file(dir.path().join("password")).unwrap();
    assert!(matches!(send(&basic, &format!("http://{address}/")).await, Err(NetError::Config(_))));
    send(&client("authorization: {type: Token, credentials: abc}"), &format!("http://{address}/"))
        .await
        .unwrap();
    assert!(last().contains("authorization: token abc"));
    send(&client("{}"), &format!("http://me:first@{address}/")).await.unwrap();
    assert!(
        last().contains("authorization: basic bwu6zmlyc3q=") && last().contains(&format!("host: {address}"))
    );
}

#[tokio::test]
async fn tokens_are_asked_for_kept_and_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "s3 cret\n").unwrap();
    // A server that gives tokens by number; the second one wants who asks in the form.
    let given = Arc::new(Mutex::new(0));
    let count = Arc::clone(&given);
    let (issuer, asked) = serve(move |r| {
        if r.starts_with("post /form") && !r.contains("client_secret=") {
            return Some(
                "HTTP/1.1 401 X\r\nContent-Length: 26\r\n\r\n{\"error\":\"invalid_client\"}".to_owned(),
            );
        }
        let mut n = count.lock().unwrap();
        *n += 1;
        ok(&format!("{{\"access_token\":\"t{n}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"))
    })
    .await;
    let (address, log) = serve(|r| {
        if r.contains("bearer t1\r") && r.starts_with("get /later") {
            return Some("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n".to_owned());
        }
        if r.starts_with("get /never") {
            return Some("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n".to_owned());
        }
        ok("")
    })
    .await;
    let last = || log.lock().unwrap().last().unwrap().1.clone();
    let config = format!(
        "oauth2: {{client_id: 'me&', client_secret_file: secret, token_url: 'http://{issuer}/token', scopes: [a, b], endpoint_params: {{audience: x y}}}}"
    );
    let client = client_in(dir.path(), &config).unwrap();
    // Several at once ask for one token.
    let url = format!("http://{address}/x");
    let (a, b) = tokio::join!(send(&client, &url), send(&client, &url));
    assert_eq!((a.unwrap().status, b.unwrap().status), (200, 200));
    assert!(last().contains("authorization: bearer t1\r"), "{}", last());
    let first = asked.lock().unwrap()[0].1.clone();
    // me%26:s3+cret
    assert!(first.contains("authorization: basic bwulmjy6czmry3jlda=="), "{first}");
    assert!(first.ends_with("grant_type=client_credentials&scope=a+b&audience=x+y"), "{first}");
    assert_eq!(*given.lock().unwrap(), 1);
    // One that is refused is exchanged once; one that is refused at once is the answer.
    assert_eq!(send(&client, &format!("http://{address}/later")).await.unwrap().status, 200);
    assert!(last().contains("authorization: bearer t2\r"), "{}", last());
    assert_eq!(send(&client, &format!("http://{address}/never")).await.unwrap().status, 401);
    assert_eq!(*given.lock().unwrap(), 3);
    // Another secret asks anew, and one that is gone cannot.
    std::fs::write(dir.path().join("secret"), "other").unwrap();
    let before = *given.lock().unwrap();
    assert_eq!(send(&client, &url).await.unwrap().status, 200);
    assert_eq!(*given.lock().unwrap(), before + 1);
    std::fs::remove_file(dir.path().join("secret")).unwrap();
    assert!(matches!(send(&client, &url).await, Err(NetError::Config(_))));

    std::fs::write(dir.path().join("secret"), "s3cret").unwrap();
    let form = client_in(dir.path(), &config.replace("/token", "/form")).unwrap();
    assert_eq!(send(&form, &url).await.unwrap().status, 200);
    let all: Vec<String> = asked.lock().unwrap().iter().map(|(_, r)| r.clone()).collect();
    let form_body = all.last().unwrap();
    assert!(form_body.contains("&client_id=me%26&client_secret=s3cret&"), "{form_body}");
    assert!(!form_body.contains("authorization:"), "{form_body}");

    // No token, no request; and the reason has no secret.
    let (closed, _) = serve(|_| Some("HTTP/1.1 400 X\r\nContent-Length: 6\r\n\r\ns3cret".to_owned())).await;
    let seen = log.lock().unwrap().len();
    let refused = client_in(dir.path(), &config.replace(&issuer, &closed)).unwrap();
    match send(&refused, &url).await {
        Err(NetError::Connect(why)) => {
            assert!(why.contains("status 400") && !why.contains("s3cret"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.lock().unwrap().len(), seen);
}

#[tokio::test]
async fn limits_hold() {
    let (address, _) = serve(|r| match r.split(' ').nth(1).unwrap() {
        "/hang" => Some("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".into()),
        "/large" => ok(&"x".repeat(1001)),
        "/chunked" => Some(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            format!("1f4\r\n{}\r\n", "x".repeat(500)).repeat(3)
        )),
        "/br" => Some("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n".into()),
        _ => ok(&"x".repeat(1000)),
    })
    .await;
    let client = client("{}");
    let short = Limits { timeout: Duration::from_millis(50), ..LIMITS };
    let url = |path: &str| format!("http://{address}{path}");
    assert_eq!(client.send(get(url("/hang")), short).await.unwrap_err(), NetError::Timeout(short.timeout));
    assert_eq!(send(&client, &url("/large")).await.unwrap_err(), NetError::TooLarge(1000));
    assert_eq!(send(&client, &url("/chunked")).await.unwrap_err(), NetError::TooLarge(1000));
    assert!(send(&client, &url("/br")).await.unwrap_err().to_string().contains("br"));
    assert_eq!(send(&client, &url("/")).await.unwrap().body.len(), 1000);
    assert!(matches!(send(&client, "http://127.0.0.1:1/").await, Err(NetError::Connect(_))));
    // A name that no name server is asked for: its answer would depend on the network.
    let nobody = format!("http://{}.invalid/", "x".repeat(64));
    assert!(matches!(send(&client, &nobody).await, Err(NetError::Connect(_))));
    assert!(matches!(send(&client, "not a url").await, Err(NetError::Config(_))));
}

#[tokio::test]
async fn proxies_forward_and_tunnel() {
    let (address, log) = serve(|r| match r.split(' ').next().unwrap() {
        "connect" if r.contains("refused.test") => Some("HTTP/1.1 403 Forbidden\r\n\r\n".into()),
        "connect" => Some("HTTP/1.1 200 Connection established\r\n\r\n".into()),
        _ => ok("by proxy"),
    })
    .await;
    let client = client(&format!("proxy_url: http://me:first@{address}\nno_proxy: direct.test"));
    assert_eq!(send(&client, "http://far.test/x").await.unwrap().body, b"by proxy");
    let (_, request) = log.lock().unwrap()[0].clone();
    assert!(request.starts_with("get http://far.test/x http/1.1"), "{request}");
    assert!(
        request.contains("proxy-authorization: basic bwu6zmlyc3q=") && request.contains("host: far.test")
    );
    let refused = send(&client, "https://refused.test/").await.unwrap_err();
    assert!(matches!(&refused, NetError::Connect(m) if m.contains("403")), "{refused}");
    assert!(send(&client, "http://direct.test/").await.is_err());
    assert_eq!(log.lock().unwrap().len(), 2);
}

/// A server with the test certificate; it may demand one from its clients.
async fn serve_tls(client_certificates: bool) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = |name: &str| CertificateDer::from_pem_file(certs().join(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(certs().join("server.key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if client_certificates {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(read("ca.pem")).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(vec![read("server.pem")], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(socket).await {
                    requests(tls, 0, Log::default(), Arc::new(|_| ok("secret"))).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn servers_are_trusted_by_the_configured_authority_and_name() {
    let url = format!("https://{}/", serve_tls(false).await);
    let mutual = format!("https://{}/", serve_tls(true).await);
    let good = |config: &str| client_in(&certs(), config).unwrap();
    let own = good("tls_config: {ca_file: ca.pem}");
    assert_eq!(send(&own, &url).await.unwrap().body, b"secret");
    for config in ["{}", "tls_config: {ca_file: ca.pem, server_name: other.test}"] {
        assert!(matches!(send(&good(config), &url).await, Err(NetError::Tls(_))), "{config}");
    }
    for config in [
        "tls_config: {insecure_skip_verify: true}",
        "tls_config: {ca_file: ca.pem, server_name: target.test}",
        "tls_config: {ca_file: ca.pem, max_version: TLS12}",
        "tls_config: {ca_file: ca.pem, min_version: TLS13}",
    ] {
        assert_eq!(send(&good(config), &url).await.unwrap().body, b"secret", "{config}");
    }
    assert!(send(&own, &mutual).await.is_err());
    let known = good("tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}");
    assert_eq!(send(&known, &mutual).await.unwrap().body, b"secret");
    for config in [
        "tls_config: {ca_file: missing.pem}",
        "tls_config: {ca_file: client.key}",
        "tls_config: {cert_file: client.pem, key_file: ca.pem}",
    ] {
        assert!(client_in(&certs(), config).is_err(), "{config}");
    }
}

#[test]
fn contradictions_are_refused_in_words() {
    for (config, part) in [
        ("bearer_token: a\nbearer_token_file: b", "at most one of bearer_token & bearer_token_file"),
        ("bearer_token: a\nbasic_auth: {username: b}", "at most one of basic_auth"),
        ("basic_auth: {password: a, password_file: b}", "password & password_file"),
        ("authorization: {type: Basic}", "use \"basic_auth\" instead"),
        ("authorization: {credentials: a, credentials_file: b}", "credentials & credentials_file"),
        ("oauth2: {client_id: x}", "oauth2 token_url must be configured"),
        ("oauth2: {token_url: 'http://x/'}", "oauth2 client_id must be configured"),
        ("oauth2: {client_id: x, token_url: x}", "oauth2 token_url: "),
        (
            "oauth2: {client_id: x, token_url: 'http://x/', client_secret: a, client_secret_file: b}",
            "at most one of oauth2 client_secret & client_secret_file",
        ),
        ("oauth2: {client_id: x, token_url: 'http://x/', proxy_from_environment: true}", "not built yet"),
        (
            "oauth2: {client_id: x, token_url: 'http://x/'}\nbearer_token: a",
            "at most one of basic_auth, oauth2",
        ),
        (
            "oauth2: {client_id: x, token_url: 'http://x/'}\nbasic_auth: {username: a}",
            "at most one of basic_auth",
        ),
        ("proxy_from_environment: true", "not built yet"),
        ("no_proxy: x", "proxy_url must also be configured"),
        ("proxy_url: socks5://x:1", "unsupported protocol scheme"),
        ("tls_config: {cert_file: x}", "key_file"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "max_version"),
        ("http_headers: {Authorization: {values: [x]}}", "not allowed"),
    ] {
        let config: HttpClientConfig = yaml::parse(Path::new("x.yml"), config).unwrap();
        let error = HttpClient::new(&config, Path::new(".")).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let secret: HttpClientConfig =
        yaml::parse(Path::new("x.yml"), "basic_auth: {username: u, password: 0123}").unwrap();
    assert!(format!("{secret:?}").contains("<secret>") && !format!("{secret:?}").contains("0123"));
}
