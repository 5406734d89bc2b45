//! Histories in a text exposition with timestamps: OpenMetrics (seconds, `# EOF` at the end), or Prometheus text (ms).

use std::path::Path;

use crate::exposition::{Entry, Format, Scanner};
use crate::model::yaml::FileError;

use super::memory::{MAX_SAMPLES, Memory};

/// Bytes of one file.
const MAX_FILE: u64 = 4 << 30;

/// Reads a file. Samples may come in any order.
///
/// # Errors
/// The first line that is no line of the format, has no timestamp, or is one too many.
pub fn read(path: &Path) -> Result<Memory, FileError> {
    let size = std::fs::metadata(path).map_err(|e| FileError::whole(path, e))?.len();
    if size > MAX_FILE {
        return Err(FileError::whole(path, format!("the file is longer than {MAX_FILE} bytes")));
    }
    let page = std::fs::read(path).map_err(|e| FileError::whole(path, e))?;
    parse(path, &page)
}

fn parse(path: &Path, page: &[u8]) -> Result<Memory, FileError> {
    let openmetrics = page.trim_ascii_end().ends_with(b"# EOF");
    let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
    let mut scanner = Scanner::new(page, format);
    let mut memory = Memory::default();
    // The same series usually comes again soon: its text is compared before its labels are made.
    let mut last: Option<(&[u8], usize)> = None;
    let mut lines = 0;
    while let Some(entry) = scanner.next() {
        lines += 1;
        let wrong = |message: String| FileError { file: path.to_owned(), line: lines, column: 1, message };
        let entry = entry.map_err(|e| wrong(e.message))?;
        let Entry::Series(series) = entry else { continue };
        let Some(t) = series.timestamp else {
            return Err(wrong(format!("{} has no timestamp", String::from_utf8_lossy(series.text))));
        };
        let place = match last {
            Some((text, place)) if text == series.text => place,
            _ => {
                let labels = scanner.labels().map_err(|e| wrong(e.to_string()))?;
                let place = memory.series(&labels);
                last = Some((series.text, place));
                place
            }
        };
        if !memory.push(place, t, series.value) {
            return Err(wrong(format!("more than {MAX_SAMPLES} samples")));
        }
    }
    memory.sort();
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matcher;

    #[test]
    fn both_formats_are_read() {
        let om = "# TYPE a gauge\na{x=\"1\"} 1 1000\na{x=\"2\"} 5 1000\na{x=\"1\"} 2 1015.5\n# EOF\n";
        let text = "# HELP a b\na{x=\"1\"} 2 1015500\na{x=\"2\"} 5 1000000\na{x=\"1\"} 1 1000000\n";
        for page in [om, text] {
            let memory = parse(Path::new("x"), page.as_bytes()).unwrap();
            let found: Vec<_> = memory.matching(&[Matcher::equal("x", "1")]).collect();
            let samples: Vec<_> = found[0].1.iter().map(|s| (s.t, s.v)).collect();
            assert_eq!(samples, [(1_000_000, 1.0), (1_015_500, 2.0)], "{page}");
            assert_eq!(memory.extent(), Some((1_000_000, 1_015_500)));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (page, want) in [
            ("a 1 1000\na 2\n", "x:2:1: a has no timestamp"),
            ("a 1 1000\nb c 3\n", "x:2:1: "),
            ("a{x=\"1\",x=\"2\"} 1 3\n", "x:1:1: "),
        ] {
            let error = parse(Path::new("x"), page.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(want), "{page:?}: {error}");
        }
    }
}
