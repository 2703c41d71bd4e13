//! Alerts and the conditions behind them. An alert's words are untrusted; its typed condition is ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::label::Labelled;
use crate::name::{Id, Volume, Workload, Workspace};
use crate::time::AtMs;

/// A measurable complaint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum Condition {
    /// Share of failed requests above a bound.
    ErrorRatio {
        /// Bound, 0 to 1.
        above: f64,
    },
    /// 95th percentile of the answer time above a bound.
    LatencyP95 {
        /// Bound.
        above_ms: f64,
    },
    /// Replicas end again and again.
    CrashLoop,
    /// Fewer ready replicas than wanted.
    NotReady,
    /// A volume is nearly full.
    VolumeNearlyFull {
        /// Which.
        volume: Volume,
        /// Bound, 0 to 1.
        above: f64,
    },
    /// Reported from outside in words only; cannot be measured here.
    Reported,
}

impl Condition {
    /// The alert name used when we raise it ourselves.
    pub fn alert_name(&self) -> &'static str {
        match self {
            Self::ErrorRatio { .. } => "HighErrorRatio",
            Self::LatencyP95 { .. } => "HighLatency",
            Self::CrashLoop => "CrashLoop",
            Self::NotReady => "ReplicasNotReady",
            Self::VolumeNearlyFull { .. } => "VolumeNearlyFull",
            Self::Reported => "Reported",
        }
    }
}

/// How bad its sender says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Needs a look soon.
    Warning,
    /// Needs a look now.
    Critical,
}

/// An alert as accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Same fingerprint, same alert: used to deduplicate.
    pub fingerprint: String,
    /// Its name.
    pub name: String,
    /// Where it fired.
    pub workspace: Workspace,
    /// Which workload it names, if it names one that exists.
    pub workload: Option<Workload>,
    /// What it complains about.
    pub condition: Condition,
    /// How bad its sender says it is.
    pub severity: Severity,
    /// When it began, as its sender says.
    pub started_at_ms: AtMs,
    /// Its summary and description, untrusted.
    pub text: Labelled,
    /// Its labels, untrusted.
    pub labels: BTreeMap<String, String>,
}

/// A reference to one alert inside an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRef {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The incident it belongs to.
    pub incident: Id,
}
