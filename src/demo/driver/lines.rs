//! The lines of JSON that the roles write. Must never carry text that a person acts on unread.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Quality of a set of requests as a client saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Requests in the set.
    pub requests: u64,
    /// Share that succeeded.
    pub success_ratio: f64,
    /// Share that failed or was slower than the client's own limit.
    pub bad_ratio: f64,
    /// Median time to an answer, in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile, in milliseconds.
    pub p95_ms: f64,
}

/// One second of traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// End of the second, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What was seen in it.
    #[serde(flatten)]
    pub quality: Quality,
}

/// The judge's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the last request of the sample came back, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The sample.
    #[serde(flatten)]
    pub quality: Quality,
    /// Whether every limit held.
    pub healthy: bool,
    /// The limits that did not hold.
    pub complaints: Vec<String>,
}

/// A line of `__demo-client`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClientLine {
    /// Traffic has begun.
    Started {
        /// The address it goes to.
        target: String,
    },
    /// The healthy baseline, after `calibrate N`.
    Baseline {
        /// What was seen.
        quality: Quality,
        /// Slowest p95 that still counts as healthy, in milliseconds.
        p95_limit_ms: f64,
    },
    /// Once a second.
    Second(Second),
    /// After `judge N`.
    Verdict(Verdict),
    /// A command that was not understood or came too early.
    Error {
        /// Why.
        text: String,
    },
}

/// What a run is about; only the driver sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The scenario's name.
    pub incident: String,
    /// The scenario's form, for the table.
    pub variant: String,
    /// What opsward ought to do about it.
    pub expect: Expect,
    /// The workload that is the cause; empty when nothing of ours is.
    pub victim: String,
    /// What kind of cause it is, in snake case.
    pub cause_kind: String,
    /// Patterns of actions that repair it, any of them; see [`super::score::matches`].
    pub right_actions: Vec<Value>,
    /// Patterns of actions that do not repair it but are a fair first try (undone when they do not help).
    pub tolerated_actions: Vec<Value>,
    /// Workloads that look guilty and are not.
    pub decoys: Vec<String>,
    /// When the cause was put in place, in milliseconds since the epoch.
    pub cause_at_ms: u64,
}

/// The right outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Find the cause and repair it.
    Repair,
    /// Change nothing, and say who has to act; they then repair it.
    Escalate,
    /// Nothing is wrong: no incident.
    Quiet,
}

/// A line of `__demo-inject`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InjectorLine {
    /// What it did, as it does it.
    Move {
        /// In words.
        text: String,
        /// Milliseconds since the epoch.
        at_ms: u64,
    },
    /// A line that the driver passes on to the client's standard input.
    Client {
        /// The line.
        command: String,
    },
    /// The ground truth, once the cause is in place.
    Truth(Truth),
    /// Nothing more will be done, except what is still being held.
    Done {
        /// Milliseconds since the epoch.
        at_ms: u64,
    },
    /// The scenario could not be played.
    Error {
        /// Why.
        text: String,
    },
}

/// The line of `__demo-external`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExternalLine {
    /// It serves.
    External {
        /// Address for the services.
        listen: String,
        /// Address for one line of control a connection: `ok`, `slow MS`, `errors PER_MILLE`, `hang`, `down`.
        control: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        let quality = Quality { requests: 5, success_ratio: 1.0, ..Quality::default() };
        let line = ClientLine::Second(Second { at_ms: 1, quality });
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains("\"kind\":\"second\"") && text.contains("\"requests\":5"), "{text}");
        assert_eq!(serde_json::from_str::<ClientLine>(&text).unwrap(), line);
        assert!(serde_json::from_str::<ClientLine>("{\"kind\":\"other\"}").is_err());
    }
}
