//! `rulefmt`: which rule files are refused, and why.

use std::path::Path;

use sideband::rules::file::{Names, Options, load};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let table = std::fs::read_to_string(dir.join("expected.tsv")).expect("expected.tsv");
    for line in table.lines().skip(1).filter(|l| !l.is_empty()) {
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let (file, expect, contains, names) = (cell(), cell(), cell(), cell());
        tally.case(file, || {
            let names = if names == "legacy" { Names::Legacy } else { Names::Utf8 };
            let read = load(&dir.join(file), Options { names, ..Options::default() });
            match (read, expect) {
                (Ok(_), "ok") => Ok(()),
                (Err(errors), "error") => {
                    let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                    let part: String = serde_json::from_str(contains).unwrap_or_default();
                    if !text.contains(&part) {
                        return Err(format!("{part:?} is not in {text:?}"));
                    }
                    if errors.iter().any(|e| e.line == 0) { Err(format!("no line: {text}")) } else { Ok(()) }
                }
                (Ok(_), _) => Err("was accepted".to_owned()),
                (Err(errors), _) => Err(format!("{errors:?}")),
            }
        });
    }
}
