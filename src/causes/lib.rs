//! From signals to causes: a pure function over what was gathered. It reads no file, asks no clock, and never looks
//! at which set of data it was given: names of components and metrics carry meaning by the words operators use, not by identity.
//!
//! The road of a diagnosis: [`frame`] says which part is the incident and which is quiet; `signals`, `traces` and `logs`
//! compare the two and give [`signal::Signal`]s in one currency; `graph` says who waits for whom; `suspects` lets
//! callees explain their callers; `mechanism` names how it fails; `blame` asks of every change whether it could have
//! done exactly that; `story` writes the answer.

mod blame;
pub mod case;
mod checked;
pub mod diagnosis;
mod diff;
mod evidence;
mod frame;
mod graph;
mod logs;
mod mechanism;
mod series;
mod signal;
mod stats;
mod story;
mod suspects;
#[cfg(test)]
mod tests;
mod traces;
mod words;

use case::{Case, TimeMs};
pub use diagnosis::Diagnosis;

/// What to look at and how much to say.
#[derive(Debug, Clone)]
pub struct Options {
    /// The moment in question; the alert's when none.
    pub at_ms: Option<TimeMs>,
    /// How far around that moment symptoms are looked for.
    pub window_ms: i64,
    /// Most causes named at either level.
    pub causes_max: usize,
    /// Most pieces of evidence kept.
    pub evidence_max: usize,
    /// Most characters of one excerpt.
    pub excerpt_max: usize,
    /// Most points of one series that are read, the latest.
    pub points_max: usize,
    /// Most spans that are read, those nearest to the moment.
    pub spans_max: usize,
    /// Most log lines that are read, those nearest to the moment.
    pub lines_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            at_ms: None,
            window_ms: 12 * 60_000,
            causes_max: 10,
            evidence_max: 60,
            excerpt_max: 400,
            points_max: 20_000,
            spans_max: 1_000_000,
            lines_max: 1_000_000,
        }
    }
}

/// Says what happened. Deterministic: the same case and options give the same answer.
pub fn diagnose(case: &Case, options: &Options) -> Diagnosis {
    let clean = checked::Checked::of(case, options);
    let frame = frame::Frame::of(&clean, options);
    let mined = logs::mine(&clean);
    let mut signals = series::corroborate(&clean, series::compare(&clean, &frame));
    let traced = traces::compare(&clean, &frame, &mined);
    let logged = logs::compare(&clean, &frame, &mined, &traced.judged);
    traces::outrank(&traced, &mut signals);
    signals.extend(traced.signals.iter().cloned());
    signals.extend(logged.signals.iter().cloned());
    let graph = graph::Graph::of(&clean, &traced, &logged);
    let suspects = suspects::rank(&clean, &frame, &graph, &signals);
    story::tell(&story::Parts {
        clean: &clean,
        frame: &frame,
        graph: &graph,
        signals: &signals,
        traced: &traced,
        logged: &logged,
        suspects: &suspects,
        options,
    })
}
