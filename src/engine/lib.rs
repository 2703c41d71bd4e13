//! Floor 2: behaviour. Reads in this order: a run's state is a fold, `turn::next` says what comes next,
//! the driver does it, the gate decides, the executor acts.
//!
//! Never here: an adapter, a socket, a role name, or the wall clock.

pub mod answers;
pub mod changes;
pub mod converse;
mod damage;
pub mod diagnosis;
pub mod driver;
pub mod executor;
pub mod facade;
pub mod gate;
pub mod incidents;
pub mod ingest;
pub mod intake;
pub mod investigate;
pub mod keeping;
pub mod kits;
pub mod looks;
pub mod observe;
pub mod parts;
pub mod people;
pub mod planner;
pub mod projection;
pub mod replay;
pub mod schedules;
pub mod score;
pub mod start;
pub mod state;
pub mod switches;
pub mod toolbox;
pub mod transcript;
pub mod turn;
pub mod watch;
mod writes;

pub use opsward_ports::{identity, provider};

/// A bearer credential from received text.
pub fn credential(token: impl Into<String>) -> opsward_ports::identity::Credential {
    opsward_ports::identity::Credential::bearer(token)
}
