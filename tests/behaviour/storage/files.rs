//! Storage in a directory: restarts, kills, damage, retention, a disk that refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use sideband::model::ManualClock;
use sideband::storage::{AppendError, Maintenance, SourceId, Storage, StorageMetrics, StorageOptions};

use super::{HOUR, MINUTE, NOW, assert_same, dump, labels, named, put};

fn open(path: &Path, now: i64) -> (Storage, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(now));
    (Storage::open(StorageOptions::at(path), clock.clone()).unwrap(), clock)
}

/// The files below a directory, with their contents.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path));
        } else {
            out.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    out.sort();
    out
}

/// The same files below another directory.
fn copy(files: &[(PathBuf, Vec<u8>)], from: &Path, to: &Path) {
    for (path, bytes) in files {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A minute of samples for a few series: counters, gauges, a gap.
fn fill(storage: &Storage, clock: &ManualClock, from: i64, steps: i64) {
    for i in 0..steps {
        let t = from + i * 15_000;
        clock.jump_wall(t);
        let mut appender = storage.appender(SourceId(1));
        for s in 0..5i64 {
            if s == 4 && i % 7 == 3 {
                continue;
            }
            let id = appender.series(&labels(&format!("__name__=m{s},job=app"))).unwrap();
            let v = if s % 2 == 0 { (t / 15_000 * s) as f64 } else { (t as f64).sin() };
            appender.append(id, t, v).unwrap();
        }
        appender.commit(t);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, clock) = open(dir.path(), NOW);
    fill(&storage, &clock, NOW, 100);
    let before = dump(&storage);
    drop(storage); // Not flushed.
    let (storage, clock) = open(dir.path(), NOW + HOUR);
    assert_same(&dump(&storage), &before);
    assert!(storage.sources(&[]).is_empty(), "numbers of sources are of one process");
    // It goes on, and refuses what it has.
    let mut appender = storage.appender(SourceId(9));
    let id = appender.series(&labels("__name__=m0,job=app")).unwrap();
    assert_eq!(appender.append(id, NOW, 1.0), Err(AppendError::OutOfOrder));
    drop(appender);
    fill(&storage, &clock, NOW + HOUR, 10);
    let before = dump(&storage);
    drop(storage);
    let (storage, _) = open(dir.path(), NOW + 2 * HOUR);
    assert_same(&dump(&storage), &before);
}

#[test]
fn a_storage_in_use_can_be_looked_at_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, clock) = open(dir.path(), NOW);
    let mut now = NOW;
    for round in 0..6 {
        fill(&storage, &clock, now, 240);
        now += HOUR;
        if round % 2 == 1 {
            // Moves chunks into files, and finished parts of the log away.
            storage.maintain(now);
        }
        let before = files(dir.path());
        let looked = Storage::open_read_only(dir.path()).unwrap();
        assert_same(&dump(&looked), &dump(&storage));
        assert_eq!(looked.extent(), Some((NOW, now - 15_000)));
        drop(looked);
        assert_eq!(files(dir.path()), before);
    }
    // What is sealed while somebody looks is seen as well: read twice is read once.
    let looked = Storage::open_read_only(dir.path()).unwrap();
    let before = dump(&looked);
    storage.maintain(now + HOUR);
    assert_same(&dump(&looked), &before);
    let empty = tempfile::tempdir().unwrap();
    assert!(Storage::open_read_only(empty.path()).is_err());
    assert!(files(empty.path()).is_empty());
}

