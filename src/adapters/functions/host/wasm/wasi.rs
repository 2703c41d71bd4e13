//! WASI preview 1 without a system behind it: standard streams, clocks, randomness, an end.
//! It must never touch a file, a socket or the environment: those calls exist and answer that nothing is there.

mod clocks;
mod streams;

use wasmtime::{Caller, FuncType, Linker, Val, ValType};

use super::guest::{Guest, Stop};

const MODULE: &str = "wasi_snapshot_preview1";

/// Error numbers of the interface.
pub(super) mod errno {
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const BAD_DESCRIPTOR: u32 = 8;
    pub(crate) const INVALID: u32 = 28;
    pub(crate) const NOT_SOCKET: u32 = 57;
    pub(crate) const NOT_SUPPORTED: u32 = 58;
    pub(crate) const NO_SEEK: u32 = 70;
}

type Called = wasmtime::Result<u32>;

/// Calls that work.
const WORKING: [&str; 18] = [
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_read",
    "fd_seek",
    "fd_tell",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Calls that are refused: name, parameters (`i` 32 bits, `l` 64 bits), error number.
const REFUSED: [(&str, &str, u32); 28] = [
    ("fd_advise", "illi", errno::BAD_DESCRIPTOR),
    ("fd_allocate", "ill", errno::BAD_DESCRIPTOR),
    ("fd_datasync", "i", errno::BAD_DESCRIPTOR),
    ("fd_fdstat_set_rights", "ill", errno::BAD_DESCRIPTOR),
    ("fd_filestat_set_size", "il", errno::BAD_DESCRIPTOR),
    ("fd_filestat_set_times", "illi", errno::BAD_DESCRIPTOR),
    ("fd_pread", "iiili", errno::BAD_DESCRIPTOR),
    // No folder is open: this is how a program finds that out.
    ("fd_prestat_get", "ii", errno::BAD_DESCRIPTOR),
    ("fd_prestat_dir_name", "iii", errno::BAD_DESCRIPTOR),
    ("fd_pwrite", "iiili", errno::BAD_DESCRIPTOR),
    ("fd_readdir", "iiili", errno::BAD_DESCRIPTOR),
    ("fd_renumber", "ii", errno::BAD_DESCRIPTOR),
    ("fd_sync", "i", errno::BAD_DESCRIPTOR),
    ("path_create_directory", "iii", errno::BAD_DESCRIPTOR),
    ("path_filestat_get", "iiiii", errno::BAD_DESCRIPTOR),
    ("path_filestat_set_times", "iiiilli", errno::BAD_DESCRIPTOR),
    ("path_link", "iiiiiii", errno::BAD_DESCRIPTOR),
    ("path_open", "iiiiillii", errno::BAD_DESCRIPTOR),
    ("path_readlink", "iiiiii", errno::BAD_DESCRIPTOR),
    ("path_remove_directory", "iii", errno::BAD_DESCRIPTOR),
    ("path_rename", "iiiiii", errno::BAD_DESCRIPTOR),
    ("path_symlink", "iiiii", errno::BAD_DESCRIPTOR),
    ("path_unlink_file", "iii", errno::BAD_DESCRIPTOR),
    ("proc_raise", "i", errno::NOT_SUPPORTED),
    ("sock_accept", "iii", errno::NOT_SOCKET),
    ("sock_recv", "iiiiii", errno::NOT_SOCKET),
    ("sock_send", "iiiii", errno::NOT_SOCKET),
    ("sock_shutdown", "ii", errno::NOT_SOCKET),
];

/// Whether a module may import this.
pub(super) fn knows(module: &str, name: &str) -> bool {
    module == MODULE && (WORKING.contains(&name) || REFUSED.iter().any(|(refused, ..)| *refused == name))
}

/// Gives the linker all calls.
pub(super) fn define(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "args_get", |_: u32, _: u32| errno::SUCCESS)?;
    linker.func_wrap(MODULE, "args_sizes_get", none_of)?;
    linker.func_wrap(MODULE, "environ_get", |_: u32, _: u32| errno::SUCCESS)?;
    linker.func_wrap(MODULE, "environ_sizes_get", none_of)?;
    linker.func_wrap(MODULE, "clock_res_get", clocks::resolution)?;
    linker.func_wrap(MODULE, "clock_time_get", clocks::time)?;
    linker.func_wrap(MODULE, "fd_close", |fd: u32| streams::known(fd))?;
    linker.func_wrap(MODULE, "fd_fdstat_get", streams::status)?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |fd: u32, _: u32| streams::known(fd))?;
    linker.func_wrap(MODULE, "fd_filestat_get", streams::file_status)?;
    linker.func_wrap(MODULE, "fd_read", streams::read)?;
    linker.func_wrap(MODULE, "fd_seek", |fd: u32, _: u64, _: u32, _: u32| streams::no_seek(fd))?;
    linker.func_wrap(MODULE, "fd_tell", |fd: u32, _: u32| streams::no_seek(fd))?;
    linker.func_wrap(MODULE, "fd_write", streams::write)?;
    linker.func_wrap(MODULE, "poll_oneoff", clocks::poll)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(Stop::Exit(code).into()) })?;
    linker.func_wrap(MODULE, "random_get", clocks::random)?;
    linker.func_wrap(MODULE, "sched_yield", || errno::SUCCESS)?;
    for (name, parameters, number) in REFUSED {
        let kind = |letter| if letter == 'l' { ValType::I64 } else { ValType::I32 };
        let ty = FuncType::new(linker.engine(), parameters.chars().map(kind), [ValType::I32]);
        linker.func_new(MODULE, name, ty, move |_, _, results| {
            results.fill(Val::I32(number.cast_signed()));
            Ok(())
        })?;
    }
    Ok(())
}

/// There are no arguments and no environment: zero of them in zero bytes.
fn none_of(mut caller: Caller<'_, Guest>, count: u32, bytes: u32) -> Called {
    let (memory, _) = Guest::memory(&mut caller)?;
    put(memory, count, &0u32.to_le_bytes())?;
    put(memory, bytes, &0u32.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// Writes into the instance's memory.
fn put(memory: &mut [u8], at: u32, data: &[u8]) -> Result<(), Stop> {
    let start = at as usize;
    let place = memory.get_mut(start..start.saturating_add(data.len())).ok_or(Stop::BadPointer)?;
    place.copy_from_slice(data);
    Ok(())
}

/// Reads a little-endian number of up to 8 bytes from the instance's memory.
fn number(memory: &[u8], at: u32, bytes: usize) -> Result<u64, Stop> {
    let start = at as usize;
    let place = memory.get(start..start.saturating_add(bytes)).ok_or(Stop::BadPointer)?;
    Ok(place.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}
