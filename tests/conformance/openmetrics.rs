//! `openmetrics`: the OpenMetrics project's own pages, good and bad, read strictly.

use std::path::Path;

use sideband::exposition::strict;

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let mut cases: Vec<_> =
        std::fs::read_dir(dir).expect("openmetrics").filter_map(|e| Some(e.ok()?.path())).collect();
    cases.sort();
    for case in cases.iter().filter(|c| c.is_dir()) {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tally.case(&name, || {
            let page = std::fs::read(case.join("metrics")).map_err(|e| e.to_string())?;
            let meta = std::fs::read_to_string(case.join("test.json")).map_err(|e| e.to_string())?;
            let meta: serde_json::Value = serde_json::from_str(&meta).map_err(|e| e.to_string())?;
            match (strict::check(&page), meta["shouldParse"].as_bool()) {
                (Ok(()), Some(true)) | (Err(_), Some(false)) => Ok(()),
                (result, wanted) => Err(format!("{result:?}, should parse: {wanted:?}")),
            }
        });
    }
}
