//! `durations`: what is a duration, and how it prints.

use std::path::Path;

use sideband::model::Duration;

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let text = std::fs::read_to_string(dir.join("durations.jsonl")).expect("durations.jsonl");
    for line in text.lines().filter(|l| !l.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        tally.case(line, || {
            let input = case["input"].as_str().unwrap_or_default();
            let signed =
                case.get("negative_allowed").and_then(serde_json::Value::as_bool).unwrap_or_default();
            let read = if signed { Duration::parse_signed(input) } else { input.parse() };
            match (read, case.get("ms").and_then(serde_json::Value::as_i64)) {
                (Ok(d), Some(ms))
                    if d.ms() == ms && Some(d.to_string().as_str()) == case["text"].as_str() =>
                {
                    Ok(())
                }
                (Err(_), None) => Ok(()),
                (read, _) => Err(format!("{read:?}")),
            }
        });
    }
}
