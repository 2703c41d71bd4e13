//! What an action does to the world, and how much it risks. No defaults: every action says.

use serde::{Deserialize, Serialize};

/// Observe < Change < Destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads only.
    Observe,
    /// Alters something, with a way back.
    Change,
    /// Removes something for good.
    Destroy,
}

impl Effect {
    /// The word used in policies and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Change => "change",
            Self::Destroy => "destroy",
        }
    }
}

/// 0 read own tenant; 1 reversible, one object; 2 reversible, many objects or configuration;
/// 3 touches data or is hard to reverse; 4 never by an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Risk(pub u8);

/// How an action is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// An inverse action computed from the state before.
    Inverse,
    /// Nothing to take back: the action leaves no lasting difference.
    Unneeded,
    /// Only from a verified backup.
    Backup,
    /// Not at all; a person is told so.
    Impossible,
}

/// Which typed signal proves that an action did what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The workload runs the wanted revision, all replicas ready.
    WorkloadReady,
    /// The resource exists and equals what was asked.
    Present,
    /// The resource is gone.
    Absent,
    /// The stored bytes were read back and compared.
    BytesVerified,
    /// The call itself returned a true status.
    Returned,
}
