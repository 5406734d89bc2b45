//! Storage through its public surface.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use sideband::model::{Labels, ManualClock, MatchOp, Matcher, MetricMetadata, MetricType, Sample, stale_nan};
use sideband::storage::{AppendError, Commit, SeriesId, SourceId, Storage, StorageOptions};

mod files;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// A time at which tests happen, ms.
const NOW: i64 = 1_763_700_000_000;

fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split(',').filter_map(|pair| pair.split_once('=')))
}

fn matchers(list: &[(MatchOp, &str, &str)]) -> Vec<Matcher> {
    list.iter().map(|(op, name, value)| Matcher::new(*op, *name, *value).unwrap()).collect()
}

fn named(name: &str) -> Vec<Matcher> {
    vec![Matcher::equal("__name__", name)]
}

/// Appends one sample as a batch of its own.
fn put(storage: &Storage, source: u32, series: &str, t: i64, v: f64) {
    let mut appender = storage.appender(SourceId(source));
    let id = appender.series(&labels(series)).unwrap();
    appender.append(id, t, v).unwrap();
    appender.commit(t);
}

/// All samples of all series, as bits.
fn dump(storage: &Storage) -> BTreeMap<String, Vec<(i64, u64)>> {
    let series = storage.select(&[], i64::MIN, i64::MAX);
    let read = |handle: &sideband::storage::SeriesHandle| {
        let mut out = Vec::new();
        handle.read(i64::MIN, i64::MAX, &mut out);
        out.iter().map(|s| (s.t, s.v.to_bits())).collect()
    };
    series.iter().map(|s| (s.labels.to_string(), read(s))).collect()
}

/// Are two dumps the same? Shows where they begin to differ.
#[track_caller]
fn assert_same(got: &BTreeMap<String, Vec<(i64, u64)>>, want: &BTreeMap<String, Vec<(i64, u64)>>) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (series, want) in want {
        let got = &got[series];
        let i = got.iter().zip(want).take_while(|(a, b)| a == b).count();
        let lengths = (got.len(), want.len());
        assert_eq!(got.get(i), want.get(i), "{series}: sample {i}, (got, want) lengths {lengths:?}");
    }
}

#[test]
fn matchers_select_as_they_would_one_by_one() {
    use MatchOp::*;
    let storage = Storage::in_memory();
    let mut all = Vec::new();
    for job in ["", "app", "host", "app2"] {
        for path in 0..40 {
            let text = format!("__name__=m{},job={job},path=/p{path}", path % 3);
            put(&storage, 1, &text, 1000, 1.0);
            all.push(labels(&text));
        }
    }
    let cases = [
        vec![(Equal, "job", "app")],
        vec![(Equal, "job", "")],
        vec![(Equal, "job", "nobody")],
        vec![(NotEqual, "job", "app")],
        vec![(NotEqual, "job", "")],
        vec![(Regex, "job", "app|host")],
        vec![(Regex, "job", "app|")],
        vec![(Regex, "job", "app.*")],
        vec![(Regex, "job", ".*")],
        vec![(Regex, "job", ".+")],
        vec![(Regex, "job", "")],
        vec![(NotRegex, "job", "")],
        vec![(NotRegex, "job", "app|host")],
        vec![(NotRegex, "job", "app|")],
        vec![(NotRegex, "job", "a.*")],
        vec![(NotRegex, "job", ".*")],
        vec![(Equal, "__name__", "m1"), (Regex, "path", "/p1.*"), (NotEqual, "job", "host")],
        vec![(Equal, "__name__", "m1"), (Equal, "path", "/p1"), (NotRegex, "job", "host|app")],
        vec![(Regex, "path", "/p1|/p2|/p3"), (Regex, "job", "app2?")],
        vec![(Regex, "absent", ".*"), (Equal, "job", "app")],
        vec![(Equal, "absent", ""), (NotEqual, "absent", "x"), (Regex, "path", "/p.")],
        vec![(Regex, "absent", ".+")],
        vec![],
    ];
    for _ in 0..2 {
        // The second time from what is remembered.
        for case in &cases {
            let m = matchers(case);
            let got: BTreeSet<Labels> = storage.select(&m, 0, 2000).into_iter().map(|s| s.labels).collect();
            let want = all.iter().filter(|l| m.iter().all(|m| m.matches_labels(l))).cloned().collect();
            assert_eq!(got, want, "{m:?}");
        }
    }
    assert!(storage.select(&[], 1001, 2000).is_empty() && storage.select(&[], 0, 999).is_empty());
    // A new series is found by selections made before.
    put(&storage, 1, "__name__=m1,job=app,path=/new", 2000, 1.0);
    assert_eq!(storage.select(&matchers(&[(Equal, "path", "/new")]), 0, 3000).len(), 1);
    assert_eq!(storage.select(&matchers(&cases[0]), 0, 3000).len(), 41);
}

