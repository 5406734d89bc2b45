//! The configuration as it may be shown: without secrets.

/// Keys whose values are secrets, in any section. Keys that end in `_file` name files and are shown.
const SECRET_KEYS: &[&str] = &[
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "secret",
    "secrets",
    "secret_key",
    "key",
    "routing_key",
    "service_key",
    "api_key",
    "api_url",
    "auth_password",
    "auth_secret",
    "webhook_url",
    "slack_api_url",
    "token",
    "bot_token",
    "user_key",
    "signing_key",
    "hmac_key",
];

/// The text with the values of secret keys and the passwords in URLs replaced by `<secret>`. Works on
/// lines, so that the places of everything else stay; a block scalar under a secret key goes as a whole.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The indentation of a secret key whose value goes on over deeper lines.
    let mut hidden_below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if let Some(limit) = hidden_below {
            if line.trim().is_empty() || indent > limit {
                continue;
            }
            hidden_below = None;
        }
        let (shown, open) = redact_line(line);
        if open {
            hidden_below = Some(indent);
        }
        out.push_str(&shown);
    }
    out
}

fn redact_line(line: &str) -> (String, bool) {
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
            if value.is_empty() || value.starts_with(['|', '>']) {
                out.push_str(" <secret>\n");
                return (out, true);
            }
            // In a flow mapping the value ends at a comma or brace; quotes may hold either.
            let end = value_end(value, line.contains('{'));
            out.push_str(" <secret>");
            rest = &value[end..];
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    (without_url_passwords(&out), false)
}

fn value_end(value: &str, flow: bool) -> usize {
    let line_end = value.trim_end_matches(['\n', '\r']).len();
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return value[1..line_end].find(quote).map_or(line_end, |i| i + 2);
    }
    if !flow {
        return line_end;
    }
    value[..line_end].find([',', '}']).unwrap_or(line_end)
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
        ] {
            assert_eq!(redact(text), expect);
        }
    }
}
