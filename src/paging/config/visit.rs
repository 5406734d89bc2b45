//! Walks over what a configuration says: its texts, for checking the templates in them, and its secrets, for keeping
//! them out of whatever is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::scalar::{Bool, HostPort, SecretUrl, Url};
use crate::model::{Duration, Order as _, Secret, set};
use crate::net::http::{HttpClientConfig, TlsConfig};

/// Something that a configuration says.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    Text(&'a str),
    Secret(&'a str),
}

/// Told of every piece, with its place: `fields[0].title`.
pub type See<'a> = &'a mut dyn FnMut(&str, Piece<'_>);

/// Something with texts and secrets in it.
pub trait Visit {
    /// Tells `see` of every piece below `place`.
    fn visit(&self, place: &str, see: See<'_>);
}

/// Visits a key.
pub fn below(value: &dyn Visit, place: &str, key: &str, see: See<'_>) {
    if place.is_empty() {
        value.visit(key, see);
    } else {
        value.visit(&format!("{place}.{key}"), see);
    }
}

impl<T: Visit> Visit for Option<T> {
    fn visit(&self, place: &str, see: See<'_>) {
        if let Some(value) = self {
            value.visit(place, see);
        }
    }
}

impl<T: Visit> Visit for Vec<T> {
    fn visit(&self, place: &str, see: See<'_>) {
        for (i, value) in self.iter().enumerate() {
            value.visit(&format!("{place}[{i}]"), see);
        }
    }
}

impl<T: Visit> Visit for BTreeMap<String, T> {
    fn visit(&self, place: &str, see: See<'_>) {
        for (key, value) in self {
            below(value, place, key, see);
        }
    }
}

impl Visit for String {
    fn visit(&self, place: &str, see: See<'_>) {
        see(place, Piece::Text(self));
    }
}

impl Visit for Secret {
    fn visit(&self, place: &str, see: See<'_>) {
        see(place, Piece::Secret(self.expose()));
    }
}

impl Visit for SecretUrl {
    fn visit(&self, place: &str, see: See<'_>) {
        self.0.visit(place, see);
    }
}

impl Visit for Url {
    fn visit(&self, place: &str, see: See<'_>) {
        password_of(&self.0, place, see);
    }
}

/// The password in a URL.
fn password_of(url: &str, place: &str, see: See<'_>) {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((_, password)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        see(place, Piece::Secret(password));
    }
}

impl Visit for Value {
    fn visit(&self, place: &str, see: See<'_>) {
        match self {
            Self::String(text) => see(place, Piece::Text(text)),
            Self::Array(list) => list.iter().for_each(|v| v.visit(place, see)),
            Self::Object(map) => map.iter().for_each(|(key, v)| below(v, place, key, see)),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl Visit for HttpClientConfig {
    fn visit(&self, place: &str, see: See<'_>) {
        let mut secret = |s: &Secret| see(place, Piece::Secret(s.expose()));
        self.basic_auth.iter().for_each(|b| secret(&b.password));
        self.authorization.iter().for_each(|a| secret(&a.credentials));
        self.bearer_token.iter().for_each(&mut secret);
        self.oauth2.iter().for_each(|o| secret(&o.client_secret));
        self.http_headers.iter().flatten().flat_map(|(_, h)| &h.secrets).for_each(&mut secret);
        self.tls_config.visit(place, see);
        if let Some(url) = &self.proxy_url {
            password_of(url, place, see);
        }
        if let Some(o) = &self.oauth2 {
            o.tls_config.visit(place, see);
            o.proxy_url.iter().chain([&o.token_url]).for_each(|url| password_of(url, place, see));
        }
    }
}

impl Visit for TlsConfig {
    fn visit(&self, place: &str, see: See<'_>) {
        self.key.visit(place, see);
    }
}

macro_rules! says_nothing {
    ($($type:ty)*) => {$(
        impl Visit for $type {
            fn visit(&self, _: &str, _: See<'_>) {}
        }
    )*};
}

says_nothing! { Bool u64 i64 f64 Duration IgnoredAny HostPort }

/// Secrets shorter than this are not looked for in texts: half of the words would go.
const MIN_HIDDEN: usize = 6;

/// A text without these secrets: at each place the longest one goes.
pub fn without<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let secrets: BTreeSet<&str> = set(secrets.map(str::trim).filter(|s| s.len() >= MIN_HIDDEN));
    let places = secrets.iter().flat_map(|s| text.match_indices(s).map(|(at, found)| (at, found.len())));
    let mut places: Vec<(usize, usize)> = places.collect();
    places.order_by_key(|(at, len)| (*at, std::cmp::Reverse(*len)));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, len) in places {
        // One that begins inside another one: whatever of it is left over goes too.
        if at >= done {
            out.push_str(&text[done..at]);
            out.push_str("<secret>");
        }
        done = done.max(at + len);
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn secrets_go_the_longest_first() {
        let hide = |text: &str, secrets: &[&str]| without(text, secrets.iter().copied());
        assert_eq!(hide("a secret1234 b", &["secret", "secret1234"]), "a <secret> b");
        assert_eq!(hide("x abcdefghij y", &["abcdef", "defghij"]), "x <secret> y");
        // A short one is a word, and so is nothing.
        assert_eq!(hide("a page", &["a", "", "page"]), "a page");
        assert_eq!(hide("x", &[]), "x");
    }
}
