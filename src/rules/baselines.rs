//! The file of baselines: written now and then, not synced, replaced as a whole.
//!
//! It is apart from the ledger, so that a page never waits for it. A damaged file costs the baselines and
//! nothing else: the rules start cold.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::model::{Labels, Timestamp};
use crate::sigma::MAX_BANDS;

use super::budget::Reason;
use super::file::{RuleKind, SigmaSpec};

use super::group::{Group, Rule};
use super::noise::{KEPT, Noise, Stretch};
use super::pages::{PageHistory, PageRecord, REMEMBERED, Tally};
use super::relearn::{Incident, Incidents};
use super::standing::{Grounds, LastPage, SeriesPages, Standing};
use super::widening::Widening;

/// The first bytes of the file; the last one is the version.
const MAGIC: &[u8; 8] = b"SBSIGMA\x04";
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
const CHECKSUM: usize = 8;

/// What the file holds of one rule.
#[derive(Debug, Default)]
pub struct Stored {
    /// Label sets, encoded states, and where each stands with its pages.
    pub series: Vec<(Labels, Vec<u8>, SeriesPages)>,
    pub pages: PageHistory,
    pub incidents: Incidents,
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

/// Series that are encoded while a rule is held: an evaluation that waits for them waits some 100 µs.
const AT_ONCE: usize = 128;

/// All baselines of the groups as bytes, and how many they are. No rule is held for longer than it takes to encode a few series.
pub(super) fn encode<'a>(groups: impl Iterator<Item = &'a Group>) -> (Vec<u8>, usize) {
    let mut out = MAGIC.to_vec();
    let mut count = 0;
    for group in groups {
        for rule in &group.rules {
            let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
            put(&mut out, group.spec.name.as_bytes());
            put(&mut out, rule.spec.name.as_bytes());
            count += encode_rule(&mut out, rule, spec);
        }
    }
    let sum = Sha256::digest(&out);
    out.extend(&sum[..CHECKSUM]);
    (out, count)
}

fn encode_rule(out: &mut Vec<u8>, rule: &Rule, spec: &SigmaSpec) -> usize {
    let (history, incidents, names) = {
        let state = rule.state();
        let names: Vec<Labels> = state.sigma.series.keys().cloned().collect();
        (state.sigma.pages.clone(), state.sigma.incidents.clone(), names)
    };
    put_history(out, &history);
    out.extend((incidents.iter().len() as u32).to_le_bytes());
    for incident in incidents.iter() {
        out.push(u8::from(incident.series.is_some()));
        put(out, incident.series.as_ref().map_or(&[], |l| l.as_bytes()));
        out.extend(incident.from.to_le_bytes());
        out.extend(incident.to.to_le_bytes());
    }
    // How many there are is known at the end: some may have gone meanwhile.
    let at = out.len();
    out.extend([0; 4]);
    let mut count: u32 = 0;
    for few in names.chunks(AT_ONCE) {
        let state = rule.state();
        for labels in few {
            let Some(series) = state.sigma.series.get(labels) else { continue };
            put(out, labels.as_bytes());
            put(out, &spec.detector.encode(&series.state));
            put_pages(out, &series.pages);
            count += 1;
        }
        drop(state);
        // Whoever waits for the rule goes first.
        std::thread::yield_now();
    }
    out[at..at + 4].copy_from_slice(&count.to_le_bytes());
    count as usize
}

fn put_history(out: &mut Vec<u8>, history: &PageHistory) {
    put_widening(out, history.widening());
    out.extend((history.noise().len() as u32).to_le_bytes());
    for noise in history.noise() {
        out.extend(noise.for_ms.to_le_bytes());
        out.push(u8::from(noise.settled));
        out.push(u8::from(noise.before.is_some()));
        for stretch in noise.before.iter().chain([&noise.now]) {
            out.extend(stretch.born.to_le_bytes());
            out.extend(stretch.count.to_le_bytes());
            out.extend((stretch.kept.len() as u32).to_le_bytes());
            stretch.kept.iter().for_each(|reach| out.extend(reach.to_le_bytes()));
        }
    }
    let older = history.older();
    for n in [older.pages, older.useful, older.useless] {
        out.extend(n.to_le_bytes());
    }
    out.extend((history.iter().len() as u32).to_le_bytes());
    for page in history.iter() {
        out.extend(page.t.to_le_bytes());
        out.extend(page.series.to_le_bytes());
        out.extend(page.zscore.to_le_bytes());
        out.push(match page.useful {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        });
    }
}

fn put_widening(out: &mut Vec<u8>, widening: &Widening) {
    out.extend(widening.factor.to_le_bytes());
    out.extend(widening.since.to_le_bytes());
}

fn read_widening(rest: &mut &[u8]) -> Option<Widening> {
    Widening::restored(real(rest)?, i64::from_le_bytes(chunk(rest)?))
}

