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
