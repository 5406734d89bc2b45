//! Histories in CSV files: `timestamp,value` with a header, each file one series.

use std::path::{Path, PathBuf};

use crate::model::yaml::FileError;
use crate::model::{Order as _, Timestamp, parse_float};

use super::times::parse_time;

/// The metric that the series of a CSV file has unless another name is given: it is called as the column.
pub const CSV_METRIC: &str = "value";
/// The label with the file's name.
pub const CSV_LABEL: &str = "file";
/// Bytes of one file.
const MAX_FILE: u64 = 1 << 30;
/// Files below one directory, and directories within directories.
const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 16;

/// A row, with its texts as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvRow {
    pub stamp: String,
    pub number: String,
    /// ms.
    pub t: Timestamp,
    /// NaN where there was no value.
    pub v: f64,
}

/// The CSV files that a path means: itself, or those below it, sorted; each with its name: the path below the directory, or the
/// file's own name.
///
/// # Errors
/// A directory that cannot be read, or nothing there.
pub fn files(path: &Path) -> Result<Vec<(String, PathBuf)>, FileError> {
    let metadata = std::fs::metadata(path).map_err(|e| FileError::whole(path, e))?;
    if !metadata.is_dir() {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![(name, path.to_owned())]);
    }
    let mut found = Vec::new();
    gather(path, "", 0, &mut found)?;
    found.order();
    if found.is_empty() {
        return Err(FileError::whole(path, "no file *.csv is in this directory"));
    }
    Ok(found)
}

fn gather(dir: &Path, prefix: &str, depth: usize, out: &mut Vec<(String, PathBuf)>) -> Result<(), FileError> {
    let whole = |e: &dyn std::fmt::Display| FileError::whole(dir, e);
    if depth > MAX_DEPTH {
        return Err(whole(&"directories are nested too deep"));
    }
    for entry in std::fs::read_dir(dir).map_err(|e| whole(&e))? {
        let path = entry.map_err(|e| whole(&e))?.path();
        let Some(name) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else { continue };
        if path.is_dir() {
            gather(&path, &format!("{prefix}{name}/"), depth + 1, out)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            if out.len() >= MAX_FILES {
                return Err(whole(&format!("more than {MAX_FILES} files")));
            }
            out.push((format!("{prefix}{name}"), path));
        }
    }
    Ok(())
}

/// Reads a file: its rows in their order, whatever their times.
///
/// # Errors
/// The first line that is no row, with its number.
pub fn read(path: &Path) -> Result<Vec<CsvRow>, FileError> {
    let size = std::fs::metadata(path).map_err(|e| FileError::whole(path, e))?.len();
    if size > MAX_FILE {
        return Err(FileError::whole(path, format!("the file is longer than {MAX_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| FileError::whole(path, e))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<CsvRow>, FileError> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let wrong = |line: usize, column: u64, message: String| FileError {
        file: path.to_owned(),
        line: line as u64 + 1,
        column,
        message,
    };
    let header = lines.next().map(|(_, l)| l.trim_end_matches('\r')).unwrap_or_default();
    let names: Vec<String> = header.split(',').map(|n| unquoted(n).to_ascii_lowercase()).collect();
    let column = |name: &str| names.iter().position(|n| n == name);
    let (Some(stamps), Some(values)) = (column("timestamp"), column("value")) else {
        let message = format!("the header is {header:?}: want the columns timestamp and value");
        return Err(wrong(0, 1, message));
    };
    let mut rows = Vec::new();
    for (i, line) in lines {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| {
            cells.get(at).map(|c| unquoted(c)).ok_or_else(|| {
                wrong(i, 1, format!("{line:?} has {} columns, the header {}", cells.len(), names.len()))
            })
        };
        let place = |at: usize| 1 + cells.iter().take(at).map(|c| c.chars().count() as u64 + 1).sum::<u64>();
        let (stamp, number) = (cell(stamps)?, cell(values)?);
        let t = parse_time(stamp).ok_or_else(|| {
            wrong(
                i,
                place(stamps),
                format!(
                    "{stamp:?} is no time (want RFC 3339, YYYY-MM-DD HH:MM:SS, or seconds since the epoch)"
                ),
            )
        })?;
        let v = match number {
            "" => f64::NAN,
            text => {
                parse_float(text).ok_or_else(|| wrong(i, place(values), format!("{text:?} is no number")))?
            }
        };
        rows.push(CsvRow { stamp: stamp.to_owned(), number: number.to_owned(), t, v });
    }
    Ok(rows)
}

fn unquoted(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('"').and_then(|c| c.strip_suffix('"')).unwrap_or(cell)
}

/// The times of the rows as an evaluation needs them: ascending. A row that is not after the one before, as in an hour that comes
/// twice, counts as one millisecond later.
pub fn ascending(rows: &[CsvRow]) -> Vec<Timestamp> {
    let mut last = i64::MIN;
    rows.iter()
        .map(|row| {
            last = row.t.max(last.saturating_add(1));
            last
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_in_their_order_with_their_texts() {
        let text = "\u{feff}timestamp,value\r\n2014-04-10 00:00:00,1.50\r\n\"1397088060\" , 2\n\n2014-04-10 00:00:30,\n";
        let rows = parse(Path::new("x.csv"), text).unwrap();
        let t0 = 1_397_088_000_000;
        assert_eq!(rows.iter().map(|r| r.t).collect::<Vec<_>>(), [t0, t0 + 60_000, t0 + 30_000]);
        assert_eq!((rows[0].stamp.as_str(), rows[0].number.as_str()), ("2014-04-10 00:00:00", "1.50"));
        assert!(rows[2].v.is_nan());
        assert_eq!(ascending(&rows), [t0, t0 + 60_000, t0 + 60_001]);
    }

    #[test]
    fn columns_may_stand_in_any_order() {
        let rows = parse(Path::new("x.csv"), "Value,label,Timestamp\n3,a,0\n").unwrap();
        assert_eq!((rows[0].t, rows[0].v), (0, 3.0));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, want) in [
            ("", "x.csv:1:1: the header is \"\": want the columns timestamp and value"),
            ("time,value\n", "x.csv:1:1: the header is \"time,value\": want"),
            ("timestamp,value\n2014-04-10,1\nyesterday,2\n", "x.csv:3:1: \"yesterday\" is no time"),
            ("timestamp,value\n2014-04-10,many\n", "x.csv:2:12: \"many\" is no number"),
            ("timestamp,value\n2014-04-10\n", "x.csv:2:1: \"2014-04-10\" has 1 columns, the header 2"),
        ] {
            let error = parse(Path::new("x.csv"), text).unwrap_err().to_string();
            assert!(error.starts_with(want), "{text:?}: {error}");
        }
    }
}
