//! What a replay writes down of one rule: events by band, pages by series, and the judgements that a search for better thresholds
//! needs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use crate::model::{Labels, Timestamp};
use crate::promql::{Expr, VectorSample};
use crate::rules::file::{RuleKind, RuleSpec, SigmaSpec};
use crate::rules::{JOIN_MS, Judged, Paged, Replay, band_pages};
use crate::sigma::{Action, Phase};

use super::ahead::Ahead;

pub const DAY_MS: i64 = 86_400_000;
/// Judgements that are kept of a rule for the search; 32 bytes each.
const MAX_CROSSINGS: usize = 2_000_000;
/// Pages that are kept of a rule with their times.
const MAX_PAGES: usize = 1_000_000;
/// The search begins at this share of the lowest σ that pages.
const SEARCH_FROM: f64 = 0.7;

/// A page, or the firing of an alerting rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageAt {
    /// ms.
    pub t: Timestamp,
    /// Of which series.
    pub series: usize,
    /// It is the first of its rule: others join it.
    pub first: bool,
}

/// A judgement far enough out to matter for the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    pub t: Timestamp,
    /// When the series was evaluated before that.
    pub before: Timestamp,
    /// In σ, on the side that counts.
    pub distance: f64,
    /// The gate on novelty is open.
    pub novel: bool,
}

/// One series of a rule.
#[derive(Debug)]
pub struct SeriesTrack {
    pub labels: Labels,
    /// Which bands fired at the evaluation before, one bit each.
    firing: u64,
    /// A band that pages fires.
    asking: bool,
    pub crossings: Vec<Crossing>,
    /// The number of the history that it is of: pages of different histories never join.
    pub history: u32,
    last: Timestamp,
    /// Where pages were possible: from the first judgement that was ready to the last, within what is counted.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// What became of one band, or of an alerting rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BandCount {
    /// It began to fire (a recorded band: to be crossed), by any series.
    pub events: u64,
}

/// The notes on one rule.
pub struct Recorder {
    /// Events before this are learning, and not counted; the history ends at `until`, ms.
    count_from: Timestamp,
    until: Timestamp,
    /// When the rule first had a series in this history, ms.
    seen: Option<Timestamp>,
    history: u32,
    series: Vec<SeriesTrack>,
    places: HashMap<Labels, usize>,
    pub bands: Vec<BandCount>,
    /// Pages as they would have gone out, of every series; those that join another one too.
    pub pages: Vec<PageAt>,
    pub pages_dropped: u64,
    /// Pages that the bands asked for, joined ones not counted: before the budget, and the quiet that comes with it.
    pub asked: u64,
    /// Series that now ask for a page, and when the last one was asked for that joined no other.
    asking: usize,
    last_asked: Option<Timestamp>,
    /// Days (since the epoch) with their first pages.
    pub days: BTreeMap<i64, u64>,
    pub crossings: usize,
    /// Below this distance nothing is kept for the search.
    keep_from: f64,
    pub evaluations: u64,
    pub failures: u64,
    pub first_failure: Option<String>,
    /// Time that was replayed and counted, of each history, ms.
    pub exposures: Vec<i64>,
    /// The highest score since somebody set it to 0.
    pub score: f64,
    /// Takes every score: of which series, when (ms), the value, the score.
    pub sink: Option<ScoreSink>,
}

/// See [`Recorder::sink`].
pub type ScoreSink = Box<dyn FnMut(&Labels, Timestamp, f64, f64)>;

/// The bands of a rule that page.
pub fn paging_bands(rule: &RuleSpec, spec: &SigmaSpec) -> Vec<usize> {
    (0..spec.detector.config().bands.len()).filter(|i| band_pages(rule, spec, *i)).collect()
}

/// The bands that the search varies: those that page, or where none does, those that alert.
pub fn searched_bands(rule: &RuleSpec, spec: &SigmaSpec) -> Vec<usize> {
    let paging = paging_bands(rule, spec);
    if !paging.is_empty() {
        return paging;
    }
    let bands = &spec.detector.config().bands;
    (0..bands.len()).filter(|i| bands[*i].action == Action::Alert).collect()
}

impl Recorder {
    pub fn new(rule: &RuleSpec) -> Self {
        let (bands, keep_from) = match &rule.kind {
            RuleKind::Sigma(spec) => {
                let config = spec.detector.config();
                let lowest =
                    searched_bands(rule, spec).first().map_or(f64::INFINITY, |i| config.bands[*i].sigma);
                (config.bands.len(), (lowest * SEARCH_FROM - config.clear_sigma).max(0.5))
            }
            _ => (1, f64::INFINITY),
        };
        Self {
            count_from: i64::MIN,
            until: i64::MAX,
            seen: None,
            history: 0,
            series: Vec::new(),
            places: HashMap::new(),
            bands: vec![BandCount::default(); bands],
            pages: Vec::new(),
            pages_dropped: 0,
            asked: 0,
            asking: 0,
            last_asked: None,
            days: BTreeMap::new(),
            crossings: 0,
            keep_from,
            evaluations: 0,
            failures: 0,
            first_failure: None,
            exposures: Vec::new(),
            score: 0.0,
            sink: None,
        }
    }

    /// Begins with a history that has nothing to do with the one before; it is counted from this time on.
    pub fn start(&mut self, count_from: Timestamp, until: Timestamp) {
        (self.count_from, self.until) = (count_from, until);
        self.seen = None;
        self.history = self.history.wrapping_add(1);
        self.places.clear();
        (self.asking, self.last_asked) = (0, None);
    }

