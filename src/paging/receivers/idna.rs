//! Names of domains in any script, as mail servers read them: `xn--` and Punycode (RFC 3492). Letters become small ones;
//! what else the tables of Unicode would change is expected to be written as it is registered.

use std::borrow::Cow;

use idna::punycode;

/// Characters of a label; `xn--` and what it becomes are longer.
const MAX_LABEL: usize = 63;

/// Addresses with their domains in ASCII; what stands before an `@` stays as it is.
pub(super) fn ascii_domains(addresses: &str) -> Cow<'_, str> {
    if addresses.is_ascii() {
        return Cow::Borrowed(addresses);
    }
    let mut out = String::with_capacity(addresses.len() + 16);
    let mut rest = addresses;
    while let Some(at) = rest.find('@') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let part =
            |c: char| c.is_alphanumeric() || matches!(c, '-' | '.') || !c.is_ascii() && !c.is_whitespace();
        let end = after.find(|c| !part(c)).unwrap_or(after.len());
        let (domain, more) = after.split_at(end);
        out.push_str(&ascii(domain));
        rest = more;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn ascii(domain: &str) -> String {
    let labels = domain.split(['.', '\u{3002}']).map(|label| match label.is_ascii() {
        true => label.to_owned(),
        false => match encoded(&label.to_lowercase()) {
            Some(text) => format!("xn--{text}"),
            None => label.to_owned(),
        },
    });
    labels.collect::<Vec<_>>().join(".")
}

/// `None` when it is too long for a name: whoever reads it refuses it.
fn encoded(label: &str) -> Option<String> {
    (label.chars().count() <= MAX_LABEL).then(|| punycode::encode_str(label)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_of_any_script() {
        for (text, expect) in [
            ("a@example.org", "a@example.org"),
            ("a@Bücher.example", "a@xn--bcher-kva.example"),
            ("Jürgen <j@münchen.de>, b@中国.cn", "Jürgen <j@xn--mnchen-3ya.de>, b@xn--fiqs8s.cn"),
            ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
            ("a@пример.испытание", "a@xn--e1afmkfd.xn--80akhbyknj4f"),
            ("ü@x.test", "ü@x.test"),
            ("no address: ü", "no address: ü"),
            ("a@faß。de", "a@xn--fa-hia.de"),
        ] {
            assert_eq!(ascii_domains(text), expect);
        }
        assert!(ascii_domains(&format!("a@{}", "\u{10ffff}".repeat(63))).is_ascii());
        let too_long = format!("a@{}", "\u{10ffff}".repeat(64));
        assert_eq!(ascii_domains(&too_long), too_long);
    }
}
