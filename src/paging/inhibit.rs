//! Inhibition: a firing alert mutes others.

use std::collections::BTreeSet;

use crate::model::{Fingerprint, Labels};
use crate::paging::matcher::Matchers;

/// When an alert that `source` matches is firing, those that `target` matches are muted, where both have the
/// same values for the labels in `equal` (absent and empty are the same).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InhibitRule {
    pub source: Matchers,
    pub target: Matchers,
    pub equal: BTreeSet<String>,
}

impl InhibitRule {
    /// Does this firing alert mute the target? An alert that matches both sides is not muted by one of
    /// which the same is true, nor by itself.
    fn mutes(&self, source: &Labels, target: &Labels, target_is_source: bool) -> bool {
        self.source.matches(source)
            && !(target_is_source && self.target.matches(source))
            && self.equal.iter().all(|name| source.get(name) == target.get(name))
    }
}

/// The firing alert by which `target` is muted, if any. `firing` are the label sets of the alerts that are
/// firing now.
pub fn inhibited_by<'a>(
    rules: &[InhibitRule],
    target: &Labels,
    firing: impl Iterator<Item = &'a Labels> + Clone,
) -> Option<Fingerprint> {
    rules.iter().filter(|rule| rule.target.matches(target)).find_map(|rule| {
        let target_is_source = rule.source.matches(target);
        firing.clone().find(|source| rule.mutes(source, target, target_is_source)).map(Labels::fingerprint)
    })
}
