//! The query language: what it refuses, what it bounds, and what results look like.

use sideband::model::{Labels, Sample};
use sideband::promql::{
    Engine, EngineOptions, EvalError, MAX_DEPTH, QueryOutput, Value, parse, parse_selector,
};
use sideband::storage::{SourceId, Storage};

/// Two counters and a gauge, every 15 s over ten minutes.
fn store() -> Storage {
    let storage = Storage::in_memory();
    for t in (0..=600_000).step_by(15_000) {
        let mut appender = storage.appender(SourceId(1));
        let n = (t / 15_000) as f64;
        for (pairs, v) in [
            (vec![("__name__", "requests_total"), ("code", "200"), ("pod", "a")], 30.0 * n),
            (vec![("__name__", "requests_total"), ("code", "500"), ("pod", "a")], 3.0 * n),
            (vec![("__name__", "requests_total"), ("code", "200"), ("pod", "b")], 15.0 * n),
            (vec![("__name__", "limit"), ("pod", "a")], 4.0),
        ] {
            let id = appender.series(&Labels::from_pairs(pairs)).unwrap();
            appender.append(id, t, v).unwrap();
        }
        appender.commit(t);
    }
    storage
}

fn instant(query: &str) -> Result<QueryOutput, EvalError> {
    Engine::default().instant(&store(), &parse(query).unwrap(), 600_000)
}