fn read_noise(rest: &mut &[u8]) -> Option<Noise> {
    let for_ms = i64::from_le_bytes(chunk(rest)?);
    let settled = chunk::<1>(rest)?[0] != 0;
    let before = if chunk::<1>(rest)?[0] != 0 { Some(read_stretch(rest)?) } else { None };
    Some(Noise { for_ms, settled, before, now: read_stretch(rest)? })
}

fn read_stretch(rest: &mut &[u8]) -> Option<Stretch> {
    let (born, count) = (i64::from_le_bytes(chunk(rest)?), u32::from_le_bytes(chunk(rest)?));
    let mut kept: Vec<f64> = Vec::new();
    for _ in 0..number(rest).filter(|n| *n <= KEPT)? {
        let reach = real(rest)?;
        if reach <= 0.0 || kept.last().is_some_and(|before| *before < reach) {
            return None;
        }
        kept.push(reach);
    }
    Some(Stretch { born, count, kept })
}

fn put_pages(out: &mut Vec<u8>, pages: &SeriesPages) {
    let mut most = 0.0;
    let (kind, why, t, level): (u8, u8, Timestamp, f64) = match pages.standing {
        Standing::Calm => (0, 0, 0, 0.0),
        Standing::Held { since, reason, from, worst } => {
            most = worst;
            (1, reason as u8, since, from)
        }
        Standing::Paged { page, grounds } => match grounds {
            Grounds::Within => (2, 0, page, 0.0),
            Grounds::Spends => (2, 1, page, 0.0),
            Grounds::WorseThan(worst) => (2, 2, page, worst),
            Grounds::Joined => (2, 3, page, 0.0),
        },
    };
    out.extend([kind, why]);
    out.extend(t.to_le_bytes());
    out.extend(level.to_le_bytes());
    out.extend(most.to_le_bytes());
    put_widening(out, &pages.widening);
    let last = pages.last.unwrap_or(LastPage { t: Timestamp::MIN, worst: 0.0 });
    out.extend(last.t.to_le_bytes());
    out.extend(last.worst.to_le_bytes());
    out.push(pages.over.len() as u8);
    for over in &pages.over {
        out.extend(over.unwrap_or(Timestamp::MIN).to_le_bytes());
    }
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
    let mut stored = Stored { pages: read_history(rest)?, ..Stored::default() };
    for _ in 0..number(rest)? {
        let one = chunk::<1>(rest)?[0] != 0;
        let labels = take(rest)?;
        let series = if one { Some(Labels::from_bytes(labels)?) } else { None };
        let (from, to) = (i64::from_le_bytes(chunk(rest)?), i64::from_le_bytes(chunk(rest)?));
        stored.incidents.add(Incident { series, from, to }, Timestamp::MAX);
    }
    for _ in 0..number(rest)? {
        let labels = Labels::from_bytes(take(rest)?)?;
        let state = take(rest)?.to_vec();
        stored.series.push((labels, state, read_pages(rest)?));
    }
    Some((key, stored))
}

fn read_history(rest: &mut &[u8]) -> Option<PageHistory> {
    let widening = read_widening(rest)?;
    let mut noise = Vec::new();
    for _ in 0..number(rest).filter(|n| *n <= MAX_BANDS)? {
        noise.push(read_noise(rest)?);
    }
    let mut count = || Some(u64::from_le_bytes(chunk(rest)?));
    let older = Tally { pages: count()?, useful: count()?, useless: count()? };
    let len = number(rest).filter(|n| *n <= REMEMBERED)?;
    let mut pages = Vec::with_capacity(len);
    for _ in 0..len {
        let t = i64::from_le_bytes(chunk(rest)?);
        let series = u64::from_le_bytes(chunk(rest)?);
        let zscore = real(rest)?;
        let useful = match chunk::<1>(rest)?[0] {
            0 => None,
            1 => Some(false),
            _ => Some(true),
        };
        pages.push(PageRecord { t, series, zscore, useful });
    }
    Some(PageHistory::restored(pages, older, widening, noise))
}

