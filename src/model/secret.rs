//! Text that must not show up in logs or error messages.

use std::fmt;

/// A password, a token, a key. Debug prints `<secret>`; comparing it is for noticing changed
/// configuration, not for checking what a client sent.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // An error about the text would repeat it.
        String::deserialize(d)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("invalid type: expected a string"))
    }
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A URL as it may be shown: the password in it, if there is one, is `<secret>`.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:<secret>@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls() {
        for (url, expect) in [
            ("http://h/x", "http://h/x"),
            ("http://u@h/x", "http://u@h/x"),
            ("http://u:p@h/x?y", "http://u:<secret>@h/x?y"),
            ("http://u:p@q@h", "http://u:<secret>@h"),
            ("http://h/u:p@x", "http://h/u:p@x"),
            ("u:p@h", "u:p@h"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), expect);
        }
    }
}