#[test]
fn killed_at_any_byte_it_loses_at_most_the_batch_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, clock) = open(dir.path(), NOW);
    // After each batch: the length of the files, and what is there.
    let mut states = vec![(BTreeMap::new(), BTreeMap::new())];
    for i in 0..6 {
        fill(&storage, &clock, NOW + i * 15_000, 1);
        put(&storage, 2, &format!("__name__=new{i}"), NOW + i * 15_000, 1.5);
        let lengths: BTreeMap<PathBuf, usize> =
            files(dir.path()).into_iter().map(|(p, b)| (p, b.len())).collect();
        states.push((lengths, dump(&storage)));
    }
    let all = files(dir.path());
    drop(storage);
    let (wal, bytes) =
        all.iter().find(|(p, b)| p.extension().is_some_and(|e| e == "wal") && !b.is_empty()).unwrap();
    for cut in 0..bytes.len() {
        let copy_dir = tempfile::tempdir().unwrap();
        copy(&all, dir.path(), copy_dir.path());
        fs::write(copy_dir.path().join(wal.strip_prefix(dir.path()).unwrap()), &bytes[..cut]).unwrap();
        let (storage, _) = open(copy_dir.path(), NOW + HOUR);
        let whole =
            states.iter().rposition(|(lengths, _)| lengths.get(wal).is_none_or(|len| *len <= cut)).unwrap();
        let got = dump(&storage);
        for (series, samples) in &states[whole].1 {
            let n = samples.len();
            assert_eq!(got.get(series).map(|s| &s[..n]), Some(&samples[..]), "{series} cut at {cut}");
        }
        let next = states.get(whole + 1).map_or(&states[whole].1, |(_, next)| next);
        for (series, samples) in &got {
            assert!(next.get(series).is_some_and(|n| n.starts_with(samples)), "{series} cut at {cut}");
        }
    }
}

#[test]
fn sealed_samples_are_read_from_files_as_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Storage::in_memory();
    let (storage, clock) = open(dir.path(), NOW);
    let mut sealed = 0;
    for minute in 0..300 {
        let t = NOW + minute * MINUTE;
        fill(&storage, &clock, t, 4);
        fill(&plain, &clock, t, 4);
        sealed += storage.maintain(t + MINUTE).chunks_sealed;
        assert!(minute < 200 || sealed > 0);
    }
    let want = dump(&plain);
    assert_same(&dump(&storage), &want);
    let end = NOW + 300 * MINUTE;
    for (min, max) in
        [(NOW, NOW), (NOW + 3 * MINUTE, NOW + 200 * MINUTE), (end - 3 * HOUR, end), (end, end + 5)]
    {
        for handle in storage.select(&[], min, max) {
            let window = |s: &&(i64, u64)| min <= s.0 && s.0 <= max;
            let want: Vec<_> = want[&handle.labels.to_string()].iter().filter(window).copied().collect();
            let mut got = Vec::new();
            handle.read(min, max, &mut got);
            assert_eq!(got.iter().map(|s| (s.t, s.v.to_bits())).collect::<Vec<_>>(), want);
            assert_eq!(handle.last(min, max).map(|s| s.t), want.last().map(|s| s.0));
            storage.read_many(&[handle], min, max, |_, t, _| assert_eq!(t.len(), want.len()));
        }
    }
    // After a kill, and after an orderly end.
    drop(storage);
    let (storage, _) = open(dir.path(), end);
    assert_same(&dump(&storage), &want);
    storage.flush();
    assert_same(&dump(&storage), &want);
    drop(storage);
    let (storage, clock) = open(dir.path(), end);
    assert_same(&dump(&storage), &want);
    let left: usize = files(&dir.path().join("wal")).iter().map(|(_, b)| b.len()).sum();
    assert!(left < 100, "{left} bytes of log left after a flush");
    fill(&storage, &clock, end, 10);
    fill(&plain, &clock, end, 10);
    assert_same(&dump(&storage), &dump(&plain));
}

#[test]
fn retention_deletes_by_age_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let options = StorageOptions { retention_time: 3 * HOUR, ..StorageOptions::at(dir.path()) };
    let storage = Storage::open(options, clock.clone()).unwrap();
    put(&storage, 3, "__name__=ended", NOW, 1.0);
    let mut removed = Maintenance::default();
    for minute in 0..600 {
        let t = NOW + minute * MINUTE;
        fill(&storage, &clock, t, 4);
        let done = storage.maintain(t + MINUTE);
        removed.blocks_removed += done.blocks_removed;
        removed.series_removed += done.series_removed;
    }
    assert!(removed.blocks_removed > 5, "{removed:?}");
    assert_eq!(removed.series_removed, 1);
    let oldest = dump(&storage).values().flatten().map(|s| s.0).min().unwrap();
    let end = NOW + 600 * MINUTE;
    assert!((end - 5 * HOUR..=end - 3 * HOUR).contains(&oldest), "{} h", (end - oldest) / HOUR);
    let size = |dir: &Path| files(dir).iter().map(|(_, b)| b.len() as u64).sum::<u64>();
    let before = size(dir.path());
    drop(storage);

    let options = StorageOptions { retention_size: before / 2, ..StorageOptions::at(dir.path()) };
    let storage = Storage::open(options, clock).unwrap();
    assert!(storage.maintain(end).blocks_removed > 0);
    assert!(size(dir.path()) <= before / 2 + 1);
    assert!(!dump(&storage).is_empty());
}