#[test]
fn a_batch_is_visible_as_a_whole_and_announced_once() {
    let storage = Storage::in_memory();
    let mut commits = storage.subscribe();
    let mut appender = storage.appender(SourceId(7));
    for i in 0..3 {
        let id = appender.series(&labels(&format!("__name__=x,i={i}"))).unwrap();
        appender.append(id, 10, f64::from(i)).unwrap();
    }
    assert_eq!(appender.len(), 3);
    assert!(storage.select(&named("x"), 0, 20).is_empty());
    assert!(commits.try_recv().is_err());
    appender.commit(10);
    assert_eq!(storage.select(&named("x"), 0, 20).len(), 3);
    assert_eq!(commits.try_recv(), Ok(Commit { source: SourceId(7), t: 10 }));
    assert!(commits.try_recv().is_err());
    assert_eq!(storage.sources(&named("x")), BTreeSet::from([SourceId(7)]));
    assert!(storage.sources(&named("y")).is_empty());
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    use AppendError::*;
    let clock = Arc::new(ManualClock::new(NOW));
    let options = StorageOptions { max_series: 2, retention_time: HOUR, ..StorageOptions::default() };
    let storage = Storage::open(options, clock).unwrap();
    let mut appender = storage.appender(SourceId(1));
    let a = appender.series(&labels("__name__=a")).unwrap();
    let b = appender.series(&labels("__name__=b")).unwrap();
    assert_eq!(appender.series(&labels("__name__=c")), Err(TooManySeries));
    assert_eq!(appender.series(&labels("__name__=a")), Ok(a));
    assert_eq!(appender.append(a, NOW, 1.0), Ok(()));
    assert_eq!(appender.append(a, NOW, 2.0), Err(DuplicateTimestamp), "in the same batch");
    appender.commit(NOW);

    let mut appender = storage.appender(SourceId(1));
    for (id, t, v, want) in [
        (a, NOW, 1.0, Ok(())),
        (a, NOW, 2.0, Err(DuplicateTimestamp)),
        (a, NOW - 1, 1.0, Err(OutOfOrder)),
        (b, NOW - HOUR - 1, 1.0, Err(OutOfBounds)),
        (b, NOW - HOUR, 1.0, Ok(())),
        (b, NOW + 10 * MINUTE + 1, 1.0, Err(OutOfBounds)),
        (b, 9_223_372_036_854_775_807, 1.0, Err(OutOfBounds)),
        (b, i64::MIN, 1.0, Err(OutOfBounds)),
        (SeriesId(99_999_999), NOW, 1.0, Err(UnknownSeries)),
    ] {
        assert_eq!(appender.append(id, t, v), want, "{id:?} {t} {v}");
    }
    // Dropped, not committed: what it held may come again.
    drop(appender);
    let mut appender = storage.appender(SourceId(1));
    assert_eq!(appender.append(b, NOW - HOUR, 3.0), Ok(()));
    appender.commit(NOW);
    let got = storage.select(&named("b"), 0, i64::MAX)[0].last(0, i64::MAX);
    assert_eq!(got, Some(Sample { t: NOW - HOUR, v: 3.0 }));
}

