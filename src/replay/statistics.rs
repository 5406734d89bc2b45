//! How many a month, and how sure that is.

use statrs::distribution::{ContinuousCDF, Gamma};

/// The exact (Garwood) confidence interval of a Poisson mean after `count` events: `confidence` is between 0 and 1, 0.95 for
/// instance. With F the gamma distribution of shape k and scale 1: from F⁻¹(α/2; count) to F⁻¹(1-α/2; count+1).
pub fn poisson_interval(count: u64, confidence: f64) -> (f64, f64) {
    let alpha = (1.0 - confidence).clamp(1e-9, 1.0);
    let quantile = |shape: f64, p: f64| Gamma::new(shape, 1.0).map_or(f64::NAN, |g| g.inverse_cdf(p));
    let count = count as f64;
    let low = if count == 0.0 { 0.0 } else { quantile(count, alpha / 2.0) };
    (low, quantile(count + 1.0, 1.0 - alpha / 2.0))
}

/// Events per `per_ms`, with their 95 % interval, after `count` events in `exposure_ms`. NaN without exposure.
pub fn rate_interval(count: u64, exposure_ms: i64, per_ms: i64) -> (f64, f64, f64) {
    let scale = if exposure_ms > 0 { per_ms as f64 / exposure_ms as f64 } else { f64::NAN };
    let (low, high) = poisson_interval(count, 0.95);
    (count as f64 * scale, low * scale, high * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Garwood 1936, 95 %.
        for (count, low, high) in [
            (0, 0.0, 3.689),
            (1, 0.0253, 5.572),
            (2, 0.242, 7.225),
            (5, 1.623, 11.668),
            (10, 4.795, 18.390),
            (100, 81.36, 121.63),
        ] {
            let (l, h) = poisson_interval(count, 0.95);
            assert!((l - low).abs() < 0.005 && (h - high).abs() < 0.01, "{count}: {l} {h}");
        }
        let (rate, low, high) = rate_interval(3, 15 * 86_400_000, 30 * 86_400_000);
        assert!((rate - 6.0).abs() < 1e-9 && low < 1.3 && high > 17.0);
        assert!(rate_interval(3, 0, 1).0.is_nan());
        let (l, h) = poisson_interval(2_000_000, 0.95);
        assert!(l < 2_000_000.0 && h > 2_000_000.0 && h - l < 6000.0, "{l} {h}");
    }
}
