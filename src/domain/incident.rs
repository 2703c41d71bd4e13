//! The life of an incident. State here is a value folded from events, never edited.

use serde::{Deserialize, Serialize};

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// Opened, nobody looked yet.
    Open,
    /// Evidence is being gathered.
    Investigating,
    /// A plan waits for a person.
    AwaitingApproval,
    /// A plan is being carried out.
    Acting,
    /// The condition is gone and stayed away.
    Resolved,
    /// No action of ours helps; people were told what was found.
    Escalated,
}

impl IncidentStatus {
    /// True if nothing more will happen by itself.
    pub fn ended(self) -> bool {
        matches!(self, Self::Resolved | Self::Escalated)
    }
}
