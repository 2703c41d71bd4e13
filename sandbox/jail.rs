//! The lock-down, in its one right order. Fails closed: a layer that cannot be put up ends the process.

mod filter;
mod landlock;
mod limits;

use std::fs::File;

pub use filter::ALLOWED_SYSCALLS;
use opsward_wire::{Attestation, ExitReason, PROTOCOL_VERSION};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// The only descriptor of a worker.
pub(crate) const SOCKET_FD: i32 = 3;

/// How far to lock down. Anything but `All` exists to probe one layer without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Everything; the only setting a script ever runs under.
    All,
    /// Closed descriptors only.
    Descriptors,
    /// Resource limits only.
    Limits,
    /// Landlock only.
    Landlock,
    /// The system call filter only.
    Filter,
}

/// Moves the socket from standard input to [`SOCKET_FD`] and closes every other descriptor.
///
/// It is handed over as standard input so that the parent needs no code between fork and exec.
pub(crate) fn take_socket() -> Result<File, ExitReason> {
    close_range(3, u32::MAX)?;
    let stdin = std::io::stdin();
    let socket = fcntl_dupfd_cloexec(&stdin, SOCKET_FD).map_err(|_| ExitReason::Socket)?;
    rustix::net::sockopt::socket_type(&socket).map_err(|_| ExitReason::Socket)?;
    close_range(0, 2)?;
    Ok(File::from(socket))
}

fn close_range(first: u32, last: u32) -> Result<(), ExitReason> {
    #[allow(unsafe_code, reason = "no safe wrapper closes a range of descriptors")]
    // SAFETY: only descriptors are closed, before anything in this process owns one of them.
    let closed = unsafe { libc::close_range(first, last, 0) };
    if closed == 0 { Ok(()) } else { Err(ExitReason::Socket) }
}

/// Puts up the layers. After `All`, only [`ALLOWED_SYSCALLS`] are left, for good.
///
/// `landlock_abi` lowers the Landlock ABI to what an older kernel has.
pub(crate) fn lock(layer: Layer, landlock_abi: Option<u32>) -> Result<Attestation, ExitReason> {
    let wants = |wanted| layer == Layer::All || layer == wanted;
    if wants(Layer::Limits) {
        limits::set().map_err(|_| ExitReason::Limits)?;
    }
    if layer != Layer::Descriptors {
        drop_privileges().map_err(|_| ExitReason::Privileges)?;
    }
    let mut abi = 0;
    if wants(Layer::Landlock) {
        // Needs a free descriptor for the ruleset, so the last limit comes after it.
        abi = landlock::enforce(landlock_abi).map_err(|_| ExitReason::Landlock)?;
    }
    if wants(Layer::Limits) {
        limits::forbid_new_descriptors().map_err(|_| ExitReason::Limits)?;
    }
    if wants(Layer::Filter) {
        filter::load().map_err(|_| ExitReason::Filter)?;
    }
    Ok(Attestation {
        protocol: PROTOCOL_VERSION,
        landlock_abi: abi,
        syscalls: u32::try_from(ALLOWED_SYSCALLS.len()).unwrap_or(u32::MAX),
        heap_bytes: limits::HEAP_BYTES,
        cpu_s: limits::CPU_S,
    })
}

fn drop_privileges() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)
}
