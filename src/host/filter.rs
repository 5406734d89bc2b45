//! Include and exclude expressions, asked once a name.

use std::collections::HashMap;

use regex::Regex;

use super::config::Pattern;

/// Decisions that are remembered; a machine with more names decides the rest anew each time.
const MAX_REMEMBERED: usize = 4096;

/// A name passes if the first expression (when there is one) matches and the second does not.
///
/// The compiled expressions are given back by [`Filter::rest`]: a name is decided once, and then they
/// are dead weight of some tens of kilobytes each.
pub(super) struct Filter {
    include: Pattern,
    exclude: Pattern,
    compiled: Option<(Option<Regex>, Option<Regex>)>,
    decided: HashMap<Box<str>, bool>,
}

impl Filter {
    pub fn new(include: Pattern, exclude: Pattern) -> Self {
        Self { include, exclude, compiled: None, decided: HashMap::new() }
    }

    /// Does the name pass?
    pub fn passes(&mut self, name: &str) -> bool {
        if self.include.is_empty() && self.exclude.is_empty() {
            return true;
        }
        if let Some(&decision) = self.decided.get(name) {
            return decision;
        }
        // Patterns were compiled when they were read, so one that does not compile is not met here.
        let compile = |p: &Pattern| if p.is_empty() { None } else { Regex::new(p.as_str()).ok() };
        let (include, exclude) =
            self.compiled.get_or_insert_with(|| (compile(&self.include), compile(&self.exclude)));
        let decision = include.as_ref().is_none_or(|r| r.is_match(name))
            && !exclude.as_ref().is_some_and(|r| r.is_match(name));
        if self.decided.len() < MAX_REMEMBERED {
            self.decided.insert(name.into(), decision);
        }
        decision
    }

    /// Gives back the compiled expressions until there is a new name.
    pub fn rest(&mut self) {
        self.compiled = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclude_wins_over_include() {
        for (include, exclude, passing) in [
            ("", "", &["sda", "sda1", "loop0"][..]),
            ("^sd", "", &["sda", "sda1"]),
            ("", r"\d$", &["sda"]),
            ("^sd", "1", &["sda"]),
        ] {
            let mut filter = Filter::new(Pattern::built_in(include), Pattern::built_in(exclude));
            for _ in 0..2 {
                let passed: Vec<&str> =
                    ["sda", "sda1", "loop0"].into_iter().filter(|n| filter.passes(n)).collect();
                assert_eq!(passed, passing, "{include} {exclude}");
                filter.rest();
            }
        }
    }
}
