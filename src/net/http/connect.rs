//! Opening a connection: TCP, through a proxy where there is one, TLS where the URL says so.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::NetError;
use super::tls::TlsSource;
use super::url::Url;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// What is buffered of one connection at the most; a response's header must fit.
const BUFFER_BYTES: usize = 64 * 1024;

/// The way to a URL's host.
pub(super) struct Way<'a> {
    pub proxy: Option<&'a Url>,
    /// Value of `Proxy-Authorization`.
    pub proxy_credentials: Option<&'a str>,
    pub tls: &'a TlsSource,
}

/// Connects and shakes hands; the connection runs in a task of its own until it is closed.
pub(super) async fn open(url: &Url, way: &Way<'_>) -> Result<Sender, NetError> {
    let next = way.proxy.unwrap_or(url);
    let mut tcp = TcpStream::connect((next.host.as_str(), next.port))
        .await
        .map_err(|e| NetError::Connect(format!("dial tcp {}: {e}", next.authority())))?;
    // A scrape or a page is one small write that must not wait for more.
    let _ = tcp.set_nodelay(true);
    if !url.https {
        return serve(tcp).await;
    }
    if way.proxy.is_some() {
        tunnel(&mut tcp, url, way.proxy_credentials).await?;
    }
    let name = way.tls.server_name().unwrap_or(&url.host).to_owned();
    let name = ServerName::try_from(name.clone())
        .map_err(|_| NetError::Tls(format!("{name:?} is no name that a certificate can carry")))?;
    let tls = TlsConnector::from(way.tls.get()?)
        .connect(name, tcp)
        .await
        .map_err(|e| NetError::Tls(format!("{}: {e}", url.authority())))?;
    serve(tls).await
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, NetError> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|e| NetError::Connect(e.to_string()))?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "connection ended");
        }
    });
    Ok(sender)
}

/// Asks the proxy for a tunnel to the URL's host.
async fn tunnel(tcp: &mut TcpStream, url: &Url, credentials: Option<&str>) -> Result<(), NetError> {
    let target = url.authority();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(credentials) = credentials {
        request += &format!("Proxy-Authorization: {credentials}\r\n");
    }
    request += "\r\n";
    let broken = |e: std::io::Error| NetError::Connect(format!("proxy: {e}"));
    tcp.write_all(request.as_bytes()).await.map_err(broken)?;
    // Byte by byte: what comes after the header belongs to TLS. It is a short header once a connection.
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > 8192 {
            return Err(NetError::Connect("proxy: the answer's header is too long".into()));
        }
        answer.push(tcp.read_u8().await.map_err(broken)?);
    }
    let status_line = String::from_utf8_lossy(&answer);
    let status_line = status_line.lines().next().unwrap_or_default();
    let status = status_line.split_whitespace().nth(1).unwrap_or_default();
    if !status_line.starts_with("HTTP/1.") || !status.starts_with('2') {
        return Err(NetError::Connect(format!("proxy: {}", status_line.trim())));
    }
    Ok(())
}