#[test]
fn any_time_goes_into_plain_memory() {
    let storage = Storage::in_memory();
    for t in [i64::MIN + 1, -5, 0, i64::MAX - 1] {
        put(&storage, 1, "__name__=x", t, 1.0);
    }
    let handle = &storage.select(&named("x"), i64::MIN, i64::MAX)[0];
    assert_eq!(handle.last(-10, 10).map(|s| s.t), Some(0));
    assert_eq!(handle.last(-10, -1).map(|s| s.t), Some(-5));
    assert_eq!(handle.last(1, 10), None);
    assert_eq!(dump(&storage).values().next().unwrap().len(), 4);
}

#[test]
fn names_values_series_and_stats() {
    let storage = Storage::in_memory();
    for (series, t) in [("__name__=a,x=1", 10), ("__name__=a,x=2,y=1", 20), ("__name__=b,x=1", 30)] {
        put(&storage, 1, series, t, 1.0);
    }
    let a = named("a");
    assert_eq!(storage.label_names(&[], 0, 100), ["__name__", "x", "y"]);
    assert_eq!(storage.label_names(&[], 25, 100), ["__name__", "x"]);
    assert_eq!(storage.label_names(&a, 0, 15), ["__name__", "x"]);
    assert_eq!(storage.label_values("x", &[], 0, 100), ["1", "2"]);
    assert_eq!(storage.label_values("x", &[], 25, 100), ["1"]);
    assert_eq!(storage.label_values("__name__", &[], 0, 100), ["a", "b"]);
    assert_eq!(storage.label_values("x", &a, 15, 100), ["2"]);
    assert!(storage.label_values("nothing", &[], 0, 100).is_empty());
    assert_eq!(storage.series(&a, 0, 100), [labels("__name__=a,x=1"), labels("__name__=a,x=2,y=1")]);
    let stats = storage.stats(1);
    assert_eq!((stats.series, stats.label_pairs, stats.chunks), (3, 5, 3));
    assert_eq!((stats.min_t, stats.max_t), (Some(10), Some(30)));
    assert_eq!((stats.series_by_metric[0].name.as_str(), stats.series_by_metric[0].value), ("a", 2));
    assert_eq!(stats.values_by_label[0].value, 2);
    let mut latest = Vec::new();
    storage.latest(10, |labels, sample| latest.push((labels.to_string(), sample.t)));
    assert_eq!(latest, [("a{x=\"2\", y=\"1\"}".to_owned(), 20), ("b{x=\"1\"}".to_owned(), 30)]);
}

#[test]
fn metadata_is_kept_by_family() {
    let storage = Storage::in_memory();
    let meta = MetricMetadata { kind: MetricType::Counter, help: "Requests.".into(), unit: String::new() };
    assert_eq!(storage.metadata("requests"), None);
    storage.set_metadata("requests", MetricMetadata::default());
    storage.set_metadata("requests", meta.clone());
    assert_eq!(storage.metadata("requests"), Some(meta.clone()));
    assert_eq!(storage.all_metadata(), [("requests".to_owned(), meta)]);
}

#[test]
fn memory_forgets_what_is_too_old_and_who_ended() {
    let clock = Arc::new(ManualClock::new(NOW));
    let options = StorageOptions { memory_window: HOUR, ..StorageOptions::default() };
    let storage = Storage::open(options, clock.clone()).unwrap();
    for minute in 0..180 {
        let t = NOW + minute * MINUTE;
        clock.jump_wall(t);
        put(&storage, 1, "__name__=steady", t, 1.0);
        if minute < 10 {
            put(&storage, 2, "__name__=ended", t, 1.0);
        }
        storage.maintain(t);
    }
    let now = NOW + 180 * MINUTE;
    assert_eq!(storage.label_values("__name__", &[], 0, i64::MAX), ["steady"]);
    assert_eq!(storage.series_count(), 1);
    let kept = dump(&storage)["steady"].len();
    assert!((60..=60 + 31).contains(&kept), "{kept} samples");
    // The number of the series that went is not taken any more, and a new one is handed out.
    let mut appender = storage.appender(SourceId(2));
    let refused = appender.append(SeriesId(1), now, 1.0);
    assert_eq!(refused, Err(AppendError::UnknownSeries));
    assert_eq!(appender.series(&labels("__name__=ended")).unwrap(), SeriesId(2));
}

