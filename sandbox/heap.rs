//! How much the allocator holds, so that a growing script ends with a message and not with a kill.
//! A courtesy: the bound is the kernel's address space limit.

/// Bytes the allocator has handed out.
#[cfg(target_env = "gnu")]
pub(crate) fn in_use_bytes() -> usize {
    #[allow(unsafe_code, reason = "the C library has no safe binding for its statistics")]
    // SAFETY: no arguments and no preconditions; it only reads the allocator's own counters.
    let statistics = unsafe { libc::mallinfo2() };
    statistics.uordblks.saturating_add(statistics.hblkhd)
}

/// Not known with this C library; the address space limit stands alone.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn in_use_bytes() -> usize {
    0
}
