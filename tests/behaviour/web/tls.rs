//! TLS with and without client certificates. The keys here are for these tests and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sideband::net::auth::Security;
use sideband::net::listener::ServerLimits;
use sideband::web::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Reply, World};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/web/tls")
}

/// A web configuration whose files lie beside it.
fn configured(dir: &Path, more: &str) -> Security {
    for name in ["ca.pem", "server.pem", "server.key"] {
        std::fs::copy(fixtures().join(name), dir.join(name)).unwrap();
    }
    let file = dir.join("web.yml");
    std::fs::write(
        &file,
        format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{more}"),
    )
    .unwrap();
    Security::load(&file).unwrap()
}

/// Asks over TLS; `None` when there was no TLS connection or it was closed without an answer.
async fn ask(world: &World, certificate: bool, method: &str, path: &str) -> Option<Reply> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixtures().join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        true => {
            let chain = vec![CertificateDer::from_pem_file(fixtures().join("client.pem")).unwrap()];
            builder
                .with_client_auth_cert(
                    chain,
                    PrivateKeyDer::from_pem_file(fixtures().join("client.key")).unwrap(),
                )
                .unwrap()
        }
        false => builder.with_no_client_auth(),
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    (!answer.is_empty()).then(|| Reply::parse(&answer))
}

#[tokio::test]
async fn who_gets_through() {
    for (more, without, with, may_act) in [
        ("", true, true, false),
        ("  min_version: TLS13\n  curve_preferences: [X25519, CurveP256]\n", true, true, false),
        (
            "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
            true,
            true,
            false,
        ),
        ("  client_auth_type: RequestClientCert\n", true, true, false),
        ("  client_auth_type: RequireAnyClientCert\n", false, true, false),
        ("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n", true, true, false),
        ("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n", false, true, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let security = configured(dir.path(), more);
        let world = World::start(Options::default(), security, ServerLimits::default()).await;
        let status = |r: Option<Reply>| r.map(|r| r.status);
        assert_eq!(status(ask(&world, false, "GET", "/-/healthy").await), without.then_some(200), "{more}");
        assert_eq!(status(ask(&world, true, "GET", "/-/healthy").await), with.then_some(200), "{more}");
        let acted = status(ask(&world, true, "POST", "/api/v1/incidents/i1/ack").await);
        assert_eq!(acted, Some(if may_act { 200 } else { 403 }), "{more}");
        // Plain text on a TLS port is not answered with anything secret.
        assert!(!world.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with(b"HTTP/1.1 200"));
        world.end().await;
    }
}

#[test]
fn configurations_that_make_no_sense() {
    for (more, part) in [
        ("  min_version: TLS11\n", "TLS11 is not offered"),
        ("  min_version: SSL3\n", "unknown TLS version"),
        ("  min_version: TLS13\n  max_version: TLS12\n", "below min_version"),
        ("  client_auth_type: Sometimes\n", "invalid client_auth_type"),
        ("  client_auth_type: RequireAndVerifyClientCert\n", "needs a client_ca_file"),
        ("  client_ca_file: ca.pem\n", "client_auth_type"),
        ("  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", "TLS_RSA_WITH_RC4_128_SHA"),
        ("  curve_preferences: [CurveP521]\n", "CurveP521"),
        ("  client_allowed_sans: [a]\n", "not built"),
        ("  key: x\n", "only one of"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        configured(dir.path(), "");
        let file = dir.path().join("web.yml");
        let text = std::fs::read_to_string(&file).unwrap() + more;
        std::fs::write(&file, text).unwrap();
        let error = Security::load(&file).err().expect(more);
        assert!(error.message.contains(part) && error.line >= 3, "{more}: {error}");
    }
}
