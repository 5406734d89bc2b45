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
        assert_eq!(tx.get(T, &[1])?, None);
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
    let ledger = Ledger::broken(&path);
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
        let ledger = Ledger::open(&path).unwrap_or_else(|_| Ledger::broken(&path));
        let mut taken = put(&ledger, 200, 1);
        if taken.is_err() {
            taken = ledger.begin_afresh("a test").and_then(|()| put(&ledger, 200, 1));
        }
        assert!(taken.is_ok(), "{i}: {taken:?}");
    }
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
