//! Entry of the worker role. Nothing of the server exists in this process: it starts from an empty
//! environment, takes one socket, locks itself down and serves one run.

use std::process::ExitCode;

use opsward_wire::{ExitReason, FromWorker, NO_JAIL_FLAG, PROBE_FLAG};

use crate::exit::leave;
use crate::host::Channel;
use crate::jail::{self, Layer};
use crate::{engine, probe, run};

/// Argument that lowers the Landlock ABI to that of an older kernel.
const LANDLOCK_ABI_FLAG: &str = "--landlock-abi";

/// Runs the worker role; `args[0]` names it, the rest are its own arguments. Does not return in a worker.
///
/// The process must have been executed with an empty environment and one end of a Unix stream socket
/// pair as standard input. Its exit code is an [`ExitReason`].
pub fn role_main(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_] => serve(None),
        [_, LANDLOCK_ABI_FLAG, abi] => match abi.parse() {
            Ok(abi) => serve(Some(abi)),
            Err(_) => leave(ExitReason::Usage),
        },
        [_, PROBE_FLAG, name] => leave(probe::try_in_jail(name)),
        [_, PROBE_FLAG, name, NO_JAIL_FLAG] => leave(probe::try_outside(name)),
        _ => leave(ExitReason::Usage),
    }
}

fn serve(landlock_abi: Option<u32>) -> ! {
    if std::env::vars_os().next().is_some() {
        leave(ExitReason::Environment);
    }
    let socket = jail::take_socket().unwrap_or_else(|reason| leave(reason));
    quiet_crashes();
    // All that allocates much or needs the kernel is done before the lock-down and before a run waits for it.
    let engine = engine::bounded();
    rehearse(&engine);
    let attestation = jail::lock(Layer::All, landlock_abi).unwrap_or_else(|reason| leave(reason));
    let mut channel = Channel::new(socket);
    if channel.send(&FromWorker::Ready { attestation }).is_err() {
        leave(ExitReason::Protocol);
    }
    run::serve(engine, channel);
    leave(ExitReason::Finished)
}

/// Runs a small script of ours before the lock-down, so that whatever asks the kernel once and for all
/// (seeds of hash maps, which differ with the features other crates of the binary switch on) has asked.
fn rehearse(engine: &rhai::Engine) {
    let seeded: std::collections::HashMap<&str, u8> = std::collections::HashMap::from([("seed", 1)]);
    let script =
        "let m = #{ a: [1, 2, 3] }; let s = \"\"; for n in m.a.filter(|x| x > 1) { s += n; } m.b = s; return m;";
    // What comes of it does not matter, only that it ran.
    let _ = (engine.eval::<rhai::Map>(script), seeded.len());
}

/// A crash must not try to print: there is no descriptor for it and the filter would hide the cause.
fn quiet_crashes() {
    std::panic::set_hook(Box::new(|_| leave(ExitReason::Panic)));
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        #[allow(unsafe_code, reason = "the standard library has no way to give up its own signal handler")]
        // SAFETY: single-threaded, and the default action runs no code of this process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}
