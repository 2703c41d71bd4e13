//! For the program that drives a demonstration: what the roles say, how a run is scored, and the
//! simple rule it is compared with. Pure. Must never be used by a diagnosis.

pub mod lines;
pub mod rule;
pub mod score;
