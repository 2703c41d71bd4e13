//! The forbidden things themselves, as bare system calls. Each does the least that shows it works and
//! harms nothing where it does. Never called outside a probe process.

use std::io::{Error, Result};
use std::sync::OnceLock;

use crate::jail::SOCKET_FD;

/// Bytes that no worker may get: more than its whole address space limit.
const MUCH_MEMORY_BYTES: usize = 1 << 30;

/// Descriptors to look at for one that was inherited.
const SCANNED_DESCRIPTORS: i32 = 1_024;

const PAGE_BYTES: usize = 4_096;

/// Own and parent process, asked for before the lock-down so that asking is not what gets refused.
static PROCESSES: OnceLock<(usize, usize)> = OnceLock::new();

/// Learns what the attempts need to know and could not ask for in the jail.
pub(super) fn prepare() {
    PROCESSES.get_or_init(|| {
        let number = |id: u32| usize::try_from(id).unwrap_or(0);
        (number(std::process::id()), number(std::os::unix::process::parent_id()))
    });
}

fn processes() -> Result<(usize, usize)> {
    PROCESSES.get().copied().ok_or_else(|| Error::from_raw_os_error(libc::ESRCH))
}

/// Makes a system call. Pointers among the arguments must be valid for that call.
fn call(number: i64, args: [usize; 6]) -> Result<i64> {
    let [a, b, c, d, e, f] = args;
    #[allow(unsafe_code, reason = "a probe has to make calls that no safe interface offers")]
    // SAFETY: a probe process is single-threaded and ends right after; all pointers given by the callers
    // below are to live locals or statics of the size the call expects, or null where the call allows it.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn done(number: i64, args: [usize; 6]) -> Result<()> {
    call(number, args).map(|_| ())
}

fn word(number: i32) -> usize {
    // Sign-extended, as the kernel's calling convention has it.
    number as isize as usize
}

pub(super) fn bare(number: i64) -> Result<()> {
    done(number, [0; 6])
}

pub(super) fn open_file() -> Result<()> {
    open(c"/etc/passwd")
}

pub(super) fn open_own_memory() -> Result<()> {
    open(c"/proc/self/mem")
}

fn open(path: &std::ffi::CStr) -> Result<()> {
    done(libc::SYS_openat, [word(libc::AT_FDCWD), path.as_ptr() as usize, word(libc::O_RDONLY), 0, 0, 0])
}

pub(super) fn read_other_descriptor() -> Result<()> {
    done(libc::SYS_read, [0, 0, 0, 0, 0, 0])
}

pub(super) fn write_other_descriptor() -> Result<()> {
    done(libc::SYS_write, [1, 0, 0, 0, 0, 0])
}

pub(super) fn receive_message() -> Result<()> {
    let mut header = [0_u64; 8];
    match call(libc::SYS_recvmsg, [0, header.as_mut_ptr() as usize, word(libc::MSG_DONTWAIT), 0, 0, 0]) {
        // Nothing to receive: the call itself works.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        other => other.map(|_| ()),
    }
}

pub(super) fn duplicate_descriptor() -> Result<()> {
    let socket = word(SOCKET_FD);
    call(libc::SYS_dup, [socket, 0, 0, 0, 0, 0]).or_else(|_| call(libc::SYS_dup, [0; 6])).map(|_| ())
}

pub(super) fn inherited_descriptor() -> Result<()> {
    (0..SCANNED_DESCRIPTORS)
        .filter(|fd| *fd != SOCKET_FD)
        .find(|fd| call(libc::SYS_fcntl, [word(*fd), word(libc::F_GETFD), 0, 0, 0, 0]).is_ok())
        .map(|_| ())
        .ok_or_else(|| Error::from_raw_os_error(libc::EBADF))
}

fn map(bytes: usize, protection: i32) -> Result<i64> {
    let flags = word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    call(libc::SYS_mmap, [0, bytes, word(protection), flags, usize::MAX, 0])
}

pub(super) fn much_memory() -> Result<()> {
    map(MUCH_MEMORY_BYTES, libc::PROT_READ | libc::PROT_WRITE).map(|_| ())
}

pub(super) fn map_executable() -> Result<()> {
    map(PAGE_BYTES, libc::PROT_READ | libc::PROT_EXEC).map(|_| ())
}

pub(super) fn make_executable() -> Result<()> {
    let page = map(PAGE_BYTES, libc::PROT_READ | libc::PROT_WRITE)?;
    let page = usize::try_from(page).map_err(Error::other)?;
    done(libc::SYS_mprotect, [page, PAGE_BYTES, word(libc::PROT_READ | libc::PROT_EXEC), 0, 0, 0])
}

pub(super) fn memory_file() -> Result<()> {
    done(libc::SYS_memfd_create, [c"probe".as_ptr() as usize, 0, 0, 0, 0, 0])
}

fn socket(family: i32, kind: i32) -> Result<()> {
    done(libc::SYS_socket, [word(family), word(kind), 0, 0, 0, 0])
}

pub(super) fn socket_inet() -> Result<()> {
    socket(libc::AF_INET, libc::SOCK_STREAM)
}

pub(super) fn socket_unix() -> Result<()> {
    socket(libc::AF_UNIX, libc::SOCK_STREAM)
}

pub(super) fn socket_netlink() -> Result<()> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW)
}

pub(super) fn socket_vsock() -> Result<()> {
    socket(libc::AF_VSOCK, libc::SOCK_STREAM)
}

