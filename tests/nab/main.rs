//! Scores labelled series with the rule in tests/nab/rules.yml: `cargo test --release --test nab -- DATA SCORES`.
//! DATA holds `<category>/<name>.csv` with the columns timestamp,value; SCORES gets the same files with a third column,
//! anomaly_score, of which 0.5 and more is a page. Rows are read in order and nothing looks ahead.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use sideband::rules::file::{Options, RuleKind, load};
use sideband::sigma::Detector;

/// One file; how many rows and how many pages it had.
fn score_file(detector: &Detector, from: &Path, to: &Path) -> Result<(usize, usize), Box<dyn Error>> {
    let text = std::fs::read_to_string(from)?;
    let (mut state, mut out, mut rows, mut pages) =
        (detector.start(), String::from("timestamp,value,anomaly_score\n"), 0, 0);
    for line in text.lines().skip(1).filter(|l| !l.is_empty()) {
        let (stamp, value) =
            line.split_once(',').ok_or_else(|| format!("{}: no comma in {line:?}", from.display()))?;
        let time: jiff::civil::DateTime =
            stamp.parse().map_err(|e| format!("{}: {stamp:?}: {e}", from.display()))?;
        let t = time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond();
        let score = detector.evaluate(&mut state, t, value.parse()?).score;
        writeln!(out, "{stamp},{value},{score}")?;
        rows += 1;
        pages += usize::from(score >= 0.5);
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(to, out)?;
    Ok((rows, pages))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [data, scores] = args.as_slice() else {
        println!("usage: cargo test --release --test nab -- DATA SCORES");
        return Ok(());
    };
    let file =
        load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nab/rules.yml")), Options::default())
            .map_err(|errors| format!("{errors:?}"))?;
    let rule = file.groups.first().and_then(|g| g.rules.first()).ok_or("no rule")?;
    let RuleKind::Sigma(spec) = &rule.kind else { return Err("no sigma rule".into()) };
    let (mut files, mut rows, mut pages) = (0, 0, 0);
    for category in std::fs::read_dir(data)? {
        let category = category?;
        if !category.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(category.path())? {
            let file = file?;
            let to = Path::new(scores).join(category.file_name()).join(file.file_name());
            let (r, p) = score_file(&spec.detector, &file.path(), &to)?;
            files += 1;
            rows += r;
            pages += p;
        }
    }
    println!("{files} files, {rows} rows, {pages} pages, the learning time of each file included");
    Ok(())
}
