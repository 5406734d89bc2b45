//! The file of baselines: written now and then, not synced, replaced as a whole.
//!
//! It is apart from the ledger, so that a page never waits for it. A damaged file costs the baselines and
//! nothing else: the rules start cold.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::model::Labels;

use super::file::RuleKind;
use super::group::Group;
use super::pages::{PageHistory, PageRecord};

/// The first bytes of the file; the last one is the version.
const MAGIC: &[u8; 8] = b"SBSIGMA\x01";
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
const CHECKSUM: usize = 8;

/// What the file holds of one rule.
#[derive(Debug, Default)]
pub struct Stored {
    /// Label sets and encoded states.
    pub series: Vec<(Labels, Vec<u8>)>,
    pub pages: PageHistory,
}

/// By group and rule name.
pub type StoredRules = HashMap<(String, String), Stored>;

/// Why the baselines cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the file is damaged or of another version: {0}")]
    Damaged(&'static str),
}

/// All baselines of the groups as bytes, and how many they are.
pub(super) fn encode<'a>(groups: impl Iterator<Item = &'a Group>) -> (Vec<u8>, usize) {
    let mut out = MAGIC.to_vec();
    let mut count = 0;
    for group in groups {
        for rule in &group.rules {
            let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
            let state = rule.state();
            put(&mut out, group.spec.name.as_bytes());
            put(&mut out, rule.spec.name.as_bytes());
            let pages: Vec<&PageRecord> = state.sigma.pages.iter().collect();
            out.extend((pages.len() as u32).to_le_bytes());
            for page in pages {
                out.extend(page.t.to_le_bytes());
                out.extend(page.zscore.to_le_bytes());
                out.push(match page.useful {
                    None => 0,
                    Some(false) => 1,
                    Some(true) => 2,
                });
            }
            out.extend((state.sigma.series.len() as u32).to_le_bytes());
            for (labels, series) in &state.sigma.series {
                put(&mut out, labels.as_bytes());
                put(&mut out, &spec.detector.encode(&series.state));
                count += 1;
            }
        }
    }
    let sum = Sha256::digest(&out);
    out.extend(&sum[..CHECKSUM]);
    (out, count)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// Writes the file: beside it first, then in its place.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), BaselineError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(&beside, path)?;
    Ok(())
}

/// Reads the file; no file is an empty one.
///
/// # Errors
/// It cannot be read, or it is damaged.
pub fn load(path: &Path) -> Result<StoredRules, BaselineError> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(StoredRules::new()),
        Err(e) => return Err(e.into()),
        Ok(m) if m.len() > MAX_FILE => return Err(BaselineError::Damaged("too long")),
        Ok(_) => {}
    }
    decode(&std::fs::read(path)?)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<StoredRules, BaselineError> {
    let damaged = BaselineError::Damaged;
    let (body, sum) =
        bytes.len().checked_sub(CHECKSUM).map(|at| bytes.split_at(at)).ok_or(damaged("it ends early"))?;
    if Sha256::digest(body)[..CHECKSUM] != *sum {
        return Err(damaged("the checksum is wrong"));
    }
    let mut rest = body.strip_prefix(MAGIC).ok_or(damaged("unknown version"))?;
    let mut rules = StoredRules::new();
    while !rest.is_empty() {
        let rule = read_rule(&mut rest).ok_or(damaged("a rule cannot be read"))?;
        rules.insert(rule.0, rule.1);
    }
    Ok(rules)
}

fn read_rule(rest: &mut &[u8]) -> Option<((String, String), Stored)> {
    let mut text = || String::from_utf8(take(rest)?.to_vec()).ok();
    let key = (text()?, text()?);
    let mut stored = Stored::default();
    for _ in 0..number(rest)? {
        let t = i64::from_le_bytes(chunk(rest)?);
        let zscore = f64::from_le_bytes(chunk(rest)?);
        let useful = match chunk::<1>(rest)?[0] {
            0 => None,
            1 => Some(false),
            _ => Some(true),
        };
        stored.pages.push(PageRecord { t, zscore, useful });
    }
    for _ in 0..number(rest)? {
        let labels = Labels::from_bytes(take(rest)?)?;
        stored.series.push((labels, take(rest)?.to_vec()));
    }
    Some((key, stored))
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(chunk(rest)?) as usize)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = number(rest)?;
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}
