//! The way of a mail: a connection, TLS before or after the greeting, a login, the message.
//!
//! lettre speaks SMTP; the TLS is the one of all other connections, with the same keys in the configuration.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use md5::Md5;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::hex;
use crate::net::http::TlsClient;
use crate::paging::engine::Outcome;

/// Bytes that a server may say in one conversation.
const MAX_SAID: usize = 256 * 1024;
/// Bytes of a line before TLS, and lines of an answer.
const MAX_LINE: usize = 2048;
const MAX_LINES: usize = 64;
/// The port of TLS from the first byte on.
const IMPLICIT: u16 = 465;

/// Where mails are handed in, and how.
pub(super) struct Server<'a> {
    pub host: &'a str,
    pub port: u16,
    /// How this host calls itself.
    pub hello: &'a str,
    /// TLS from the first byte on; as the port says when not given.
    pub implicit_tls: Option<bool>,
    /// Otherwise: STARTTLS, or nothing is sent.
    pub require_tls: bool,
    pub tls: &'a TlsClient,
    pub login: Option<Login>,
}

/// What a server answers to a command or a way to log in that it does not know.
const UNKNOWN: [u16; 4] = [500, 502, 503, 504];

/// How to say who this is.
pub(super) enum Login {
    /// PLAIN or LOGIN.
    Password { name: String, password: String },
    /// CRAM-MD5 (RFC 2195): the secret itself is not said.
    Digest { name: String, secret: String },
}

fn retry(reason: impl Into<String>) -> Outcome {
    Outcome::Retry { reason: reason.into(), after_ms: None }
}

fn refuse(reason: impl Into<String>) -> Outcome {
    Outcome::Final { reason: reason.into() }
}

impl Server<'_> {
    /// Hands a mail in.
    pub async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), Outcome> {
        let place = format!("{}:{}", self.host, self.port);
        let tcp = TcpStream::connect((self.host, self.port))
            .await
            .map_err(|e| retry(format!("dial tcp {place}: {e}")))?;
        let peer = tcp.peer_addr().map_err(|e| retry(format!("{place}: {e}")))?;
        let tls = |e: crate::net::http::NetError| retry(e.to_string());
        let (stream, encrypted): (Box<dyn AsyncTokioStream>, bool) =
            if self.implicit_tls.unwrap_or(self.port == IMPLICIT) {
                let io = self.tls.connect(self.host, tcp).await.map_err(tls)?;
                (Box::new(Wire { io, preamble: b"", left: MAX_SAID, peer }), true)
            } else if self.require_tls {
                let tcp = self.starttls(tcp).await?;
                let io = self.tls.connect(self.host, tcp).await.map_err(tls)?;
                // The greeting was heard before the TLS, and is not repeated: the library waits for one.
                (Box::new(Wire { io, preamble: b"220 encrypted\r\n", left: MAX_SAID, peer }), true)
            } else {
                (Box::new(Wire { io: tcp, preamble: b"", left: MAX_SAID, peer }), false)
            };
        let hello = ClientId::Domain(self.hello.to_owned());
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(|e| judge(&e))?;
        if let Some(Login::Digest { name, secret }) = &self.login {
            match connection.command("AUTH CRAM-MD5\r\n").await {
                Ok(asked) => {
                    let answer = digest(name, secret, asked.first_word().unwrap_or_default())?;
                    connection.command(format!("{answer}\r\n")).await.map_err(|e| judge(&e))?;
                }
                // Here too a relay that knows no login, or another kind, says afterwards whether it wants one.
                Err(e) if e.status().is_some_and(|code| UNKNOWN.contains(&code.into())) => {}
                Err(e) => return Err(judge(&e)),
            }
        }
        if let Some(Login::Password { name, password }) = &self.login {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            // A relay that asks for no login is given none; one that wants another kind says so afterwards.
            if connection.server_info().get_auth_mechanism(&mechanisms).is_some() {
                if !encrypted && !is_here(peer.ip()) {
                    return Err(refuse("a password is not sent without TLS: set require_tls"));
                }
                let credentials = Credentials::new(name.clone(), password.clone());
                connection.auth(&mechanisms, &credentials).await.map_err(|e| judge(&e))?;
            }
        }
        let sent = connection.send(envelope, mail).await.map_err(|e| judge(&e)).map(drop);
        if sent.is_ok() {
            // It is theirs already, whatever they say to this.
            let _ = connection.quit().await;
        }
        sent
    }

    /// The conversation up to the TLS. What comes after the answer belongs to the TLS, so it is read byte by byte:
    /// a line that somebody slipped in is not taken for one of the encrypted ones.
    async fn starttls(&self, mut tcp: TcpStream) -> Result<TcpStream, Outcome> {
        answer(&mut tcp, 220).await?;
        say(&mut tcp, &format!("EHLO {}\r\n", self.hello)).await?;
        let offers = answer(&mut tcp, 250).await?;
        if !offers.lines().any(|l| l.trim().eq_ignore_ascii_case("STARTTLS")) {
            return Err(refuse("the server offers no STARTTLS, and require_tls is set"));
        }
        say(&mut tcp, "STARTTLS\r\n").await?;
        answer(&mut tcp, 220).await?;
        Ok(tcp)
    }
}

