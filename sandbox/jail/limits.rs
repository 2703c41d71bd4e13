//! Kernel limits of a worker. They bound what the interpreter's own limits do not.

use std::io::{Error, ErrorKind};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Address space over the size at start, in bytes. The size at start is the executable and its libraries.
pub(crate) const HEAP_BYTES: u64 = 160 * 1024 * 1024;

/// Processor time of one worker, in seconds; the kernel counts in whole seconds.
pub(crate) const CPU_S: u64 = 5;

/// Stack, in bytes: enough for the deepest script in a debug build.
const STACK_BYTES: u64 = 32 * 1024 * 1024;

/// Descriptors until Landlock is up: the socket and the ruleset, with room to spare.
const DESCRIPTORS_AT_START: u64 = 16;

/// Sets all limits but the one on new descriptors.
pub(super) fn set() -> std::io::Result<()> {
    let address_space = size_bytes()?.saturating_add(HEAP_BYTES);
    let stack = getrlimit(Resource::Stack).maximum.map_or(STACK_BYTES, |hard| hard.min(STACK_BYTES));
    limit(Resource::Stack, stack)?;
    limit(Resource::As, address_space)?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(CPU_S), maximum: Some(CPU_S + 1) })?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Memlock, 0)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Nofile, DESCRIPTORS_AT_START)
}

/// No descriptor can be opened from here on; the open socket stays usable.
pub(super) fn forbid_new_descriptors() -> std::io::Result<()> {
    limit(Resource::Nofile, 0)
}

fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Present address space of this process, in bytes.
fn size_bytes() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .and_then(|kib| kib.checked_mul(1024))
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "no VmSize"))
}