#[test]
fn a_directory_is_used_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path(), NOW);
    let error = Storage::open(StorageOptions::at(dir.path()), Arc::new(ManualClock::new(NOW))).err().unwrap();
    assert!(error.to_string().contains("lock: in use"), "{error}");
    drop(first);
    open(dir.path(), NOW);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Storage::open(StorageOptions::at(&file), Arc::new(ManualClock::new(NOW))).err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_broken_disk_is_survived_in_memory_and_left_when_it_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    let clock = Arc::new(ManualClock::new(NOW));
    let options = StorageOptions {
        metrics: StorageMetrics::register(&mut registry),
        memory_limit: 1,
        ..StorageOptions::at(dir.path())
    };
    let metric = |registry: &prometheus_client::registry::Registry, name: &str| -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let line = text
            .lines()
            .find(|l| l.split(' ').next() == Some(name))
            .unwrap_or_else(|| panic!("{name}: {text}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let storage = Storage::open(options, clock.clone()).unwrap();
    let plain = Storage::in_memory();
    let both = |from: i64, steps: i64| {
        fill(&storage, &clock, from, steps);
        fill(&plain, &clock, from, steps);
    };
    both(NOW, 10);
    assert_eq!(metric(&registry, "sideband_storage_wal_writable"), 1.0);
    // The next segment is on a full disk, and the one after is not.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("wal/0000000002.wal")).unwrap();
    storage.flush();
    assert_eq!(metric(&registry, "sideband_storage_wal_writable"), 0.0);
    both(NOW + 10 * 15_000, 10);
    assert_same(&dump(&storage), &dump(&plain));
    storage.maintain(NOW + 20 * 15_000);
    assert_eq!(metric(&registry, "sideband_storage_wal_writable"), 1.0);
    // The directories turn into files: nothing can be made in them.
    for sub in ["wal", "blocks"] {
        fs::rename(dir.path().join(sub), dir.path().join(format!("{sub}.away"))).unwrap();
        fs::write(dir.path().join(sub), "").unwrap();
    }
    storage.flush();
    both(NOW + 20 * 15_000, 150);
    let errors = metric(&registry, "sideband_storage_disk_errors_total");
    storage.maintain(NOW + 170 * 15_000);
    assert!(metric(&registry, "sideband_storage_disk_errors_total") > errors);
    for sub in ["wal", "blocks"] {
        fs::remove_file(dir.path().join(sub)).unwrap();
        fs::rename(dir.path().join(format!("{sub}.away")), dir.path().join(sub)).unwrap();
    }
    let kept = dump(&storage);
    storage.maintain(NOW + 170 * 15_000);
    storage.flush();
    assert_eq!(metric(&registry, "sideband_storage_wal_writable"), 1.0);
    assert_same(&dump(&storage), &kept);
    drop(storage);
    let (storage, _) = open(dir.path(), NOW + HOUR);
    assert_same(&dump(&storage), &kept);
    // A hundred bytes' limit was overrun by far: some of the oldest may be gone, nothing else.
    for (series, samples) in dump(&plain) {
        assert!(samples.ends_with(&kept[&series]), "{series}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_cost_samples_but_nothing_else(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..8), 0..4),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..2),
    ) {
        let template = damaged_template();
        let dir = tempfile::tempdir().unwrap();
        let mut all = template.files.clone();
        for (file, at, bit) in flips {
            let bytes = &mut all[file.index(template.files.len())].1;
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
        }
        for (file, at) in cuts {
            let bytes = &mut all[file.index(template.files.len())].1;
            let at = at.index(bytes.len() + 1);
            bytes.truncate(at);
        }
        copy(&all, Path::new("/"), dir.path());
        let (storage, clock) = open(dir.path(), NOW + 3 * HOUR);
        for (series, samples) in dump(&storage) {
            // What is there was there, in order.
            let mut known = template.samples[&series].iter();
            prop_assert!(samples.iter().all(|s| known.any(|k| k == s)), "{}", series);
        }
        fill(&storage, &clock, NOW + 3 * HOUR, 3);
        storage.maintain(NOW + 3 * HOUR + MINUTE);
        storage.flush();
        prop_assert_eq!(storage.select(&named("m0"), NOW + 3 * HOUR, NOW + 4 * HOUR).len(), 1);
    }
}

struct Template {
    files: Vec<(PathBuf, Vec<u8>)>,
    samples: BTreeMap<String, Vec<(i64, u64)>>,
}

/// A directory with blocks and logs, made once.
fn damaged_template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (storage, clock) = open(dir.path(), NOW);
        for minute in 0..120 {
            fill(&storage, &clock, NOW + minute * MINUTE, 4);
            storage.maintain(NOW + minute * MINUTE);
        }
        let samples = dump(&storage);
        let relative = |(path, bytes): (PathBuf, Vec<u8>)| {
            (Path::new("/").join(path.strip_prefix(dir.path()).unwrap()), bytes)
        };
        let files: Vec<_> = files(dir.path()).into_iter().map(relative).collect();
        assert!(files.iter().any(|(p, _)| p.extension().is_some_and(|e| e == "block")));
        Template { files, samples }
    })
}

