//! Names of domains in any script, as mail servers read them: `xn--` and Punycode (RFC 3492). Letters become small ones;
//! what else the tables of Unicode would change is expected to be written as it is registered.

use std::borrow::Cow;

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
        // One that is too long for this is too long for a name as well, and refused by whoever reads it.
        false => punycode(&label.to_lowercase()).map_or_else(|| label.to_owned(), |p| format!("xn--{p}")),
    });
    labels.collect::<Vec<_>>().join(".")
}

/// Characters of a label; `xn--` and what it becomes are longer.
const MAX_LABEL: u32 = 63;
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;

/// A label by the algorithm of RFC 3492, section 6.3; `None` when a number does not fit.
fn punycode(label: &str) -> Option<String> {
    let total = u32::try_from(label.chars().count()).ok().filter(|n| *n <= MAX_LABEL)?;
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    let mut handled = basic;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias) = (128u32, 0u32, 72u32);
    while handled < total {
        let next = label.chars().map(u32::from).filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in label.chars().map(u32::from) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c != n {
                continue;
            }
            let (mut q, mut k) = (delta, BASE);
            loop {
                let t = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
                if q < t {
                    break;
                }
                out.push(digit(t + (q - t) % (BASE - t)));
                q = (q - t) / (BASE - t);
                k += BASE;
            }
            out.push(digit(q));
            bias = adapted(delta, handled + 1, handled == basic);
            delta = 0;
            handled += 1;
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    Some(out)
}

fn digit(value: u32) -> char {
    char::from_digit(value.saturating_sub(26), 10)
        .filter(|_| value >= 26)
        .unwrap_or_else(|| char::from(b'a' + u8::try_from(value.min(25)).unwrap_or(0)))
}

fn adapted(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + 38)
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
        assert_eq!(punycode(&"\u{10ffff}".repeat(3000)).map(|p| p.is_ascii()), Some(true));
    }
}
