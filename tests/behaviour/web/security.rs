//! Authentication, TLS, and who may change state.

use std::path::Path;

use base64::Engine as _;
use sideband::net::auth::Security;
use sideband::net::listener::ServerLimits;
use sideband::web::Options;

use super::World;

fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

fn web_yml(dir: &Path, password: &str) -> std::path::PathBuf {
    let file = dir.join("web.yml");
    let hash = bcrypt::hash(password, 4).unwrap();
    let text = format!(
        "basic_auth_users:\n  alice: {hash}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn sections_without_keys_ask_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yml");
    for text in
        ["", "tls_server_config: {}\n", "tls_server_config: {cert_file: , key_file: }\nbasic_auth_users:\n"]
    {
        std::fs::write(&file, text).unwrap();
        assert!(Security::load(&file).unwrap().tls().is_none(), "{text}");
    }
    std::fs::write(&file, "tls_server_config: {min_version: TLS13}\n").unwrap();
    assert!(Security::load(&file).is_err(), "half a section is a mistake");
}

#[tokio::test]
async fn what_changes_state_needs_authentication_beyond_loopback() {
    let options = Options { enable_lifecycle: true, loopback_only: false, ..Options::default() };
    let world = World::start(options, Security::open(), ServerLimits::default()).await;
    for path in [
        "/-/reload",
        "/-/quit",
        "/api/v1/incidents/i1/ack",
        "/api/v1/incidents/i1/resolve",
        "/api/v1/incidents/i1/judge",
        "/api/v1/rules/feedback",
    ] {
        let reply = world.post(path, "").await;
        assert_eq!(reply.status, 403, "{path}");
        assert!(reply.text().contains("--web.config.file"), "{path}: {}", reply.text());
    }
    assert!(world.done().is_empty());
    // Reading is free, and a signed link is a proof of its own.
    assert_eq!(world.get("/api/v1/incidents").await.status, 200);
    assert_eq!(world.post("/ack/good-i1", "").await.status, 200);
    assert_eq!(world.post("/judge/judge-i1", "verdict=useful").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn long_lists_of_alerts_are_read_from_those_who_may_send_them() {
    let head = b"POST /api/v2/alerts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n[";
    for (loopback_only, expect) in [(false, "413"), (true, "408")] {
        let body_timeout = std::time::Duration::from_millis(50);
        let options = Options { loopback_only, body_timeout, ..Options::default() };
        let world = World::start(options, Security::open(), ServerLimits::default()).await;
        let answer = String::from_utf8_lossy(&world.raw(head).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expect}")), "{loopback_only}: {answer}");
        world.end().await;
    }
}

#[tokio::test]
async fn other_sites_cannot_make_a_browser_act() {
    let world = World::local().await;
    for headers in [
        [("Origin", "http://evil.example"), ("X", "")],
        [("Origin", "null"), ("X", "")],
        [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example")],
        [("Host", "evil.example"), ("X", "")],
    ] {
        for path in
            ["/-/quit", "/api/v1/incidents/i1/ack", "/api/v1/incidents/i1/judge", "/api/v1/rules/feedback"]
        {
            assert_eq!(world.ask("POST", path, &headers, "").await.status, 403, "{headers:?}");
        }
    }
    assert!(world.done().is_empty());
    let own = format!("http://{}", world.addr);
    let same = world
        .ask("POST", "/api/v1/incidents/i1/ack", &[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], "")
        .await;
    assert_eq!(same.status, 200);
    world.end().await;
}

#[tokio::test]
async fn lifecycle() {
    let world = World::local().await;
    assert_eq!((world.get("/-/healthy").await.status, world.get("/-/ready").await.status), (200, 200));
    assert_eq!(world.get("/-/reload").await.status, 405);
    assert_eq!(world.post("/-/reload", "").await.status, 200);
    *world.fake.reload_error.lock().unwrap() = Some("rules.yml:3:5: unknown key".into());
    let failed = world.ask("PUT", "/-/reload", &[], "").await;
    assert_eq!((failed.status, failed.text().contains("rules.yml:3:5")), (500, true));
    assert_eq!(world.post("/-/quit", "").await.status, 200);
    assert_eq!(world.done(), ["reload", "reload", "quit"]);
    world.fake.did("not ready");
    assert_eq!(world.get("/-/ready").await.status, 503);
    world.end().await;
    let options = Options { loopback_only: true, ..Options::default() };
    let world = World::start(options, Security::open(), ServerLimits::default()).await;
    let disabled = world.post("/-/reload", "").await;
    assert_eq!((disabled.status, disabled.text().contains("Lifecycle API is not enabled")), (403, true));
    world.end().await;
}

#[tokio::test]
async fn passwords() {
    let dir = tempfile::tempdir().unwrap();
    let security = Security::load(&web_yml(dir.path(), "right")).unwrap();
    let options = Options { enable_lifecycle: true, ..Options::default() };
    let world = World::start(options, security, ServerLimits::default()).await;
    let refused = world.get("/metrics").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic")));
    assert_eq!(refused.header("x-frame-options"), Some("deny"));
    for (user, password, status) in [
        ("alice", "right", 200),
        ("alice", "right", 200),
        ("alice", "wrong", 401),
        ("alice", "", 401),
        ("bob", "right", 401),
        ("", "right", 401),
    ] {
        let reply = world.ask("GET", "/metrics", &[("Authorization", &basic(user, password))], "").await;
        assert_eq!(reply.status, status, "{user} {password}");
    }
    for bad in ["Basic", "Basic ???", "Bearer right", "basic bm9jb2xvbg=="] {
        assert_eq!(world.ask("GET", "/metrics", &[("Authorization", bad)], "").await.status, 401, "{bad}");
    }
    // Who probes has no password.
    for probe in ["/-/healthy", "/-/ready"] {
        assert_eq!(world.get(probe).await.status, 200, "{probe}");
    }
    // Who authenticated may change state, and it is known who it was.
    let auth = basic("alice", "right");
    let acked = world
        .ask("POST", "/api/v1/incidents/i1/ack", &[("Authorization", &auth)], "{\"by\":\"somebody\"}")
        .await;
    assert_eq!(acked.json()["data"]["acknowledgedBy"], "alice");
    // A link from a page needs no password at night.
    assert_eq!(world.get("/ack/good-i1").await.status, 200);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again_and_a_bad_one_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let file = web_yml(dir.path(), "one");
    let security = Security::load(&file).unwrap();
    assert!(security.authenticates() && !security.reload_if_changed().unwrap());
    std::fs::write(&file, "basic_auth_users: {alice: plain}\n").unwrap();
    let error = security.reload_if_changed().unwrap_err();
    assert_eq!((error.line, error.message.contains("bcrypt")), (1, true), "{error}");
    // Told once; the old users are still asked for.
    assert!(!security.reload_if_changed().unwrap() && !security.last_reload_ok() && security.authenticates());
    std::fs::write(&file, "# nobody\n").unwrap();
    assert!(security.reload_if_changed().unwrap() && security.last_reload_ok() && !security.authenticates());
}

#[test]
fn web_configurations_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yml");
    for (text, line, part) in [
        ("basic_auth_user: {}\n", 1, "basic_auth_user"),
        ("basic_auth_users:\n  a: notbcrypt\n", 2, "bcrypt"),
        ("tls_server_config:\n  cert_file: none.pem\n  key_file: none.pem\n", 2, "none.pem"),
        ("tls_server_config:\n  key_file: none.pem\n", 0, "cert_file"),
        ("http_server_config:\n  headers:\n    Server: x\n", 3, "Server"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: \"a\\nb\"\n", 3, "bad value"),
        ("tls_server_config: [\n", 1, ""),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Security::load(&file).err().expect(text);
        assert!(error.line == line && error.message.contains(part), "{text}: {error}");
    }
    let error = Security::load(&dir.path().join("missing.yml")).err().unwrap();
    assert!(error.to_string().contains("missing.yml"), "{error}");
}