/// One batch: which source, how far time goes, what each series gets.
#[derive(Debug, Clone)]
struct Step {
    source: u32,
    gap: i64,
    values: Vec<Option<f64>>,
    own_time: Option<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        5 => (0i32..50).prop_map(|i| Some(f64::from(i))),
        2 => (0i32..5000).prop_map(|i| Some(f64::from(i) / 100.0)),
        1 => any::<f64>().prop_map(Some),
        1 => Just(Some(stale_nan())),
        1 => Just(None),
    ];
    let gap = prop_oneof![8 => Just(15_000i64), 2 => 0i64..100_000, 1 => Just(4_000_000)];
    (0u32..2, gap, prop::collection::vec(value, 1..5), prop::option::weighted(0.1, 0usize..5))
        .prop_map(|(source, gap, values, own_time)| Step { source, gap, values, own_time })
}

/// Appends as a step says, to the storage and to the model.
fn take_step(storage: &Storage, model: &mut BTreeMap<String, Vec<(i64, u64)>>, t: i64, step: &Step) {
    let mut appender = storage.appender(SourceId(step.source));
    for (i, value) in step.values.iter().enumerate() {
        let Some(v) = *value else { continue };
        let set = labels(&format!("__name__=s{i}"));
        let at = if step.own_time == Some(i) { t - 7 } else { t };
        let id = appender.series(&set).unwrap();
        let known = model.entry(set.to_string()).or_default();
        let want = match known.last() {
            Some(last) if last.0 > at => Err(AppendError::OutOfOrder),
            Some(last) if last.0 == at && last.1 != v.to_bits() => Err(AppendError::DuplicateTimestamp),
            _ => Ok(()),
        };
        assert_eq!(appender.append(id, at, v), want);
        if want.is_ok() && known.last().is_none_or(|last| last.0 < at) {
            known.push((at, v.to_bits()));
        }
    }
    appender.commit(t);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_was_appended(steps in prop::collection::vec(step(), 1..300), from in 0usize..300, to in 0usize..300) {
        let storage = Storage::in_memory();
        let mut model = BTreeMap::new();
        let (mut t, mut times) = (NOW, Vec::new());
        for step in &steps {
            t += step.gap;
            times.push(t);
            take_step(&storage, &mut model, t, step);
        }
        model.retain(|_, samples| !samples.is_empty());
        prop_assert_eq!(&dump(&storage), &model);
        let (min, max) = (times[from % times.len()], times[to % times.len()]);
        let handles = storage.select(&[], i64::MIN, i64::MAX);
        let mut many = Vec::new();
        storage.read_many(&handles, min, max, |i, t, v| many.push((i, t.to_vec(), v.to_vec())));
        for (i, handle) in handles.iter().enumerate() {
            let want: Vec<_> = model[&handle.labels.to_string()].iter().copied().filter(|s| min <= s.0 && s.0 <= max).collect();
            let mut got = Vec::new();
            handle.read(min, max, &mut got);
            let got: Vec<_> = got.iter().map(|s| (s.t, s.v.to_bits())).collect();
            prop_assert_eq!(&got, &want);
            let (mut ts, mut vs) = (Vec::new(), Vec::new());
            handle.read_columns(min, max, &mut ts, &mut vs);
            let columns: Vec<_> = ts.iter().zip(&vs).map(|(t, v)| (*t, v.to_bits())).collect();
            prop_assert_eq!(&columns, &want);
            let together: Vec<_> = many[i].1.iter().zip(&many[i].2).map(|(t, v)| (*t, v.to_bits())).collect();
            prop_assert_eq!((many[i].0, &together), (i, &want));
            prop_assert_eq!(handle.last(min, max).map(|s| (s.t, s.v.to_bits())), want.last().copied());
        }
    }
}
