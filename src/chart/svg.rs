//! Pictures as SVG, to stand in a page or in a file of their own ([`standalone`]).
//!
//! Each one has `role="img"`, a `<title>`, and values as text, so that it can be read without being seen.
//! There is no style attribute and no style sheet in them: a strict content security policy lets them through.

use std::fmt::Write;

use super::axes::{HEIGHT, Scale, WIDTH, path, runs};
use super::escape::{number, shorten};
use super::escape_into;
use super::text::{largest, share};

/// Bars of one picture; of further ones only the number is said.
const MAX_BARS: usize = 120;
/// Points of a band; of more, those furthest from the centre stay.
const MAX_POINTS: usize = 1000;
/// Marks of a band.
const MAX_MARKS: usize = 40;
/// Characters of a label, and of a title.
const MAX_LABEL: usize = 36;
const MAX_TITLE: usize = 300;

/// What a baseline said at one time: the value, what is normal, and how far from it is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandPoint {
    /// Since the epoch, ms.
    pub t_ms: i64,
    /// In the unit of the rule's expression; NaN when there was none.
    pub value: f64,
    pub center: f64,
    /// NaN or negative when there was no baseline yet.
    pub stddev: f64,
}

fn open(out: &mut String, title: &str, width: f64, height: f64) {
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui,sans-serif\" aria-label=\""
    );
    let title = shorten(title, MAX_TITLE);
    escape_into(out, &title);
    out.push_str("\"><title>");
    escape_into(out, &title);
    out.push_str("</title>");
}

fn label(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(
        out,
        "<text fill=\"currentColor\" font-size=\"12\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">"
    );
    escape_into(out, &shorten(text, MAX_LABEL));
    out.push_str("</text>");
}

/// Bars from left to right, one below the other, each with its label and its value. Rows keep their order.
pub fn bars(title: &str, rows: &[(String, f64)]) -> String {
    const ROW: f64 = 22.0;
    const WIDE: f64 = 640.0;
    let shown = &rows[..rows.len().min(MAX_BARS)];
    let longest = shown.iter().map(|(l, _)| l.chars().count().min(MAX_LABEL)).max().unwrap_or(0);
    let left = 16.0 + longest as f64 * 7.0;
    let most = largest(shown);
    let more = usize::from(rows.len() > shown.len());
    let mut out = String::new();
    open(&mut out, title, WIDE, ROW * (shown.len() + more).max(1) as f64 + 8.0);
    for (i, (name, v)) in shown.iter().enumerate() {
        let y = 4.0 + ROW * i as f64;
        let w = share(*v, most) * (WIDE - left - 70.0);
        label(&mut out, left - 8.0, y + 15.0, "end", name);
        let _ = write!(
            out,
            "<rect class=\"bar\" fill=\"var(--band,#3b82f6)\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{:.1}\" rx=\"2\"/>",
            y + 3.0,
            ROW - 6.0
        );
        label(&mut out, left + w + 6.0, y + 15.0, "start", &number(*v));
    }
    rest(&mut out, rows.len(), shown.len(), left, 4.0 + ROW * shown.len() as f64 + 15.0);
    out.push_str("</svg>");
    out
}

/// Bars from below, side by side: for hours and days. Rows keep their order; every so many have their label.
pub fn columns(title: &str, rows: &[(String, f64)]) -> String {
    const WIDE: f64 = 480.0;
    const HIGH: f64 = 170.0;
    const BASE: f64 = HIGH - 26.0;
    let shown = &rows[..rows.len().min(MAX_BARS)];
    let most = largest(shown);
    let pitch = (WIDE - 16.0) / shown.len().max(1) as f64;
    let longest = shown.iter().map(|(l, _)| l.chars().count().min(MAX_LABEL)).max().unwrap_or(0);
    let every = ((longest as f64 * 7.0 + 8.0) / pitch).ceil().max(1.0) as usize;
    let mut out = String::new();
    open(&mut out, title, WIDE, HIGH);
    let _ =
        write!(out, "<path stroke=\"currentColor\" stroke-opacity=\".4\" d=\"M8 {BASE}H{}\"/>", WIDE - 8.0);
    for (i, (name, v)) in shown.iter().enumerate() {
        let x = 8.0 + pitch * i as f64;
        let h = share(*v, most) * (BASE - 24.0);
        let _ = write!(
            out,
            "<rect class=\"bar\" fill=\"var(--band,#3b82f6)\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{h:.1}\"><title>",
            x + pitch * 0.1,
            BASE - h,
            pitch * 0.8
        );
        escape_into(&mut out, &shorten(name, MAX_LABEL));
        let _ = write!(out, ": {}</title></rect>", number(*v));
        let middle = x + pitch / 2.0;
        if *v > 0.0 && pitch >= 14.0 {
            label(&mut out, middle, BASE - h - 5.0, "middle", &number(*v));
        }
        if i % every == 0 {
            label(&mut out, middle, HIGH - 9.0, "middle", name);
        }
    }
    rest(&mut out, rows.len(), shown.len(), 8.0, 14.0);
    out.push_str("</svg>");
    out
}

