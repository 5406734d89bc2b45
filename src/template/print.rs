//! Values as Go's `fmt` prints them: `%v`, and the verbs of `printf`.

// `%v` of a float is `%g` with the fewest digits: 1234567 prints as 1.234567e+06.
use crate::model::{GoQuoted, format_float_exposition as shortest};

use super::fields::in_order;
use super::time::duration_text;
use super::value::{ListKind, MapKind, Value};

/// A text that stops growing at its limit, so that no template fills the memory.
#[derive(Debug)]
pub(super) struct Bounded {
    pub text: String,
    limit: usize,
    pub overflowed: bool,
}

impl Bounded {
    pub fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, overflowed: false }
    }

    pub fn push(&mut self, s: &str) {
        if self.text.len() + s.len() > self.limit {
            self.overflowed = true;
        } else if !self.overflowed {
            self.text.push_str(s);
        }
    }

    /// The text, if it stayed within the limit.
    pub fn finish(self) -> Result<String, String> {
        if self.overflowed { Err(format!("text is longer than {} bytes", self.limit)) } else { Ok(self.text) }
    }
}

/// `%v` within a limit of bytes.
pub(super) fn plain(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = Bounded::new(limit);
    write_plain(value, &mut out);
    out.finish()
}

/// `%v`.
pub(super) fn write_plain(value: &Value, out: &mut Bounded) {
    let list = |items: &mut dyn Iterator<Item = &Value>, out: &mut Bounded| {
        for (i, item) in items.enumerate() {
            if out.overflowed {
                return;
            }
            out.push(if i == 0 { "" } else { " " });
            write_plain(item, out);
        }
    };
    match value {
        Value::Nil => out.push("<nil>"),
        Value::Bool(b) => out.push(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push(&i.to_string()),
        Value::Uint(u) => out.push(&u.to_string()),
        Value::Float(f) => out.push(&shortest(*f)),
        Value::Str(s) | Value::Safe(_, s) => out.push(s),
        Value::Time(t) => out.push(&t.to_string()),
        Value::Duration(d) => out.push(&duration_text(*d)),
        Value::Calendar(c) => out.push(c.name()),
        Value::List(l) if l.kind == ListKind::Pairs => {
            let pairs = l.items.iter().filter_map(|pair| match pair {
                Value::Struct(s) => Some((s.fields.first()?.value.as_str()?, &s.fields.get(1)?.value)),
                _ => None,
            });
            write_pairs(pairs, out);
        }
        Value::List(l) => {
            out.push("[");
            list(&mut l.items.iter(), out);
            out.push("]");
        }
        Value::Struct(s) => {
            out.push("{");
            list(&mut s.fields.iter().map(|f| &f.value), out);
            out.push("}");
        }
        Value::Map(m) if matches!(m.kind, MapKind::Kv | MapKind::NoKv) => {
            write_pairs(in_order(m).map(|(k, v)| (k.as_ref(), v)), out);
        }
        Value::Map(m) => {
            out.push("map[");
            for (i, (key, item)) in m.entries.iter().enumerate() {
                if out.overflowed {
                    return;
                }
                out.push(if i == 0 { "" } else { " " });
                out.push(key);
                out.push(":");
                write_plain(item, out);
            }
            out.push("]");
        }
    }
}

/// `a=b, c=d`: what the labels of messages say of themselves.
fn write_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a Value)>, out: &mut Bounded) {
    for (i, (name, value)) in pairs.enumerate() {
        if out.overflowed {
            return;
        }
        out.push(if i == 0 { "" } else { ", " });
        out.push(name);
        out.push("=");
        write_plain(value, out);
    }
}

