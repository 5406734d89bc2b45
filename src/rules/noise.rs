//! How far out the values of a rule are of themselves, and what noise like that will reach.
//!
//! The first page of a rule has to be worth it, because everything that is worse than it pages as well, whatever the budget says: after a
//! page for a level that noise reaches `r` times in the budget's time come ln(1 + r) records, roughly. So a page that is not worse than the one before must
//! be farther out than noise. What noise reaches is measured before anything fires: the life of each series is cut into spells of 15 minutes,
//! and of each counts how far out its values stayed for as long as a band's `for` asks. Of the farthest tenth of the spells, k of them, u is the
//! least. Single values are taken for a power law: with γ the mean of ln(x/u) (Hill 1975), u·(k/q)^γ is reached q times in the same time
//! (Weissman 1978). What lasts has a lighter tail, since many values have to be far out at once (of m independent ones with a power law the exponent is m times
//! as large): exponential, u + mean(x - u)·ln(k/q). The tails of most noise are lighter still, so this errs on the side of fewer pages.

use crate::model::Timestamp;
use crate::sigma::PageBudget;

/// The farthest spells that are remembered.
pub const KEPT: usize = 32;
/// How long a spell is, ms, and the first of a series, which double until then; longer where a `for` is.
const SPELL_MS: i64 = 900_000;
const FIRST_MS: i64 = 60_000;
/// One of so many spells belongs to the tail.
const TAIL: f64 = 10.0;
/// Noise may reach what a page needs so often in the budget's time, as a share of the budget: single values, whose tail is hard to know, and what lasts.
const ALLOWED: (f64, f64) = (0.2, 1.0);
/// How long a stretch of spells is, as a share of the budget's time; two of them are remembered: what a young baseline made of its first days is no
/// measure for ever.
const STRETCH: f64 = 0.25;
/// So many spells are taken to have had this γ, or this mean excess as a share of u. Independent t(4) has 0.25, normal noise beyond 3σ 0.09: the heavier is
/// assumed.
const PRIOR: (f64, f64) = (4.0, 0.25);
const GAMMA: std::ops::RangeInclusive<f64> = 0.03..=1.0;

/// One series: the spell that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spell {
    for_ms: i64,
    /// How long it is, and when it is over, ms.
    length: i64,
    end: Timestamp,
    /// How far out the values stayed, σ.
    reach: f64,
    /// The least of the piece that goes on, a quarter of the `for` long, and of the two before it: any stretch as long as the `for`
    /// has three whole pieces within it.
    pieces: [f64; 3],
    piece_end: Timestamp,
    /// It has something in it that people were paged for, which is not noise.
    paged: bool,
}

impl Spell {
    pub fn new(for_ms: i64, now: Timestamp) -> Self {
        let length = for_ms.max(FIRST_MS);
        Self {
            for_ms,
            length,
            end: now.saturating_add(length),
            reach: 0.0,
            pieces: [0.0; 3],
            piece_end: now,
            paged: false,
        }
    }

    pub fn for_ms(&self) -> i64 {
        self.for_ms
    }

    /// A value was so far out. `calm`: nothing fires; what fires is one spell, however long. `paged`: people were told. Gives the
    /// spell when it is over.
    pub fn see(&mut self, now: Timestamp, distance: f64, calm: bool, paged: bool) -> Option<f64> {
        self.paged |= paged;
        // Far in the future is where a clock that was set back left it.
        if now >= self.piece_end || self.piece_end.saturating_sub(now) > self.for_ms / 4 {
            let [last, before, first] = self.pieces;
            self.reach = self.reach.max(if self.for_ms > 0 { last.min(before).min(first) } else { last });
            self.pieces = [distance, last, before];
            self.piece_end = now.saturating_add(self.for_ms / 4);
        } else {
            self.pieces[0] = self.pieces[0].min(distance);
        }
        let over = now >= self.end || self.end.saturating_sub(now) > 2 * self.length;
        if !over || !calm {
            return None;
        }
        let ended = (!self.paged).then_some(self.reach);
        self.length = (2 * self.length).min(self.for_ms.max(SPELL_MS));
        (self.end, self.reach, self.paged) = (now.saturating_add(self.length), 0.0, paged);
        ended
    }
}

/// The spells of a stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stretch {
    /// When its first spell began, ms.
    pub born: Timestamp,
    pub count: u32,
    /// How far out the farthest of them were, σ, the farthest first; nothing that stayed at the centre.
    pub kept: Vec<f64>,
}

impl Stretch {
    pub fn new(born: Timestamp) -> Self {
        Self { born, count: 0, kept: Vec::new() }
    }