fn rest(out: &mut String, all: usize, shown: usize, x: f64, y: f64) {
    if all > shown {
        label(out, x, y, "start", &format!("… and {} more", all - shown));
    }
}

/// A value over time before its band of 1, 2 and 3 standard deviations, with marks (time in ms, and a word) for
/// what happened. Points are in order of time; where three times the usual step is missing, lines are cut.
pub fn band(title: &str, points: &[BandPoint], marks: &[(i64, String)]) -> String {
    let points = thinned(points);
    let marks = &marks[..marks.len().min(MAX_MARKS)];
    let times = || points.iter().map(|p| p.t_ms).chain(marks.iter().map(|(t, _)| *t));
    let (start, end) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let baseline: Vec<(i64, f64, f64)> = points
        .iter()
        .filter(|p| p.center.is_finite() && p.stddev.is_finite() && p.stddev >= 0.0)
        .map(|p| (p.t_ms, p.center, p.stddev))
        .collect();
    let line: Vec<(i64, f64)> =
        points.iter().filter(|p| p.value.is_finite()).map(|p| (p.t_ms, p.value)).collect();
    // A baseline that has just begun to learn is far wider than anything that happens later: it is cut at the frame.
    let widest = 4.0 * median(baseline.iter().map(|(_, _, s)| *s).collect());
    let shown = baseline.iter().map(|(_, c, s)| (c, 3.0 * s.min(widest)));
    let edges = shown.flat_map(|(c, reach)| [c - reach, c + reach]);
    let scale = Scale::around(start, end, edges.chain(line.iter().map(|(_, v)| *v)));
    let gap = usual_step(&points).saturating_mul(3);

    let mut out = String::new();
    open(&mut out, title, WIDTH, HEIGHT);
    scale.draw(&mut out);
    for run in runs(&baseline, gap, |p| p.0) {
        scale.draw_band(&mut out, run);
    }
    for run in runs(&line, gap, |p| p.0) {
        out.push_str("<path class=\"line c0\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" d=\"");
        path(&mut out, run.iter().map(|(t, v)| (scale.x(*t), scale.y(*v))), 'M');
        // One point alone is seen as a dot.
        out.push_str(if run.len() == 1 { "h1\"/>" } else { "\"/>" });
    }
    for (i, (t, word)) in marks.iter().enumerate() {
        let x = scale.x(*t);
        let _ = write!(
            out,
            "<path class=\"mark\" stroke=\"var(--bad,#dc2626)\" stroke-dasharray=\"2 3\" d=\"M{x:.1} 12V{}\"/>",
            HEIGHT - 28.0
        );
        // Words of neighbouring marks stand on different lines, on the side where there is room.
        let (anchor, x) = if x > WIDTH * 0.8 { ("end", x - 4.0) } else { ("start", x + 4.0) };
        label(&mut out, x, 24.0 + (i % 8) as f64 * 15.0, anchor, word);
    }
    out.push_str("</svg>");
    out
}

/// The same picture as a file of its own: with a background and colours for both schemes.
pub fn standalone(svg: &str) -> String {
    let style = "<style>svg{background:#fff;color:#1a1d21}\
                 @media(prefers-color-scheme:dark){svg{background:#14171a;color:#e6e8ea}}</style>";
    match svg.split_once("</title>") {
        Some((head, rest)) => format!("{head}</title>{style}{rest}"),
        None => svg.to_owned(),
    }
}

