//! What is committed stays; what fails leaves nothing behind; a healed disk is used again.

use proptest::prelude::*;
use sideband::ledger::{Ledger, LedgerError, SimulatedDisk};

const T: &str = "records";

fn put(ledger: &Ledger, key: u8, value: u8) -> Result<(), LedgerError> {
    ledger.write(|tx| tx.put(T, &[key], &[value]))
}

fn keys(ledger: &Ledger) -> Vec<u8> {
    ledger.scan(T, &[], None).unwrap().into_iter().map(|(k, _)| k[0]).collect()
}

#[test]
fn transactions_are_whole() {
    let ledger = Ledger::in_memory().unwrap();
    assert!(ledger.get(T, b"a").unwrap().is_none() && ledger.scan(T, b"", None).unwrap().is_empty());
    for key in 1..=4 {
        put(&ledger, key, key * 10).unwrap();
    }
    let refused = ledger.write(|tx| {
        tx.delete(T, &[1])?;
        Err::<(), _>(LedgerError::Refused("no".into()))
    });
    assert!(matches!(refused, Err(LedgerError::Refused(_))) && !ledger.is_broken());
    assert_eq!(keys(&ledger), [1, 2, 3, 4]);
    assert_eq!(ledger.get(T, &[2]).unwrap(), Some(vec![20]));
    assert_eq!(ledger.scan(T, &[2], Some(&[4])).unwrap().len(), 2);
    assert!(ledger.scan(T, &[4], Some(&[2])).unwrap().is_empty());
}

#[test]
fn files_stay_and_are_owned_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = Ledger::open(&path).unwrap();
    put(&ledger, 1, 1).unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Locked(p)) if p == path));
    assert!(ledger.size() > 0);
    drop(ledger);
    assert_eq!(keys(&Ledger::open(&path).unwrap()), [1]);
    std::fs::write(&path, "this is no database, whatever its name says").unwrap();
    assert!(Ledger::open(&path).is_err());
    assert!(matches!(Ledger::open(&dir.path().join("no/such")), Err(LedgerError::Io(_))));
}

#[test]
fn a_full_or_broken_disk_is_an_error_and_heals() {
    let disk = SimulatedDisk::default();
    let ledger = Ledger::on(&disk).unwrap();
    put(&ledger, 1, 1).unwrap();
    disk.limit(0);
    let full = ledger.write(|tx| tx.put(T, &[2], &vec![7; 4 << 20])).unwrap_err();
    assert!(matches!(full, LedgerError::Full(_)), "{full}");
    assert!(ledger.is_broken() && put(&ledger, 2, 2).is_err());
    disk.repair();
    put(&ledger, 3, 3).unwrap();
    assert!(!ledger.is_broken());
    assert_eq!(keys(&ledger), [1, 3]);
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(&path, "this is no database, whatever its name says").unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Damaged(_))), "a tool only says so");
    let (ledger, error) = Ledger::open_or_heal(&path);
    assert!(matches!(error, Some(LedgerError::Damaged(_))) && ledger.is_broken());
    put(&ledger, 1, 1).unwrap();
    assert_eq!(keys(&ledger), [1]);
    let aside: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap())
        .filter(|f| f.file_name().to_string_lossy().starts_with("ledger.redb.damaged-"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert!(std::fs::read_to_string(aside[0].path()).unwrap().starts_with("this is no database"));
    // One that opens, but whose records cannot be read.
    ledger.begin_afresh("a test").unwrap();
    assert!(keys(&ledger).is_empty());
}

/// Whatever happened to the file, a daemon that starts has a ledger that takes what is written.
#[test]
fn no_damage_keeps_a_ledger_from_working() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = Ledger::open(&path).unwrap();
    for key in 0..30 {
        ledger.write(|tx| tx.put(T, &[key], &vec![key; 2000])).unwrap();
    }
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = [0, 1, 100, 320, 511, 4095, 4096, 5000, whole.len() / 2, whole.len() - 1]
        .iter()
        .map(|n| whole[..*n].to_vec())
        .collect();
    for at in [0, 9, 12, 16, 20, 24, 32, 64, 65, 70, 100, 128, 192, 200, 256, 300] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        damaged.push(bytes);
    }
    for (i, bytes) in damaged.iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let (ledger, _) = Ledger::open_or_heal(&path);
        let mut taken = put(&ledger, 200, 1);
        if taken.is_err() {
            taken = ledger.begin_afresh("a test").and_then(|()| put(&ledger, 200, 1));
        }
        assert!(taken.is_ok(), "{i}: {taken:?}");
    }
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    const PAGE: usize = 4096;
    let pages = bytes.len() / PAGE;
    let (page, other) = (dice.below(pages) * PAGE, dice.below(pages) * PAGE);
    match dice.below(8) {
        0 => {
            for _ in 0..=dice.below(8) {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
            "bits".to_owned()
        }
        1 => {
            bytes[page..page + PAGE].fill(0);
            format!("zeros at {page}")
        }
        2 => {
            bytes.truncate(dice.below(bytes.len()));
            format!("cut at {}", bytes.len())
        }
        3 => {
            for b in &mut bytes[page..page + 512] {
                *b = dice.below(256) as u8;
            }
            format!("noise at {page}")
        }
        4 => {
            bytes.copy_within(page..page + PAGE, other);
            format!("page {page} in the place of {other}")
        }
        5 => {
            let at = dice.below(400);
            bytes[at] ^= 1 << dice.below(8);
            format!("header at {at}")
        }
        6 => {
            let end = (page + dice.below(20_000)).min(bytes.len());
            bytes[page..end].fill(0xff);
            format!("ones from {page} to {end}")
        }
        _ => {
            for _ in 0..4 {
                let at = page + dice.below(64);
                bytes[at] = dice.below(256) as u8;
            }
            format!("head of page {page}")
        }
    }
}

