//! An inquiry: a bundle in, one report out. What the cause ranker finds in signals and what the analyzers find in
//! Kubernetes objects become one list of causes, each claim with evidence that can be looked at again. It reads the
//! files it is given, changes nothing, and asks no clock, no network and no model.

pub mod eval;
pub mod explain;
mod join;
mod kinds;
pub mod report;
mod ruled;
pub mod text;

use std::path::Path;

use opsward_bundle::{Bundle, OpenError};

pub use report::{Report, SCHEMA};

/// The published form of a report, as JSON Schema.
pub const SCHEMA_JSON: &str = include_str!("schema.json");

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The moment in question; by default the alert's.
    pub at_ms: Option<i64>,
    /// How far around that moment symptoms are looked for.
    pub window_ms: Option<i64>,
    /// No object can have been written after this.
    pub not_after_ms: Option<i64>,
    /// Only this namespace of a cluster.
    pub namespace: Option<String>,
    /// Also what is merely worth knowing.
    pub all: bool,
    /// Bounds of reading.
    pub read: opsward_bundle::Options,
}

/// A report with what it rests on.
#[derive(Debug)]
pub struct Inquiry {
    /// The answer.
    pub report: Report,
    /// What was read.
    pub bundle: Bundle,
    /// What the analyzers said, for those who want it whole.
    pub cluster: opsward_analyzers::Report,
}

/// Reads a folder, an archive or a file, and says what happened.
pub fn inquire(path: &Path, options: &Options) -> Result<Inquiry, OpenError> {
    let bundle = opsward_bundle::read(path, &options.read)?;
    Ok(of_bundle(bundle, options))
}

/// Says what happened in what was read.
pub fn of_bundle(mut bundle: Bundle, options: &Options) -> Inquiry {
    let objects = std::mem::take(&mut bundle.objects).index(options.namespace.as_deref());
    let rules =
        opsward_analyzers::Options { at_ms: options.at_ms, not_after_ms: options.not_after_ms, all: options.all };
    let cluster = opsward_analyzers::analyze(&objects, &rules);
    let defaults = opsward_causes::Options::default();
    let asked = opsward_causes::Options {
        at_ms: options.at_ms,
        window_ms: options.window_ms.unwrap_or(defaults.window_ms),
        ..defaults
    };
    let signals = join::has_signals(&bundle).then(|| opsward_causes::diagnose(&bundle.case, &asked));
    let report = join::join(&bundle, &objects, &cluster, signals, options);
    Inquiry { report, bundle, cluster }
}
