//! What a status says: it arrived, try again, or never.

use hyper::header::{HeaderMap, RETRY_AFTER};

use crate::paging::engine::Outcome;

/// Bytes of an answer that go into the reason.
const EXCERPT: usize = 200;

/// Judges an answer.
pub(super) fn judge(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<(), Outcome> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let reason = reason(status, body);
    // A gateway that does not know what became of it.
    if matches!(status, 502 | 504) {
        return Err(Outcome::Unsure { reason });
    }
    // Timeouts, "too early", "too many", and whatever is the server's own fault will pass.
    if matches!(status, 408 | 425 | 429) || status >= 500 {
        let after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        Err(Outcome::Retry { reason, after_ms: after.and_then(|v| wait_ms(v, headers)) })
    } else {
        Err(Outcome::Final { reason })
    }
}

fn reason(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}: {}", text.trim())
    }
}

/// Seconds, or a date, which is held against the server's own `Date`.
fn wait_ms(value: &str, headers: &HeaderMap) -> Option<i64> {
    // Whole seconds by the standard; some say it with a fraction.
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return (0.0..1e9).contains(&seconds).then(|| (seconds * 1000.0).ceil() as i64);
    }
    let date = |text: &str| {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(zoned.timestamp().as_millisecond())
    };
    let there = date(headers.get(hyper::header::DATE)?.to_str().ok()?)?;
    Some((date(value)? - there).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        for (status, retry) in
            [(408, true), (429, true), (500, true), (503, true), (400, false), (404, false), (301, false)]
        {
            match judge(status, &headers, b"no\r\n\x1b[31m").unwrap_err() {
                Outcome::Retry { reason, after_ms } => {
                    assert!(
                        retry && after_ms == Some(7000) && !reason.contains('\x1b'),
                        "{status}: {reason}"
                    );
                }
                Outcome::Final { .. } => assert!(!retry, "{status}"),
                Outcome::Delivered | Outcome::Unsure { .. } => unreachable!(),
            }
        }
        assert!(matches!(judge(504, &headers, b"").unwrap_err(), Outcome::Unsure { .. }));
        assert!(judge(204, &headers, b"").is_ok());
        headers.insert(RETRY_AFTER, "Sat, 21 Nov 2026 02:00:30 GMT".parse().unwrap());
        headers.insert(hyper::header::DATE, "Sat, 21 Nov 2026 02:00:00 GMT".parse().unwrap());
        for (text, expect) in
            [("0", Some(0)), ("1.3371", Some(1338)), ("-1", None), ("NaN", None), ("soon", None)]
        {
            assert_eq!(wait_ms(text, &headers), expect, "{text}");
        }
        assert_eq!(wait_ms("Sat, 21 Nov 2026 02:00:30 GMT", &headers), Some(30_000));
    }
}