/// The library panics on one damage of ten, wherever it meets it. No damage ends the process, and in the end there is a
/// ledger that keeps what is written. `SIDEBAND_DAMAGES=10000` tries more of them.
#[test]
fn a_library_that_panics_on_a_damaged_file_costs_nothing_but_the_file() {
    // In a process of its own: a lost thread keeps the panic hook for good, and the test harness waits for that at its end.
    if std::env::var_os("SIDEBAND_DAMAGED").is_none() {
        let this = "ledger::a_library_that_panics_on_a_damaged_file_costs_nothing_but_the_file";
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", this, "--nocapture"]).env("SIDEBAND_DAMAGED", "1");
        let ran = own.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        println!("{}", said.trim());
        assert!(ran.status.success() && said.contains("made the library panic"), "{ran:?}");
        return;
    }
    // The harness would not hear of a panic here either.
    let done = std::panic::catch_unwind(damage_and_go_on);
    std::process::exit(i32::from(done.is_err()));
}

fn damage_and_go_on() {
    let tables = ["incidents", "outbox", "alerts", "open"];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let mut dice = Dice(88_172_645_463_325_252);
    let mut wholes = Vec::new();
    for (transactions, killed) in [(3, false), (60, false), (60, true)] {
        let _ = std::fs::remove_file(&path);
        let ledger = Ledger::open(&path).unwrap();
        for n in 0..transactions {
            let mut put = |tx: &mut sideband::ledger::Tx| {
                for table in tables {
                    let key = (dice.below(100) as u64).to_be_bytes();
                    let len = 50 + dice.below(3000);
                    tx.put(table, &key, &vec![n; len])?;
                    tx.delete(table, &(dice.below(100) as u64).to_be_bytes())?;
                }
                Ok(())
            };
            ledger.write(&mut put).unwrap();
        }
        if !killed {
            drop(ledger);
        }
        wholes.push(std::fs::read(&path).unwrap());
    }
    let cases = std::env::var("SIDEBAND_DAMAGES").map_or(150, |n| n.parse().unwrap());
    let (mut panics, mut fine) = (0, 0);
    for case in 0..cases {
        let mut bytes = wholes[case % wholes.len()].clone();
        let what = damage(&mut bytes, &mut dice);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        std::fs::write(&path, &bytes).unwrap();
        // A tool leaves the file where it is, whatever it says of it.
        let mut wrong = Vec::new();
        if case % 3 == 0 {
            match Ledger::open(&path) {
                Ok(tool) => {
                    wrong.extend(tool.check_integrity().err());
                    wrong.extend(tables.iter().filter_map(|t| tool.scan(t, &[], None).err()));
                }
                Err(e) => wrong.push(e),
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{case}: {what}");
            std::fs::write(&path, &bytes).unwrap();
        }
        // What a daemon does: reads, writes for a while, gives back what is free.
        let path = dir.path().join("second.redb");
        std::fs::write(&path, &bytes).unwrap();
        let (ledger, error) = Ledger::open_or_heal(&path);
        wrong.extend(error);
        for table in tables {
            wrong.extend(ledger.scan(table, &[], None).err());
            wrong.extend(ledger.visit(table, &mut |_, _| {}).err());
        }
        for n in 0..12 {
            let write = |tx: &mut sideband::ledger::Tx| {
                tables.iter().try_for_each(|t| tx.put(t, &(n * 7u64).to_be_bytes(), &vec![1; 3000]))
            };
            wrong.extend(ledger.write(write).err());
        }
        wrong.extend(ledger.compact().err());
        if ledger.write(|tx| tx.put(T, b"key", b"value")).is_err() {
            ledger.begin_afresh("a test").unwrap_or_else(|e| panic!("{case}: {what}: {e}"));
            ledger.write(|tx| tx.put(T, b"key", b"value")).unwrap_or_else(|e| panic!("{case}: {what}: {e}"));
        }
        assert_eq!(ledger.get(T, b"key").unwrap().as_deref(), Some(b"value".as_slice()), "{case}: {what}");
        panics += usize::from(wrong.iter().any(|e| e.to_string().contains("panicked")));
        fine += usize::from(wrong.is_empty());
    }
    println!("{cases} damages: {panics} made the library panic, {fine} were not noticed");
    assert!(panics > 0, "the test does not reach what it is for");
}

#[test]
fn compaction_and_checks_keep_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
    for key in 0..20 {
        ledger.write(|tx| tx.put(T, &[key], &vec![key; 200_000])).unwrap();
    }
    ledger.write(|tx| (1..20).try_for_each(|key| tx.delete(T, &[key]))).unwrap();
    let before = ledger.size();
    ledger.compact().unwrap();
    assert!(ledger.size() < before / 2, "{before} -> {}", ledger.size());
    assert!(ledger.check_integrity().unwrap());
    assert_eq!(keys(&ledger), [0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever operation fails, and whatever the disk then forgets or keeps of what was not synced: every
    /// acknowledged record is there, and none but perhaps the one that was under way.
    #[test]
    fn acknowledged_records_survive_a_power_cut(
        healthy in 0u64..60, survivors in any::<u64>(), reopen in any::<bool>()
    ) {
        let disk = SimulatedDisk::default();
        let ledger = Ledger::on(&disk).unwrap();
        disk.fail_after(healthy);
        let mut acknowledged = Vec::new();
        for key in 0..20 {
            if put(&ledger, key, key).is_err() {
                break;
            }
            acknowledged.push(key);
        }
        if reopen {
            // The same process goes on.
            disk.repair();
            let before = acknowledged.len() as u8;
            prop_assert!(put(&ledger, 100, 0).is_ok());
            let mut found = keys(&ledger);
            prop_assert_eq!(found.pop(), Some(100));
            found.retain(|k| *k != before);
            prop_assert_eq!(found, acknowledged);
        } else {
            disk.crash(|i| survivors >> (i % 64) & 1 == 1);
            drop(ledger);
            let mut found = keys(&Ledger::on(&disk).unwrap());
            let before = acknowledged.len() as u8;
            found.retain(|k| *k != before);
            prop_assert_eq!(found, acknowledged);
        }
    }
}
