//! Readers of pages against each other and against nonsense.

use proptest::prelude::*;
use sideband::exposition::{Entry, Format, Scanner, families, strict};
use sideband::model::MetricType;

/// Pieces of pages, so that random input is nearly right more often than not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_:]{1,4}",
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("a=\"b\"".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just(",".to_owned()),
        Just(" ".to_owned()),
        Just("\t".to_owned()),
        Just("\n".to_owned()),
        Just("# HELP ".to_owned()),
        Just("# TYPE ".to_owned()),
        Just("# UNIT ".to_owned()),
        Just("# EOF\n".to_owned()),
        Just(" # {".to_owned()),
        Just("counter\n".to_owned()),
        Just("histogram\n".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{0,9})?(e[-+][0-9]{1,3})?",
        Just("NaN".to_owned()),
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics_and_errors_end_the_page(pieces in prop::collection::vec(piece(), 0..40), cut in 0usize..200) {
        let mut page = pieces.concat().into_bytes();
        page.truncate(cut.max(3));
        for format in [Format::Text, Format::OpenMetrics] {
            let mut scanner = Scanner::new(&page, format).with_start_times();
            let mut steps = 0;
            while let Some(entry) = scanner.next() {
                let failed = entry.is_err();
                if let Ok(Entry::Series(series)) = &entry {
                    prop_assert!(!series.text.is_empty());
                    let _ = scanner.labels();
                }
                if failed {
                    prop_assert!(scanner.next().is_none());
                }
                steps += 1;
                prop_assert!(steps <= page.len() + 1);
            }
            let mut scanner = Scanner::new(&page, format);
            let _ = (scanner.peek_line(), scanner.peek_series(), scanner.next_known(b"a"), scanner.skip_known_line(b"#"));
        }
        let _ = families::parse(&page, false);
        let _ = families::parse(&page, true);
        let _ = strict::check(&page);
    }

    #[test]
    fn the_fast_way_over_known_lines_reads_what_the_slow_way_reads(
        series in "[a-z]{1,3}(\\{a=\"[a-z}{ #]{0,3}\",?\\})?",
        space in "[ \t]{0,2}",
        value in "[-+]?[0-9]{0,20}\\.?[0-9]{0,20}(e[-+]?[0-9]{1,3})?|NaN|[+-]Inf|0x1",
        timestamp in "( [0-9]{1,19})?( ?)",
        openmetrics in any::<bool>(),
    ) {
        let (format, end) =
            if openmetrics { (Format::OpenMetrics, "# EOF\n") } else { (Format::Text, "") };
        let page = format!("{series}{space}{value}{timestamp}\n{end}");
        let mut slow = Scanner::new(page.as_bytes(), format);
        let slow_entry = slow.next();
        let mut fast = Scanner::new(page.as_bytes(), format);
        if let Some((value, timestamp)) = fast.next_known(series.as_bytes()) {
            let Some(Ok(Entry::Series(expected))) = slow_entry else {
                return Err(TestCaseError::fail(format!("{page:?} is fast only: {slow_entry:?}")));
            };
            prop_assert_eq!(expected.text, series.as_bytes());
            prop_assert_eq!(expected.value.to_bits(), value.to_bits());
            prop_assert_eq!(expected.timestamp, timestamp);
            prop_assert!(fast.next().is_none());
        }
    }
}

#[test]
fn a_guess_at_the_series_is_right_for_ordinary_lines() {
    for (line, format, want) in [
        ("up 1\n", Format::Text, "up"),
        ("up{a=\"b\"} 1 5\n", Format::Text, "up{a=\"b\"}"),
        ("up{a=\"}\"} 1\n", Format::Text, "up{a=\"}\"}"),
        ("up{a=\"b c\"}1\n", Format::Text, "up{a=\"b c\"}"),
        ("a_total{b=\"c\"} 1 # {d=\"e\"} 1\n", Format::OpenMetrics, "a_total{b=\"c\"}"),
    ] {
        let scanner = Scanner::new(line.as_bytes(), format);
        assert_eq!(scanner.peek_series(), Some(want.as_bytes()), "{line}");
    }
}

#[test]
fn errors_name_the_line() {
    let mut scanner = Scanner::new(b"a 1\n\n# TYPE b gauge\nb{ 2\n", Format::Text);
    let mut kinds = Vec::new();
    let error = loop {
        match scanner.next() {
            Some(Ok(Entry::Type { kind, .. })) => kinds.push(kind),
            Some(Ok(_)) => {}
            Some(Err(e)) => break e,
            None => panic!("no error"),
        }
    };
    assert_eq!((kinds, error.line), (vec![MetricType::Gauge], 4));
    assert!(error.to_string().starts_with("line 4: expected label name"), "{error}");
}
