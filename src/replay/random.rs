//! The matched random clock: the same pages at other times.
//!
//! Every series' pages are turned around its own time by a random amount (what leaves at the end comes in at the start), so the
//! clock fires exactly as often and exactly as clustered as the rule did, and only knows nothing.

use crate::model::Timestamp;

/// Rounds of the clock.
const ROUNDS: u32 = 2000;

/// The pages of one series, its labelled windows (both ends inclusive), and the time in which it could page. All ms.
#[derive(Debug, Clone, Default)]
pub struct Shuffled {
    pub pages: Vec<Timestamp>,
    pub windows: Vec<(Timestamp, Timestamp)>,
    pub span: (Timestamp, Timestamp),
}

/// How the rule stands against the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    pub pages: u64,
    /// Pages within a window.
    pub hits: u64,
    /// Windows that could be found, and that have a page in them.
    pub windows: u64,
    pub found: u64,
    /// Share of the clock's pages within a window, mean over its rounds.
    pub clock_share: f64,
    /// Windows that the clock found, mean over its rounds.
    pub clock_found: f64,
    /// How often the clock hit as often as the rule or more: (1 + rounds in which it did) / (1 + rounds).
    pub p_value: f64,
}

/// Compares pages with the clock; `None` without pages. The same input gives the same numbers.
pub fn compare(series: &[Shuffled]) -> Option<Clock> {
    let pages = series.iter().map(|s| s.pages.len() as u64).sum::<u64>();
    if pages == 0 {
        return None;
    }
    let count = |shift: &mut dyn FnMut(&Shuffled) -> i64| {
        let (mut hits, mut found) = (0u64, 0u64);
        for s in series {
            let shift = shift(s);
            let mut seen = vec![false; s.windows.len()];
            for page in &s.pages {
                let t = turned(*page, shift, s.span);
                let mut hit = false;
                for (i, (first, last)) in s.windows.iter().enumerate() {
                    if (*first..=*last).contains(&t) {
                        hit = true;
                        seen[i] = true;
                    }
                }
                hits += u64::from(hit);
            }
            found += seen.iter().filter(|s| **s).count() as u64;
        }
        (hits, found)
    };
    let (hits, found) = count(&mut |_| 0);
    let mut random = SplitMix(0x5eed_0f51_9a5b_a2d1);
    let (mut at_least, mut sum, mut sum_found) = (0u32, 0u64, 0u64);
    for _ in 0..ROUNDS {
        let (h, f) = count(&mut |s| {
            let length = s.span.1.saturating_sub(s.span.0).max(1).unsigned_abs();
            i64::try_from(random.below(length)).unwrap_or(0)
        });
        at_least += u32::from(h >= hits);
        sum += h;
        sum_found += f;
    }
    let overlaps =
        |s: &&Shuffled| s.windows.iter().filter(|w| w.1 >= s.span.0 && w.0 <= s.span.1).count() as u64;
    Some(Clock {
        pages,
        hits,
        windows: series.iter().map(|s| overlaps(&s)).sum(),
        found,
        clock_share: sum as f64 / (f64::from(ROUNDS) * pages as f64),
        clock_found: sum_found as f64 / f64::from(ROUNDS),
        p_value: f64::from(1 + at_least) / f64::from(1 + ROUNDS),
    })
}

fn turned(t: Timestamp, shift: i64, (first, last): (Timestamp, Timestamp)) -> Timestamp {
    let length = last.saturating_sub(first).saturating_add(1).max(1);
    first.saturating_add(t.saturating_sub(first).saturating_add(shift).rem_euclid(length))
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to turn clocks.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n - 1`; 0 for 0.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_knows_beats_the_clock_and_one_that_does_not_is_no_better() {
        let windows: Vec<(i64, i64)> = (0..10).map(|i| (i * 10_000, i * 10_000 + 999)).collect();
        let span = (0, 99_999);
        let knows =
            Shuffled { pages: windows.iter().map(|w| w.0 + 5).collect(), windows: windows.clone(), span };
        let clock = compare(&[knows]).unwrap();
        assert_eq!((clock.hits, clock.found, clock.windows), (10, 10, 10));
        assert!((clock.clock_share - 0.1).abs() < 0.02, "{clock:?}");
        // All ten move together, so one turn in ten hits them all.
        assert!((0.05..0.15).contains(&clock.p_value), "{clock:?}");
        let many: Vec<Shuffled> = (0..10)
            .map(|i| Shuffled { pages: vec![i * 10_000 + 5], windows: vec![windows[i as usize]], span })
            .collect();
        let clock = compare(&many).unwrap();
        assert!(clock.p_value < 0.001, "independent series: {clock:?}");
        let blind: Vec<Shuffled> = (0..10)
            .map(|i| Shuffled { pages: vec![i * 9_100 + 4000], windows: windows.clone(), span })
            .collect();
        let clock = compare(&blind).unwrap();
        assert!(clock.p_value > 0.2 && clock.hits <= 2, "{clock:?}");
        assert!(compare(&[Shuffled::default()]).is_none());
        assert_eq!(compare(&blind), compare(&blind), "the same every time");
    }

    #[test]
    fn pages_turn_around_within_their_span() {
        assert_eq!(turned(5, 0, (0, 9)), 5);
        assert_eq!(turned(5, 7, (0, 9)), 2);
        assert_eq!(turned(105, 4, (100, 109)), 109);
        assert_eq!(turned(105, 5, (100, 109)), 100);
        assert_eq!(turned(3, 9, (3, 3)), 3);
    }
}
