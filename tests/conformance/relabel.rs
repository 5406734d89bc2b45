//! `relabel`: rules over label sets, which rules are refused, and which come out as they went in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sideband::model::{Labels, yaml};
use sideband::scrape::relabel::{NameValidation, RelabelConfig, RelabelRule, is_name_template, relabel};

use crate::tally::Tally;

#[derive(Deserialize)]
struct Case {
    labels: BTreeMap<String, String>,
    relabel_configs: Vec<RelabelConfig>,
    expected: Option<BTreeMap<String, String>>,
    #[serde(default)]
    dropped: bool,
}

#[derive(Deserialize)]
struct Validate {
    config: RelabelConfig,
    error: Option<String>,
    names: NameValidation,
}

#[derive(Deserialize)]
struct Template {
    target_label: String,
    valid_legacy: bool,
}

#[derive(Deserialize)]
struct RoundTrip {
    name: String,
    yaml: String,
}

fn read<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Vec<T> {
    let path = dir.join(name);
    let text = std::fs::read_to_string(&path).expect(name);
    yaml::parse(&path, &text).expect(name)
}

/// In these files an empty replacement counts as left out.
fn compile(config: &RelabelConfig, names: NameValidation) -> Result<RelabelRule, String> {
    let replacement = config.replacement.clone().filter(|r| !r.is_empty());
    RelabelConfig { replacement, ..config.clone() }.compile(names)
}

pub fn run(dir: &Path, tally: &mut Tally) {
    for (i, case) in read::<Case>(dir, "relabel.yml").into_iter().enumerate() {
        tally.case(format!("relabel.yml:{i}"), || {
            let rules = case.relabel_configs.iter().map(|c| compile(c, NameValidation::Utf8));
            let rules = rules.collect::<Result<Vec<_>, _>>()?;
            let got = relabel(&Labels::from_pairs(&case.labels), &rules);
            let want = case.expected.filter(|_| !case.dropped).map(Labels::from_pairs);
            if got == want { Ok(()) } else { Err(format!("got {got:?}, expected {want:?}")) }
        });
    }
    for (i, case) in read::<Validate>(dir, "validate.yml").into_iter().enumerate() {
        tally.case(format!("validate.yml:{i}"), || {
            let mut config = case.config;
            // As structures without the defaults of a file.
            config.action.get_or_insert_default();
            match (compile(&config, case.names), case.error) {
                (Ok(_), None) => Ok(()),
                (Err(got), Some(want)) if got.contains(&want) => Ok(()),
                (got, want) => Err(format!("got {got:?}, expected {want:?}")),
            }
        });
    }
    for case in read::<Template>(dir, "target_label_legacy.yml") {
        tally.case(format!("target_label_legacy.yml {}", case.target_label), || {
            let got = is_name_template(&case.target_label, NameValidation::Legacy);
            if got == case.valid_legacy { Ok(()) } else { Err(format!("got {got}")) }
        });
    }
    for case in read::<RoundTrip>(dir, "roundtrip.yml") {
        tally.case(format!("roundtrip.yml {}", case.name), || {
            // Written again with the defaults filled in, and read again, it is the same rule.
            let first: RelabelConfig = yaml::parse(dir, &case.yaml).map_err(|e| e.to_string())?;
            let written = first.to_yaml();
            let again: RelabelConfig =
                yaml::parse(dir, &written).map_err(|e| format!("{e} in {written:?}"))?;
            let same = again.with_defaults() == first.with_defaults()
                && first.compile(NameValidation::Utf8).is_ok() == again.compile(NameValidation::Utf8).is_ok();
            if same { Ok(()) } else { Err(format!("{first:?} became {again:?}")) }
        });
    }
}