pub(super) fn fork() -> Result<()> {
    if call(libc::SYS_clone, [word(libc::SIGCHLD), 0, 0, 0, 0, 0])? == 0 {
        crate::exit::leave(opsward_wire::ExitReason::Finished);
    }
    Ok(())
}

pub(super) fn exec() -> Result<()> {
    // Runs this executable as a worker that leaves at once for its arguments: any exit but `Refused` shows it ran.
    let role = c"__worker";
    let probe = c"--probe";
    let name = c"sleep";
    let outside = c"--no-jail";
    let program = c"/proc/self/exe";
    let argv = [program, role, probe, name, outside].map(|text| text.as_ptr() as usize);
    let argv = [argv[0], argv[1], argv[2], argv[3], argv[4], 0];
    let envp = [0_usize];
    done(libc::SYS_execve, [program.as_ptr() as usize, argv.as_ptr() as usize, envp.as_ptr() as usize, 0, 0, 0])
}

pub(super) fn signal_parent() -> Result<()> {
    let (_, parent) = processes()?;
    done(libc::SYS_kill, [parent, 0, 0, 0, 0, 0])
}

pub(super) fn signal_everyone() -> Result<()> {
    done(libc::SYS_kill, [word(-1), 0, 0, 0, 0, 0])
}

pub(super) fn trace() -> Result<()> {
    let traceme = usize::try_from(libc::PTRACE_TRACEME).map_err(Error::other)?;
    done(libc::SYS_ptrace, [traceme, 0, 0, 0, 0, 0])
}

pub(super) fn undo_dumpable() -> Result<()> {
    done(libc::SYS_prctl, [word(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0])
}

pub(super) fn second_filter() -> Result<()> {
    let action = libc::SECCOMP_RET_ALLOW;
    const GET_ACTION_AVAIL: usize = 2;
    done(libc::SYS_seccomp, [GET_ACTION_AVAIL, 0, &raw const action as usize, 0, 0, 0])
}

pub(super) fn raise_limit() -> Result<()> {
    let resource = usize::try_from(libc::RLIMIT_NOFILE).map_err(Error::other)?;
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    done(libc::SYS_prlimit64, [0, resource, &raw const limit as usize, 0, 0, 0])
}

pub(super) fn sleep() -> Result<()> {
    let nothing = [0_i64; 2];
    done(libc::SYS_nanosleep, [nothing.as_ptr() as usize, 0, 0, 0, 0, 0])
}

pub(super) fn io_uring() -> Result<()> {
    let mut parameters = [0_u64; 15];
    done(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as usize, 0, 0, 0, 0])
}

pub(super) fn read_process_memory() -> Result<()> {
    let source = [7_u8; 8];
    let mut target = [0_u8; 8];
    let local = [target.as_mut_ptr() as usize, target.len()];
    let remote = [source.as_ptr() as usize, source.len()];
    let (own, _) = processes()?;
    done(libc::SYS_process_vm_readv, [own, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0])
}

pub(super) fn userfault() -> Result<()> {
    const USER_MODE_ONLY: usize = 1;
    done(libc::SYS_userfaultfd, [USER_MODE_ONLY, 0, 0, 0, 0, 0])
}

pub(super) fn bpf() -> Result<()> {
    // An array map of one entry: type, key size, value size, entries.
    let attributes = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    done(libc::SYS_bpf, [0, attributes.as_ptr() as usize, size_of_val(&attributes), 0, 0, 0])
}

pub(super) fn perf_event() -> Result<()> {
    const SOFTWARE_CPU_CLOCK: [u32; 32] = {
        let mut attributes = [0; 32];
        attributes[0] = 1;
        attributes[1] = 128;
        attributes
    };
    done(libc::SYS_perf_event_open, [SOFTWARE_CPU_CLOCK.as_ptr() as usize, 0, usize::MAX, usize::MAX, 0, 0])
}

pub(super) fn keyring() -> Result<()> {
    const GET_KEYRING_ID: usize = 0;
    const PROCESS_KEYRING: i32 = -2;
    done(libc::SYS_keyctl, [GET_KEYRING_ID, word(PROCESS_KEYRING), 1, 0, 0, 0])
}

pub(super) fn new_namespace() -> Result<()> {
    done(libc::SYS_unshare, [word(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0])
}

pub(super) fn process_descriptor() -> Result<()> {
    let (own, _) = processes()?;
    done(libc::SYS_pidfd_open, [own, 0, 0, 0, 0, 0])
}

/// `getpid` through the x32 call table, which most kernels do not have.
pub(super) fn foreign_call_table() -> Result<()> {
    const X32_BIT: i64 = 0x4000_0000;
    done(X32_BIT | libc::SYS_getpid, [0; 6])
}

/// `getpid` through the 32-bit entry of x86-64.
#[cfg(target_arch = "x86_64")]
pub(super) fn legacy_entry() -> Result<()> {
    const GETPID_32: i32 = 20;
    let result: i32;
    #[allow(unsafe_code, reason = "this entry into the kernel has no other spelling")]
    // SAFETY: the call takes no argument and writes no memory; the registers it changes are declared.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") GETPID_32 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result > 0 { Ok(()) } else { Err(Error::from_raw_os_error(libc::ENOSYS)) }
}

/// Other machines have no second entry.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn legacy_entry() -> Result<()> {
    Err(Error::from_raw_os_error(libc::ENOSYS))
}
