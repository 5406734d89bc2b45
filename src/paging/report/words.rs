//! Numbers for people.

/// A time in seconds: `850 ms`, `12 s`, `4 min 50 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 1.0 {
        return format!("{} ms", (seconds * 1000.0).round());
    }
    let s = seconds.round() as u64;
    let two = |a: u64, x: &str, b: u64, y: &str| {
        if b == 0 { format!("{a} {x}") } else { format!("{a} {x} {b} {y}") }
    };
    match s {
        0..60 => format!("{s} s"),
        60..3600 => two(s / 60, "min", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// `1 page`, `2 pages`.
pub(super) fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// A share of 0 to 1 as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A p-value with as many digits as it deserves.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (s, expect) in [
            (0.0, "0 ms"),
            (0.85, "850 ms"),
            (12.4, "12 s"),
            (290.0, "4 min 50 s"),
            (300.0, "5 min"),
            (7500.0, "2 h 5 min"),
            (86_400.0 * 3.0 + 4.0 * 3600.0, "3 d 4 h"),
            (f64::NAN, "–"),
            (-1.0, "–"),
        ] {
            assert_eq!(span(s), expect);
        }
    }
}
