//! `node_exporter`: the sample lines that node_exporter prints for the files in the folder. A case is a line;
//! it passes when the series is there with the same value, and its family has the same type and help.

#![allow(clippy::expect_used, reason = "a corpus that cannot be read is a failure")]

use std::collections::HashMap;
use std::path::Path;

use sideband::host::{Host, HostConfig, Sink};
use sideband::model::yaml;
use sideband::model::{Labels, MetricMetadata, MetricType, parse_float};

use crate::tally::Tally;

#[derive(Default)]
struct Collected {
    families: HashMap<String, MetricMetadata>,
    samples: HashMap<Labels, f64>,
}

impl Sink for Collected {
    fn family(&mut self, name: &str, metadata: MetricMetadata) {
        self.families.insert(name.to_owned(), metadata);
    }

    fn sample(&mut self, labels: &Labels, value: f64) {
        self.samples.insert(labels.clone(), value);
    }

    fn gone(&mut self, _labels: &Labels) {}
}

/// The flags of the folder's README, and every collector that is off by default.
const CONFIG: &str = r"
job: ''
instance: ''
collectors: {softirqs: true, interrupts: true}
cpu: {info: true, info_flags_include: '^(aes|avx.?|constant_tsc)$', info_bugs_include: '^(cpu_meltdown|spectre_.*|mds)$'}
stat: {softirq: true}
";

pub fn run(dir: &Path, tally: &mut Tally) {
    let mut config: HostConfig =
        yaml::parse(Path::new("host.yml"), CONFIG).expect("the configuration is good");
    config.procfs = dir.join("proc");
    config.sysfs = dir.join("sys");
    config.udev_data = dir.join("udev/data");
    let mut host = Host::new(&config).expect("the configuration is good");
    let mut collected = Collected::default();
    host.collect(0, &mut collected);

    let text = std::fs::read_to_string(dir.join("e2e-output.txt")).expect("e2e-output.txt");
    let mut helps: HashMap<&str, &str> = HashMap::new();
    let mut types: HashMap<&str, &str> = HashMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|r| r.split_once(' ')) {
            helps.insert(name, help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|r| r.split_once(' ')) {
            types.insert(name, kind);
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            tally.case(line, || check(line, &helps, &types, &collected));
        }
    }
}

fn check(
    line: &str,
    helps: &HashMap<&str, &str>,
    types: &HashMap<&str, &str>,
    collected: &Collected,
) -> Result<(), String> {
    let (series, value) = line.rsplit_once(' ').ok_or("no value")?;
    let expected = parse_float(value).ok_or("no number")?;
    let labels = labels(series).ok_or("no series")?;
    let found = collected.samples.get(&labels).ok_or("not there")?;
    if found.to_bits() != expected.to_bits() {
        return Err(format!("found {found}"));
    }
    let name = labels.metric_name();
    let family = collected.families.get(name).ok_or("no family")?;
    if let Some(help) = helps.get(name).filter(|help| **help != family.help) {
        return Err(format!("help {help:?}, found {:?}", family.help));
    }
    match types.get(name).and_then(|kind| MetricType::parse(kind)) {
        Some(kind) if kind != family.kind => Err(format!("type {kind}, found {}", family.kind)),
        _ => Ok(()),
    }
}

/// `name{a="b",c="d"}`; the values in the folder hold no quotes.
fn labels(series: &str) -> Option<Labels> {
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = vec![("__name__", name)];
    for pair in rest.strip_suffix('}')?.split("\",").filter(|p| !p.is_empty()) {
        let (label, value) = pair.split_once("=\"")?;
        pairs.push((label, value.strip_suffix('"').unwrap_or(value)));
    }
    Some(Labels::from_pairs(pairs))
}
