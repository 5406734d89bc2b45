//! Counting cases, and the committed table of counts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// What became of a folder's cases.
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub left_out: usize,
    verbose: bool,
}

impl Tally {
    pub fn new(verbose: bool) -> Self {
        Self { passed: 0, failed: 0, left_out: 0, verbose }
    }

    /// Runs one case; a panic is a failure of that case alone.
    pub fn case<E: Display>(&mut self, name: impl Display, check: impl FnOnce() -> Result<(), E>) {
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(Ok(())) => self.passed += 1,
            Ok(Err(why)) => self.fail(name, &why),
            Err(_) => self.fail(name, &"panicked"),
        }
    }

    fn fail(&mut self, name: impl Display, why: &dyn Display) {
        self.failed += 1;
        if self.verbose {
            println!("  FAIL {name}: {why}");
        }
    }

    /// A case that is not run, and why.
    pub fn leave_out(&mut self, name: impl Display, why: impl Display) {
        self.left_out += 1;
        if self.verbose {
            println!("  left out {name}: {why}");
        }
    }
}

/// `folder<TAB>passed<TAB>failed<TAB>left out`, one line a folder.
pub struct Table(BTreeMap<String, (usize, usize, usize)>);

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/table.tsv")
}

impl Table {
    pub fn load() -> Self {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let rows = text.lines().skip(1).filter_map(|line| {
            let mut cells = line.split('\t');
            let name = cells.next()?.to_owned();
            let mut number = || cells.next()?.parse().ok();
            Some((name, (number()?, number()?, number()?)))
        });
        Self(rows.collect())
    }

    /// A message when the tally is worse than the table. Another corpus (another number of cases)
    /// is only counted.
    pub fn compare(&self, name: &str, tally: &Tally) -> Option<String> {
        let &(passed, failed, left_out) = self.0.get(name)?;
        let same_corpus = passed + failed + left_out == tally.passed + tally.failed + tally.left_out;
        (same_corpus && tally.passed < passed)
            .then(|| format!("{name}: {passed} passed before, {} now", tally.passed))
    }

    pub fn record(&mut self, name: &str, tally: &Tally) {
        self.0.insert(name.to_owned(), (tally.passed, tally.failed, tally.left_out));
    }

    pub fn save(&self) {
        let mut text = String::from("folder\tpassed\tfailed\tleft out\n");
        for (name, (p, f, n)) in &self.0 {
            text += &format!("{name}\t{p}\t{f}\t{n}\n");
        }
        std::fs::write(path(), text).expect("the table can be written");
    }
}
