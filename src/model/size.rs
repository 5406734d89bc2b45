//! Sizes in bytes, as people write them.

/// Reads a size: a number with a unit of which `KB` and `KiB` are the same (powers of 1024), or `0`.
///
/// # Errors
/// A sentence with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 13] = [
        ("KiB", 10),
        ("MiB", 20),
        ("GiB", 30),
        ("TiB", 40),
        ("PiB", 50),
        ("EiB", 60),
        ("KB", 10),
        ("MB", 20),
        ("GB", 30),
        ("TB", 40),
        ("PB", 50),
        ("EB", 60),
        ("B", 0),
    ];
    if text == "0" {
        return Ok(0);
    }
    let bad = || format!("unknown unit or number in size {text:?} (as in 512KB, 10MB)");
    let (number, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).ok_or_else(bad)?;
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * (1u64 << shift) as f64;
    if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("0B", Some(0)),
            ("512MB", Some(512 << 20)),
            ("512MiB", Some(512 << 20)),
            ("1.5KB", Some(1536)),
            ("1GB", Some(1 << 30)),
            ("15EB", Some(15 << 60)),
            ("16EB", None),
            ("5", None),
            ("MB", None),
            ("-1KB", None),
            ("nanB", None),
            ("infB", None),
            ("10 MB", None),
            ("10XB", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }
}
