//! A rule's detector and the state of each of its series: baseline and bands joined, the freeze between them.

use crate::model::Timestamp;

use super::bands::{Bands, BandsChange, BandsPlan};
use super::baseline::{Baseline, Judgement, Plan};
use super::codec::{DecodeError, Reader, Writer};
use super::config::{Band, Config, ConfigError};

/// A checked rule, shared by its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    config: Config,
    plan: Plan,
    bands: BandsPlan,
}

/// Everything that is remembered of one series of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesState {
    pub baseline: Baseline,
    pub bands: Bands,
}

/// What one evaluation of one series says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    pub judgement: Judgement,
    pub bands: BandsChange,
}

/// Version of the encoded form of the bands; the baseline has its own.
const VERSION: u8 = 3;

impl SeriesState {
    /// Bytes in memory, heap included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.baseline.heap_bytes() + self.bands.heap_bytes()
    }
}

impl Detector {
    /// # Errors
    /// Everything that is wrong in the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<ConfigError>> {
        config.validate()?;
        Ok(Self { plan: Plan::new(&config), bands: BandsPlan::new(&config), config })
    }

    /// As it was written.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The band with this index, as in [`BandsChange::top`] and [`Bands::states`].
    pub fn band(&self, index: usize) -> Option<&Band> {
        self.config.bands.get(index)
    }

    /// The state of a series that was never seen.
    pub fn start(&self) -> SeriesState {
        SeriesState { baseline: Baseline::new(&self.plan), bands: Bands::new(&self.bands) }
    }

    /// Judges one sample (ms since the epoch, any value) and moves the bands.
    pub fn evaluate(&self, state: &mut SeriesState, now: Timestamp, value: f64) -> Evaluation {
        let judgement = state.baseline.observe(&self.plan, now, value);
        let bands = state.bands.update(&self.bands, now, &judgement);
        if let Some(since) = bands.freeze {
            state.baseline.freeze(&self.plan, now, since);
        }
        if bands.thaw {
            state.baseline.thaw(now);
        }
        Evaluation { judgement, bands }
    }

    /// Moves bands by a judgement that was made before: what would these bands have done?
    pub fn rejudge(&self, bands: &mut Bands, now: Timestamp, judgement: &Judgement) -> BandsChange {
        bands.update(&self.bands, now, judgement)
    }

    /// Distance from the centre in σ on the side that counts: 0 on the other side and below `min_deviation`.
    pub fn distance(&self, judgement: &Judgement) -> f64 {
        self.bands.distance(judgement)
    }

    /// The expression had no value for this series: as a sample that is no number.
    pub fn absent(&self, state: &mut SeriesState, now: Timestamp) -> Evaluation {
        self.evaluate(state, now, f64::NAN)
    }

    /// Learns from history without acting: samples oldest first, those in `incidents` (both ends inclusive, ms) and as long as the longest `for` before
    /// them left out. Bands move
    /// meanwhile, so that an event of the past freezes the baseline as it did then; afterwards they are as new.
    pub fn warm(
        &self,
        history: impl IntoIterator<Item = (Timestamp, f64)>,
        incidents: &[(Timestamp, Timestamp)],
    ) -> SeriesState {
        self.warm_seen(history, incidents, |_, _| {})
    }

    /// The same; `see` is told of each evaluation.
    pub fn warm_seen(
        &self,
        history: impl IntoIterator<Item = (Timestamp, f64)>,
        incidents: &[(Timestamp, Timestamp)],
        mut see: impl FnMut(Timestamp, &Evaluation),
    ) -> SeriesState {
        let mut state = self.start();
        let mut last = None;
        // What people saw is what fired, which began a `for` earlier.
        let before = self.config.bands.iter().map(|b| b.for_.ms()).max().unwrap_or(0);
        for (t, x) in history {
            if !incidents.iter().any(|(from, to)| (from.saturating_sub(before)..=*to).contains(&t)) {
                see(t, &self.evaluate(&mut state, t, x));
                last = Some(t);
            }
        }
        if let (Some(t), Some(_)) = (last, state.bands.freezes(&self.bands)) {
            state.baseline.thaw(t);
        }
        state.bands = Bands::new(&self.bands);
        state
    }

    /// A baseline that was learnt anew takes the place of that of `state`; the bands go on, and if they freeze it, it is frozen.
    pub fn relearnt(&self, state: &mut SeriesState, warm: SeriesState, now: Timestamp) {
        state.baseline = warm.baseline;
        if let Some(since) = state.bands.freezes(&self.bands) {
            state.baseline.freeze(&self.plan, now, since);
        }
    }

    /// "This is the new normal": the centre moves to `level` at once, bands clear.
    pub fn rebase(&self, state: &mut SeriesState, level: f64) {
        state.baseline.rebase(&self.plan, level);
        state.bands = Bands::new(&self.bands);
    }

    /// The state as bytes, versioned, at most 2 KiB.
    pub fn encode(&self, state: &SeriesState) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION);
        state.bands.encode(&mut out);
        let mut bytes = out.0;
        bytes.extend_from_slice(&state.baseline.encode());
        bytes
    }

    /// Reads what [`Detector::encode`] wrote. When this fails, start cold or from history.
    ///
    /// # Errors
    /// Bytes that are cut, of another version, model or number of bands, or impossible.
    pub fn decode(&self, bytes: &[u8]) -> Result<SeriesState, DecodeError> {
        let mut from = Reader(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let bands = Bands::decode(&self.bands, &mut from)?;
        let baseline = Baseline::decode(&self.plan, from.0)?;
        Ok(SeriesState { baseline, bands })
    }
}
