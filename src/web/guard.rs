//! Who may change state, and from where.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, ORIGIN};

/// Why a request that would change something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this changes state, and sideband listens on more than loopback without authentication: \
         configure basic_auth_users or client certificates in the file of --web.config.file, \
         or listen on loopback only"
    )]
    NoAuthentication,
    #[error("this changes state, and the browser says that another site asks for it")]
    CrossSite,
    #[error(
        "this changes state, and the name in the Host header is neither an address, nor localhost, nor the host \
         of --web.external-url: another site's name may have been pointed here"
    )]
    ForeignHost,
}

/// What the guard has to know of the server.
#[derive(Debug, Clone, Copy)]
pub struct Posture<'a> {
    /// Does everybody who gets this far have proved who they are?
    pub authenticated: bool,
    /// Is every address that is listened on a loopback address?
    pub loopback_only: bool,
    /// The host of the external URL, if there is one.
    pub external_host: Option<&'a str>,
}

/// May this request change state?
///
/// # Errors
/// It may not, and why.
pub fn check(posture: Posture<'_>, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(HOST.as_str()).unwrap_or_default();
    // Browsers send one or the other with every POST; programs send neither.
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some("same-origin" | "none"), _) | (None, None) => {}
        (Some(_), _) => return Err(Refusal::CrossSite),
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
            if authority.is_empty() || !authority.eq_ignore_ascii_case(host) {
                return Err(Refusal::CrossSite);
            }
        }
    }
    if posture.authenticated {
        return Ok(());
    }
    if !posture.loopback_only {
        return Err(Refusal::NoAuthentication);
    }
    let name = host_name(host);
    let known = name.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
        || posture.external_host.is_some_and(|external| external.eq_ignore_ascii_case(name));
    if known { Ok(()) } else { Err(Refusal::ForeignHost) }
}

/// The host of `host:port` or `[v6]:port`.
pub fn host_name(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn ask(authenticated: bool, loopback_only: bool, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let map = headers
            .iter()
            .map(|(n, v)| (HeaderName::from_bytes(n.as_bytes()).unwrap(), HeaderValue::from_str(v).unwrap()))
            .collect();
        check(Posture { authenticated, loopback_only, external_host: Some("side.example") }, &map)
    }

    #[test]
    fn who_may() {
        use Refusal::*;
        for (authenticated, loopback, headers, expect) in [
            (false, true, vec![("host", "localhost:19309")], Ok(())),
            (false, true, vec![("host", "127.0.0.1:19309")], Ok(())),
            (false, true, vec![("host", "[::1]:19309")], Ok(())),
            (false, true, vec![("host", "side.example")], Ok(())),
            (false, true, vec![("host", "evil.example:19309")], Err(ForeignHost)),
            (false, false, vec![("host", "10.0.0.1:19309")], Err(NoAuthentication)),
            (true, false, vec![("host", "anything")], Ok(())),
            (true, false, vec![("host", "a:1"), ("origin", "http://a:1")], Ok(())),
            (true, false, vec![("host", "a:1"), ("origin", "http://b:1")], Err(CrossSite)),
            (true, false, vec![("host", "a:1"), ("origin", "null")], Err(CrossSite)),
            (true, false, vec![("host", "a:1"), ("sec-fetch-site", "cross-site")], Err(CrossSite)),
            (true, false, vec![("host", "a:1"), ("sec-fetch-site", "same-site")], Err(CrossSite)),
            (
                true,
                false,
                vec![("host", "a:1"), ("sec-fetch-site", "same-origin"), ("origin", "null")],
                Ok(()),
            ),
        ] {
            assert_eq!(ask(authenticated, loopback, &headers), expect, "{headers:?}");
        }
    }
}
