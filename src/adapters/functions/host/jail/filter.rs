//! The system call filter of the host: an allow-list for all its threads; anything else kills the process.
//! It must never allow a call that names a path, an address or a process, or memory both writable and executable.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::SOCKET_FD;

/// Threads that wait, time, memory, the signals by which WebAssembly traps, and the socket.
const ALLOWED: [i64; 18] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The filter does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterFault {
    #[error("filter not built: {0}")]
    Build(#[from] BackendError),
    #[error("filter not loaded: {0}")]
    Load(#[from] seccompiler::Error),
}

/// Loads the filter into every thread and says how many calls it leaves.
pub(super) fn load() -> Result<u32, FilterFault> {
    apply_filter_all_threads(&program()?)?;
    Ok(u32::try_from(ALLOWED.len()).unwrap_or(u32::MAX))
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for call in ALLOWED {
        rules.insert(call, conditions(call)?);
    }
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

/// The argument checks of one call, any of which is enough; none means any arguments.
fn conditions(call: i64) -> Result<Vec<SeccompRule>, BackendError> {
    let one_of = |rules: Vec<Vec<SeccompCondition>>| rules.into_iter().map(SeccompRule::new).collect();
    match call {
        libc::SYS_read | libc::SYS_write => {
            let first = u64::from(SOCKET_FD.unsigned_abs());
            // The socket and its copy, which the writing threads share.
            one_of(vec![vec![equal(0, first)?], vec![equal(0, first + 1)?]])
        }
        libc::SYS_mmap => {
            one_of(vec![vec![bits(2, libc::PROT_EXEC, 0)?, bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?]])
        }
        // Code becomes executable once it is no longer writable.
        libc::SYS_mprotect => {
            let both = libc::PROT_WRITE | libc::PROT_EXEC;
            one_of(vec![
                vec![bits(2, both, 0)?],
                vec![bits(2, both, libc::PROT_WRITE)?],
                vec![bits(2, both, libc::PROT_EXEC)?],
            ])
        }
        _ => Ok(Vec::new()),
    }
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn bits(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(u64::from(mask.unsigned_abs()));
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, mask, u64::from(value.unsigned_abs()))
}
