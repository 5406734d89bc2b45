//! Patterns of file names, as shells and Go's `filepath.Match` have them.

/// `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash before what stands for itself.
#[derive(Debug)]
pub struct Glob(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    One(char),
    Any,
    Many,
    /// The first and last character of every range.
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern; `None`: a set is not closed or empty, or nothing stands behind a backslash.
    pub fn new(pattern: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => Piece::Many,
                '?' => Piece::Any,
                '\\' => Piece::One(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let first = of_set(&mut chars)?;
                        let last = match chars.next_if_eq(&'-') {
                            Some(_) => of_set(&mut chars)?,
                            None => first,
                        };
                        ranges.push((first, last));
                    }
                    Piece::Set { negated, ranges }
                }
                c => Piece::One(c),
            });
        }
        Some(Self(pieces))
    }

    /// Does a name fit, from its beginning to its end?
    pub fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut i, mut j) = (0, 0);
        // The piece after the last star, and how far the star reaches.
        let mut star: Option<(usize, usize)> = None;
        while j < name.len() {
            match self.0.get(i) {
                Some(Piece::Many) => {
                    i += 1;
                    star = Some((i, j));
                }
                Some(piece) if piece.fits(name[j]) => {
                    i += 1;
                    j += 1;
                }
                _ => {
                    // Let the star take one character more.
                    let Some((after, reach)) = star else { return false };
                    star = Some((after, reach + 1));
                    (i, j) = (after, reach + 1);
                }
            }
        }
        self.0[i..].iter().all(|piece| matches!(piece, Piece::Many))
    }
}

/// A character of a set.
fn of_set(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

impl Piece {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::One(own) => *own == c,
            Self::Any => true,
            Self::Many => false,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*.json", "axxbyb.json", true),
            ("a?.json", "ab.json", true),
            ("a?.json", "a.json", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("[ab].yml", "b.yml", true),
            ("[a-c]*", "d", false),
            ("[^a-c]", "d", true),
            ("[^a-c]", "b", false),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a.b", "axb", false),
            ("é?", "éé", true),
            ("***a", "bba", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().fits(name), want, "{pattern} {name}");
        }
        for pattern in ["[", "[a", "[]", "[]a]", "[-a]", "[a-]", "\\", "[^", "[\\"] {
            assert!(Glob::new(pattern).is_none(), "{pattern}");
        }
        // Not exponential.
        assert!(!Glob::new(&"*a".repeat(50)).unwrap().fits(&"a".repeat(49)));
    }
}
