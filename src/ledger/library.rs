//! The database library's calls: each runs where a panic does no harm, see [`guarded`](super::guarded).

use redb::{Database, Durability, ReadableDatabase, Table, TableDefinition, TableError, TableHandle as _};

use super::LedgerError;
use super::store::Row;

/// A key that is set, or, without a value, removed.
#[derive(Debug)]
pub(super) struct Op {
    pub table: String,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// All in one transaction, which is on the disk when this returns.
pub(super) fn transact(database: &Database, ops: &[Op]) -> Result<(), LedgerError> {
    let mut transaction = database.begin_write()?;
    // Said aloud, though it is the default: everything above rests on it.
    transaction.set_durability(Durability::Immediate).map_err(|e| LedgerError::Damaged(e.to_string()))?;
    for op in ops {
        let mut table: Table<'_, &[u8], &[u8]> = transaction.open_table(definition(&op.table))?;
        match &op.value {
            Some(value) => drop(table.insert(op.key.as_slice(), value.as_slice())?),
            None => drop(table.remove(op.key.as_slice())?),
        }
    }
    transaction.commit()?;
    Ok(())
}

pub(super) fn read_one(database: &Database, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
    let transaction = database.begin_read()?;
    match transaction.open_table(definition(table)) {
        Ok(table) => Ok(table.get(key)?.map(|v| v.value().to_vec())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn read_range(
    database: &Database,
    table: &str,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<Vec<Row>, LedgerError> {
    if to.is_some_and(|to| to <= from) {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let rows = match to {
        Some(to) => table.range::<&[u8]>(from..to)?,
        None => table.range::<&[u8]>(from..)?,
    };
    let mut out = Vec::new();
    for row in rows {
        let (key, value) = row?;
        out.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(out)
}

/// Shows the rows in batches of so many bytes, until all are shown or `show` says that it is enough.
pub(super) fn visit_rows(
    database: &Database,
    table: &str,
    batch_bytes: usize,
    show: &mut dyn FnMut(Vec<Row>) -> bool,
) -> Result<(), LedgerError> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for row in table.range::<&[u8]>(..)? {
        let (key, value) = row?;
        let row = (key.value().to_vec(), value.value().to_vec());
        bytes += row.0.len() + row.1.len();
        batch.push(row);
        if bytes >= batch_bytes {
            bytes = 0;
            if !show(std::mem::take(&mut batch)) {
                return Ok(());
            }
        }
    }
    show(batch);
    Ok(())
}

pub(super) fn compact(database: &mut Database) -> Result<(), LedgerError> {
    database.compact().map(drop).map_err(|e| LedgerError::from(redb::Error::from(e)))
}

pub(super) fn check_integrity(database: &mut Database) -> Result<bool, LedgerError> {
    Ok(database.check_integrity()?)
}

pub(super) fn read_tables(database: &Database) -> Result<Vec<String>, LedgerError> {
    let mut names: Vec<String> =
        database.begin_read()?.list_tables()?.map(|table| table.name().to_owned()).collect();
    names.sort();
    Ok(names)
}

fn definition(table: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(table)
}
