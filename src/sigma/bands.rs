//! The bands of one series: crossed, for how long, firing, cleared. Only the highest firing band is an alert.

use crate::model::{Timestamp, lasted};

use super::baseline::Judgement;
use super::codec::{DecodeError, Reader, Writer};
use super::config::{Action, Band, Config, Direction, Gate};

/// What bands need of their rule, computed once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BandsPlan {
    direction: Direction,
    min_deviation: f64,
    clear_sigma: f64,
    keep_firing_ms: i64,
    bands: Vec<Band>,
    /// Index of the band that freezes the baseline, which higher alerting bands do as well.
    freezing: Option<usize>,
}

impl BandsPlan {
    pub fn new(config: &Config) -> Self {
        let freezing = config.freezing_band().map(|b| b.sigma);
        Self {
            direction: config.direction,
            min_deviation: config.min_deviation,
            clear_sigma: config.clear_sigma,
            keep_firing_ms: config.keep_firing_for.ms(),
            bands: config.bands.clone(),
            freezing: freezing.and_then(|s| config.bands.iter().position(|b| b.sigma == s)),
        }
    }

    /// Distance in σ on the side that counts; 0 below `min_deviation`.
    pub fn distance(&self, j: &Judgement) -> f64 {
        let signed = match self.direction {
            Direction::Above => j.zscore,
            Direction::Below => -j.zscore,
            Direction::Both => j.zscore.abs(),
        };
        if (j.value - j.center).abs() < self.min_deviation { 0.0 } else { signed.max(0.0) }
    }
}

/// How far a band is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Inactive,
    /// Crossed since this time, not yet for its `for`.
    Pending { since: Timestamp },
    /// It fires.
    Firing {
        /// When it was first crossed.
        active: Timestamp,
        /// When it began to fire.
        since: Timestamp,
        /// When it was last not clear.
        crossed: Timestamp,
    },
}

/// One band of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BandState {
    pub phase: Phase,
}

/// What one evaluation changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BandsChange {
    /// The highest firing alerting band: the only one that is an alert. Index into the rule's bands.
    pub top: Option<usize>,
    /// `top` is new or higher than before. Whether that is a page, what was paged for before says too.
    pub paged: bool,
    /// A band that freezes the baseline began to fire; it was first crossed at this time.
    pub freeze: Option<Timestamp>,
    /// The last such band cleared.
    pub thaw: bool,
}

/// How long bands stay as they are when nothing can be said about the series (Prometheus' lookback), ms.
const UNKNOWN_MS: i64 = 300_000;

/// All bands of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Bands {
    states: Box<[BandState]>,
    /// When the series could last be judged.
    known: Option<Timestamp>,
}

impl Bands {
    pub(super) fn new(plan: &BandsPlan) -> Self {
        Self { states: vec![BandState::default(); plan.bands.len()].into(), known: None }
    }

    /// One state a band, in the rule's order.
    pub fn states(&self) -> &[BandState] {
        &self.states
    }

    /// The highest firing alerting band.
    pub(super) fn top(&self, plan: &BandsPlan) -> Option<usize> {
        (0..self.states.len()).rev().find(|&i| {
            plan.bands[i].action == Action::Alert && matches!(self.states[i].phase, Phase::Firing { .. })
        })
    }

    /// Since when a band that freezes the baseline was crossed, if one fires.
    pub(super) fn freezes(&self, plan: &BandsPlan) -> Option<Timestamp> {
        let from = plan.freezing?;
        (from..self.states.len()).filter(|&i| plan.bands[i].action == Action::Alert).find_map(|i| match self
            .states[i]
            .phase
        {
            Phase::Firing { active, .. } => Some(active),
            _ => None,
        })
    }