#[test]
fn a_label_set_that_went_and_came_again_has_its_new_samples() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let options =
        || StorageOptions { retention_time: HOUR, memory_window: MINUTE, ..StorageOptions::at(dir.path()) };
    let storage = Storage::open(options(), clock.clone()).unwrap();
    let mut removed = 0;
    for hour in 0..8 {
        // Many label sets that come and go, so that their log is rewritten; one that comes every hour.
        for i in 0..400 {
            put(&storage, 1, &format!("__name__=x,hour={hour},i={i}"), clock.now_ms(), 1.0);
        }
        put(&storage, 1, "__name__=again", clock.now_ms(), f64::from(hour));
        for _ in 0..6 {
            clock.advance(25 * MINUTE);
            removed += storage.maintain(clock.now_ms()).series_removed;
        }
    }
    assert!(removed >= 7 * 401, "{removed}");
    put(&storage, 1, "__name__=again", clock.now_ms(), 99.0);
    let before = dump(&storage);
    assert!(fs::metadata(dir.path().join("series.log")).unwrap().len() < 8 * 400 * 30);
    drop(storage);
    let storage = Storage::open(options(), clock).unwrap();
    assert_eq!(before["again"].last().unwrap().1, 99f64.to_bits());
    assert_same(&dump(&storage), &before);
}

trait NowMs {
    fn now_ms(&self) -> i64;
}

impl NowMs for ManualClock {
    fn now_ms(&self) -> i64 {
        sideband::model::Clock::now(self)
    }
}

#[test]
fn readers_see_every_commit_while_samples_move_into_files() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let options =
        StorageOptions { memory_limit: 1, max_future: HOUR * 1000, ..StorageOptions::at(dir.path()) };
    let storage = Storage::open(options, clock.clone()).unwrap();
    put(&storage, 1, "__name__=x,i=0", NOW, 0.0);
    put(&storage, 2, "__name__=x,i=1", NOW, 0.0);
    let committed = AtomicUsize::new(1);
    let total = 3000;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while committed.load(Ordering::SeqCst) < total {
                    let at_least = committed.load(Ordering::SeqCst);
                    let mut counts = Vec::new();
                    for handle in storage.select(&named("x"), NOW, i64::MAX) {
                        let mut out = Vec::new();
                        handle.read(NOW, i64::MAX, &mut out);
                        assert!(out.iter().enumerate().all(|(i, s)| s.v == i as f64), "a gap");
                        counts.push(out.len());
                    }
                    assert!(counts.iter().all(|n| *n >= at_least), "{counts:?} of {at_least}");
                }
            });
        }
        for i in 1..total {
            let t = NOW + i as i64 * 1000;
            for source in [1, 2] {
                put(&storage, source, &format!("__name__=x,i={}", source - 1), t, i as f64);
            }
            committed.store(i + 1, Ordering::SeqCst);
            if i % 100 == 0 {
                storage.maintain(NOW + MINUTE);
            }
        }
    });
    assert!(fs::read_dir(dir.path().join("blocks")).unwrap().count() > 3);
}
