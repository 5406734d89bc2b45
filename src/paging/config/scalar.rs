//! The small types of the file: what Alertmanager's YAML takes for a boolean, a URL, a list of matchers.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};

use crate::model::{Secret, without_password};
use crate::paging::matcher::{self, Matcher};

/// A boolean with the words of YAML 1.1 (`yes`, `on`, …), which existing files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bool(pub bool);

impl<'de> Deserialize<'de> for Bool {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = Bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }
            fn visit_bool<E>(self, b: bool) -> Result<Bool, E> {
                Ok(Bool(b))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bool, E> {
                match text {
                    "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                        Ok(Bool(true))
                    }
                    "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                        Ok(Bool(false))
                    }
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        d.deserialize_any(V)
    }
}

/// An absolute `http` or `https` URL; a password in it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(pub String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // There may be a password in it, which an error must not repeat.
        let text = Secret::deserialize(d)?.expose().to_owned();
        check_url(&text).map_err(de::Error::custom)?;
        Ok(Self(text))
    }
}

/// A URL that is itself a secret (it holds a token).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUrl(pub Secret);

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(d)?;
        // The text stays out of the error.
        check_url(secret.expose()).map_err(|e| de::Error::custom(e.without_text()))?;
        Ok(Self(secret))
    }
}

/// What is wrong with a URL.
#[derive(Debug, PartialEq, Eq)]
pub enum UrlError {
    Scheme(String),
    NoHost,
    Malformed(String),
}

impl UrlError {
    fn without_text(&self) -> String {
        match self {
            Self::Scheme(_) => "unsupported scheme for URL".to_owned(),
            Self::NoHost => "missing host for URL".to_owned(),
            Self::Malformed(_) => "malformed URL".to_owned(),
        }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(scheme) => write!(f, "unsupported scheme {scheme:?} for URL"),
            Self::NoHost => f.write_str("missing host for URL"),
            Self::Malformed(text) => write!(f, "malformed URL {:?}", without_password(text)),
        }
    }
}

/// Is it an `http` or `https` URL with a host?
///
/// # Errors
/// Says what is wrong.
pub fn check_url(text: &str) -> Result<(), UrlError> {
    let malformed = || UrlError::Malformed(text.to_owned());
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(malformed());
    }
    let scheme_end = text.find(':').unwrap_or(0);
    let scheme = text[..scheme_end].to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(UrlError::Scheme(scheme));
    }
    let rest = text[scheme_end + 1..].strip_prefix("//").ok_or(UrlError::NoHost)?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    if host_port.is_empty() {
        return Err(UrlError::NoHost);
    }
    if host_port.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err(malformed());
    }
    let port = match host_port.strip_prefix('[') {
        Some(v6) => {
            let (_, after) = v6.split_once(']').ok_or_else(malformed)?;
            after.strip_prefix(':').or(after.is_empty().then_some("")).ok_or_else(malformed)?
        }
        None => host_port.rsplit_once(':').map_or("", |(_, port)| port),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let path = &rest[authority.len()..];
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    for (i, _) in path.match_indices('%') {
        if !path.get(i + 1..i + 3).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(malformed());
        }
    }
    Ok(())
}

/// `host:port`, where the host may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: String,
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Ok(Self { host: String::new(), port: String::new() });
        }
        let split = match text.strip_prefix('[') {
            Some(v6) => v6.split_once("]:"),
            None => text.split_once(':').filter(|(_, port)| !port.contains(':')),
        };
        let (host, port) =
            split.ok_or_else(|| de::Error::custom(format!("address {text}: missing port in address")))?;
        if port.is_empty() {
            return Err(de::Error::custom(format!("address {text:?}: port cannot be empty")));
        }
        Ok(Self { host: host.to_owned(), port: port.to_owned() })
    }
}

/// The value of `matchers`: a list of texts, each with one or several matchers.
#[derive(Debug, Clone, Default)]
pub struct MatcherList {
    pub matchers: Vec<Matcher>,
    pub warnings: Vec<String>,
}

impl<'de> Deserialize<'de> for MatcherList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let texts = Option::<Vec<Option<String>>>::deserialize(d)?.unwrap_or_default();
        let mut list = Self::default();
        for text in texts.into_iter().flatten() {
            let parsed = matcher::parse(&text).map_err(de::Error::custom)?;
            list.matchers.extend(parsed.matchers);
            list.warnings.extend(parsed.warning);
        }
        Ok(list)
    }
}

/// `null` as the default: Alertmanager's files have empty keys.
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn urls() {
        for (text, ok) in [
            ("http://a", true),
            ("HTTPS://u:p@a.b:8080/x?y=%zz#f", true),
            ("http://[::1]:9093/", true),
            ("http://a:/", true),
            ("", false),
            ("a.b/c", false),
            ("ftp://a", false),
            ("http:///x", false),
            ("http:a", false),
            ("http://a:port/", false),
            ("http://a b/", false),
            ("http://a/%zz", false),
            ("http://a/\n", false),
        ] {
            assert_eq!(check_url(text).is_ok(), ok, "{text}");
        }
    }
}