/// Go's `Sprint`: spaces between operands when neither is a text; `Sprintln`: always, and a newline.
pub(super) fn join(values: &[Value], line: bool, limit: usize) -> Result<String, String> {
    let mut out = Bounded::new(limit);
    for (i, value) in values.iter().enumerate() {
        let texts = |v: &Value| v.as_str().is_some();
        if i > 0 && (line || !texts(value) && !texts(&values[i - 1])) {
            out.push(" ");
        }
        write_plain(value, &mut out);
    }
    if line {
        out.push("\n");
    }
    out.finish()
}

/// The flags, width and precision of a verb.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Widths and precisions beyond this are refused, as in Go.
const MAX_WIDTH: i64 = 1_000_000;

/// Go's `Sprintf`. What does not fit is in the text, as in Go: `%!d(string=x)`.
pub(super) fn printf(format: &str, values: &[Value], limit: usize) -> Result<String, String> {
    let mut out = Bounded::new(limit);
    let mut rest = format;
    let mut next = 0;
    let mut reordered = false;
    while let Some(at) = rest.find('%') {
        out.push(&rest[..at]);
        rest = &rest[at + 1..];
        let mut spec = Spec::default();
        while let Some(c) = rest.chars().next() {
            match c {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        // `%[2]d`: the number of an argument, before a `*` and before the verb.
        let mut named = true;
        let mut place = |rest: &mut &str, next: &mut usize| {
            if let Some(tail) = rest.strip_prefix('[') {
                reordered = true;
                let (number, tail) = tail.split_once(']').unwrap_or(("", ""));
                *rest = tail;
                match number.parse::<usize>().ok().filter(|n| (1..=values.len()).contains(n)) {
                    Some(n) => *next = n - 1,
                    None => named = false,
                }
            }
        };
        place(&mut rest, &mut next);
        let amount = |rest: &mut &str, next: &mut usize, out: &mut Bounded, bad: &str| -> Option<i64> {
            if let Some(tail) = rest.strip_prefix('*') {
                *rest = tail;
                let value = values.get(*next);
                *next += 1;
                match value {
                    Some(Value::Int(n)) if n.abs() <= MAX_WIDTH => return Some(*n),
                    _ => out.push(bad),
                }
                return None;
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number = rest[..digits].parse().ok().filter(|n| *n <= MAX_WIDTH);
            if digits > 0 && number.is_none() {
                out.push(bad);
            }
            *rest = &rest[digits..];
            number
        };
        if let Some(width) = amount(&mut rest, &mut next, &mut out, "%!(BADWIDTH)") {
            spec.minus |= width < 0;
            spec.width = Some(width.unsigned_abs() as usize);
        }
        if let Some(tail) = rest.strip_prefix('.') {
            rest = tail;
            place(&mut rest, &mut next);
            let precision = amount(&mut rest, &mut next, &mut out, "%!(BADPREC)");
            spec.precision = Some(precision.map_or(0, |p| p.max(0).unsigned_abs() as usize));
        }
        place(&mut rest, &mut next);
        let Some(verb) = rest.chars().next() else {
            out.push("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push("%");
            continue;
        }
        if !named {
            out.push(&format!("%!{verb}(BADINDEX)"));
            continue;
        }
        let Some(value) = values.get(next) else {
            out.push(&format!("%!{verb}(MISSING)"));
            continue;
        };
        next += 1;
        verb_text(value, verb, spec, limit, &mut out)?;
    }
    out.push(rest);
    if next < values.len() && !reordered {
        out.push("%!(EXTRA ");
        for (i, value) in values[next..].iter().enumerate() {
            out.push(if i == 0 { "" } else { ", " });
            if matches!(value, Value::Nil) {
                out.push("<nil>");
            } else {
                out.push(value.type_name());
                out.push("=");
                write_plain(value, &mut out);
            }
        }
        out.push(")");
    }
    out.finish()
}

fn verb_text(value: &Value, verb: char, spec: Spec, limit: usize, out: &mut Bounded) -> Result<(), String> {
    if let Some(text) = formatted(value, verb, spec, limit)? {
        out.push(&text);
        return Ok(());
    }
    out.push(&format!("%!{verb}("));
    if matches!(value, Value::Nil) {
        out.push("<nil>");
    } else {
        out.push(value.type_name());
        out.push("=");
        match formatted(value, 'v', Spec { sharp: false, ..spec }, limit)? {
            Some(text) => out.push(&text),
            None => write_plain(value, out),
        }
    }
    out.push(")");
    Ok(())
}

/// The text of a value under a verb; `None` when the verb does not go with the value.
fn formatted(value: &Value, verb: char, spec: Spec, limit: usize) -> Result<Option<String>, String> {
    if verb == 'T' {
        return pad(value.type_name().to_owned(), spec, false, limit).map(Some);
    }
    let says_itself = match value {
        Value::List(l) => l.kind == ListKind::Pairs,
        Value::Map(m) => matches!(m.kind, MapKind::Kv | MapKind::NoKv),
        _ => false,
    };
    let text = match (value, verb) {
        (_, 'v' | 's' | 'q' | 'x' | 'X') if says_itself => text_verb(&plain(value, limit)?, verb, spec),
        (Value::List(l), _) if verb != 'v' || spec.precision.is_some() || spec.sharp => {
            let mut out = Bounded::new(limit);
            out.push("[");
            for (i, item) in l.items.iter().enumerate() {
                out.push(if i == 0 { "" } else { " " });
                verb_text(item, verb, spec, limit, &mut out)?;
            }
            out.push("]");
            return out.finish().map(Some);
        }
        (Value::Map(m), _) if !matches!(verb, 'v' | 's') => {
            let mut out = Bounded::new(limit);
            out.push("map[");
            for (i, (key, item)) in m.entries.iter().enumerate() {
                out.push(if i == 0 { "" } else { " " });
                verb_text(&Value::Str(key.clone()), verb, spec, limit, &mut out)?;
                out.push(":");
                verb_text(item, verb, spec, limit, &mut out)?;
            }
            out.push("]");
            return out.finish().map(Some);
        }
        (Value::Struct(s), _) if !matches!(verb, 'v' | 's') => {
            let mut out = Bounded::new(limit);
            out.push("{");
            for (i, field) in s.fields.iter().enumerate() {
                out.push(if i == 0 { "" } else { " " });
                verb_text(&field.value, verb, spec, limit, &mut out)?;
            }
            out.push("}");
            return out.finish().map(Some);
        }
        (Value::Nil, 'v') => "<nil>".to_owned(),
        (Value::Bool(b), 'v' | 't') => b.to_string(),
        (Value::Str(s) | Value::Safe(_, s), 'v' | 's' | 'q' | 'x' | 'X') => text_verb(s, verb, spec),
        (Value::Time(t), 'v' | 's' | 'q') => text_verb(&t.to_string(), verb, spec),
        (Value::Duration(d), 'v' | 's' | 'q') => text_verb(&duration_text(*d), verb, spec),
        (Value::Calendar(c), 'v' | 's' | 'q') => text_verb(c.name(), verb, spec),
        (Value::Calendar(c), _) => return integer(i128::from(c.number()), verb, spec, limit).transpose(),
        (Value::Int(i) | Value::Duration(i), _) => {
            return integer(i128::from(*i), verb, spec, limit).transpose();
        }
        (Value::Uint(u), _) => return integer(i128::from(*u), verb, spec, limit).transpose(),
        (Value::Float(f), _) => return float(*f, verb, spec, limit).transpose(),
        (Value::Map(_) | Value::List(_) | Value::Struct(_), 'v' | 's') => plain(value, limit)?,
        _ => return Ok(None),
    };
    pad(text, spec, false, limit).map(Some)
}

fn text_verb(text: &str, verb: char, spec: Spec) -> String {
    let cut: String = match spec.precision {
        Some(n) => text.chars().take(n).collect(),
        None => text.to_owned(),
    };
    let quoted = verb == 'q' || verb == 'v' && spec.sharp;
    match verb {
        _ if quoted && spec.sharp && verb == 'q' && !cut.contains('`') => format!("`{cut}`"),
        _ if quoted => GoQuoted::new(&cut).to_string(),
        'x' => cut.bytes().map(|b| format!("{b:02x}")).collect(),
        'X' => cut.bytes().map(|b| format!("{b:02X}")).collect(),
        _ => cut,
    }
}

fn integer(n: i128, verb: char, spec: Spec, limit: usize) -> Option<Result<String, String>> {
    let magnitude = n.unsigned_abs();
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("", format!("0o{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' | 'q' | 'U' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = match verb {
                'c' => c.to_string(),
                'q' if c == '\'' => "'\\''".to_owned(),
                'q' if c == '"' => "'\"'".to_owned(),
                'q' => {
                    let text = GoQuoted::new(&*c.encode_utf8(&mut [0; 4])).to_string();
                    format!("'{}'", &text[1..text.len() - 1])
                }
                _ => format!("U+{magnitude:04X}"),
            };
            return Some(pad(text, spec, false, limit));
        }
        _ => return None,
    };
    let mut text = digits;
    if let Some(precision) = spec.precision {
        // Bounded as the widths are.
        text = format!("{text:0>precision$}");
    }
    if spec.sharp {
        text = format!("{prefix}{text}");
    }
    Some(pad(format!("{}{text}", sign(n < 0, spec)), spec, spec.precision.is_none(), limit))
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn float(v: f64, verb: char, spec: Spec, limit: usize) -> Option<Result<String, String>> {
    if !matches!(verb, 'v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F') {
        return None;
    }
    if !v.is_finite() {
        let text = match v {
            v if v.is_nan() => if spec.plus { "+NaN" } else { "NaN" }.to_owned(),
            v if v > 0.0 => "+Inf".to_owned(),
            _ => "-Inf".to_owned(),
        };
        return Some(pad(text, spec, false, limit));
    }
    let magnitude = v.abs();
    let text = match verb {
        'e' | 'E' => exponent_form(magnitude, spec.precision.unwrap_or(6)),
        'f' | 'F' => {
            let precision = spec.precision.unwrap_or(6);
            format!("{magnitude:.precision$}")
        }
        _ => match spec.precision {
            Some(digits) => general(magnitude, digits),
            None => shortest(magnitude),
        },
    };
    let text = if verb.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
    Some(pad(format!("{}{text}", sign(v.is_sign_negative(), spec)), spec, true, limit))
}

/// `1.234500e+02`, with so many digits behind the point.
fn exponent_form(v: f64, precision: usize) -> String {
    let text = format!("{v:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%.Ng` of a finite number that is not negative: so many significant digits, no zeros at the end.
fn general(v: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let scientific = exponent_form(v, digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or_default();
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= digits as i64 {
        return format!("{}e{}", trimmed(mantissa), &scientific[mantissa.len() + 1..]);
    }
    let decimals = (digits as i64 - 1 - exponent).max(0).unsigned_abs() as usize;
    trimmed(&format!("{v:.decimals$}"))
}

/// `%.4g`, as the `humanize` functions print.
pub(super) fn four_digits(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v if v.is_sign_negative() => format!("-{}", general(-v, 4)),
        v => general(v, 4),
    }
}

fn pad(text: String, spec: Spec, number: bool, limit: usize) -> Result<String, String> {
    let width = spec.width.unwrap_or_default();
    let missing = width.saturating_sub(text.chars().count());
    if missing == 0 {
        return Ok(text);
    }
    if width > limit {
        return Err(format!("text is longer than {limit} bytes"));
    }
    if spec.minus {
        return Ok(text + &" ".repeat(missing));
    }
    if spec.zero && number {
        let sign = usize::from(text.starts_with(['+', '-', ' ']));
        return Ok(format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]));
    }
    Ok(" ".repeat(missing) + &text)
}
