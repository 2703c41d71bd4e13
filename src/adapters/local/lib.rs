//! The local provider: supervised processes, functions, volumes and backups on one machine.
//!
//! One shim process per workspace is parent of its replicas; it outlives the server. The wanted state
//! on disk is the truth, the shim follows it, the provider changes it. Never here: who may do what.

mod apply;
mod change;
mod complete;
mod copy;
mod disk;
mod expand;
mod folder;
mod functions;
mod http;
mod keep;
mod keys;
mod ledger;
mod link;
mod observe;
mod open;
mod options;
mod place;
mod platform;
mod port;
mod procfs;
mod provider;
mod sampler;
mod scrape;
mod settle;
mod shim;
mod spool;
mod state;
mod telemetry;
mod vaults;
mod wire;

pub use copy::{Bulk, bulk, copy, fill_in};
pub use options::{Options, ShimOptions};
pub use provider::LocalProvider;
pub use shim::{ROLE, role_main};
