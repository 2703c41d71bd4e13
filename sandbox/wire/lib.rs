//! Frames between the broker and a jailed worker: types, framing and the strict order of a run.
//! Pure and synchronous. It must never open a socket, start a process or know what a query means.

mod error;
mod exit;
mod frame;
mod framing;
mod names;
mod probes;
mod session;

pub use error::WireError;
pub use exit::ExitReason;
pub use frame::{Attestation, FailKind, FromWorker, Outcome, RunLimits, ToWorker};
pub use framing::{HEADER_BYTES, MAX_FRAME_BYTES, decode, encode, payload_len, read_frame, write_frame};
pub use names::check_names;
pub use probes::{Control, NO_JAIL_FLAG, PROBE_FLAG, PROBES};
pub use session::Session;

/// Version of this protocol; both ends are one executable, so a difference means a mixed-up build.
pub const PROTOCOL_VERSION: u32 = 1;

/// Key that marks a step in a result. A map of the script's own that has such a key leaves the
/// worker with one more `$` in front, so only a step constructor can make a step.
pub const STEP_KEY: &str = "$step";
