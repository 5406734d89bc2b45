//! Quantiles and fractions of classic histograms.

/// One bucket: observations up to and including `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub upper: f64,
    pub count: f64,
}

/// What had to be done to buckets so that they do not decrease.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Levelled {
    /// A real decrease was levelled: between these bounds, by this much at most.
    pub forced: Option<(f64, f64, f64)>,
}

/// Sorted buckets in the order of their bounds, with those of the same bound added up and
/// decreases levelled; `None` when they make no histogram (no `+Inf`, or nothing else).
fn usable(buckets: &mut Vec<Bucket>) -> (bool, Levelled) {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (false, Levelled::default());
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    (true, level(buckets))
}

fn level(buckets: &mut [Bucket]) -> Levelled {
    let mut levelled = Levelled::default();
    let mut before = buckets[0].count;
    for b in &mut buckets[1..] {
        if b.count == before {
            continue;
        }
        // Float dust is no decrease.
        if nearly(before, b.count, 1e-12) {
            b.count = before;
        } else if b.count < before {
            let diff = before - b.count;
            let (low, _, most) = levelled.forced.unwrap_or((b.upper, b.upper, 0.0));
            levelled.forced = Some((low, b.upper, diff.max(most)));
            b.count = before;
        } else {
            before = b.count;
        }
    }
    levelled
}

/// Equal up to a relative error.
pub fn nearly(a: f64, b: f64, epsilon: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < epsilon * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < epsilon
}

/// The q-quantile, and what had to be levelled.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Levelled) {
    if q.is_nan() {
        return (f64::NAN, Levelled::default());
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, Levelled::default());
    }
    if q > 1.0 {
        return (f64::INFINITY, Levelled::default());
    }
    let (ok, levelled) = usable(buckets);
    if !ok || buckets.len() < 2 {
        return (f64::NAN, levelled);
    }
    (ranked(q, buckets), levelled)
}

fn ranked(q: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    // As a search over the finite buckets finds it, also among NaN counts.
    let at = buckets[..last].partition_point(|b| b.count < rank || b.count.is_nan());
    if at == last {
        return buckets[last - 1].upper;
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return buckets[0].upper;
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    start + (buckets[at].upper - start) * (rank / count)
}

/// The fraction of observations between two values.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> (f64, Levelled) {
    let (ok, levelled) = usable(buckets);
    if !ok {
        return (f64::NAN, levelled);
    }
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, levelled);
    }
    if lower >= upper {
        return (0.0, levelled);
    }
    ((rank_of(upper, buckets, total) - rank_of(lower, buckets, total)) / total, levelled)
}

/// How many observations are at or below `v`.
fn rank_of(v: f64, buckets: &[Bucket], total: f64) -> f64 {
    let mut rank = 0.0;
    for (i, b) in buckets.iter().enumerate() {
        let start = match i {
            0 if b.upper > 0.0 => 0.0,
            0 => f64::NEG_INFINITY,
            _ => buckets[i - 1].upper,
        };
        if start >= v {
            return f64::min(rank, total);
        }
        if b.upper > v {
            // An unbounded bucket counts as if all of it lay at its finite end.
            if start.is_infinite() {
                return f64::min(b.count, total);
            }
            if b.upper.is_infinite() {
                return f64::min(rank, total);
            }
            return f64::min(rank + (b.count - rank) * (v - start) / (b.upper - start), total);
        }
        rank = b.count;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_buckets() {
        let make = |pairs: &[(f64, f64)]| -> Vec<Bucket> {
            pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
        };
        let inf = f64::INFINITY;
        for (q, buckets, expect) in [
            (0.5, vec![(0.0, 0.0), (2.0, 1.0), (4.0, 2.0), (6.0, 3.0), (inf, 3.0)], 3.0),
            (1.0, vec![(1.0, 1.0), (inf, 2.0)], 1.0),
            (-0.1, vec![(1.0, 1.0), (inf, 2.0)], -inf),
        ] {
            assert_eq!(quantile(q, &mut make(&buckets)).0, expect);
        }
        assert!(quantile(0.5, &mut make(&[(1.0, 1.0)])).0.is_nan());
        let (_, levelled) = quantile(0.5, &mut make(&[(1.0, 2.0), (2.0, 1.0), (inf, 3.0)]));
        assert_eq!(levelled.forced, Some((2.0, 2.0, 1.0)));
    }
}