fn read_pages(rest: &mut &[u8]) -> Option<SeriesPages> {
    let [kind, why] = chunk::<2>(rest)?;
    let t = i64::from_le_bytes(chunk(rest)?);
    let level = f64::from_le_bytes(chunk(rest)?);
    let worst = f64::from_le_bytes(chunk(rest)?);
    let widening = read_widening(rest)?;
    let standing = match (kind, why) {
        (0, _) => Standing::Calm,
        (1, why) => {
            let reasons = [Reason::Quiet, Reason::Widened, Reason::Spent, Reason::Noise];
            Standing::Held { since: t, reason: *reasons.get(usize::from(why))?, from: level, worst }
        }
        (2, 0) => Standing::Paged { page: t, grounds: Grounds::Within },
        (2, 1) => Standing::Paged { page: t, grounds: Grounds::Spends },
        (2, 2) => Standing::Paged { page: t, grounds: Grounds::WorseThan(level) },
        (2, 3) => Standing::Paged { page: t, grounds: Grounds::Joined },
        _ => return None,
    };
    let last = LastPage { t: i64::from_le_bytes(chunk(rest)?), worst: f64::from_le_bytes(chunk(rest)?) };
    let mut over = Vec::new();
    for _ in 0..chunk::<1>(rest)?[0] {
        over.push(Some(i64::from_le_bytes(chunk(rest)?)).filter(|t| *t != Timestamp::MIN));
    }
    Some(SeriesPages {
        standing,
        last: Some(last).filter(|l| l.t != Timestamp::MIN),
        widening,
        over,
        spells: Vec::new(),
    })
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// A number that is finite.
fn real(rest: &mut &[u8]) -> Option<f64> {
    Some(f64::from_le_bytes(chunk(rest)?)).filter(|v| v.is_finite())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;
    use crate::rules::sigma_rule::SigmaState;
    use crate::storage::SourceId;

    fn group() -> Group {
        let text = "groups:\n- name: g\n  rules:\n  - {sigma: S, expr: x, bands: [{sigma: 3}]}\n";
        let mut file = file::parse(Path::new("r.yml"), text, file::Options::default()).unwrap();
        Group::new(file.groups.remove(0), 15_000, 0, SourceId(1))
    }

    /// A rule with series in every standing.
    fn filled() -> Group {
        let group = group();
        let rule = &group.rules[0];
        let RuleKind::Sigma(spec) = &rule.spec.kind else { panic!("no sigma rule") };
        let mut history = PageHistory::default();
        let after = spec.detector.config().after_page.plan(true);
        history.push(&after, PageRecord { t: 5_000, series: 7, zscore: 4.5, useful: Some(true) });
        history.push(&after, PageRecord { t: 6_000, series: 8, zscore: 9.0, useful: None });
        for (t, reach) in [(5_000, 4.5), (6_000, 3.5), (7_000, 0.0)] {
            history.noise_over(300_000, 3_000).add("2 per 30d".parse().unwrap(), t, reach, t > 5_000);
        }
        let standings = [
            Standing::Calm,
            Standing::Held { since: 9, reason: Reason::Spent, from: 9.5, worst: 4.0 },
            Standing::Held { since: 9, reason: Reason::Noise, from: 9.5, worst: 4.0 },
            Standing::Paged { page: 6_000, grounds: Grounds::WorseThan(4.5) },
            Standing::Paged { page: 6_000, grounds: Grounds::Joined },
            Standing::Paged { page: 6_000, grounds: Grounds::Spends },
        ];
        let series = standings.into_iter().enumerate().map(|(i, standing)| {
            let labels = Labels::from_pairs([("i", i.to_string())]);
            let warm = spec.detector.warm((0..300).map(|t| (t * 15_000, t as f64 % 7.0)), &[]);
            let last = (i > 0).then_some(LastPage { t: 6_000, worst: 9.0 });
            let widening = Widening { factor: 1.5, since: i as i64 };
            (
                labels,
                warm,
                SeriesPages { standing, last, widening, over: vec![None, Some(4)], spells: Vec::new() },
            )
        });
        let mut incidents = Incidents::default();
        incidents.add(Incident { series: None, from: 1, to: 2 }, 1_000);
        incidents.add(Incident { series: Some(Labels::from_pairs([("i", "1")])), from: 3, to: 4 }, 1_000);
        rule.state().sigma = SigmaState::restored(series, history, incidents, 7_000);
        group
    }

    #[test]
    fn everything_is_read_back() {
        let group = filled();
        let (bytes, count) = encode([&group].into_iter());
        assert_eq!(count, 6);
        let mut rules = decode(&bytes).unwrap();
        let stored = rules.remove(&("g".to_owned(), "S".to_owned())).unwrap();
        let RuleKind::Sigma(spec) = &group.rules[0].spec.kind else { panic!("no sigma rule") };
        let state = group.rules[0].state();
        assert_eq!(stored.pages, state.sigma.pages);
        assert_eq!(stored.incidents, state.sigma.incidents);
        assert_eq!(stored.series.len(), 6);
        for (labels, bytes, pages) in stored.series {
            let series = &state.sigma.series[&labels];
            assert_eq!(
                (spec.detector.decode(&bytes).unwrap(), pages),
                (series.state.clone(), series.pages.clone())
            );
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let (bytes, _) = encode([&filled()].into_iter());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
        let body = &bytes[..bytes.len() - CHECKSUM];
        for at in 0..body.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = body.to_vec();
                bytes[at] ^= flip;
                // The checksum is right: what it says is nonsense all the same.
                let sum = Sha256::digest(&bytes);
                bytes.extend(&sum[..CHECKSUM]);
                let _ = decode(&bytes);
            }
        }
    }
}
