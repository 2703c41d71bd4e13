//! `opsward demo`: puts a world on, lets something break, and shows the service at work. This program is
//! an ordinary client of the public interface; the service, the injector and the judge are processes of
//! their own. The judge's word alone decides the exit code.

mod act;
mod baseline;
pub(crate) mod cast;
mod encore;
mod scene;
mod table;
mod tell;

use std::path::PathBuf;

use opsward_domain::fault::Fault;

pub use act::{Played, play};
pub use table::{JOBS_MAX, all};

/// What to play.
#[derive(Debug, Clone)]
pub struct Options {
    /// This binary.
    pub exe: PathBuf,
    /// Where the service keeps its data; absent means a folder that is removed afterwards.
    pub data: Option<PathBuf>,
    /// Which incident.
    pub incident: String,
    /// Its noisy healthy twin instead.
    pub twin: bool,
    /// Victim, magnitude, onset, traffic and decoys.
    pub seed: u64,
    /// Approve as the demo's approver without asking.
    pub yes: bool,
    /// Print the journal's events as JSON lines instead of the story.
    pub json: bool,
    /// The service changes nothing; the run must fail.
    pub observe_only: bool,
    /// Say nothing but the result.
    pub quiet: bool,
    /// Configuration of the service, for example with a model.
    pub config: Option<PathBuf>,
}

/// The incidents there are.
pub fn incidents() -> Vec<(&'static str, &'static str)> {
    opsward_demo::driver::incidents()
}

/// Plays once and returns the exit code: 0 only if the outside client says that all is well again (or,
/// where nothing of ours helps, that nothing was touched and people were told).
pub async fn run(options: &Options) -> Result<u8, Fault> {
    if !incidents().iter().any(|(name, _)| *name == options.incident) {
        let names: Vec<&str> = incidents().into_iter().map(|(name, _)| name).collect();
        return Err(Fault::not_found(format!("there is no incident {:?}", options.incident))
            .hint(format!("incidents: {}", names.join(", "))));
    }
    let played = play(options).await?;
    Ok(u8::from(!played.score.passed))
}
