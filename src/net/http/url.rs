//! The little of URLs that a client needs.

use hyper::Uri;

use crate::model::without_password;

/// An absolute `http` or `https` URL, split for connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: String,
    /// `user:password` as it stands before the `@`, still percent-encoded.
    pub userinfo: Option<String>,
}

impl Url {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|e| e.replace(text, &without_password(text)))
    }

    fn read(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|e| format!("invalid URL {text:?}: {e}"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(format!("unsupported protocol scheme {other:?}")),
            None => return Err(format!("invalid URL {text:?}: no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| format!("invalid URL {text:?}: no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("invalid URL {text:?}: no host"));
        }
        let port_text = authority.as_str().rsplit('@').next().unwrap_or_default();
        // http::Authority ignores a port that is no number; a typing error must not become port 80.
        if authority.port_u16().is_none() && !port_text.ends_with(authority.host()) {
            return Err(format!("invalid URL {text:?}: invalid port"));
        }
        Ok(Self {
            https,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            userinfo: authority.as_str().rsplit_once('@').map(|(user, _)| user.to_owned()),
        })
    }

    /// What the `Host` header says: the port only when it is not the scheme's.
    pub fn host_header(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default { self.bracketed() } else { self.authority() }
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// `scheme://host:port/path?query`, without user and password.
    pub fn absolute(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.host_header(), self.path)
    }

    /// The URL that a `Location` header means when it came from this one.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.https { "https:" } else { "http:" };
        if location.contains("://") && !location.starts_with('/') && !location.starts_with('?') {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}{location}"));
        }
        let base_path = self.path.split('?').next().unwrap_or("/");
        let path = if location.is_empty() {
            self.path.clone()
        } else if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{base_path}{location}")
        } else {
            let dir = base_path.rfind('/').map_or("", |i| &base_path[..i]);
            format!("{dir}/{location}")
        };
        Self::parse(&format!("{scheme}//{}{path}", self.authority()))
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::percent_decode;

    #[test]
    fn urls_are_split() {
        let u = Url::parse("https://me:p%40ss@example.org/a?b=c").unwrap();
        assert_eq!((u.https, u.host.as_str(), u.port, u.path.as_str()), (true, "example.org", 443, "/a?b=c"));
        assert_eq!(percent_decode(u.userinfo.as_deref().unwrap().as_bytes()), "me:p@ss");
        assert_eq!(Url::parse("http://[::1]:9/").unwrap().host_header(), "[::1]:9");
        assert_eq!(Url::parse("http://h").unwrap().absolute(), "http://h/");
        for bad in [
            "",
            "/x",
            "localhost:80",
            "ftp://h/",
            "http://h:x/",
            "http://h:70000/",
            "http:///x",
            "http://a b/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn locations_are_joined() {
        let base = Url::parse("http://h:8/a/b?c=d").unwrap();
        for (location, want) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/y?z", "http://h:8/y?z"),
            ("y", "http://h:8/a/y"),
            ("?q", "http://h:8/a/b?q"),
            ("/cb?u=http://z/", "http://h:8/cb?u=http://z/"),
        ] {
            assert_eq!(base.join(location).unwrap().absolute(), want, "{location}");
        }
    }
}
