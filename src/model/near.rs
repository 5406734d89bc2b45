//! The known word that somebody may have meant.

/// Longer words are not compared: the work grows with the square of the length.
const LONGEST: usize = 64;

/// The known word that is nearest to `word`, if it is as near as a typing error is: a third of the letters may be
/// wrong, missing, too many or swapped with their neighbour, one at least.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(LONGEST + 1).collect();
    if letters.len() > LONGEST {
        return None;
    }
    let most = (letters.len() / 3).max(1);
    let mut best = None;
    for candidate in known {
        let distance = distance(&letters, candidate);
        if distance <= most && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many letters have to be changed, added, left out or swapped with their neighbour.
fn distance(a: &[char], b: &str) -> usize {
    // The last two rows of the table of all beginnings of `b` against all of `a`.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=a.len()).collect();
    let mut last_letter = None;
    for (j, letter) in b.chars().take(LONGEST + 1).enumerate() {
        let mut row = vec![j + 1];
        for i in 0..a.len() {
            let changed = last[i] + usize::from(a[i] != letter);
            let mut fewest = changed.min(last[i + 1] + 1).min(row[i] + 1);
            if i > 0 && Some(a[i]) == last_letter && a[i - 1] == letter {
                fewest = fewest.min(before[i - 1] + 1);
            }
            row.push(fewest);
        }
        before = std::mem::replace(&mut last, row);
        last_letter = Some(letter);
    }
    last[a.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors() {
        let known = ["scrape_interval", "scrape_timeout", "static_configs", "url", "job_name"];
        for (word, expect) in [
            ("scrape_intervall", Some("scrape_interval")),
            ("static_config", Some("static_configs")),
            ("jobname", Some("job_name")),
            ("job_naem", Some("job_name")),
            ("urll", Some("url")),
            ("ulr", Some("url")),
            ("zebra", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
        assert_eq!(nearest("a", ["b", "ab", "a"]), Some("a"));
    }
}
