//! Kubernetes objects in, root findings out: rules rebuilt from the Kubernetes documentation, with no model,
//! no network, no clock and no cluster. The only thing it touches is the folder that [`load`] is given.
//!
//! Every string of an object is untrusted: it is quoted, cut, and never decides what may be done.

pub mod finding;
pub mod load;
pub mod object;
pub mod objects;
pub mod report;
pub mod text;

mod certificate;
mod cron;
mod near;
mod owner;
mod quantity;
mod roots;
mod rules;
mod selector;
mod symptom;
mod when;

pub use finding::{Evidence, Finding, Link, Remedy, Severity};
pub use object::{Object, Ref};
pub use objects::{Collection, Gap, LogTail, Objects};
pub use report::{Options, Report, SCHEMA, Verdict, analyze};
