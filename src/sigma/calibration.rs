//! What a distance in σ is worth: how rare it is, how often it comes by chance, and whether pages beat a coin.
//!
//! All of it for independent normal noise, which real series are not: correlated noise crosses less often and stays longer, heavy
//! tails cross far more often. `docs/sigma.md` has the numbers for those, and a test recomputes them.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::config::Direction;

const DAY_MS: f64 = 86_400_000.0;

/// How likely it is that a normal sample lies at least `zscore` σ out on the side that counts, from 0 to 1.
/// NaN for NaN.
pub fn tail_probability(zscore: f64, direction: Direction) -> f64 {
    let normal = Normal::standard();
    if zscore.is_nan() {
        return f64::NAN;
    }
    match direction {
        Direction::Above => normal.sf(zscore),
        Direction::Below => normal.cdf(zscore),
        Direction::Both => 2.0 * normal.sf(zscore.abs()),
    }
}

/// So many days pass on average from one sample that is at least as far out to the next, at one evaluation every `interval_ms`.
/// Infinite where a float knows no smaller probability.
pub fn once_in_days(zscore: f64, direction: Direction, interval_ms: i64) -> f64 {
    interval_ms.max(1) as f64 / DAY_MS / tail_probability(zscore, direction)
}

/// Events a day that chance alone makes: a band of `sigma` crossed for `for_ms` without a break, at one evaluation every
/// `interval_ms`. A band with `for` fires at the first evaluation that is `for` after the crossing, so a run of
/// ⌈for/interval⌉ + 1 samples makes an event.
pub fn false_events_per_day(sigma: f64, direction: Direction, interval_ms: i64, for_ms: i64) -> f64 {
    let interval = interval_ms.max(1);
    let runs = |p: f64| {
        let length = (for_ms.max(0) / interval).saturating_add(1 + i64::from(for_ms.max(0) % interval != 0));
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        DAY_MS / interval as f64 * p.powi(length) * (1.0 - p)
    };
    match direction {
        // A run has to stay on its side, or not: |z| counts for `both`.
        Direction::Both => runs(tail_probability(sigma, Direction::Both)),
        _ => runs(tail_probability(sigma, Direction::Above)),
    }
}

/// The chance that a coin (half of its pages useful) does at least as well: P(X ≥ useful), X binomial with `judged` throws.
/// 1 when nothing was judged. Small means better than a coin.
pub fn coin_p_value(useful: u64, judged: u64) -> f64 {
    if useful == 0 || judged == 0 {
        return 1.0;
    }
    Binomial::new(0.5, judged).map_or(1.0, |coin| coin.sf(useful.min(judged) - 1))
}
