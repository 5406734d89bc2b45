//! What the listener allows and what it ends.

use std::time::Duration;

use sideband::net::auth::Security;
use sideband::net::listener::ServerLimits;
use sideband::web::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::World;

async fn limited(limits: ServerLimits) -> World {
    let options =
        Options { max_body_bytes: 1000, body_timeout: Duration::from_millis(50), ..Options::default() };
    World::start(options, Security::open(), limits).await
}

fn short() -> ServerLimits {
    ServerLimits {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(100),
        drain_timeout: Duration::from_millis(500),
        ..ServerLimits::default()
    }
}

#[tokio::test]
async fn dribbling_and_idle_clients_are_cut_off() {
    let world = limited(short()).await;
    // A head that never ends, nothing at all: closed without an answer that matters.
    for start in [&b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "[..], b""] {
        let answer = world.raw(start).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    world.end().await;
    // A body that never ends. The head may come as slowly as this machine likes.
    let world = limited(ServerLimits::default()).await;
    let head =
        b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 500\r\n\r\nquery=";
    assert!(world.raw(head).await.starts_with(b"HTTP/1.1 408"));
    world.end().await;
}

#[tokio::test]
async fn too_much_is_refused() {
    let world = limited(ServerLimits { max_header_bytes: 8192, ..ServerLimits::default() }).await;
    let long = "x".repeat(20_000);
    for request in
        [format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n")]
    {
        // The connection is closed with bytes unread, so the answer may get lost on its way.
        let answer = world.raw(request.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(world.post("/api/v1/query", &format!("query={}", "1".repeat(1000))).await.status, 413);
    assert!(world.raw(b"nonsense\r\n\r\n").await.starts_with(b"HTTP/1.1 400"));
    assert_eq!(world.get("/-/healthy").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_request_says_once_and_legibly_whom_it_asks() {
    let world = limited(ServerLimits::default()).await;
    for (head, status) in [
        ("HTTP/1.1\r\nHost: x\r\n", 200),
        ("HTTP/1.1\r\nHost: [::1]:9\r\n", 200),
        ("HTTP/1.1\r\nHost:\r\n", 200),
        ("HTTP/1.0\r\n", 200),
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.1\r\nHost: x\r\nHost: x\r\n", 400),
        ("HTTP/1.0\r\nHost: x\r\nHost: y\r\n", 400),
        ("HTTP/1.1\r\nHost: a b\r\n", 400),
        ("HTTP/1.1\r\nHost: <x>\r\n", 400),
    ] {
        let request = format!("GET /-/healthy {head}Connection: close\r\n\r\n");
        let reply = super::Reply::parse(&world.raw(request.as_bytes()).await);
        assert_eq!(reply.status, status, "{head:?}: {}", reply.text());
    }
    world.end().await;
}

#[tokio::test]
async fn idle_connections_give_way_when_there_are_too_many() {
    let world = limited(ServerLimits { max_connections: 2, ..ServerLimits::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        idle.push(TcpStream::connect(world.addr).await.unwrap());
    }
    for _ in 0..5 {
        assert_eq!(world.get("/-/healthy").await.status, 200);
    }
    world.end().await;
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_ends_with_the_server() {
    let world = limited(ServerLimits::default()).await;
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"));
    }
    // Idle connections do not hold up the shutdown.
    world.end().await;
    assert_eq!(stream.read(&mut buffer).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_not_waited_for() {
    let world = limited(ServerLimits::default()).await;
    let head =
        b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(world.raw(head).await.starts_with(b"HTTP/1.1 413"));
    world.end().await;
}

#[tokio::test]
async fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
    // Nobody's body is given up while this goes on.
    let options = Options { body_timeout: Duration::from_secs(600), ..Options::default() };
    let world = World::start(options, Security::open(), ServerLimits::default()).await;
    let head = |length: usize| {
        format!(
            "POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\nquery=1"
        )
    };
    let large = 100_000;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(head(large).as_bytes()).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(world.post("/api/v1/query", "query=1").await.status, 200);
    // All of them are answered in the end, whoever had the first turns.
    let rest = " ".repeat(large - "query=1".len());
    for stream in &mut slow {
        stream.write_all(rest.as_bytes()).await.unwrap();
    }
    let mut buffer = vec![0; 4096];
    for stream in &mut slow {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..n]));
    }
    world.end().await;
}
