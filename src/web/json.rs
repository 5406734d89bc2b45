//! Writes the parts of JSON answers that there are many of: label sets, points, values.

use crate::model::{Labels, Sample, format_float, format_float_go, push_int, push_seconds};

/// Appends a JSON string.
pub fn push_str(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut clean = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..i]);
        clean = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(b >> 4)]);
                out.push(HEX[usize::from(b & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean..]);
    out.push(b'"');
}

/// Appends `{"name":"value",…}`.
pub fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_str(out, name);
        out.push(b':');
        push_str(out, value);
    }
    out.push(b'}');
}

/// Appends a value as the API writes it: in quotes, an exponent only below 1e-6 and from 1e21 on.
pub fn push_value(out: &mut Vec<u8>, v: f64) {
    out.push(b'"');
    let magnitude = v.abs();
    if v.fract() == 0.0 && magnitude < 1e15 && (v != 0.0 || v.is_sign_positive()) {
        push_int(out, v as i64);
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        out.extend_from_slice(format_float_go(v).as_bytes());
    } else {
        out.extend_from_slice(format_float(v).as_bytes());
    }
    out.push(b'"');
}

/// Appends `[time,"value"]`.
pub fn push_point(out: &mut Vec<u8>, sample: Sample) {
    out.push(b'[');
    push_seconds(out, sample.t);
    out.push(b',');
    push_value(out, sample.v);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings() {
        for s in ["", "a", "a\"b\\c\n\r\t\u{1}\u{7f}é☃\u{1f}", "\"", "\u{2028}"] {
            let written = text(|o| push_str(o, s));
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), s, "{written}");
        }
    }

    #[test]
    fn times_and_values() {
        for (t, expect) in [
            (0, "0"),
            (1_435_781_451_781, "1435781451.781"),
            (1_000, "1"),
            (1_050, "1.050"),
            (1_005, "1.005"),
            (-1_500, "-1.500"),
            (999, "0.999"),
        ] {
            assert_eq!(text(|o| push_seconds(o, t)), expect);
        }
        for (v, expect) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.0, "-12"),
            (0.5, "0.5"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (1_435_781_451.781, "1435781451.781"),
        ] {
            assert_eq!(text(|o| push_value(o, v)), format!("\"{expect}\""));
        }
    }
}
