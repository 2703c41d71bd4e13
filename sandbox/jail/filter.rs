//! The system call filter: an allow-list with argument checks; everything else kills the process.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use super::SOCKET_FD;

/// All system calls of a locked-down worker. `read` and `write` reach the socket only, `mmap` gives
/// anonymous memory that is never executable.
pub const ALLOWED_SYSCALLS: [i64; 8] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_exit_group,
];

/// Why the filter does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterFault {
    /// It could not be built for this machine.
    #[error("filter not built: {0}")]
    Build(#[from] BackendError),
    /// The kernel did not take it.
    #[error("filter not loaded: {0}")]
    Load(#[from] seccompiler::Error),
}

/// Loads the filter. Nothing but [`ALLOWED_SYSCALLS`] works afterwards, not even undoing this.
pub(super) fn load() -> Result<(), FilterFault> {
    Ok(apply_filter(&program()?)?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for call in ALLOWED_SYSCALLS {
        rules.insert(call, conditions(call)?);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

/// The argument checks of one call; none means any arguments.
fn conditions(call: i64) -> Result<Vec<SeccompRule>, BackendError> {
    let checks = match call {
        libc::SYS_read | libc::SYS_write => vec![equal(0, u64::from(SOCKET_FD.unsigned_abs()))?],
        libc::SYS_mmap => vec![bits(2, libc::PROT_EXEC, 0)?, bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?],
        _ => return Ok(Vec::new()),
    };
    Ok(vec![SeccompRule::new(checks)?])
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn bits(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(u64::from(mask.unsigned_abs()));
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, mask, u64::from(value.unsigned_abs()))
}