/// The answer to a challenge, both in base64.
fn digest(name: &str, secret: &str, challenge: &str) -> Result<String, Outcome> {
    let challenge = STANDARD.decode(challenge).map_err(|_| refuse("CRAM-MD5: the challenge is no base64"))?;
    let mut mac = Hmac::<Md5>::new_from_slice(secret.as_bytes()).map_err(|e| refuse(e.to_string()))?;
    mac.update(&challenge);
    Ok(STANDARD.encode(format!("{name} {}", hex(&mac.finalize().into_bytes()))))
}

fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback()
}

async fn say(tcp: &mut TcpStream, line: &str) -> Result<(), Outcome> {
    tcp.write_all(line.as_bytes()).await.map_err(|e| retry(e.to_string()))
}

/// The text of an answer that must have this code.
async fn answer(tcp: &mut TcpStream, wanted: u16) -> Result<String, Outcome> {
    let mut text = String::new();
    for _ in 0..MAX_LINES {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() >= MAX_LINE {
                return Err(retry("the server's answer is no SMTP"));
            }
            line.push(tcp.read_u8().await.map_err(|e| retry(format!("the server hung up: {e}")))?);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let code = line.get(..3).and_then(|c| c.parse::<u16>().ok());
        let code = code.ok_or_else(|| retry("the server's answer is no SMTP"))?;
        let (more, rest) = (line.as_bytes().get(3) == Some(&b'-'), line.get(4..).unwrap_or_default());
        if code != wanted {
            let reason = format!("SMTP {code}: {}", one_line(rest));
            return Err(if code / 100 == 5 { refuse(reason) } else { retry(reason) });
        }
        text.push_str(rest);
        if !more {
            return Ok(text);
        }
    }
    Err(retry("the server's answer has too many lines"))
}

/// 4xx passes, 5xx does not, and what is wrong with the connection may pass.
fn judge(e: &Error) -> Outcome {
    let reason = one_line(&e.to_string());
    let reason = match std::error::Error::source(e).map(|s| one_line(&s.to_string())) {
        Some(source) if !reason.contains(&source) => format!("{reason}: {source}"),
        _ => reason,
    };
    if e.is_permanent() || e.is_client() { refuse(reason) } else { retry(reason) }
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    text.trim().to_owned()
}

/// A connection with a bound on what is heard, and possibly something to hear first.
#[derive(Debug)]
struct Wire<S> {
    io: S,
    preamble: &'static [u8],
    left: usize,
    peer: SocketAddr,
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.preamble.is_empty() {
            let (now, later) = self.preamble.split_at(self.preamble.len().min(buf.remaining()));
            buf.put_slice(now);
            self.preamble = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let heard = buf.filled().len() - before;
        match self.left.checked_sub(heard) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server says too much"))),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 2195.
    #[test]
    fn a_challenge_is_answered() {
        let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
        let answer = digest("tim", "tanstaaftanstaaf", &challenge).unwrap();
        assert_eq!(STANDARD.decode(answer).unwrap(), b"tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(matches!(digest("tim", "x", "no base64!"), Err(Outcome::Final { .. })));
    }
}
