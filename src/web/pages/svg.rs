//! Draws series and bands over time.

use std::fmt::Write;

use super::layout::Html;
use crate::model::{Sample, Timestamp};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Differences of larger values would not be numbers any more.
const LARGEST: f64 = 1e300;
/// Sigmas that are drawn on each side of the centre.
const SIGMAS: [u8; 3] = [3, 2, 1];

/// A baseline: what is normal at each time, and how far from it is usual.
pub struct Band {
    /// Time, centre, standard deviation; in order of time.
    pub points: Vec<(Timestamp, f64, f64)>,
}

/// What is to be drawn.
pub struct Chart<'a> {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Points further apart than this are not connected, ms.
    pub gap: i64,
    pub lines: Vec<&'a [Sample]>,
    pub bands: &'a [Band],
    /// What it shows, for who cannot see it.
    pub label: &'a str,
}

struct Scale {
    start: f64,
    span: f64,
    low: f64,
    height: f64,
}

impl Scale {
    fn x(&self, t: Timestamp) -> f64 {
        LEFT + (t as f64 - self.start) / self.span * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, v: f64) -> f64 {
        let y = TOP + (1.0 - (v - self.low) / self.height) * (HEIGHT - TOP - BOTTOM);
        y.clamp(-HEIGHT, 2.0 * HEIGHT)
    }
}

impl Chart<'_> {
    /// The picture.
    pub fn draw(&self, h: &mut Html) {
        let scale = self.scale();
        h.raw("<svg role=\"img\" viewBox=\"0 0 1000 380\" aria-label=\"").text(self.label).raw("\">");
        self.axes(h, &scale);
        for band in self.bands {
            for run in runs(&band.points, self.gap, |p| p.0) {
                draw_band(&mut h.0, run, &scale);
            }
        }
        for (i, line) in self.lines.iter().enumerate() {
            for run in runs(line, self.gap, |s| s.t) {
                let _ = write!(h.0, "<path class=\"line c{}\" d=\"", i % 6);
                path(&mut h.0, run.iter().map(|s| (scale.x(s.t), scale.y(s.v))), 'M');
                // One point alone is seen as a dot.
                h.raw(if run.len() == 1 { "h1\"/>" } else { "\"/>" });
            }
        }
        h.raw("</svg>");
    }

    fn scale(&self) -> Scale {
        let values = self.lines.iter().flat_map(|l| l.iter().map(|s| s.v));
        let edges =
            self.bands.iter().flat_map(|b| &b.points).flat_map(|(_, c, s)| [c - 3.0 * s, c + 3.0 * s]);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.chain(edges).filter(|v| v.is_finite()).map(|v| v.clamp(-LARGEST, LARGEST)) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let margin = match high - low {
            d if d > 0.0 && d.is_finite() => d * 0.05,
            _ => (high.abs() * 0.1).max(f64::MIN_POSITIVE * 1e20).max(1e-9),
        };
        let (low, high) = (low - margin, high + margin);
        let span = (self.end - self.start).max(1) as f64;
        Scale { start: self.start as f64, span, low, height: (high - low).max(f64::MIN_POSITIVE) }
    }

    fn axes(&self, h: &mut Html, scale: &Scale) {
        let step = nice_step(scale.height / 5.0);
        let first = (scale.low / step).ceil();
        for i in 0..8 {
            let v = (first + f64::from(i)) * step;
            if v > scale.low + scale.height || !v.is_finite() {
                break;
            }
            let y = scale.y(v);
            let _ = write!(h.0, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/>", WIDTH - RIGHT);
            let _ = write!(h.0, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">", LEFT - 6.0, y + 4.0);
            h.text(&tick(v, step)).raw("</text>");
        }
        for i in 0..=4i64 {
            let t = self.start + (self.end - self.start) / 4 * i;
            let anchor = ["start", "middle", "middle", "middle", "end"][i as usize];
            let _ =
                write!(h.0, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">", scale.x(t), HEIGHT - 8.0);
            h.text(&clock(t, self.end - self.start)).raw("</text>");
        }
    }
}

fn draw_band(out: &mut String, run: &[(Timestamp, f64, f64)], scale: &Scale) {
    for sigma in SIGMAS {
        let k = f64::from(sigma);
        let _ = write!(out, "<path class=\"band b{sigma}\" d=\"");
        path(out, run.iter().map(|(t, c, s)| (scale.x(*t), scale.y(c + k * s))), 'M');
        path(out, run.iter().rev().map(|(t, c, s)| (scale.x(*t), scale.y(c - k * s))), 'L');
        out.push_str("Z\"/>");
    }
    out.push_str("<path class=\"center\" d=\"");
    path(out, run.iter().map(|(t, c, _)| (scale.x(*t), scale.y(*c))), 'M');
    out.push_str("\"/>");
}

fn path(out: &mut String, points: impl Iterator<Item = (f64, f64)>, first: char) {
    for (i, (x, y)) in points.enumerate() {
        out.push(if i == 0 { first } else { 'L' });
        let _ = write!(out, "{x:.1} {y:.1}");
    }
}

/// Cuts where points are too far apart. Values that are no numbers are cut out before.
fn runs<T>(points: &[T], gap: i64, t: impl Fn(&T) -> Timestamp) -> impl Iterator<Item = &[T]> {
    points.chunk_by(move |a, b| t(b) - t(a) <= gap)
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough)
}

fn tick(v: f64, step: f64) -> String {
    let magnitude = v.abs().max(step);
    if !(1e-3..1e6).contains(&magnitude) {
        return if v == 0.0 { "0".to_owned() } else { format!("{v:.1e}") };
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{v:.decimals$}")
}

fn clock(t: Timestamp, span: i64) -> String {
    let text = crate::web::views::time_text(t);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    match span {
        0..=7_200_000 => time.get(..8).unwrap_or(time).to_owned(),
        7_200_001..=86_400_000 => time.get(..5).unwrap_or(time).to_owned(),
        _ => format!("{} {}", date.get(5..).unwrap_or(date), time.get(..5).unwrap_or(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(lines: Vec<&[Sample]>, bands: &[Band]) -> String {
        let mut h = Html::default();
        Chart { start: 0, end: 4000, gap: 1000, lines, bands, label: "a \"b\"" }.draw(&mut h);
        h.0
    }

    #[test]
    fn odd_data_makes_a_picture_without_nonsense() {
        let s = |t, v| Sample { t, v };
        for values in [
            vec![],
            vec![s(0, 1.0)],
            vec![s(0, 0.0), s(1000, 0.0)],
            vec![s(0, 1e300), s(1000, -1e300)],
            vec![s(0, f64::MAX), s(1000, f64::MIN)],
            vec![s(0, 1e-310), s(1000, 2e-310)],
            vec![s(0, 1.0), s(1000, 2.0), s(4000, 3.0)],
        ] {
            let svg = draw(vec![&values], &[]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
        }
        let gap = draw(vec![&[s(0, 1.0), s(1000, 2.0), s(4000, 3.0)]], &[]);
        assert_eq!(gap.matches("class=\"line").count(), 2);
        let band = draw(vec![], &[Band { points: vec![(0, 10.0, 1.0), (1000, 10.0, 1.0)] }]);
        assert_eq!(band.matches("class=\"band").count(), 3);
        assert!(band.contains("a &quot;b&quot;"));
    }
}
