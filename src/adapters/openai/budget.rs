//! How many retries there may be. Never more than a share of the calls, so that a sick endpoint is not
//! met with twice the load.

use std::sync::{Mutex, PoisonError};

/// Most credit that is saved up, in retries.
const SAVED_MAX: u32 = 10;

/// Credit in hundredths of a retry.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u32,
    credit: Mutex<u32>,
}

impl Budget {
    /// The first call finds credit for one retry; it is paid for by the calls that follow.
    pub(crate) fn new(percent: u32) -> Self {
        let percent = percent.min(100);
        Self { percent, credit: Mutex::new(if percent == 0 { 0 } else { 100 - percent }) }
    }
    /// Counts a call.
    pub(crate) fn earn(&self) {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        *credit = (*credit + self.percent).min(SAVED_MAX * 100);
    }
    /// Takes one retry if there is credit for it.
    pub(crate) fn spend(&self) -> bool {
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *credit >= 100;
        if enough {
            *credit -= 100;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_within_their_share() {
        let retries = |percent| {
            let budget = Budget::new(percent);
            (0..100)
                .map(|_| {
                    budget.earn();
                    u32::from(budget.spend()) + u32::from(budget.spend())
                })
                .sum::<u32>()
        };
        assert_eq!((retries(20), retries(0)), (20, 0));
    }
}