    /// Moves every band by one evaluation. A series that can't be judged (cold, no number, absent) leaves them as they are for
    /// 5 minutes, then counts as clear.
    pub(super) fn update(&mut self, plan: &BandsPlan, now: Timestamp, judgement: &Judgement) -> BandsChange {
        let before = self.top(plan);
        let froze = self.freezes(plan);
        let distance = if judgement.ready {
            self.known = Some(now);
            Some(plan.distance(judgement))
        } else if self.known.is_some_and(|known| now.abs_diff(known) < UNKNOWN_MS.unsigned_abs()) {
            None
        } else {
            Some(0.0)
        };
        if let Some(distance) = distance {
            for (band, state) in plan.bands.iter().zip(self.states.iter_mut()) {
                let gate_open = band
                    .gate
                    .is_none_or(|Gate::Novelty| judgement.novelty.is_some_and(|s| s >= super::NOVEL));
                let step = Step {
                    distance,
                    sigma: band.sigma,
                    holds_from: (band.sigma - plan.clear_sigma).max(0.0),
                    for_ms: band.for_.ms(),
                    keep_ms: plan.keep_firing_ms,
                    gate_open,
                };
                state.phase = step.next(state.phase, now);
            }
        }
        let top = self.top(plan);
        let freezes = self.freezes(plan);
        BandsChange {
            top,
            paged: top.is_some() && top > before,
            freeze: if froze.is_none() { freezes } else { None },
            thaw: froze.is_some() && freezes.is_none(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.states)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.i64(self.known.unwrap_or(i64::MIN));
        out.u8(u8::try_from(self.states.len()).unwrap_or(u8::MAX));
        for state in &self.states {
            match state.phase {
                Phase::Inactive => out.u8(0),
                Phase::Pending { since } => {
                    out.u8(1);
                    out.i64(since);
                }
                Phase::Firing { active, since, crossed } => {
                    out.u8(2);
                    for t in [active, since, crossed] {
                        out.i64(t);
                    }
                }
            }
        }
    }

    pub(super) fn decode(plan: &BandsPlan, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let known = Some(from.i64()?).filter(|&t| t != i64::MIN);
        if usize::from(from.u8()?) != plan.bands.len() {
            return Err(DecodeError::OtherModel);
        }
        let mut bands = Self { known, ..Self::new(plan) };
        for state in &mut bands.states {
            state.phase = match from.u8()? {
                0 => Phase::Inactive,
                1 => Phase::Pending { since: from.i64()? },
                2 => Phase::Firing { active: from.i64()?, since: from.i64()?, crossed: from.i64()? },
                _ => return Err(DecodeError::Impossible("phase")),
            };
        }
        Ok(bands)
    }
}

/// One band, one evaluation: everything that its next phase depends on.
struct Step {
    /// Of the value from the centre, in σ, on the side that counts.
    distance: f64,
    /// What must be reached to start and to stay pending.
    sigma: f64,
    /// A firing band clears below this.
    holds_from: f64,
    for_ms: i64,
    keep_ms: i64,
    gate_open: bool,
}

impl Step {
    fn next(&self, phase: Phase, now: Timestamp) -> Phase {
        let crossed = self.distance >= self.sigma;
        let held = self.distance >= self.holds_from && self.distance > 0.0;
        match phase {
            Phase::Inactive if crossed && self.gate_open && self.for_ms == 0 => {
                Phase::Firing { active: now, since: now, crossed: now }
            }
            Phase::Inactive if crossed && self.gate_open => Phase::Pending { since: now },
            Phase::Pending { since } if crossed && lasted(since, now, self.for_ms) => {
                Phase::Firing { active: since, since: now, crossed: now }
            }
            Phase::Pending { since } if crossed => Phase::Pending { since: since.min(now) },
            Phase::Firing { active, since, .. } if held => Phase::Firing { active, since, crossed: now },
            // Where a clock that was set back left it is as long ago as it is ahead.
            Phase::Firing { crossed, .. } if !lasted(crossed.min(now), now.max(crossed), self.keep_ms) => {
                phase
            }
            _ => Phase::Inactive,
        }
    }
}
