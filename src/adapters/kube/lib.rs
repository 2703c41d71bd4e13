//! The Kubernetes provider: workspaces are namespaces, workloads are Deployments, StatefulSets and
//! DaemonSets, volumes are claims.
//!
//! Every write carries the version it was read in, the key it is done under and the field manager
//! `opsward`; what a reconciler keeps is left to it. Never here: who may do what in opsward.

mod apply;
mod change;
mod cluster;
mod connect;
mod json;
mod kinds;
mod ledger;
mod list;
mod look;
mod options;
mod owner;
mod place;
mod pods;
mod provider;
mod quantity;
mod refusal;
mod rights;
mod settle;
mod template;
mod workload;

pub use options::{Access, Options};
pub use provider::KubeProvider;
