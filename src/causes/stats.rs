//! Robust statistics with no constants of any application: medians, spreads, and the likelihood ratio of two shares.

/// The value at share `q` of a sorted slice; 0 for an empty one.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high.min(last)] - sorted[low]) * (place - low as f64)
}

/// Sorts a copy.
pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The middle of values in any order.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// Standard deviation estimated from the median distance to the median.
pub(crate) fn spread(sorted_values: &[f64]) -> f64 {
    let middle = quantile(sorted_values, 0.5);
    1.4826 * median(sorted_values.iter().map(|value| (value - middle).abs()))
}

/// Twice the log likelihood ratio that two counted shares differ.
pub(crate) fn share_ratio(hits: f64, of: f64, hits_before: f64, of_before: f64) -> f64 {
    fn fit(hits: f64, of: f64) -> f64 {
        if hits <= 0.0 || hits >= of {
            return 0.0;
        }
        let share = hits / of;
        hits * share.ln() + (of - hits) * (1.0 - share).ln()
    }
    (2.0 * (fit(hits, of) + fit(hits_before, of_before) - fit(hits + hits_before, of + of_before))).max(0.0)
}

/// Twice the log likelihood ratio that two counts over two stretches have different rates.
pub(crate) fn rate_ratio(count: f64, over: f64, count_before: f64, over_before: f64) -> f64 {
    let (all, time) = (count + count_before, over + over_before);
    if all <= 0.0 || time <= 0.0 || over <= 0.0 || over_before <= 0.0 {
        return 0.0;
    }
    let part = |count: f64, over: f64| if count > 0.0 { count * (count / (all * over / time)).ln() } else { 0.0 };
    (2.0 * (part(count, over) + part(count_before, over_before))).max(0.0)
}

/// Rank correlation of values with their order; 0 for fewer than three.
pub(crate) fn trend(values: &[f64]) -> f64 {
    let count = values.len();
    if count < 3 {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; count];
    let mut start = 0;
    while start < count {
        let mut end = start;
        while end + 1 < count && values[order[end + 1]] == values[order[start]] {
            end += 1;
        }
        for place in start..=end {
            ranks[order[place]] = (start + end) as f64 / 2.0;
        }
        start = end + 1;
    }
    let middle = (count - 1) as f64 / 2.0;
    let (mut both, mut ours, mut theirs) = (0.0, 0.0, 0.0);
    for (index, rank) in ranks.iter().enumerate() {
        let (x, y) = (index as f64 - middle, rank - middle);
        both += x * y;
        ours += x * x;
        theirs += y * y;
    }
    if theirs <= 0.0 { 0.0 } else { both / (ours * theirs).sqrt() }
}

/// Doublings beyond what is usual, between 0 and 6: the currency all signals are counted in.
pub(crate) fn doublings(excess: f64) -> f64 {
    if excess.is_finite() { excess.max(1.0).log2().min(6.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_bear_small_and_empty_samples() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(spread(&[5.0, 5.0, 5.0]), 0.0);
    }

    #[test]
    fn ratios_are_zero_for_the_same_and_grow_with_the_evidence() {
        assert!(share_ratio(5.0, 10.0, 50.0, 100.0) < 1e-9);
        assert!(share_ratio(20.0, 20.0, 0.0, 20.0) > share_ratio(2.0, 2.0, 0.0, 2.0));
        assert!(rate_ratio(10.0, 1.0, 100.0, 10.0) < 1e-9);
        assert!(rate_ratio(100.0, 1.0, 10.0, 10.0) > 100.0);
        assert_eq!(rate_ratio(1.0, 0.0, 1.0, 1.0), 0.0);
    }

    #[test]
    fn a_trend_is_one_for_a_ramp_and_zero_for_a_constant() {
        assert!((trend(&[1.0, 2.0, 3.0, 9.0]) - 1.0).abs() < 1e-9);
        assert_eq!(trend(&[2.0; 9]), 0.0);
        assert!(trend(&[4.0, 3.0, 1.0]) < -0.99);
    }

    #[test]
    fn what_is_not_finite_counts_for_nothing() {
        assert_eq!(doublings(f64::NAN), 0.0);
        assert_eq!(doublings(0.3), 0.0);
        assert_eq!(doublings(1e30), 6.0);
    }
}