fn thinned(points: &[BandPoint]) -> Vec<BandPoint> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let distance = |p: &BandPoint| {
        let d = (p.value - p.center).abs();
        if d.is_finite() { d } else { -1.0 }
    };
    points
        .chunks(points.len().div_ceil(MAX_POINTS))
        .filter_map(|chunk| chunk.iter().max_by(|a, b| distance(a).total_cmp(&distance(b))).copied())
        .collect()
}

/// The middle one, 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The median distance of neighbours, ms.
fn usual_step(points: &[BandPoint]) -> i64 {
    let mut steps: Vec<i64> = points.windows(2).map(|w| w[1].t_ms.saturating_sub(w[0].t_ms)).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter().map(|(l, v)| ((*l).to_owned(), *v)).collect()
    }

    /// Tags are closed in order, and nothing unescaped stands between them.
    fn well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(at) = rest.find('<') {
            let end = at + rest[at..].find('>').unwrap();
            let tag = &rest[at + 1..end];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{svg}");
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\"") && !svg.contains("style="), "{svg}");
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>"), "{svg}");
    }

    #[test]
    fn odd_rows_make_pictures_that_are_well_formed_and_bounded() {
        for list in [
            rows(&[]),
            rows(&[("a & b <script>\"'\u{0}", 1.0)]),
            rows(&[("nan", f64::NAN), ("inf", f64::INFINITY), ("neg", -1.0), ("max", f64::MAX)]),
            rows(&vec![("many", 2.0); 5000]),
            rows(&[(&"x".repeat(10_000), 1e-300)]),
        ] {
            for svg in [bars("t < \"1\"", &list), columns("t < \"1\"", &list)] {
                well_formed(&svg);
                well_formed(&standalone(&svg));
                assert!(!svg.contains("<script") && svg.len() < 80_000, "{}", svg.len());
            }
        }
        let svg = columns("c", &rows(&[("00", 4.0), ("01", 0.0), ("02", 2.0)]));
        assert!(svg.contains("height=\"120.0\"") && svg.contains("height=\"60.0\""), "{svg}");
    }

    #[test]
    fn a_band_is_cut_where_data_is_missing_and_keeps_its_extremes() {
        let p = |t_ms, value, center, stddev| BandPoint { t_ms, value, center, stddev };
        let nan = f64::NAN;
        for points in [
            vec![],
            vec![p(0, 1.0, nan, nan)],
            vec![p(0, nan, 1.0, 1.0), p(1000, f64::INFINITY, 1.0, 0.0)],
            vec![p(i64::MIN, 1e300, -1e300, f64::MAX), p(i64::MAX, -1e300, 0.0, 1.0)],
        ] {
            well_formed(&band("b", &points, &[(5, "<paged>".to_owned())]));
        }
        let mut points: Vec<BandPoint> = (0..50_000).map(|i| p(i * 1000, 10.0, 10.0, 1.0)).collect();
        points[33_333].value = 99.0;
        let svg = band("b", &points, &vec![(7, "m".to_owned()); 1000]);
        well_formed(&svg);
        assert!(svg.len() < 150_000, "{}", svg.len());
        assert_eq!(svg.matches("class=\"mark\"").count(), MAX_MARKS);
        assert!(svg.contains("80"), "the scale reaches the extreme: {svg}");
        let gap: Vec<BandPoint> =
            [0, 1, 2, 3, 60, 61].map(|t| p(t * 1000, 1.0, 1.0, 0.1)).into_iter().collect();
        let svg = band("b", &gap, &[]);
        assert_eq!(svg.matches("class=\"line").count(), 2);
        assert_eq!(svg.matches("class=\"band").count(), 6);
        // A cold baseline does not flatten the rest.
        let cold: Vec<BandPoint> =
            (0..100).map(|i| p(i * 1000, 10.0, 10.0, if i < 3 { 500.0 } else { 1.0 })).collect();
        let svg = band("b", &cold, &[]);
        well_formed(&svg);
        assert!(svg.contains(">20<") && !svg.contains(">500<"), "{svg}");
    }
}