/// Series as `labels => value`, sorted.
fn vector(query: &str) -> Vec<String> {
    match instant(query).unwrap().value {
        Value::Vector(samples) => {
            let mut lines: Vec<String> = samples
                .iter()
                .map(|s| {
                    // What counts is the arithmetic, not its last bit.
                    format!("{} => {}", s.labels, (s.v * 1e9).round() / 1e9)
                })
                .collect();
            lines.sort();
            lines
        }
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn results() {
    for (query, expect) in [
        ("sum by (pod) (rate(requests_total[5m]))", vec![r#"{pod="a"} => 2.2"#, r#"{pod="b"} => 1"#]),
        (
            r#"sum by (pod) (rate(requests_total[5m])) / on (pod) group_left limit"#,
            vec![r#"{pod="a"} => 0.55"#],
        ),
        (r#"requests_total{code="500"} offset 5m"#, vec![r#"requests_total{code="500", pod="a"} => 60"#]),
        (r#"requests_total{code="500"} @ 300"#, vec![r#"requests_total{code="500", pod="a"} => 60"#]),
        ("count_values by (pod) (\"n\", limit)", vec![r#"{n="4", pod="a"} => 1"#]),
        ("topk(1, requests_total)", vec![r#"requests_total{code="200", pod="a"} => 1200"#]),
        ("absent(nothing{job=\"x\"})", vec![r#"{job="x"} => 1"#]),
        ("max_over_time(sum(rate(requests_total[1m]))[5m:1m])", vec!["{} => 3.2"]),
        (r#"limit and on (pod) requests_total{code="500"}"#, vec![r#"limit{pod="a"} => 4"#]),
        (
            r#"label_replace(limit, "node", "n-$1", "pod", "(.*)")"#,
            vec![r#"limit{node="n-a", pod="a"} => 4"#],
        ),
    ] {
        assert_eq!(vector(query), expect, "{query}");
    }
}

#[test]
fn a_range_query_is_its_instant_queries() {
    let (storage, engine) = (store(), Engine::default());
    for query in [
        "rate(requests_total[2m])",
        "sum without (code) (increase(requests_total[90s] offset 30s))",
        "quantile_over_time(0.7, requests_total[3m])",
        "avg_over_time(rate(requests_total[1m])[3m:30s])",
        "requests_total > 100",
        "requests_total / ignoring (code) group_left limit",
        "topk(2, requests_total)",
        "deriv(requests_total[4m] @ 300)",
        "timestamp(limit) + time()",
        "histogram_quantile(0.5, requests_total)",
    ] {
        let expr = parse(query).unwrap();
        let Value::Matrix(rows) = engine.range(&storage, &expr, 100_000, 580_000, 17_000).unwrap().value
        else {
            panic!("{query} gives no matrix")
        };
        for t in (100_000..=580_000).step_by(17_000) {
            let Value::Vector(mut at) = engine.instant(&storage, &expr, t).unwrap().value else {
                panic!("{query} gives no vector")
            };
            at.sort_by(|a, b| a.labels.cmp(&b.labels));
            let column: Vec<(&Labels, f64)> =
                rows.iter().filter_map(|(l, s)| s.iter().find(|s| s.t == t).map(|s| (l, s.v))).collect();
            let at: Vec<(&Labels, f64)> = at.iter().map(|s| (&s.labels, s.v)).collect();
            assert_eq!(column, at, "{query} at {t}");
        }
    }
}

#[test]
fn errors_say_where() {
    for (query, line, column, part) in [
        ("sum(rate(x[5m])", 1, 16, "unclosed left parenthesis"),
        ("up +\n  + )", 2, 6, "unexpected right parenthesis"),
        ("rate(up)", 1, 6, "expected type range vector"),
        ("nonsense(up)", 1, 1, "unknown function with name \"nonsense\""),
        ("up{job=~\"(\"}", 1, 4, "regular expression"),
        ("", 1, 1, "no expression found in input"),
        ("up[5m] + 1", 1, 1, "binary expression must contain only scalar and instant vector types"),
    ] {
        let errors = parse(query).unwrap_err();
        let first = errors.iter().next().unwrap();
        assert_eq!((first.line, first.column), (line, column), "{query:?}: {first}");
        assert!(first.message.contains(part), "{query:?}: {first}");
    }
}

#[test]
fn nesting_is_bounded_and_needs_little_stack() {
    // Also on the small stacks of worker threads, in a build without optimisation.
    let check = || {
        for (open, close) in [("(", ")"), ("-(", ")"), ("abs(", ")"), ("sum(", ")"), ("1+(", ")")] {
            for n in [MAX_DEPTH + 1, 100_000] {
                let text = format!("{}up{}", open.repeat(n), close.repeat(n));
                let errors = parse(&text).unwrap_err();
                assert!(errors.to_string().contains("deeper"), "{open} {n}: {errors}");
            }
            let n = MAX_DEPTH / 2 - 1;
            let text = format!("{}up{}", open.repeat(n), close.repeat(n));
            let expr = parse(&text).unwrap();
            assert_eq!(parse(&expr.to_string()).unwrap(), expr);
            Engine::default().instant(&store(), &expr, 0).unwrap();
        }
        for text in [format!("up{}", " + up".repeat(100_000)), format!("up[{}1]", "(".repeat(100_000))] {
            assert!(parse(&text).is_err());
        }
        assert!(parse(&format!("{}1", "-".repeat(100_000))).is_err());
        assert!(parse(&"a".repeat(2 << 20)).is_err());
        assert!(parse(&format!("up{{a=~\"{}\"}}", "(a{1000}){1000}")).is_err());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap().join().unwrap();
}

#[test]
fn what_a_query_holds_is_bounded() {
    let (storage, expr) = (store(), parse("requests_total").unwrap());
    let small = Engine::new(EngineOptions { max_samples: 100, ..EngineOptions::default() });
    assert_eq!(small.range(&storage, &expr, 0, 600_000, 1000).unwrap_err(), EvalError::TooManySamples);
    let subquery = parse("max_over_time(vector(1)[1y:1ms])").unwrap();
    assert_eq!(small.instant(&storage, &subquery, 0).unwrap_err(), EvalError::TooManySamples);
    for (start, end, step, part) in
        [(0, 600_000, 0, "zero or negative"), (10, 0, 1, "before start"), (0, i64::MAX, 1, "resolution")]
    {
        let e = Engine::default().range(&storage, &expr, start, end, step).unwrap_err();
        assert!(e.to_string().contains(part), "{e}");
    }
}

#[test]
fn a_range_vector_has_its_own_samples() {
    let Value::Matrix(rows) = instant("limit[30s]").unwrap().value else { panic!("no matrix") };
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].1, [Sample { t: 585_000, v: 4.0 }, Sample { t: 600_000, v: 4.0 }]);
}

#[test]
fn remarks_have_a_place() {
    let output = instant("rate(limit[1m])").unwrap();
    assert_eq!(
        output.annotations.infos,
        [
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"limit\" (1:6)"
        ]
    );
    let output = instant("quantile(2, limit)").unwrap();
    assert_eq!(
        output.annotations.warnings,
        ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]
    );
}

#[test]
fn selectors() {
    let expr = parse("sum(rate(a{x=\"1\"}[5m])) / b or max_over_time(c[5m:1m])").unwrap();
    let names: Vec<String> =
        expr.selectors().iter().map(|m| format!("{:?}", m.last().unwrap().value)).collect();
    assert_eq!(names, ["\"a\"", "\"b\"", "\"c\""]);
    assert_eq!(parse_selector("up{job=\"x\"}").unwrap().len(), 2);
    assert!(parse_selector("sum(up)").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[ a-z0-9(){}\\[\\]\"'`+*/^<>=!~@:,.#_-]{0,60}") {
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed).unwrap_or_else(|e| panic!("{text:?} prints as {printed:?}: {e}"));
            proptest::prop_assert_eq!(again.to_string(), printed);
            let _ = Engine::default().instant(&store(), &expr, 600_000);
        }
    }
}

#[test]
fn what_prometheus_lets_pass_passes() {
    // Without any sample on one side nothing is ambiguous.
    let on_pod = |query: &str| vector(query).len();
    assert!(instant("limit / on () group_left requests_total").is_err());
    assert_eq!(on_pod("absent_one / on () group_left requests_total"), 0);
    // A parameter is looked at where there is something to work on.
    assert_eq!(on_pod("double_exponential_smoothing(absent_one[5m], 0, 0.5)"), 0);
    assert!(instant("double_exponential_smoothing(limit[5m], 0, 0.5)").is_err());
    let warnings = |query: &str| instant(query).unwrap().annotations.warnings.len();
    assert_eq!(warnings("quantile_over_time(2, absent_one[5m])"), 0);
    assert_eq!(warnings("quantile_over_time(2, limit[5m])"), 1);
    assert!(
        instant("quantile(1700002000, limit)").unwrap().annotations.warnings[0].contains("got 1.700002e+09")
    );
    // A label that `without` leaves out stays out also when it is the one of the values.
    assert_eq!(vector(r#"count_values without (pod) ("pod", limit)"#), ["{} => 1"]);
}
