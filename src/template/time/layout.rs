//! Go's layouts: which piece of `2006-01-02 15:04:05` stands for what.

/// What a piece of a layout stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    LongMonth,
    ShortMonth,
    Month,
    ZeroMonth,
    LongDay,
    ShortDay,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    Year,
    ShortYear,
    UpperHalf,
    LowerHalf,
    Zone,
    Offset,
    Fraction { zeros: bool },
}

/// The pieces by their text; a longer text stands before what it begins with.
const PIECES: &[(&str, Piece)] = &[
    ("January", Piece::LongMonth),
    ("Jan", Piece::ShortMonth),
    ("Monday", Piece::LongDay),
    ("Mon", Piece::ShortDay),
    ("MST", Piece::Zone),
    ("002", Piece::ZeroYearDay),
    ("01", Piece::ZeroMonth),
    ("02", Piece::ZeroDay),
    ("03", Piece::ZeroHour12),
    ("04", Piece::ZeroMinute),
    ("05", Piece::ZeroSecond),
    ("06", Piece::ShortYear),
    ("15", Piece::Hour),
    ("1", Piece::Month),
    ("2006", Piece::Year),
    ("2", Piece::Day),
    ("__2", Piece::SpaceYearDay),
    ("_2", Piece::SpaceDay),
    ("3", Piece::Hour12),
    ("4", Piece::Minute),
    ("5", Piece::Second),
    ("PM", Piece::UpperHalf),
    ("pm", Piece::LowerHalf),
    ("-07:00:00", Piece::Offset),
    ("-070000", Piece::Offset),
    ("-07:00", Piece::Offset),
    ("-0700", Piece::Offset),
    ("-07", Piece::Offset),
    ("Z07:00:00", Piece::Offset),
    ("Z070000", Piece::Offset),
    ("Z07:00", Piece::Offset),
    ("Z0700", Piece::Offset),
    ("Z07", Piece::Offset),
];

/// The piece at the start of a layout, and its length.
pub(super) fn piece(layout: &str) -> Option<(Piece, usize)> {
    if layout.starts_with(['.', ',']) {
        let digit = layout[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let run = layout[1..].chars().take_while(|c| *c == digit).count();
        let ends = !layout[1 + run..].starts_with(|c: char| c.is_ascii_digit());
        return (ends && run <= 9).then_some((Piece::Fraction { zeros: digit == '0' }, 1 + run));
    }
    // "Jan" in a longer word ("Janet") is only text, as in Go; so is "_2006" a plain 2 0 0 6.
    if layout.starts_with("_2006") {
        return None;
    }
    let (text, piece) = PIECES.iter().find(|(text, _)| layout.starts_with(text))?;
    if *text == "Jan" && layout[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    Some((*piece, text.len()))
}