    /// The history has ended: the time in which the rule could act counts. A sigma rule without a series could not.
    pub fn finish(&mut self, sigma: bool) {
        let seen = if sigma { self.seen.unwrap_or(self.until) } else { self.count_from };
        self.exposures.push(self.until.saturating_sub(self.count_from.max(seen)).max(0));
    }

    pub fn series(&self) -> &[SeriesTrack] {
        &self.series
    }

    /// Were all crossings kept?
    pub fn can_search(&self) -> bool {
        self.crossings < MAX_CROSSINGS
    }

    /// σ below which the search knows nothing.
    pub fn search_floor(&self, clear_sigma: f64) -> f64 {
        self.keep_from + clear_sigma
    }

    pub fn failed(&mut self, reason: &str) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| reason.to_owned());
    }

    fn place(&mut self, labels: &Labels) -> usize {
        if let Some(place) = self.places.get(labels) {
            return *place;
        }
        self.places.insert(labels.clone(), self.series.len());
        self.series.push(SeriesTrack {
            labels: labels.clone(),
            firing: 0,
            asking: false,
            crossings: Vec::new(),
            history: self.history,
            last: i64::MIN,
            span: None,
        });
        self.series.len() - 1
    }

    /// An alerting rule's alert began to fire.
    pub fn fired(&mut self, labels: &Labels, t: Timestamp, pages: bool) {
        if t < self.count_from {
            return;
        }
        let place = self.place(labels);
        self.series[place].span = Some((self.count_from, self.until));
        if let Some(band) = self.bands.first_mut() {
            band.events += 1;
        }
        if pages {
            self.asked += 1;
            self.page(t, place, true);
        }
    }

    fn page(&mut self, t: Timestamp, series: usize, first: bool) {
        if first {
            *self.days.entry(t.div_euclid(DAY_MS)).or_default() += 1;
        }
        if self.pages.len() < MAX_PAGES {
            self.pages.push(PageAt { t, series, first });
        } else {
            self.pages_dropped += 1;
        }
    }

    fn judged(&mut self, judged: &Judged<'_>) {
        let Judged { rule, spec, t, evaluation, .. } = *judged;
        let judgement = &evaluation.judgement;
        let place = self.place(judged.series);
        self.seen.get_or_insert(t);
        let counted = t >= self.count_from;
        let (keep_from, searching) = (self.keep_from, self.can_search());
        let track = &mut self.series[place];
        let (bands, change) = (&judged.state.bands, evaluation.bands);
        let after = bands.states().iter().fold(0u64, |m, b| m << 1 | u64::from(is_firing(b.phase)));
        let before = std::mem::replace(&mut track.firing, after);
        if before != after && counted {
            let last = bands.states().len().saturating_sub(1);
            for (i, band) in self.bands.iter_mut().enumerate() {
                let bit = 1u64 << last.saturating_sub(i);
                band.events += u64::from(after & bit != 0 && before & bit == 0);
            }
        }
        let was = track.asking;
        if before != after {
            let states = bands.states();
            track.asking = (0..states.len()).any(|i| is_firing(states[i].phase) && band_pages(rule, spec, i));
        }
        if judgement.ready {
            if counted {
                track.span = Some((track.span.map_or(t, |s| s.0), t));
            }
            let distance = spec.detector.distance(judgement);
            if distance >= keep_from && searching && counted {
                let novel = judgement.novelty.is_some_and(|s| s >= crate::sigma::NOVEL);
                track.crossings.push(Crossing { t, before: track.last, distance, novel });
                self.crossings += 1;
            }
            track.last = t;
        }
        let now = track.asking;
        if change.paged && change.top.is_some_and(|i| band_pages(rule, spec, i)) {
            let joins =
                self.asking > 0 && self.last_asked.is_some_and(|page| t.saturating_sub(page) <= JOIN_MS);
            if !joins {
                self.last_asked = Some(t);
                self.asked += u64::from(counted);
            }
        }
        match (was, now) {
            (false, true) => self.asking += 1,
            (true, false) => self.asking = self.asking.saturating_sub(1),
            _ => {}
        }
        if counted && matches!(judged.decision.paged, Paged::Sent | Paged::Joined) {
            self.page(t, place, judged.decision.paged == Paged::Sent);
        }
        let score = judged.decision.score;
        self.score = self.score.max(score);
        if let Some(sink) = &mut self.sink
            && counted
        {
            sink(judged.series, t, judgement.value, score);
        }
    }
}

fn is_firing(phase: Phase) -> bool {
    matches!(phase, Phase::Firing { .. })
}

/// The eye of a recorder on one rule while it is evaluated.
pub struct Watch<'a> {
    pub recorder: RefCell<&'a mut Recorder>,
    pub ahead: Option<RefCell<Ahead>>,
    /// The rule's expression, by its address.
    pub expr: &'a Expr,
    pub read: bool,
}

impl Replay for Watch<'_> {
    fn vector(&self, expr: &Expr, t: Timestamp) -> Option<Vec<VectorSample>> {
        // Expressions of templates are others, and are asked from the engine.
        if !std::ptr::eq(expr, self.expr) {
            return None;
        }
        self.ahead.as_ref().map(|ahead| ahead.borrow_mut().at(t))
    }

    fn is_read(&self, _: &RuleSpec) -> bool {
        self.read
    }

    fn judged(&self, judged: &Judged<'_>) {
        self.recorder.borrow_mut().judged(judged);
    }
}
