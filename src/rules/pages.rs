//! How often a sigma rule paged, what people said of it, and how wide its bands are because of that.

use std::collections::VecDeque;

use crate::model::Timestamp;
use crate::sigma::{AfterPagePlan, MAX_BANDS, PageBudget, coin_p_value};

use super::noise::Noise;
use super::widening::Widening;

/// How far back an explanation counts, ms: 30 days.
pub const EXPLAINED_MS: i64 = 30 * 86_400_000;
/// Pages that are remembered one by one; of older ones only the sums stay.
pub const REMEMBERED: usize = 1000;
/// How much later than the page an alert that belongs to it may have begun to fire, ms: see [`super::budget`].
pub const JOIN_MS: i64 = 600_000;

/// Less than `ms` lie between two times, whichever is first: what a clock that was far ahead has dated is not near for ever.
pub(super) fn near(a: Timestamp, b: Timestamp, ms: i64) -> bool {
    a.abs_diff(b) < ms.max(0).unsigned_abs()
}

/// A page that a rule caused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageRecord {
    /// When it went out, ms.
    pub t: Timestamp,
    /// Fingerprint of the labels of the series that paged.
    pub series: u64,
    /// How far the value was from the centre at its worst while the page lasted, in σ, without sign.
    pub zscore: f64,
    /// What a person said of it.
    pub useful: Option<bool>,
}

/// Pages counted by what people said of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub pages: u64,
    pub useful: u64,
    pub useless: u64,
}

impl Tally {
    fn add(&mut self, page: &PageRecord) {
        self.pages += 1;
        self.useful += u64::from(page.useful == Some(true));
        self.useless += u64::from(page.useful == Some(false));
    }

    /// Pages of which nobody said anything.
    pub fn unjudged(&self) -> u64 {
        self.pages.saturating_sub(self.useful + self.useless)
    }

    /// The chance that a coin would do at least as well on the judged pages (exact binomial test, p₀ = ½); 1 when none was judged.
    pub fn p_value(&self) -> f64 {
        coin_p_value(self.useful, self.useful + self.useless)
    }
}

/// The pages of one rule over all its series, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageHistory {
    pages: VecDeque<PageRecord>,
    /// Those that are not remembered one by one any more.
    older: Tally,
    widening: Widening,
    noise: Vec<Noise>,
}

impl PageHistory {
    /// As it was stored.
    pub(super) fn restored(
        pages: Vec<PageRecord>,
        older: Tally,
        widening: Widening,
        noise: Vec<Noise>,
    ) -> Self {
        let mut history = Self { pages: VecDeque::new(), older, widening, noise };
        for page in pages {
            history.remember(page);
        }
        history
    }

    fn remember(&mut self, record: PageRecord) {
        if self.pages.len() >= REMEMBERED
            && let Some(oldest) = self.pages.pop_front()
        {
            self.older.add(&oldest);
        }
        self.pages.push_back(record);
    }

    /// A page went out: it is remembered, and the bands widen.
    pub(super) fn push(&mut self, after: &AfterPagePlan, record: PageRecord) {
        self.widening.paged(after, record.t);
        self.remember(record);
    }

    /// The page that went out at `page` lasts, and is `distance` σ away now. Only the last page says what is worse than it.
    pub(super) fn goes_on(&mut self, page: Timestamp, distance: f64) {
        if let Some(last) =
            self.pages.back_mut().filter(|p| p.t == page && distance > p.zscore && distance.is_finite())
        {
            last.zscore = distance;
        }
    }

