//! Bars for a terminal.

use super::escape::{number, shorten};

/// Rows that are drawn; of further ones only the number is said.
const MAX_ROWS: usize = 200;
/// Eighths of a block, from the left.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A bar a row, `label  █████▌ 12`, at most `width` columns wide (20 to 400), with a line end after each row.
/// The longest bar is the largest value; what is negative or no number has none. Characters that would move a
/// terminal's cursor are replaced.
pub fn bars(rows: &[(String, f64)], width: usize) -> String {
    let width = width.clamp(20, 400);
    let shown = &rows[..rows.len().min(MAX_ROWS)];
    let clean =
        |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let labels: Vec<String> = shown.iter().map(|(label, _)| shorten(&clean(label), width / 2)).collect();
    let values: Vec<String> = shown.iter().map(|(_, v)| number(*v)).collect();
    let longest = |texts: &[String]| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    let (label_width, value_width) = (longest(&labels), longest(&values));
    let room = width.saturating_sub(label_width + value_width + 3).max(4);
    let most = largest(shown);
    let mut out = String::new();
    for ((label, text), (_, v)) in labels.iter().zip(&values).zip(shown) {
        let pad = label_width - label.chars().count();
        out.push_str(label);
        out.extend(std::iter::repeat_n(' ', pad + 2));
        let bar = bar(*v, most, room);
        if !bar.is_empty() {
            out.push_str(&bar);
            out.push(' ');
        }
        out.push_str(text);
        out.push('\n');
    }
    if rows.len() > shown.len() {
        out.push_str(&format!("… and {} more\n", rows.len() - shown.len()));
    }
    out
}

/// The largest finite value, 0 when there is none above.
pub(super) fn largest(rows: &[(String, f64)]) -> f64 {
    rows.iter().map(|(_, v)| *v).filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// How much of the longest bar a value is, 0 to 1.
pub(super) fn share(v: f64, most: f64) -> f64 {
    if v.is_finite() && v > 0.0 && most > 0.0 { (v / most).clamp(0.0, 1.0) } else { 0.0 }
}

fn bar(v: f64, most: f64, room: usize) -> String {
    let share = share(v, most);
    if share == 0.0 {
        return String::new();
    }
    // Something is never drawn as nothing.
    let eighths = ((share * room as f64 * 8.0).round() as usize).max(1);
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS[eighths % 8]);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter().map(|(l, v)| ((*l).to_owned(), *v)).collect()
    }

    #[test]
    fn bars_are_in_proportion_to_the_eighth() {
        let text = bars(&rows(&[("mon", 8.0), ("tuesday", 4.0), ("wed", 0.0), ("thu", 0.01)]), 20);
        // 20 columns: 7 for the label, 4 for the value, 3 between: 6 for the longest bar.
        assert_eq!(text, "mon      ██████ 8\ntuesday  ███ 4\nwed      0\nthu      ▏ 0.01\n");
        assert_eq!(bars(&rows(&[("a", 64.0), ("b", 5.0)]), 20), "a  ██████████████ 64\nb  █▏ 5\n");
    }

    #[test]
    fn odd_rows_stay_within_the_width_and_harmless() {
        for (list, width) in [
            (rows(&[]), 80),
            (rows(&[("\u{1b}[2J\n\t", 1.0), (&"long ".repeat(100), 2.0)]), 0),
            (rows(&[("nan", f64::NAN), ("inf", f64::INFINITY), ("neg", -3.0), ("max", f64::MAX)]), 40),
            (rows(&vec![("x", 1.0); 1000]), 60),
            (rows(&[("zero", 0.0), ("zero", -0.0)]), usize::MAX),
        ] {
            let text = bars(&list, width);
            let most = width.clamp(20, 400);
            for line in text.lines() {
                assert!(line.chars().count() <= most, "{line}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
            assert!(text.lines().count() <= MAX_ROWS + 1);
        }
        assert!(bars(&rows(&[("nan", f64::NAN)]), 40).contains("nan  –"));
    }
}
