//! How often a sigma rule paged, what people said of it, and whether its budget is spent.

use std::collections::VecDeque;

use crate::model::Timestamp;
use crate::sigma::PageBudget;

/// How far back an explanation counts, ms: 30 days.
pub const EXPLAINED_MS: i64 = 30 * 86_400_000;
/// Pages that are remembered of a rule.
const REMEMBERED: usize = 200;

/// A page that a rule caused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageRecord {
    /// ms.
    pub t: Timestamp,
    /// How far the value was from the centre, in σ, without sign.
    pub zscore: f64,
    /// What a person said of it.
    pub useful: Option<bool>,
}

/// The pages of one rule, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageHistory(VecDeque<PageRecord>);

impl PageHistory {
    /// Remembers a page.
    pub fn push(&mut self, record: PageRecord) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    /// The pages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &PageRecord> {
        self.0.iter()
    }

    /// Pages within `per_ms` before `now`, and how many of them were marked useful.
    pub fn count(&self, now: Timestamp, per_ms: i64) -> (usize, usize) {
        let within = || self.0.iter().filter(|p| now.saturating_sub(p.t) < per_ms);
        (within().count(), within().filter(|p| p.useful == Some(true)).count())
    }

    /// Marks the newest page at or before `t`. Says whether there was one.
    pub fn mark(&mut self, t: Timestamp, useful: bool) -> bool {
        match self.0.iter_mut().rev().find(|p| p.t <= t) {
            Some(page) => {
                page.useful = Some(useful);
                true
            }
            None => false,
        }
    }

    /// May a page of this distance still go out? A spent budget lets only what is worse than every page
    /// that was counted.
    pub fn allows(&self, budget: Option<PageBudget>, now: Timestamp, zscore: f64) -> bool {
        let Some(budget) = budget else { return true };
        let counted = || self.0.iter().filter(|p| now.saturating_sub(p.t) < budget.per.ms());
        counted().count() < budget.pages as usize || counted().all(|p| p.zscore < zscore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_lets_only_the_worst_pass() {
        let budget: Option<PageBudget> = "2 per 30d".parse().ok();
        let mut history = PageHistory::default();
        for (t, zscore, allowed) in
            [(0, 4.0, true), (1_000, 3.0, true), (2_000, 3.5, false), (2_000, 9.0, true)]
        {
            assert_eq!(history.allows(budget, t, zscore), allowed, "{t} {zscore}");
            if allowed {
                history.push(PageRecord { t, zscore, useful: None });
            }
        }
        assert!(!history.allows(budget, 2_500, 8.0));
        assert!(history.allows(budget, EXPLAINED_MS + 2_000, 3.0), "old pages do not count");
        assert!(history.allows(None, 0, 3.0));
        assert!(history.mark(1_500, true) && !history.mark(-1, true));
        assert_eq!(history.count(2_000, EXPLAINED_MS), (3, 1));
    }
}
