//! Which text format a scraper gets.

use hyper::header::{ACCEPT, HeaderMap};

/// A format of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Text004,
    /// As 0.0.4, with names in UTF-8.
    Text100,
    OpenMetrics001,
    OpenMetrics100,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Negotiated {
    pub format: Format,
    /// May names leave the old alphabet? Else what does not belong becomes `_`.
    pub utf8_names: bool,
    /// Did the client speak of escaping at all? Then the answer does too.
    names_escaping: bool,
}

impl Negotiated {
    /// What a client gets that asks for nothing in particular.
    pub const PLAIN: Self = Self { format: Format::Text004, utf8_names: false, names_escaping: false };

    /// Is it OpenMetrics of either version?
    pub fn is_openmetrics(self) -> bool {
        matches!(self.format, Format::OpenMetrics001 | Format::OpenMetrics100)
    }

    /// The answer's content type.
    pub fn content_type(self) -> String {
        let base = match self.format {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::Text100 => "text/plain; version=1.0.0; charset=utf-8",
            Format::OpenMetrics001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        match (self.names_escaping, self.utf8_names) {
            (false, _) => base.to_owned(),
            (true, true) => format!("{base}; escaping=allow-utf-8"),
            (true, false) => format!("{base}; escaping=underscores"),
        }
    }
}

/// Chooses by the `Accept` headers: the offer of the highest quality that is known, the first of equals;
/// text 0.0.4 when none is.
pub fn negotiate(headers: &HeaderMap) -> Negotiated {
    let mut best: Option<(f32, Negotiated)> = None;
    let offers = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    for offer in offers {
        let Some((quality, negotiated)) = read_offer(offer) else { continue };
        if quality > 0.0 && best.is_none_or(|(q, _)| quality > q) {
            best = Some((quality, negotiated));
        }
    }
    best.map_or(Negotiated::PLAIN, |(_, negotiated)| negotiated)
}

fn read_offer(offer: &str) -> Option<(f32, Negotiated)> {
    let mut parts = offer.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut version, mut escaping) = (1.0, None, None);
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().ok()?,
            "version" => version = Some(value),
            "escaping" => escaping = Some(value),
            _ => {}
        }
    }
    let format = match (media.as_str(), version) {
        ("application/openmetrics-text", Some("1.0.0")) => Format::OpenMetrics100,
        ("application/openmetrics-text", Some("0.0.1") | None) => Format::OpenMetrics001,
        ("text/plain", Some("1.0.0")) => Format::Text100,
        ("text/plain", Some("0.0.4") | None) | ("text/*" | "*/*", _) => Format::Text004,
        _ => return None,
    };
    let utf8_names = escaping == Some("allow-utf-8") && format != Format::Text004;
    Some((quality, Negotiated { format, utf8_names, names_escaping: escaping.is_some() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn real_and_odd_headers() {
        let v35 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let v253 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let plain = "text/plain; version=0.0.4; charset=utf-8";
        for (accept, expect) in [
            (v35, &*format!("{openmetrics}; escaping=allow-utf-8")),
            (v253, openmetrics),
            ("", plain),
            ("*/*", plain),
            ("text/html,application/xhtml+xml,*/*;q=0.8", plain),
            ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5", plain),
            ("application/openmetrics-text", "application/openmetrics-text; version=0.0.1; charset=utf-8"),
            ("application/openmetrics-text; version=\"1.0.0\"", openmetrics),
            ("application/openmetrics-text;version=9.0.0,text/plain;q=0.1", plain),
            ("application/openmetrics-text;version=1.0.0;q=0", plain),
            (
                "application/vnd.google.protobuf;q=1,text/plain;version=1.0.0;escaping=underscores;q=0.5",
                "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            ),
            ("application/openmetrics-text;version=1.0.0;q=x", plain),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            }
            assert_eq!(negotiate(&headers).content_type(), expect, "{accept}");
        }
    }
}
