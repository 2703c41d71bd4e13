//! What the gate says about a step. The strictest wins; an error while deciding is a Deny.

use serde::{Deserialize, Serialize};

/// What a person other than the asker must do for an Ask to become an Allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approvers {
    /// How many distinct people.
    pub people: u8,
    /// True if the asker's own yes does not count.
    pub not_asker: bool,
}

/// Allow < Ask < Deny.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// May be done now.
    Allow,
    /// May be done once approved.
    Ask {
        /// By whom.
        approvers: Approvers,
    },
    /// May not be done.
    Deny,
}

impl Verdict {
    fn rank(&self) -> (u8, Approvers) {
        let none = Approvers { people: 0, not_asker: false };
        match self {
            Self::Allow => (0, none),
            Self::Ask { approvers } => (1, *approvers),
            Self::Deny => (2, none),
        }
    }
    /// The stricter of two.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Policies that determined it, by id.
    pub policies: Vec<String>,
    /// One sentence made by code: why, and what would be allowed.
    pub reason: String,
}

impl Decision {
    /// A refusal by `policy`.
    pub fn deny(policy: &str, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Deny, policies: vec![policy.to_owned()], reason: reason.into() }
    }
    /// The strictest of several; nothing to decide is a refusal.
    pub fn strictest(decisions: impl IntoIterator<Item = Self>) -> Self {
        decisions
            .into_iter()
            .reduce(|a, b| if b.verdict.rank() > a.verdict.rank() { b } else { a })
            .unwrap_or_else(|| Self::deny("gate.empty", "a plan without steps decides nothing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictest_wins_and_nothing_is_a_refusal() {
        let ask = |people, not_asker| Verdict::Ask { approvers: Approvers { people, not_asker } };
        assert_eq!(Verdict::Allow.strictest(ask(1, false)), ask(1, false));
        assert_eq!(ask(1, true).strictest(ask(2, false)), ask(2, false));
        assert_eq!(ask(2, true).strictest(Verdict::Deny), Verdict::Deny);
        assert_eq!(Decision::strictest([]).verdict, Verdict::Deny);
    }
}