    /// The pages that are remembered, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &PageRecord> + ExactSizeIterator {
        self.pages.iter()
    }

    /// The last page.
    pub fn last(&self) -> Option<&PageRecord> {
        self.pages.back()
    }

    pub(super) fn older(&self) -> Tally {
        self.older
    }

    /// How wide the paging bands are.
    pub fn widening(&self) -> &Widening {
        &self.widening
    }

    /// What is known of the rule's noise over this `for`, which is watched from now on at the latest.
    pub(super) fn noise_over(&mut self, for_ms: i64, now: Timestamp) -> &mut Noise {
        let at = self.noise.iter().position(|n| n.for_ms == for_ms).unwrap_or_else(|| {
            // As many as a rule has bands; those of bands that are gone go.
            if self.noise.len() >= MAX_BANDS {
                self.noise.remove(0);
            }
            self.noise.push(Noise::new(for_ms, now));
            self.noise.len() - 1
        });
        &mut self.noise[at]
    }

    /// What the rule's own noise reaches for so long, σ; `sigma` is that of the band.
    pub(super) fn noise_reaches(
        &self,
        budget: PageBudget,
        now: Timestamp,
        (sigma, for_ms): (f64, i64),
    ) -> f64 {
        let known = self.noise.iter().find(|n| n.for_ms == for_ms);
        known.map_or_else(
            || Noise::new(for_ms, now).reach(budget, now, sigma),
            |n| n.reach(budget, now, sigma),
        )
    }

    /// What was learnt of the noise elsewhere, where that reaches farther back.
    pub(super) fn learn_noise(&mut self, other: Self) {
        for noise in other.noise {
            let known = self.noise_over(noise.for_ms, noise.born());
            if known.is_empty() || known.born() > noise.born() {
                *known = noise;
            }
        }
    }

    /// The rule judges something else from now on: how far that was out says nothing any more.
    pub(super) fn forget_noise(&mut self) {
        self.noise.clear();
    }

    /// The clock may have been set back.
    pub(super) fn put_right(&mut self, now: Timestamp) {
        self.noise.iter_mut().for_each(|n| n.put_right(now));
    }

    pub(super) fn noise(&self) -> &[Noise] {
        &self.noise
    }

    /// Pages that count towards the budget at `now`.
    pub fn used(&self, budget: PageBudget, now: Timestamp) -> usize {
        self.within(now, budget.per.ms()).count()
    }

    fn within(&self, now: Timestamp, per_ms: i64) -> impl Iterator<Item = &PageRecord> {
        // The clock may have been set back: a page of the future counts, unless it is so far ahead that it would count for ever.
        self.pages.iter().rev().filter(move |p| near(now, p.t, per_ms))
    }

    /// Pages within `per_ms` before `now`.
    pub fn tally(&self, now: Timestamp, per_ms: i64) -> Tally {
        let mut tally = Tally::default();
        self.within(now, per_ms).for_each(|p| tally.add(p));
        tally
    }

    /// All pages that there ever were.
    pub fn tally_all(&self) -> Tally {
        let mut tally = self.older;
        self.pages.iter().for_each(|p| tally.add(p));
        tally
    }

    /// One sentence for people, of the last 30 days.
    pub fn sentence(&self, now: Timestamp) -> String {
        let t = self.tally(now, EXPLAINED_MS);
        let times = if t.pages == 1 { "once".to_owned() } else { format!("{} times", t.pages) };
        let unjudged = t.unjudged();
        format!(
            "This rule paged {times} in 30 days: {} useful, {} useless, {unjudged} not judged.",
            t.useful, t.useless
        )
    }

    /// Marks the page to which an alert of a series belongs that fired from `from` to `to` (ms): of its own series, or the page that
    /// it joined. Says whether there was one.
    pub fn mark(&mut self, series: u64, from: Timestamp, to: Timestamp, useful: bool) -> bool {
        let near = |p: &PageRecord| p.t >= from.saturating_sub(JOIN_MS) && p.t <= to;
        let own = self.pages.iter().rposition(|p| near(p) && p.t >= from && p.series == series);
        let joined = || self.pages.iter().rposition(|p| near(p) && p.t <= from);
        match own.or_else(joined).and_then(|i| self.pages.get_mut(i)) {
            Some(page) => {
                page.useful = Some(useful);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::AfterPage;

    fn page(t: Timestamp, series: u64) -> PageRecord {
        PageRecord { t, series, zscore: 4.0, useful: None }
    }

    #[test]
    fn what_people_said_is_counted() {
        let mut history = PageHistory::default();
        for (t, series) in [(0, 1), (10 * JOIN_MS, 2), (20 * JOIN_MS, 1)] {
            history.push(&AfterPage::default().plan(false), page(t, series));
        }
        // (series, alert from, to, found)
        for (series, from, to, found) in [
            (1, -5, 5, true),
            (2, 10 * JOIN_MS, i64::MAX, true),
            (7, 20 * JOIN_MS + 5, i64::MAX, true),
            (7, 22 * JOIN_MS, i64::MAX, false),
            (1, -9, -5, false),
        ] {
            assert_eq!(history.mark(series, from, to, series == 1), found, "{series} {from} {to}");
        }
        let said: Vec<_> = history.iter().map(|p| p.useful).collect();
        assert_eq!(said, [Some(true), Some(false), Some(false)]);
        // The last word counts.
        assert!(history.mark(2, 10 * JOIN_MS, i64::MAX, true));
        let tally = history.tally(20 * JOIN_MS, EXPLAINED_MS);
        assert_eq!(tally, Tally { pages: 3, useful: 2, useless: 1 });
        assert!(tally.unjudged() == 0 && (tally.p_value() - 0.5).abs() < 1e-9);
        assert_eq!(
            history.sentence(20 * JOIN_MS),
            "This rule paged 3 times in 30 days: 2 useful, 1 useless, 0 not judged."
        );
        assert_eq!(history.tally(EXPLAINED_MS + 1, EXPLAINED_MS).pages, 2);
    }

    #[test]
    fn the_memory_is_bounded_and_loses_no_count() {
        let mut history = PageHistory::default();
        for i in 0..REMEMBERED as i64 + 5 {
            let record = PageRecord { useful: Some(i % 2 == 0), ..page(i, 1) };
            history.push(&AfterPage::default().plan(true), record);
        }
        assert_eq!(history.iter().len(), REMEMBERED);
        assert_eq!(history.tally_all(), Tally { pages: 1005, useful: 503, useless: 502 });
    }
}
