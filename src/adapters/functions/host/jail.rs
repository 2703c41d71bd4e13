//! The host's lock-down, in its one right order.
//! It must never let the host go on when a layer that this kernel has did not take.

mod filter;
mod landlock;

use std::fs::File;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::Settings;
use crate::Isolation;

/// The only descriptor of the host.
const SOCKET_FD: i32 = 3;
/// Descriptors until Landlock is up: the socket, its copy and the ruleset, with room to spare.
const DESCRIPTORS_AT_START: u64 = 16;

/// Why the host did not start; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    Arguments = 20,
    Socket,
    Limits,
    Privileges,
    Landlock,
    Engine,
    Threads,
    Filter,
}

pub(super) fn meaning(code: i32) -> &'static str {
    const NAMES: [(Fault, &str); 8] = [
        (Fault::Arguments, "its arguments were not understood"),
        (Fault::Socket, "it was given no socket"),
        (Fault::Limits, "resource limits were refused"),
        (Fault::Privileges, "dropping privileges was refused"),
        (Fault::Landlock, "landlock is there but did not take"),
        (Fault::Engine, "the webassembly engine did not start"),
        (Fault::Threads, "threads could not be started"),
        (Fault::Filter, "the system call filter was refused"),
    ];
    NAMES.iter().find(|(fault, _)| *fault as i32 == code).map_or("it ended by itself", |(_, name)| name)
}

/// Moves the socket from standard input to [`SOCKET_FD`] and closes every other descriptor.
///
/// It is handed over as standard input so that the client needs no code between fork and exec.
pub(super) fn take_socket() -> Result<File, Fault> {
    close_range(3, u32::MAX)?;
    let socket = fcntl_dupfd_cloexec(std::io::stdin(), SOCKET_FD).map_err(|_| Fault::Socket)?;
    rustix::net::sockopt::socket_type(&socket).map_err(|_| Fault::Socket)?;
    close_range(0, 2)?;
    Ok(File::from(socket))
}

fn close_range(first: u32, last: u32) -> Result<(), Fault> {
    #[allow(unsafe_code, reason = "no safe wrapper closes a range of descriptors")]
    // SAFETY: only descriptors are closed, before anything in this process owns one of them.
    let closed = unsafe { libc::close_range(first, last, 0) };
    if closed == 0 { Ok(()) } else { Err(Fault::Socket) }
}

/// The layers that threads inherit: before any is started. Says which Landlock ABI is enforced.
pub(super) fn confine(settings: &Settings) -> Result<Option<u32>, Fault> {
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Memlock, 0)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Nofile, DESCRIPTORS_AT_START)?;
    limit(Resource::Data, settings.memory_max_bytes)?;
    one_memory_pool()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(|_| Fault::Privileges)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|_| Fault::Privileges)?;
    set_no_new_privs(true).map_err(|_| Fault::Privileges)?;
    landlock::enforce().map_err(|_| Fault::Landlock)
}

/// Keeps glibc from making a memory pool per thread: giving one back opens a file, which the filter answers with death.
fn one_memory_pool() -> Result<(), Fault> {
    #[cfg(target_env = "gnu")]
    {
        #[allow(unsafe_code, reason = "no safe wrapper sets an option of the allocator")]
        // SAFETY: this is the only thread, and the option is one that glibc documents.
        let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        if taken != 1 {
            return Err(Fault::Limits);
        }
    }
    Ok(())
}

/// The last layers, for all threads at once: no new descriptor, no new thread, no other system call.
pub(super) fn close(landlock_abi: Option<u32>) -> Result<Isolation, Fault> {
    limit(Resource::Nofile, 0)?;
    limit(Resource::Nproc, 0)?;
    let syscalls = filter::load().map_err(|_| Fault::Filter)?;
    Ok(Isolation { landlock_abi, syscalls })
}

fn limit(resource: Resource, most: u64) -> Result<(), Fault> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(|_| Fault::Limits)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    const ATTEMPT: &str = "OPSWARD_JAIL_ATTEMPT";

    /// The child of the test below, in a process of its own: locks itself down, tries one thing, and ends with
    /// status 7 when it is still there. Without a word of what to try it is nobody's child and does nothing.
    #[test]
    #[allow(unsafe_code, reason = "the attempts are bare system calls, and the end must not print")]
    fn attempt() {
        let Ok(what) = std::env::var(ATTEMPT) else { return };
        let settings = Settings { concurrency: 1, memory_max_bytes: 1 << 30 };
        confine(&settings).unwrap();
        close(None).unwrap();
        let path = c"/etc/passwd";
        let page = 4096;
        let both = libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: each call either has no effect on memory that is in use, or ends the process.
        unsafe {
            let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            match what.as_str() {
                "nothing" => {
                    let memory = libc::mmap(std::ptr::null_mut(), page, libc::PROT_WRITE, anonymous, -1, 0);
                    libc::mprotect(memory, page, libc::PROT_READ | libc::PROT_EXEC);
                }
                "open" => drop(libc::open(path.as_ptr(), libc::O_RDONLY)),
                "socket" => drop(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)),
                "fork" => drop(libc::fork()),
                "exec" => drop(libc::execv(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr())),
                "kill" => drop(libc::kill(1, 0)),
                "write elsewhere" => drop(libc::write(2, path.as_ptr().cast(), 1)),
                "map a file" => drop(libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_PRIVATE, 3, 0)),
                "writable code" => drop(libc::mmap(std::ptr::null_mut(), page, both, anonymous, -1, 0)),
                "make code writable" => {
                    let memory = libc::mmap(std::ptr::null_mut(), page, libc::PROT_WRITE, anonymous, -1, 0);
                    libc::mprotect(memory, page, both);
                }
                other => panic!("no such attempt: {other}"),
            }
            libc::_exit(7);
        }
    }

    #[test]
    fn whatever_leaves_the_jail_kills_the_host() {
        let run = |what: &str| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "host::jail::tests::attempt", "--test-threads=1"])
                .env(ATTEMPT, what)
                .output()
                .unwrap()
                .status
        };
        assert_eq!(run("nothing").code(), Some(7), "what must work does not");
        for what in [
            "open",
            "socket",
            "fork",
            "exec",
            "kill",
            "write elsewhere",
            "map a file",
            "writable code",
            "make code writable",
        ] {
            assert_eq!(run(what).signal(), Some(libc::SIGSYS), "{what}");
        }
    }
}
