//! The smallest σ, and the smallest `for`, with which a rule would have kept its budget: its bands are run again over the judgements
//! that the replay kept. What a band's firing does to the baseline (freezing) is left as it was.

use crate::model::{Duration, Timestamp};
use crate::rules::JOIN_MS;
use crate::rules::file::{RuleSpec, SigmaSpec};
use crate::sigma::{Band, Detector, Direction, Judgement, Phase};

use super::recorder::{Crossing, Recorder, searched_bands};

/// σ grows by this factor from candidate to candidate, rounded to a tenth.
const SIGMA_STEP: f64 = 1.1;
const MAX_SIGMA: f64 = 100.0;
const MINUTE_MS: i64 = 60_000;
/// Candidates for `for`, minutes.
const FOR_MINUTES: [i64; 15] = [0, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 240, 360];

/// Thresholds that keep a budget; of each the smallest, with everything else as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Found {
    /// σ of the lowest band that pages, and the pages that it would have had.
    pub sigma: Option<(f64, u64)>,
    pub for_: Option<(Duration, u64)>,
}

/// Looks for thresholds with at most `most` pages. `None` when the rule was too noisy for all of its judgements to be kept.
pub fn search(
    rule: &RuleSpec,
    spec: &SigmaSpec,
    recorder: &Recorder,
    interval_ms: i64,
    most: f64,
) -> Option<Found> {
    if !recorder.can_search() {
        return None;
    }
    let config = spec.detector.config();
    let bands: Vec<Band> = searched_bands(rule, spec).iter().map(|i| config.bands[*i].clone()).collect();
    let lowest = bands.first()?.sigma;
    let floor = recorder.search_floor(config.clear_sigma);
    let pages = |scale: f64, hold: Option<Duration>| {
        let bands = bands
            .iter()
            .map(|b| Band { sigma: b.sigma * scale, for_: hold.unwrap_or(b.for_), ..b.clone() })
            .collect();
        detector(spec, bands).map(|detector| count(&detector, recorder, interval_ms))
    };
    let mut found = Found::default();
    let mut sigma = floor.max(0.5);
    while sigma <= MAX_SIGMA {
        let rounded = (sigma * 10.0).ceil() / 10.0;
        match pages(rounded / lowest, None) {
            Some(n) if n as f64 <= most => {
                found.sigma = Some((rounded, n));
                break;
            }
            Some(_) => sigma = (sigma * SIGMA_STEP).max(rounded),
            None => break,
        }
        // The rule's own σ is a candidate, too.
        if sigma > lowest && sigma < lowest * SIGMA_STEP && rounded < lowest {
            sigma = lowest;
        }
    }
    for hold in FOR_MINUTES.map(|m| Duration::from_ms(m * MINUTE_MS)) {
        match pages(1.0, Some(hold)) {
            Some(n) if n as f64 <= most => {
                found.for_ = Some((hold, n));
                break;
            }
            _ => {}
        }
    }
    Some(found)
}

/// A detector with only these bands, that takes distances in place of judgements.
fn detector(spec: &SigmaSpec, bands: Vec<Band>) -> Option<Detector> {
    let mut config = spec.detector.config().clone();
    let longest = bands.iter().map(|b| b.for_).max().unwrap_or_default();
    config.bands = bands;
    config.direction = Direction::Above;
    config.min_deviation = 0.0;
    // Nothing is learnt here, but a detector is only made when its baseline could be.
    config.baseline.freeze_at = None;
    config.baseline.lag = config.baseline.lag.max(longest);
    config.baseline.window = config.baseline.window.max(Duration::from_ms(2 * config.baseline.lag.ms()));
    Detector::new(config).ok()
}

/// Pages of the rule: those of its series, where those that begin soon after another one join it.
fn count(detector: &Detector, recorder: &Recorder, interval_ms: i64) -> u64 {
    let mut all: Vec<(u32, Timestamp, Timestamp)> = Vec::new();
    for track in recorder.series() {
        let mut own = Vec::new();
        intervals(detector, &track.crossings, interval_ms, &mut own);
        all.extend(own.into_iter().map(|(start, end)| (track.history, start, end)));
    }
    all.sort_unstable();
    // The history, when the last page began, and until when any series pages.
    let (mut pages, mut history, mut last, mut until) = (0, 0, i64::MIN, i64::MIN);
    for (of, start, end) in all {
        if of != history {
            (history, last, until) = (of, i64::MIN, i64::MIN);
        }
        if start > until || start.saturating_sub(last) > JOIN_MS {
            pages += 1;
            last = start;
        }
        until = until.max(end);
    }
    pages
}

/// When a series pages: from the first evaluation to the last one at which a band fires.
fn intervals(
    detector: &Detector,
    crossings: &[Crossing],
    interval_ms: i64,
    out: &mut Vec<(Timestamp, Timestamp)>,
) {
    let mut bands = detector.start().bands;
    let mut open: Option<Timestamp> = None;
    let mut last = i64::MIN;
    let firing =
        |bands: &crate::sigma::Bands| bands.states().iter().any(|b| matches!(b.phase, Phase::Firing { .. }));
    let mut step = |t: Timestamp, distance: f64, novel: bool, open: &mut Option<Timestamp>| {
        detector.rejudge(&mut bands, t, &judgement(distance, novel));
        match (firing(&bands), *open) {
            (true, None) => *open = Some(t),
            (false, Some(start)) => {
                out.push((start, t.saturating_sub(1)));
                *open = None;
            }
            _ => {}
        }
    };
    let keep = detector.config().keep_firing_for.ms();
    for crossing in crossings {
        if last != i64::MIN && crossing.before > last {
            // In between it was closer to the centre: at the evaluation after the last one, and at the one before this.
            step(last.saturating_add(interval_ms).min(crossing.before), 0.0, false, &mut open);
            if crossing.before.saturating_sub(last) >= keep {
                step(crossing.before, 0.0, false, &mut open);
            }
        }
        step(crossing.t, crossing.distance, crossing.novel, &mut open);
        last = crossing.t;
    }
    if let Some(start) = open {
        out.push((start, last.saturating_add(keep)));
    }
}

fn judgement(distance: f64, novel: bool) -> Judgement {
    Judgement {
        value: distance,
        center: 0.0,
        stddev: 1.0,
        zscore: distance,
        ready: true,
        frozen: false,
        samples: u64::MAX,
        age_ms: 0,
        novelty: Some(if novel { crate::sigma::NOVEL } else { 0.0 }),
    }
}
