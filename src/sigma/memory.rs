//! The models behind one face: learn a bucket that left the lag, say what is normal now.

use super::baseline::Plan;
use super::codec::{DecodeError, Reader, Writer};
use super::config::Model;
use super::gaussian::{Moments, student_stretch};
use super::lag::Bucket;
use super::novelty::Novelty;
use super::robust::Sketch;
use super::seasonal::Seasons;

/// What is normal: the centre, and one σ before floors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub center: f64,
    pub spread: f64,
}

/// The memory of one series, by model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Memory {
    Gaussian(Moments),
    Robust(Sketch),
    /// With the plain model, which stands in until a season is known.
    Seasonal(Moments, Box<Seasons>),
    Novelty(Novelty),
}

impl Memory {
    pub fn new(plan: &Plan) -> Self {
        match plan.model {
            Model::Gaussian => Self::Gaussian(Moments::default()),
            Model::Robust => Self::Robust(Sketch::default()),
            Model::Seasonal => Self::Seasonal(Moments::default(), Box::new(Seasons::new(&plan.seasons_ms))),
            Model::Novelty => Self::Novelty(Novelty::new(plan)),
        }
    }

    pub fn learn(&mut self, plan: &Plan, bucket: &Bucket) {
        let moments = |m: &mut Moments| {
            m.decay(bucket.t, plan.tau_ms);
            m.learn(bucket.n, bucket.mean, bucket.m2);
        };
        match self {
            Self::Novelty(novelty) => novelty.learn(plan, bucket),
            _ if bucket.event => {}
            Self::Gaussian(m) => moments(m),
            Self::Robust(sketch) => {
                sketch.decay(bucket.t, plan.tau_ms);
                let weight = f64::from(bucket.n) / bucket.picks().len().max(1) as f64;
                for x in bucket.picks() {
                    sketch.learn(*x, weight);
                }
                sketch.settle();
            }
            Self::Seasonal(m, seasons) => {
                moments(m);
                seasons.learn(bucket.t, bucket.n, bucket.mean, bucket.m2, plan.window_ms as f64);
            }
        }
    }

    /// `None` while nothing, or nothing that has a spread, is learnt, and for novelty, which judges by itself.
    pub fn estimate(&self, t: i64) -> Option<Estimate> {
        let gaussian = |m: &Moments| {
            let n = m.effective();
            (n > 1.0).then(|| Estimate { center: m.mean(), spread: m.stddev() * student_stretch(n) })
        };
        match self {
            Self::Gaussian(m) => gaussian(m),
            Self::Robust(sketch) => {
                let n = sketch.effective();
                let (center, sigma) = sketch.estimate().filter(|_| n > 1.0)?;
                Some(Estimate { center, spread: sigma * student_stretch(n) })
            }
            Self::Seasonal(m, seasons) => match seasons.estimate(t) {
                Some((center, spread)) => Some(Estimate { center, spread }),
                None => gaussian(m),
            },
            Self::Novelty(_) => None,
        }
    }

    /// Lets time pass (or go back) without ageing anything.
    pub fn shift_time(&mut self, by_ms: i64) {
        match self {
            Self::Gaussian(m) => m.shift_time(by_ms),
            Self::Robust(sketch) => sketch.shift_time(by_ms),
            Self::Seasonal(m, seasons) => {
                m.shift_time(by_ms);
                seasons.shift_time(by_ms);
            }
            Self::Novelty(novelty) => novelty.shift_time(by_ms),
        }
    }

    /// Moves the centre to `level` and leaves the spread.
    pub fn rebase(&mut self, plan: &Plan, t: i64, level: f64) {
        match self {
            Self::Gaussian(m) => m.rebase(level),
            Self::Robust(sketch) => sketch.rebase(level),
            Self::Seasonal(m, seasons) => {
                m.rebase(level);
                seasons.rebase(t, level);
            }
            Self::Novelty(novelty) => novelty.rebase(plan, t, level),
        }
    }

    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Gaussian(_) => 0,
            Self::Robust(sketch) => sketch.heap_bytes(),
            Self::Seasonal(_, seasons) => size_of::<Seasons>() + seasons.heap_bytes(),
            Self::Novelty(novelty) => novelty.heap_bytes(),
        }
    }

    pub fn encode(&self, out: &mut Writer) {
        match self {
            Self::Gaussian(m) => {
                out.u8(0);
                m.encode(out);
            }
            Self::Robust(sketch) => {
                out.u8(1);
                sketch.encode(out);
            }
            Self::Seasonal(m, seasons) => {
                out.u8(2);
                m.encode(out);
                seasons.encode(out);
            }
            Self::Novelty(novelty) => {
                out.u8(3);
                novelty.encode(out);
            }
        }
    }

    pub fn decode(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match (from.u8()?, plan.model) {
            (0, Model::Gaussian) => Self::Gaussian(Moments::decode(from)?),
            (1, Model::Robust) => Self::Robust(Sketch::decode(from)?),
            (2, Model::Seasonal) => {
                Self::Seasonal(Moments::decode(from)?, Box::new(Seasons::decode(&plan.seasons_ms, from)?))
            }
            (3, Model::Novelty) => Self::Novelty(Novelty::decode(plan, from)?),
            _ => return Err(DecodeError::OtherModel),
        })
    }
}
