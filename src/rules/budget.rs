//! What a page needs: the budget of pages, enforced by widening, and the quiet after a page.
//!
//! Bands fire at their own σ; that freezes the baseline, and it is what is drawn. Whether a firing is a *page* depends on what people were
//! paged for before. This is the only place where that is decided. Each page widens what a page needs (`after_page.widen`), the
//! series that paged is quiet for a while (`after_page.quiet`), and once the budget is spent only something worse than what was last
//! paged for passes. Something worse always passes. What is not worse must be farther out than the rule's own noise reaches
//! ([`super::noise`]). Pure: `now` comes in, and nothing here can fail.

use crate::model::Timestamp;
use crate::sigma::{AfterPagePlan, MAX_BANDS, PageBudget};

use super::file::{RuleSpec, SigmaSpec};
use super::pages::PageHistory;
use super::sigma_rule::band_pages;

/// A band that pages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PagingBand {
    pub sigma: f64,
    pub for_ms: i64,
}

/// What a rule says of its pages.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) budget: Option<PageBudget>,
    pub(super) after: AfterPagePlan,
    /// By the index of the band; `None` for those that do not page.
    pub(super) bands: Vec<Option<PagingBand>>,
}

/// A number for each band of a rule.
pub(super) type ByBand = [f64; MAX_BANDS];

impl Policy {
    /// That of a rule.
    pub fn of(rule: &RuleSpec, spec: &SigmaSpec) -> Self {
        let config = spec.detector.config();
        let band = |(i, b): (usize, &crate::sigma::Band)| {
            band_pages(rule, spec, i).then_some(PagingBand { sigma: b.sigma, for_ms: b.for_.ms() })
        };
        Self {
            budget: config.page_budget,
            after: config.after_page.plan(config.page_budget.is_some()),
            bands: config.bands.iter().enumerate().map(band).collect(),
        }
    }

    pub(super) fn pages(&self, band: usize) -> bool {
        self.bands.get(band).is_some_and(Option::is_some)
    }

    /// The σ of the lowest paging band; infinite when none pages.
    pub fn lowest(&self) -> f64 {
        self.first().1
    }

    /// Index and σ of the lowest paging band.
    pub(super) fn first(&self) -> (usize, f64) {
        let mut bands = self.bands.iter().enumerate().filter_map(|(i, b)| Some((i, b.as_ref()?.sigma)));
        bands.next().unwrap_or((0, f64::INFINITY))
    }
}

/// Why a band that fires is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This series paged a short while ago.
    Quiet,
    /// Pages before this one widened the bands.
    Widened,
    /// The budget is spent.
    Spent,
    /// Noise like the rule's own reaches that far.
    Noise,
}

/// What a page of the rule needs now, whatever the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// Every paging band is wider by this.
    pub factor: f64,
    /// The budget is spent.
    pub spent: bool,
    /// What is worse than this was not paged for yet; infinite before the first page, and without a budget.
    pub worse: f64,
    /// What the rule's own noise reaches, by band; 0 where that is less than the band's σ.
    pub noise: ByBand,
}

impl Level {
    pub fn of(policy: &Policy, rule: &PageHistory, now: Timestamp) -> Self {
        let Some(budget) = policy.budget else {
            return Self { factor: 1.0, spent: false, worse: f64::INFINITY, noise: [0.0; MAX_BANDS] };
        };
        let spent = rule.used(budget, now) >= budget.pages as usize;
        let mut noise = [0.0; MAX_BANDS];
        for (band, out) in policy.bands.iter().zip(&mut noise).filter(|_| !spent) {
            let Some(PagingBand { sigma, for_ms }) = *band else { continue };
            let reach = rule.noise_reaches(budget, now, (sigma, for_ms));
            *out = if reach > sigma { reach } else { 0.0 };
        }
        Self {
            factor: rule.widening().factor(&policy.after, now),
            spent,
            worse: rule.last().map_or(f64::INFINITY, |page| page.zscore * policy.after.worse),
            noise,
        }
    }

    /// From which distance on the lowest band pages.
    pub fn from(&self, policy: &Policy) -> f64 {
        Bar { rule: *self, factor: self.factor, quiet: false, own: 0.0, worse: self.worse }.from(policy)
    }
}

/// The same for one series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub rule: Level,
    /// Every paging band of this series is wider by this.
    pub factor: f64,
    /// It is the quiet time of this series.
    pub quiet: bool,
    /// Worse than this, something is worse than what this series was last paged for.
    pub own: f64,
    /// And than what was last paged for: of the rule with a budget, of the series without.
    pub worse: f64,
}

impl Bar {
    /// Is something `distance` σ away enough for a page of the band with this index and sigma?
    pub fn passes(&self, band: usize, sigma: f64, distance: f64) -> bool {
        let enough = || {
            !self.rule.spent
                && distance >= sigma * self.factor
                && distance > self.rule.noise.get(band).copied().unwrap_or(0.0)
                && (!self.quiet || distance > self.own)
        };
        distance >= sigma && (distance > self.worse || enough())
    }

    /// Nothing is held back of a band with this index, nor of those below.
    pub fn is_open(&self, top: usize) -> bool {
        let noise = self.rule.noise.iter().take(top + 1).any(|n| *n > 0.0);
        self.factor <= 1.0 && !self.rule.spent && !self.quiet && !noise
    }

    /// From which distance on the lowest band pages.
    pub fn from(&self, policy: &Policy) -> f64 {
        let (band, sigma) = policy.first();
        let worse = self.worse.max(sigma);
        let noise = self.rule.noise.get(band).copied().unwrap_or(0.0);
        let enough = (sigma * self.factor).max(if self.quiet { self.own } else { 0.0 }).max(noise);
        if self.rule.spent { worse } else { enough.min(worse) }
    }

    /// Why something so far away, for which the lowest band fires, is held back.
    pub fn reason(&self, policy: &Policy, distance: f64) -> Reason {
        let without = Self { rule: Level { noise: [0.0; MAX_BANDS], ..self.rule }, ..*self };
        let (band, sigma) = policy.first();
        match self {
            _ if without.passes(band, sigma, distance) => Reason::Noise,
            Self { rule: Level { spent: true, .. }, .. } => Reason::Spent,
            Self { quiet: true, .. } => Reason::Quiet,
            _ => Reason::Widened,
        }
    }
}
