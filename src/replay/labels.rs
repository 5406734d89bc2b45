//! Labelled windows: when something really was wrong, by series.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::yaml::{self, FileError};
use crate::model::{Labels, Timestamp};

use super::csv::CSV_LABEL;
use super::times::parse_time;

/// Windows (both ends inclusive, ms) by the name of their series: a CSV file's name, a label set as `{name="value"}`, or `*` for
/// all series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelledWindows(BTreeMap<String, Vec<(Timestamp, Timestamp)>>);

const ALL: &str = "*";
const MAX_FILE: u64 = 64 << 20;

impl LabelledWindows {
    /// Reads a file: JSON or YAML `{SERIES: [[START, END], …]}`, or CSV with the columns series, start, end.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let size = std::fs::metadata(path).map_err(|e| FileError::whole(path, e))?.len();
        if size > MAX_FILE {
            return Err(FileError::whole(path, format!("the file is longer than {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| FileError::whole(path, e))?;
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            Self::from_csv(path, &text)
        } else {
            Self::from_yaml(path, &text)
        }
    }

    fn from_yaml(path: &Path, text: &str) -> Result<Self, FileError> {
        let raw: BTreeMap<String, Vec<Vec<String>>> = yaml::parse(path, text)?;
        let mut all = Self::default();
        for (series, windows) in raw {
            // A series without windows is one in which nothing was wrong: that is worth knowing, too.
            all.0.entry(series.clone()).or_default();
            for window in windows {
                let [start, end] = window.as_slice() else {
                    let message = format!("{series}: a window has {} times, want 2", window.len());
                    return Err(FileError::whole(path, message));
                };
                all.add(&series, start, end).map_err(|message| FileError::whole(path, message))?;
            }
        }
        Ok(all)
    }

    fn from_csv(path: &Path, text: &str) -> Result<Self, FileError> {
        let mut all = Self::default();
        for (i, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty()) {
            let at =
                |message: String| FileError { file: path.to_owned(), line: i as u64 + 1, column: 1, message };
            // From the right, since a label set has commas.
            let mut cells = line.rsplitn(3, ',').map(|c| c.trim().trim_matches('"'));
            let (Some(end), Some(start), Some(series)) = (cells.next(), cells.next(), cells.next()) else {
                return Err(at(format!("{line:?}: want series,start,end")));
            };
            all.add(&series.replace("\"\"", "\""), start, end).map_err(at)?;
        }
        Ok(all)
    }

    fn add(&mut self, series: &str, start: &str, end: &str) -> Result<(), String> {
        let time = |text: &str| parse_time(text).ok_or_else(|| format!("{series}: {text:?} is no time"));
        let (start, end) = (time(start)?, time(end)?);
        if end < start {
            return Err(format!("{series}: a window ends before it starts"));
        }
        self.0.entry(series.to_owned()).or_default().push((start, end));
        Ok(())
    }

    /// The windows of a series; `None` when nothing is said about it.
    pub fn of(&self, series: &Labels) -> Option<Vec<(Timestamp, Timestamp)>> {
        let keys = [series.get(CSV_LABEL).map(str::to_owned), Some(series.to_string()), Some(ALL.to_owned())];
        let mut found = None;
        for windows in keys.into_iter().flatten().filter_map(|key| self.0.get(&key)) {
            found.get_or_insert_with(Vec::new).extend(windows.iter().copied());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_397_088_000_000;

    #[test]
    fn windows_are_read_from_json_yaml_and_csv() {
        let json = "{\n \"cat/a.csv\": [\n  [\n   \"2014-04-10 00:00:00.000000\",\n   \"2014-04-10 00:01:00.000000\"\n  ]\n ],\n \"cat/b.csv\": []\n}\n";
        let all = LabelledWindows::from_yaml(Path::new("l.json"), json).unwrap();
        let file = |name: &str| Labels::from_pairs([("file", name)]);
        assert_eq!(all.of(&file("cat/a.csv")), Some(vec![(T, T + 60_000)]));
        assert_eq!(all.of(&file("cat/b.csv")), Some(vec![]));
        assert_eq!(all.of(&file("cat/c.csv")), None);
        let yaml = "'{job=\"x\"}': [[2014-04-10T00:00:00Z, 2014-04-10T00:01:00Z]]\n'*': [[1397088000, 1397088060]]\n";
        let all = LabelledWindows::from_yaml(Path::new("l.yml"), yaml).unwrap();
        let job = Labels::from_pairs([("job", "x")]);
        assert_eq!(all.of(&job), Some(vec![(T, T + 60_000); 2]));
        assert_eq!(all.of(&file("z")), Some(vec![(T, T + 60_000)]));
        let csv =
            "series,start,end\n\"{a=\"\"1\"\", b=\"\"2\"\"}\",2014-04-10 00:00:00,2014-04-10 00:01:00\n";
        let all = LabelledWindows::from_csv(Path::new("l.csv"), csv).unwrap();
        assert_eq!(all.of(&Labels::from_pairs([("a", "1"), ("b", "2")])), Some(vec![(T, T + 60_000)]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, want) in [
            ("a: [[2014-04-10]]", "a window has 1 times, want 2"),
            ("a: [[2014-04-10, yesterday]]", "\"yesterday\" is no time"),
            ("a: [[2014-04-10, 2014-04-09]]", "ends before it starts"),
            ("a: 5", "l.yml:1"),
        ] {
            let error = LabelledWindows::from_yaml(Path::new("l.yml"), text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        let error = LabelledWindows::from_csv(Path::new("l.csv"), "h\nonly\n").unwrap_err().to_string();
        assert!(error.starts_with("l.csv:2:1: "), "{error}");
    }
}
