//! The configuration as it may be shown: without secrets.

use std::path::Path;

use serde_json::Value;

use crate::model::yaml;
use crate::paging::config::visit;

/// Keys whose values are secrets, in any section. Keys that end in `_file` name files and are shown.
const SECRET_KEYS: &[&str] = &[
    "alert_source_token",
    "api_key",
    "api_secret",
    "api_url",
    "app_token",
    "auth_password",
    "auth_secret",
    "bearer_token",
    "bot_token",
    "client_secret",
    "credentials",
    "hmac_key",
    "key",
    "mattermost_webhook_url",
    "opsgenie_api_key",
    "password",
    "rocketchat_token",
    "rocketchat_token_id",
    "routing_key",
    "secret",
    "secret_key",
    "secrets",
    "service_key",
    "signing_key",
    "slack_api_url",
    "slack_app_token",
    "smtp_auth_password",
    "smtp_auth_secret",
    "telegram_bot_token",
    "token",
    "token_id",
    "user_key",
    "victorops_api_key",
    "webhook_url",
    "wechat_api_secret",
];

/// The text with the values of secret keys and the passwords in URLs replaced by `<secret>`. Works on
/// lines, so that the places of everything else stay; whatever goes on over more lines under a secret key goes as a
/// whole. Whatever a secret key holds, as the YAML reads it, goes wherever it stands, and so do the secrets `more`, which
/// their readers know better than the names of keys tell.
pub fn redact<'a>(text: &str, more: impl Iterator<Item = &'a str>) -> String {
    let mut values: Vec<String> = more.map(str::to_owned).collect();
    for document in yaml::parse_all::<Value>(Path::new(""), text).unwrap_or_default() {
        secret_values(&document, false, &mut values);
    }
    // All at once and before the rest: of two secrets where one begins like the other, a part would be left over.
    let text = &visit::without(text, values.iter().map(String::as_str));
    let mut out = String::with_capacity(text.len());
    // The indentation of a secret key whose value goes on over deeper lines (or a list beside it).
    let mut hidden_below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(limit) = hidden_below {
            let of_list =
                indent == limit && content.starts_with("- ") && out.trim_end().ends_with(HIDDEN_LIST);
            if line.trim().is_empty() || indent > limit || of_list {
                continue;
            }
        }
        let (shown, open) = redact_line(line);
        hidden_below = open;
        out.push_str(&shown);
    }
    out
}

/// What a line ends with whose secret key has a list, or nothing, as its value.
const HIDDEN_LIST: &str = ": <secret>";

fn secret_values(value: &Value, secret: bool, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                secret_values(value, secret || SECRET_KEYS.contains(&key.as_str()), out);
            }
        }
        Value::Array(list) => list.iter().for_each(|v| secret_values(v, secret, out)),
        Value::String(text) if secret => out.push(text.clone()),
        _ => {}
    }
}

/// The line as it may be shown; and, when a secret goes on below, the column of its key.
fn redact_line(line: &str) -> (String, Option<usize>) {
    let mut out = String::new();
    let mut rest = line;
    while let Some(colon) =
        rest.find(": ").or_else(|| rest.trim_end().ends_with(':').then(|| rest.rfind(':')).flatten())
    {
        let (before, after) = rest.split_at(colon + 1);
        let key_start = before[..colon].rfind([' ', '{', ',', '-', '\t']).map_or(0, |i| i + 1);
        let key = before[key_start..colon].trim_matches(['"', '\'']);
        out.push_str(before);
        if SECRET_KEYS.contains(&key) {
            let value = after.trim_start();
            let flow = line.contains('{');
            if value.is_empty() || value.starts_with(['|', '>']) || !flow {
                // Whatever comes on deeper lines belongs to the value: a secret has no keys of its own.
                out.push_str(" <secret>\n");
                return (out, Some(line.len() - rest.len() + key_start));
            }
            // In a flow mapping the value ends at a comma or brace; quotes and brackets may hold either.
            out.push_str(" <secret>");
            match value_end(value) {
                Some(end) => rest = &value[end..],
                None => {
                    out.push('\n');
                    return (out, Some(line.len() - line.trim_start().len()));
                }
            }
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    (without_url_passwords(&out), None)
}

/// Where a value of a flow mapping ends; nothing when it goes on in the next line.
fn value_end(value: &str) -> Option<usize> {
    let value = value.trim_end_matches(['\n', '\r']);
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].find(quote).map(|i| i + 2),
        Some('[') => value.find(']').map(|i| i + 1),
        _ => value.find([',', '}']),
    }
}

/// `https://user:password@host` becomes `https://user:<secret>@host`.
fn without_url_passwords(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let authority_end = after.find(['/', '"', '\'', ' ', ',', '}', ']', '\n']).unwrap_or(after.len());
        let authority = &after[..authority_end];
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => out.extend([user, ":<secret>@", host]),
            None => out.push_str(authority),
        }
        rest = &after[authority_end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_places_stay() {
        for (text, expect) in [
            ("a: b\n", "a: b\n"),
            ("password: x\nnext: y\n", "password: <secret>\nnext: y\n"),
            (
                "  - {username: u, password: 'p, q}', url: x}\n",
                "  - {username: u, password: <secret>, url: x}\n",
            ),
            ("basic_auth: {password: p}\n", "basic_auth: {password: <secret>}\n"),
            ("password_file: /etc/p\n", "password_file: /etc/p\n"),
            ("key: |\n  line1\n  line2\nb: 1\n", "key: <secret>\nb: 1\n"),
            ("url: http://u:p@h/x\n", "url: http://u:<secret>@h/x\n"),
            ("expr: a{b=\"c\"}\n", "expr: a{b=\"c\"}\n"),
            (
                "a: {secrets: [first one, 'second, two'], max_age: 1h}\n",
                "a: {secrets: <secret>, max_age: 1h}\n",
            ),
            ("secrets:\n- first\n- second\nb: 1\n", "secrets: <secret>\nb: 1\n"),
            ("  secrets:\n    - first\n  b: 1\n", "  secrets: <secret>\n  b: 1\n"),
            ("password: one\n  two\nb: 1\n", "password: <secret>\nb: 1\n"),
            ("a: {token: 'first\n  second', b: 1}\nc: 1\n", "a: {token: <secret>\nc: 1\n"),
            ("- token: one\n  b: 1\n", "- token: <secret>\n  b: 1\n"),
            ("token: abcdef\n# it was abcdef\n", "token: <secret>\n# it was <secret>\n"),
            ("a: &x s3cret-value\npassword: *x\n", "a: &x <secret>\npassword: <secret>\n"),
        ] {
            assert_eq!(redact(text, std::iter::empty()), expect);
        }
    }

    #[test]
    fn a_secret_that_begins_like_another_goes_as_a_whole() {
        let hook = "http://u:pass@hooks.test/S3CRET?token=1";
        let text = format!(
            "api_url: http://hooks.test/\na: {{api_url: 'http://u:pass@hooks.test/', url: '{hook}'}}\n"
        );
        let shown = redact(&text, std::iter::once(hook));
        assert_eq!(shown, "api_url: <secret>\na: {api_url: <secret>, url: '<secret>'}\n");
    }
}
