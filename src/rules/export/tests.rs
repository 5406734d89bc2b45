use std::path::Path;

use super::super::file::{Options, parse};
use super::*;

fn exported(text: &str) -> Exported {
    let file = parse(Path::new("r.yml"), text, Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
    export(&[file])
}

const HEAD: &str = "groups:\n- name: g\n  interval: 15s\n  rules:\n";

#[test]
fn what_is_exported_is_a_rule_file() {
    let text = format!(
        "{HEAD}  - {{record: 'a:b', expr: sum(x), labels: {{k: v}}}}\n  - {{alert: A, expr: up == 0, for: 5m, labels: {{severity: page}}, annotations: {{summary: \"{{{{ $value }}}}: \\\"x\\\"\"}}}}\n  \
         - sigma: Slow-1\n    expr: 'job:p95'\n    direction: both\n    min_deviation: 0.05\n    keep_firing_for: 2m\n    labels: {{team: web}}\n    \
         baseline: {{window: 6h, lag: 10m, min_samples: 240, stddev_floor: 0.005}}\n    \
         bands: [{{sigma: 1, action: record}}, {{sigma: 2, for: 10m, labels: {{severity: ticket}}}}, {{sigma: 3, for: 5m, labels: {{severity: page}}}}]\n    \
         annotations: {{summary: 'band {{{{ $band }}}} of {{{{ $labels.job }}}}', detail: 'z {{{{ $zscore }}}}'}}\n"
    );
    let out = exported(&text);
    let again = parse(Path::new("out.yml"), &out.text, Options::default())
        .unwrap_or_else(|e| panic!("{e:?}\n{}", out.text));
    let rules = &again.groups[0].rules;
    let names: Vec<&str> = rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a:b",
            "A",
            "sigma:Slow_1:value",
            "sigma:Slow_1:center",
            "sigma:Slow_1:stddev",
            "sigma:Slow_1:samples",
            "sigma:Slow_1:zscore",
            "Slow-1",
            "Slow-1"
        ]
    );
    assert_eq!(rules[0].labels.get("k"), Some("v"));
    assert_eq!(
        rules[4].expr.text(),
        "(clamp_min(stddev_over_time(sigma:Slow_1:value[6h] offset 10m), 0.005)) >= (0.01 * abs(sigma:Slow_1:center)) or (0.01 * abs(sigma:Slow_1:center))"
    );
    let RuleKind::Alerting(page) = &rules[8].kind else { panic!("{names:?}") };
    assert_eq!((page.hold.ms(), page.keep_firing_for.ms()), (300_000, 120_000));
    let labels: Vec<_> = rules[8].labels.iter().collect();
    assert_eq!(labels, [("band", "3"), ("severity", "page"), ("team", "web")]);
    assert_eq!(page.annotations.get("summary"), Some("band 3 of {{ $labels.job }}"));
    assert_eq!(page.annotations.get("detail"), None);
    assert_eq!(
        rules[8].expr.text(),
        "sigma:Slow_1:value and (abs(sigma:Slow_1:zscore) >= 3 or (abs(sigma:Slow_1:zscore) >= 2.5 and ignoring (alertname, alertstate, band, severity, team) ALERTS{alertname=\"Slow-1\", alertstate=\"firing\", band=\"3\"})) and (abs(sigma:Slow_1:value - sigma:Slow_1:center) >= 0.05)"
    );
    for word in ["freeze", "plain window", "detail", "highest"] {
        assert!(
            out.remarks.iter().any(|r| r.contains(word) && r.starts_with("r.yml:7: Slow-1: ")),
            "{word}: {:?}",
            out.remarks
        );
        assert!(out.text.contains(word), "{word} is a comment, too");
    }
}

#[test]
fn what_cannot_be_said_is_said() {
    for (rule, word, rules) in [
        ("baseline: {model: novelty}\n    bands: [{sigma: 3}]", "not exported: the model novelty", 0),
        (
            "baseline: {model: seasonal, window: 14d}\n    bands: [{sigma: 3}]",
            "not exported: the model seasonal",
            0,
        ),
        ("bands: [{sigma: 3, gate: novelty}]", "not exported: `gate: novelty`", 0),
        ("page_budget: 2 per 30d\n    bands: [{sigma: 3}]", "no page budget", 6),
        ("baseline: {min_samples: 5000}\n    bands: [{sigma: 3}]", "the alerts never fire", 6),
        ("after_page: {quiet: 1h}\n    bands: [{sigma: 3}]", "after_page", 6),
        ("judge: mean 1h\n    bands: [{sigma: 3}]", "the short mean is a plain one", 7),
        ("baseline: {counter: true}\n    bands: [{sigma: 3}]", "irate()", 6),
        ("baseline: {model: robust}\n    bands: [{sigma: 3}]", "the MAD is that of", 7),
    ] {
        let out = exported(&format!("{HEAD}  - sigma: S\n    expr: x\n    {rule}\n"));
        assert!(out.remarks.iter().any(|r| r.contains(word)), "{rule}: {:?}", out.remarks);
        let again = parse(Path::new("out.yml"), &out.text, Options::default())
            .unwrap_or_else(|e| panic!("{e:?}\n{}", out.text));
        assert_eq!(again.groups[0].rules.len(), rules, "{rule}\n{}", out.text);
    }
}

#[test]
fn groups_of_one_name_in_several_files_stay_apart() {
    let file = parse(Path::new("a.yml"), &format!("{HEAD}  - {{record: r, expr: up}}\n"), Options::default())
        .unwrap();
    let empty = parse(Path::new("b.yml"), "groups: [{name: g, rules: []}]", Options::default()).unwrap();
    let out = export(&[file, empty]);
    let again = parse(Path::new("out.yml"), &out.text, Options::default()).unwrap();
    let names: Vec<&str> = again.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["g", "g (2)"]);
}
