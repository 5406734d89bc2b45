//! A frame of time and value: where a point is drawn, and what stands at its edges.

use std::fmt::Write;

use super::escape_into;

/// Size of the picture, and its margins, in its own units.
pub const WIDTH: f64 = 1000.0;
pub const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Differences of larger values would not be numbers any more.
const LARGEST: f64 = 1e300;
/// Sigmas that are drawn on each side of the centre.
pub const SIGMAS: [u8; 3] = [3, 2, 1];

/// Turns times (ms since the epoch) and values into places.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    start: i64,
    end: i64,
    low: f64,
    height: f64,
}

impl Scale {
    /// A frame around the finite ones of `values`, with a little air.
    pub fn around(start: i64, end: i64, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite()).map(|v| v.clamp(-LARGEST, LARGEST)) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let margin = match high - low {
            d if d > 0.0 && d.is_finite() => d * 0.05,
            _ => (high.abs() * 0.1).max(1e-9),
        };
        let (low, high) = (low - margin, high + margin);
        Self { start, end, low, height: (high - low).max(f64::MIN_POSITIVE) }
    }

    /// From the left, in units of the picture.
    pub fn x(&self, t_ms: i64) -> f64 {
        let span = (self.end as f64 - self.start as f64).max(1.0);
        let x = LEFT + (t_ms as f64 - self.start as f64) / span * (WIDTH - LEFT - RIGHT);
        x.clamp(-WIDTH, 2.0 * WIDTH)
    }

    /// From above, in units of the picture. `v` is finite.
    pub fn y(&self, v: f64) -> f64 {
        let y = TOP + (1.0 - (v - self.low) / self.height) * (HEIGHT - TOP - BOTTOM);
        y.clamp(-HEIGHT, 2.0 * HEIGHT)
    }

    /// The same, but not beyond the frame.
    fn y_within(&self, v: f64) -> f64 {
        self.y(v).clamp(TOP, HEIGHT - BOTTOM)
    }

    /// Lines across, with their values, and times below.
    pub fn draw(&self, out: &mut String) {
        let step = nice_step(self.height / 5.0);
        let first = (self.low / step).ceil();
        for i in 0..8 {
            let v = (first + f64::from(i)) * step;
            if v > self.low + self.height || !v.is_finite() {
                break;
            }
            let y = self.y(v);
            let _ = write!(
                out,
                "<path class=\"grid\" stroke=\"currentColor\" stroke-opacity=\".2\" d=\"M{LEFT} {y:.1}H{}\"/>",
                WIDTH - RIGHT
            );
            let _ = write!(
                out,
                "<text fill=\"currentColor\" font-size=\"12\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">",
                LEFT - 6.0,
                y + 4.0
            );
            escape_into(out, &tick(v, step));
            out.push_str("</text>");
        }
        let span = self.end.saturating_sub(self.start);
        for (i, anchor) in (0i64..).zip(["start", "middle", "middle", "middle", "end"]) {
            let t = self.start.saturating_add(span / 4 * i);
            let _ = write!(
                out,
                "<text fill=\"currentColor\" font-size=\"12\" x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">",
                self.x(t),
                HEIGHT - 8.0
            );
            escape_into(out, &clock(t, span));
            out.push_str("</text>");
        }
    }

    /// The shaded band of 1, 2 and 3 standard deviations, and its centre, through `(time, centre, stddev)`.
    pub fn draw_band(&self, out: &mut String, run: &[(i64, f64, f64)]) {
        for (sigma, opacity) in SIGMAS.into_iter().zip([".1", ".18", ".28"]) {
            let k = f64::from(sigma);
            let _ = write!(
                out,
                "<path class=\"band b{sigma}\" fill=\"var(--band,#3b82f6)\" fill-opacity=\"{opacity}\" d=\""
            );
            path(out, run.iter().map(|(t, c, s)| (self.x(*t), self.y_within(c + k * s))), 'M');
            path(out, run.iter().rev().map(|(t, c, s)| (self.x(*t), self.y_within(c - k * s))), 'L');
            out.push_str("Z\"/>");
        }
        out.push_str(
            "<path class=\"center\" fill=\"none\" stroke=\"var(--band,#3b82f6)\" stroke-dasharray=\"5 4\" d=\"",
        );
        path(out, run.iter().map(|(t, c, _)| (self.x(*t), self.y(*c))), 'M');
        out.push_str("\"/>");
    }
}

/// The commands of a path through points; the first one is written with `first`.
pub fn path(out: &mut String, points: impl Iterator<Item = (f64, f64)>, first: char) {
    for (i, (x, y)) in points.enumerate() {
        out.push(if i == 0 { first } else { 'L' });
        let _ = write!(out, "{x:.1} {y:.1}");
    }
}

/// Cuts a list where neighbours are further apart than `gap` ms.
pub fn runs<T>(points: &[T], gap: i64, t: impl Fn(&T) -> i64) -> impl Iterator<Item = &[T]> {
    points.chunk_by(move |a, b| t(b).saturating_sub(t(a)) <= gap)
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
pub fn nice_step(rough: f64) -> f64 {
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

/// A time in UTC, as exactly as a picture of `span` ms needs it.
fn clock(t_ms: i64, span: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(t_ms) else { return String::new() };
    let t = jiff::tz::Offset::UTC.to_datetime(time);
    let (h, m) = (t.hour(), t.minute());
    match span {
        0..=7_200_000 => format!("{h:02}:{m:02}:{:02}", t.second()),
        7_200_001..=86_400_000 => format!("{h:02}:{m:02}"),
        _ => format!("{:02}-{:02} {h:02}:{m:02}", t.month(), t.day()),
    }
}
