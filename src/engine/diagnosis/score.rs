//! How signs add up to a probability: an additive log-odds model with every weight in one table.
//! Never looks at names, only at features.
//!
//! Each explanation starts at [`BASE`], each feature adds its weight times its value (0 to 1), and the
//! probabilities are the softmax over all explanations and "none of these" at 0. The weights were set
//! from what each sign means (a trace of its own outweighs a change that merely fits in time, and both
//! need the blame to be where they are) and then checked for calibration on generated incidents.

/// Log-odds of an explanation with no sign for it.
const BASE: f64 = -3.0;
/// Divides all log-odds: the signs are not independent, so their sum overstates.
const TEMPERATURE: f64 = 1.0;

/// A sign for or against an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// Share of the trouble that stays at the accused place.
    Blame,
    /// The fault's own trace, by strength.
    Trace,
    /// A change of the accused fits in time.
    ChangeFits,
    /// Fresh complaints name what the change touched.
    LogNamesChange,
    /// The change touched how the accused calls what fails: its address, its time limit.
    TouchesEdge,
    /// Fresh complaints of callers name the accused.
    LogNamesAccused,
    /// The accused has fresh errors in its log.
    FreshErrors,
    /// Another explanation already carries this change.
    CarriedElsewhere,
    /// The same workload was changed again later and nearer to the trouble, by how well that fits.
    Overtaken,
    /// Its remedy was tried and nothing changed.
    TriedInVain,
    /// Its remedy was tried and it got worse.
    TriedAndWorse,
}

/// Weight of each feature.
fn weight(feature: Feature) -> f64 {
    match feature {
        Feature::Blame => 4.0,
        Feature::Trace => 3.5,
        Feature::ChangeFits => 3.0,
        Feature::LogNamesChange => 2.5,
        Feature::TouchesEdge => 1.5,
        Feature::LogNamesAccused => 0.8,
        Feature::FreshErrors => 0.6,
        Feature::CarriedElsewhere => -2.5,
        Feature::Overtaken => -2.5,
        Feature::TriedInVain => -6.0,
        Feature::TriedAndWorse => -8.0,
    }
}

/// Log-odds of one explanation.
pub(super) fn log_odds(features: &[(Feature, f64)]) -> f64 {
    let sum: f64 = features.iter().map(|(feature, value)| weight(*feature) * value.clamp(0.0, 1.0)).sum();
    (BASE + sum) / TEMPERATURE
}

/// Probabilities of explanations that exclude each other, with "none of these" beside them.
pub(super) fn probabilities(odds: &[f64]) -> Vec<f64> {
    let highest = odds.iter().copied().fold(0.0, f64::max);
    let all: f64 = (-highest).exp() + odds.iter().map(|odd| (odd - highest).exp()).sum::<f64>();
    odds.iter().map(|odd| (odd - highest).exp() / all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_signs_more_belief_and_never_certainty() {
        let weak = log_odds(&[(Feature::Blame, 0.2)]);
        let strong = log_odds(&[(Feature::Blame, 1.0), (Feature::Trace, 1.0)]);
        let failed = log_odds(&[(Feature::Blame, 1.0), (Feature::Trace, 1.0), (Feature::TriedInVain, 1.0)]);
        let found = probabilities(&[weak, strong, failed]);
        assert!(found[1] > 0.9 && found[0] < 0.1 && found[2] < 0.1 && found.iter().sum::<f64>() < 1.0);
        assert!(probabilities(&[weak])[0] < 0.5);
        assert!(probabilities(&[]).is_empty());
    }
}