    fn add(&mut self, reach: f64) {
        self.count = self.count.saturating_add(1);
        let at = self.kept.partition_point(|r| *r >= reach);
        if reach > 0.0 && reach.is_finite() && at < KEPT {
            self.kept.insert(at, reach);
            self.kept.truncate(KEPT);
        }
    }
}

/// What is known of one rule's noise over one `for`: the stretch that goes on, and the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    pub(super) for_ms: i64,
    /// It is that of a model that knows what it needs to know.
    pub(super) settled: bool,
    pub(super) before: Option<Stretch>,
    pub(super) now: Stretch,
}

impl Noise {
    pub fn new(for_ms: i64, born: Timestamp) -> Self {
        Self { for_ms, settled: false, before: None, now: Stretch::new(born) }
    }

    /// Since when it is known, ms.
    pub fn born(&self) -> Timestamp {
        self.before.as_ref().map_or(self.now.born, |b| b.born)
    }

    /// Nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.before.is_none() && self.now.count == 0
    }

    /// A clock that was set back since may have dated something in the future: from there on it would be young for as long.
    pub fn put_right(&mut self, now: Timestamp) {
        if self.born() > now {
            // How long it took is not known.
            *self = Self { settled: self.settled, ..Self::new(self.for_ms, now) };
        }
        self.now.born = self.now.born.min(now);
    }

    /// A spell of some series is over. `settled`: it was judged by a model that knows what it needs to know; what was seen before by one that did
    /// not says no more then, nor what is.
    pub fn add(&mut self, budget: PageBudget, now: Timestamp, reach: f64, settled: bool) {
        match (self.settled, settled) {
            (false, true) => *self = Self { settled, ..Self::new(self.for_ms, now) },
            (true, false) => return,
            _ => {}
        }
        if now.saturating_sub(self.now.born) as f64 >= STRETCH * budget.per.ms() as f64 {
            self.before = Some(std::mem::replace(&mut self.now, Stretch::new(now)));
        }
        self.now.add(reach);
    }

    /// Distance in σ that noise like the rule's own hardly reaches. Before the first spell is over, `sigma` is taken for what one reaches.
    pub fn reach(&self, budget: PageBudget, now: Timestamp, sigma: f64) -> f64 {
        let per = budget.per.ms().max(1) as f64;
        let age = now.saturating_sub(self.born()).max(self.for_ms.max(FIRST_MS)) as f64;
        let stretches = || self.before.iter().chain([&self.now]);
        let count: f64 = stretches().map(|s| f64::from(s.count)).sum();
        let mut tail: Vec<f64> = stretches().flat_map(|s| s.kept.iter().copied()).collect();
        tail.sort_unstable_by(|a, b| b.total_cmp(a));
        tail.truncate((count / TAIL).ceil().clamp(1.0, KEPT as f64) as usize);
        if count <= 0.0 {
            tail.push(sigma);
        }
        let Some(least) = tail.last() else { return 0.0 };
        let n = tail.len() as f64;
        let known = |prior: f64, excess: f64| (prior + excess) / (PRIOR.0 + n - 1.0);
        let often =
            n * (per / age) / (f64::from(budget.pages) * if self.for_ms > 0 { ALLOWED.1 } else { ALLOWED.0 });
        if self.for_ms > 0 {
            let scale = known(PRIOR.0 * PRIOR.1 * least, tail.iter().map(|x| x - least).sum());
            return least + scale * often.ln().max(0.0);
        }
        let gamma = known(PRIOR.0 * PRIOR.1, tail.iter().map(|x| (x / least).ln()).sum());
        least * often.powf(gamma.clamp(*GAMMA.start(), *GAMMA.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const HOUR: i64 = DAY / 24;

    fn budget() -> PageBudget {
        "2 per 30d".parse().unwrap()
    }

    #[test]
    fn the_tail_of_the_spells_says_what_noise_will_reach() {
        // 24 spells a day with the quantiles of a power law, γ = 1/4: (720 / 0.4)^¼ = 6.5 is reached 0.4 times in 30 days.
        let mut noise = Noise { settled: true, ..Noise::new(0, 0) };
        let at = |i: i64| (((i * 7 % 359) as f64 + 0.5) / 359.0).powf(-0.25);
        for i in 0..1080 {
            noise.add(budget(), i * HOUR, at(i), true);
            if i > 300 {
                let reach = noise.reach(budget(), i * HOUR, 3.0);
                assert!((reach / 6.51 - 1.0).abs() < 0.25, "{i} {reach}");
            }
        }
        // Calm days, and it is forgotten.
        for i in 1080..1800 {
            noise.add(budget(), i * HOUR, 0.0, true);
        }
        assert_eq!(noise.reach(budget(), 1800 * HOUR, 3.0), 0.0);
    }

    #[test]
    fn the_younger_a_rule_the_farther_noise_may_reach() {
        let mut noise = Noise { settled: true, ..Noise::new(0, 0) };
        // Nothing is known yet: (43200 / 0.4)^¼ times the band.
        let reach = noise.reach(budget(), 0, 3.0);
        assert!((54.0..55.0).contains(&reach), "{reach}");
        let (mut before, mut now) = (reach, 0);
        for (days, below) in [(1, 12.0), (3, 7.0), (7, 5.0)] {
            while now < days * DAY {
                // Farther out each time than the time before, within 2 to 3 σ.
                now += SPELL_MS;
                noise.add(budget(), now, 2.0 + ((now / SPELL_MS * 7) % 96) as f64 / 96.0, true);
            }
            let reach = noise.reach(budget(), days * DAY, 3.0);
            assert!(reach < before && reach < below, "{days} {reach}");
            before = reach;
        }
    }

    #[test]
    fn what_a_model_said_before_it_knew_enough_is_forgotten() {
        let mut noise = Noise::new(0, 0);
        noise.add(budget(), HOUR, 50.0, false);
        noise.add(budget(), 24 * HOUR, 1.0, true);
        noise.add(budget(), 25 * HOUR, 60.0, false);
        assert_eq!((noise.born(), &noise.now.kept[..]), (24 * HOUR, &[1.0][..]));
    }

    #[test]
    fn a_spell_is_as_far_out_as_its_values_stay() {
        // (for, distances every minute, how far the first spell was)
        let lone = |i: i64| if i == 7 { 9.0 } else { 1.0 };
        let long = |i: i64| if (3..14).contains(&i) { 9.0 } else { 1.0 };
        for (minutes, distance, expect) in
            [(0, lone as fn(i64) -> f64, 9.0), (5, lone, 1.0), (5, long, 9.0), (20, long, 1.0)]
        {
            let mut spell = Spell::new(minutes * 60_000, 0);
            spell.length = SPELL_MS;
            spell.end = SPELL_MS;
            let first = (0..60).find_map(|i| spell.see(i * 60_000, distance(i), true, false));
            assert_eq!(first, Some(expect), "{minutes}");
        }
    }

    #[test]
    fn what_people_were_paged_for_is_no_noise_and_what_fires_is_one_spell() {
        let mut spell = Spell { length: SPELL_MS, end: SPELL_MS, ..Spell::new(0, 0) };
        let mut over = Vec::new();
        for i in 0..120 {
            let (calm, paged) = (!(10..50).contains(&i), (70..80).contains(&i));
            if let Some(reach) = spell.see(i * 60_000, i as f64, calm, paged) {
                over.push(reach);
            }
        }
        // To minute 50, to 65, (paged), to 95, to 110.
        assert_eq!(over, [49.0, 64.0, 94.0, 109.0]);
    }

    #[test]
    fn a_clock_that_was_set_back_ends_the_spell() {
        for for_ms in [0, 300_000] {
            let mut spell = Spell::new(for_ms, 1000 * DAY);
            spell.see(1000 * DAY, 1.0, true, false);
            assert!(spell.see(0, 2.0, true, false).is_some());
            let next = (1..40).find_map(|i| spell.see(i * 60_000, 2.0, true, false));
            assert_eq!(next, Some(2.0), "{for_ms}");
        }
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_dated_is_no_younger_for_ever() {
        let mut noise = Noise { settled: true, ..Noise::new(0, 400 * DAY) };
        noise.add(budget(), 400 * DAY, 3.0, true);
        let mut later = Noise { settled: true, ..Noise::new(0, 0) };
        later.add(budget(), DAY, 3.0, true);
        later.add(budget(), 400 * DAY, 3.0, true);
        for mut noise in [noise, later] {
            for i in 100..100 + 20 * 96 {
                noise.put_right(i * SPELL_MS);
                let reach = if i < 100 + 96 { 3.0 } else { 1.0 };
                noise.add(budget(), i * SPELL_MS, reach, true);
            }
            let reach = noise.reach(budget(), (100 + 20 * 96) * SPELL_MS, 3.0);
            assert!(reach < 2.0, "{reach}");
        }
    }

    #[test]
    fn what_is_hardly_a_number_is_no_infinity() {
        let mut noise = Noise { settled: true, ..Noise::new(300_000, 0) };
        for i in 1..20 {
            noise.add(budget(), i * SPELL_MS, if i == 9 { 3.0 } else { 1e-310 }, true);
        }
        let reach = noise.reach(budget(), 20 * SPELL_MS, 3.0);
        assert!(reach.is_finite() && reach < 20.0, "{reach}");
    }
}
