//! Sigma bands: how far is a value from what is normal for its series, and does that deserve a page?
//!
//! Pure: no I/O, no clock of its own, small states. A [`Config`] (what a rule's author writes) becomes a
//! [`Detector`] (validated, shared by all series of the rule); each series has a [`SeriesState`]: its
//! [`Baseline`] and its [`Bands`]. Whether a band that fires is a page is decided in `rules`. The formulas, their sources and what each is blind to: `docs/sigma.md`.

mod bands;
mod baseline;
mod calibration;
mod codec;
mod config;
mod detector;
mod gaussian;
mod lag;
mod memory;
mod novelty;
mod robust;
mod seasonal;

pub use bands::{BandState, Bands, BandsChange, Phase};
pub use baseline::{Baseline, Judgement, Plan};
pub use calibration::{coin_p_value, false_events_per_day, once_in_days, tail_probability};
pub use codec::DecodeError;
pub use config::{
    Action, AfterPage, AfterPagePlan, Band, BaselineConfig, Config, ConfigError, Direction, Gate, Judge,
    MAX_BANDS, Model, PageBudget, Record, Spread, Term,
};
/// From this novelty score on a value is unlike everything remembered.
pub const NOVEL: f64 = 0.16;

pub use detector::{Detector, Evaluation, SeriesState};
