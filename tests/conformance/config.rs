//! `config`: Prometheus's configuration files. A good file that uses a part that sideband does not have is
//! left out when it is refused for just that.

use std::path::Path;

use sideband::config::{Inputs, load, load_to_run};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let table = std::fs::read_to_string(dir.join("expected.tsv")).expect("expected.tsv");
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        let (file, expect, features) = (cells[0], cells[1], cells.get(3).copied().unwrap_or_default());
        // Files of the other part of the corpus may be missing: what matters for a good file is how it reads.
        let path = dir.join(file);
        let result = if expect == "ok" { load(&path) } else { load_to_run(&path, &mut Inputs::default()) };
        let reasons = match &result {
            Ok(_) => String::new(),
            Err(errors) => errors.iter().map(|e| format!("{e}; ")).collect(),
        };
        if expect == "ok" && reasons.contains("is not built yet") && features != "core" {
            tally.leave_out(file, reasons);
            continue;
        }
        tally.case(file, || match (expect, &result) {
            ("ok", Ok(_)) | ("error", Err(_)) => Ok(()),
            ("ok", _) => Err(reasons),
            _ => Err("accepted".to_owned()),
        });
    }
}
