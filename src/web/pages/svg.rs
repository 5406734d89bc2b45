//! Draws series and bands over time.

use std::fmt::Write;

use super::layout::Html;
use crate::chart::axes::{Scale, path, runs};
use crate::model::{Sample, Timestamp};

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

impl Chart<'_> {
    /// The picture.
    pub fn draw(&self, h: &mut Html) {
        let scale = self.scale();
        h.raw("<svg role=\"img\" viewBox=\"0 0 1000 380\" aria-label=\"").text(self.label).raw("\">");
        scale.draw(&mut h.0);
        for band in self.bands {
            for run in runs(&band.points, self.gap, |p| p.0) {
                scale.draw_band(&mut h.0, run);
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
        Scale::around(self.start, self.end, values.chain(edges))
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
