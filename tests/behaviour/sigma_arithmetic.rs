//! The arithmetic of false events in docs/sigma.md, recomputed.
#![allow(clippy::unwrap_used, reason = "a test stops where its own set-up is wrong")]

use sideband::sigma::{Direction, coin_p_value, false_events_per_day, once_in_days, tail_probability};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::sigma::Noise;

const INTERVAL_MS: i64 = 15_000;
const A_DAY: f64 = 5760.0;

/// Events a day of independent noise whose samples lie outside with probability `p`.
fn independent(p: f64, for_ms: i64) -> f64 {
    let run = i32::try_from(for_ms / INTERVAL_MS + 1).unwrap();
    A_DAY * p.powi(run) * (1.0 - p)
}

/// Events a day of normal noise whose correlation falls to 1/e in 5 minutes, by simulation.
fn correlated(sigma: f64, for_ms: i64, days: u32) -> f64 {
    let keep = (-(INTERVAL_MS as f64) / 300_000.0).exp();
    let fresh = (1.0 - keep * keep).sqrt();
    let (mut noise, mut x, mut run, mut events) = (Noise(42), 0.0, 0, 0u32);
    for _ in 0..f64::from(days) as u64 * 5760 {
        x = keep * x + fresh * noise.normal();
        run = if x >= sigma { run + 1 } else { 0 };
        events += u32::from(run == for_ms / INTERVAL_MS + 1);
    }
    f64::from(events) / f64::from(days)
}

#[test]
fn the_documented_table_is_right() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sigma.md")).unwrap();
    let mut rows = 0;
    let student = StudentsT::new(0.0, 1.0, 4.0).unwrap();
    for line in text
        .lines()
        .skip_while(|l| !l.starts_with("| σ | `for` |"))
        .skip(2)
        .take_while(|l| l.starts_with('|'))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let sigma: f64 = cells[0].parse().unwrap();
        let for_ms = cells[1].parse::<sideband::model::Duration>().unwrap().ms();
        let heavy = independent(1.0 - student.cdf(sigma * 2f64.sqrt()), for_ms);
        let want = [
            (false_events_per_day(sigma, Direction::Above, INTERVAL_MS, for_ms), 0.02),
            (heavy, 0.02),
            (correlated(sigma, for_ms, 600), 0.15),
        ];
        for (cell, (value, tolerance)) in cells[2..].iter().zip(want) {
            let close = match cell.strip_prefix('<') {
                Some(limit) => value < limit.trim().parse::<f64>().unwrap(),
                None => (cell.parse::<f64>().unwrap() - value).abs() <= tolerance * value,
            };
            assert!(close, "{line}: {cell} should be {value:.4}");
        }
        rows += 1;
    }
    assert!(rows >= 8, "the table is gone");
}

#[test]
fn numbers_that_people_know() {
    // 15.6 false 3σ samples a day on both sides, 7.8 on one.
    assert!((A_DAY * tail_probability(3.0, Direction::Both) - 15.55).abs() < 0.01);
    assert!((false_events_per_day(3.0, Direction::Above, INTERVAL_MS, 0) - 7.77).abs() < 0.01);
    assert!((once_in_days(3.0, Direction::Above, INTERVAL_MS) - 0.1286).abs() < 1e-3);
    assert!((once_in_days(-3.0, Direction::Below, INTERVAL_MS) - 0.1286).abs() < 1e-3);
    assert!(once_in_days(f64::NAN, Direction::Both, INTERVAL_MS).is_nan());
    assert!(once_in_days(60.0, Direction::Above, INTERVAL_MS).is_infinite());
    // 9 useful of 10: a coin does that in 11 of 1024.
    assert!((coin_p_value(9, 10) - 11.0 / 1024.0).abs() < 1e-12);
    assert_eq!((coin_p_value(0, 0), coin_p_value(0, 5)), (1.0, 1.0));
    assert!((coin_p_value(5, 5) - 1.0 / 32.0).abs() < 1e-12 && coin_p_value(9, 5) > 0.0);
    for (t, interval) in [(0, 0), (-5, -5), (i64::MAX, 1)] {
        assert!(!false_events_per_day(3.0, Direction::Above, interval, t).is_nan());
    }
}
