//! For the program that drives a demonstration: what the roles say, how a run is scored, and the
//! simple rule it is compared with. Pure. Must never be used by a diagnosis.

pub mod lines;
pub mod rule;
pub mod score;

/// The incidents that the injector plays: name and what it is in a few words.
#[must_use]
pub fn incidents() -> Vec<(&'static str, &'static str)> {
    crate::inject::incidents().collect()
}
