//! Probes: each tries one forbidden thing, in the jail and, as its control, outside of it. A layer
//! counts because its probe fails to get through, never because of a version number.

mod attempts;

use std::io;

use opsward_wire::ExitReason;

use crate::jail::{self, Layer};
use attempts as attempt;

/// A forbidden thing.
type Attempt = fn() -> io::Result<()>;

/// The probe of this name: what it tries, and the layer that must stop it.
fn find(name: &str) -> Option<(Layer, Attempt)> {
    let probe: (Layer, Attempt) = match name {
        "landlock_open_file" => (Layer::Landlock, attempt::open_file),
        "limits_address_space" => (Layer::Limits, attempt::much_memory),
        "limits_new_descriptor" => (Layer::Limits, attempt::duplicate_descriptor),
        "descriptors_inherited" => (Layer::Descriptors, attempt::inherited_descriptor),
        "filter_open_file" => (Layer::Filter, attempt::open_file),
        "open_file" => (Layer::All, attempt::open_file),
        "open_own_memory" => (Layer::All, attempt::open_own_memory),
        "read_other_descriptor" => (Layer::All, attempt::read_other_descriptor),
        "write_other_descriptor" => (Layer::All, attempt::write_other_descriptor),
        "receive_descriptor" => (Layer::All, attempt::receive_message),
        "socket_inet" => (Layer::All, attempt::socket_inet),
        "socket_unix" => (Layer::All, attempt::socket_unix),
        "fork" => (Layer::All, attempt::fork),
        "exec" => (Layer::All, attempt::exec),
        "map_executable" => (Layer::All, attempt::map_executable),
        "make_executable" => (Layer::All, attempt::make_executable),
        "memory_file" => (Layer::All, attempt::memory_file),
        "signal_parent" => (Layer::All, attempt::signal_parent),
        "signal_everyone" => (Layer::All, attempt::signal_everyone),
        "trace" => (Layer::All, attempt::trace),
        "undo_dumpable" => (Layer::All, attempt::undo_dumpable),
        "second_filter" => (Layer::All, attempt::second_filter),
        "raise_limit" => (Layer::All, attempt::raise_limit),
        "sleep" => (Layer::All, attempt::sleep),
        "socket_netlink" => (Layer::All, attempt::socket_netlink),
        "socket_vsock" => (Layer::All, attempt::socket_vsock),
        "io_uring" => (Layer::All, attempt::io_uring),
        "read_process_memory" => (Layer::All, attempt::read_process_memory),
        "userfault" => (Layer::All, attempt::userfault),
        "bpf" => (Layer::All, attempt::bpf),
        "perf_event" => (Layer::All, attempt::perf_event),
        "keyring" => (Layer::All, attempt::keyring),
        "new_namespace" => (Layer::All, attempt::new_namespace),
        "process_descriptor" => (Layer::All, attempt::process_descriptor),
        "foreign_call_table" => (Layer::All, attempt::foreign_call_table),
        "legacy_entry" => (Layer::All, attempt::legacy_entry),
        _ => return None,
    };
    Some(probe)
}

/// Prefix of a probe that makes the system call with the number after it, with zero arguments.
const SYSCALL_PREFIX: &str = "syscall:";

/// Tries the probe of this name in the jail that it is for.
pub(crate) fn try_in_jail(name: &str) -> ExitReason {
    if let Some(number) = name.strip_prefix(SYSCALL_PREFIX) {
        return match number.parse() {
            Ok(number) => in_jail(Layer::All, move || attempt::bare(number)),
            Err(_) => ExitReason::Usage,
        };
    }
    find(name).map_or(ExitReason::Usage, |(layer, attempt)| in_jail(layer, attempt))
}

/// Tries the probe of this name with no jail at all.
pub(crate) fn try_outside(name: &str) -> ExitReason {
    attempt::prepare();
    find(name).map_or(ExitReason::Usage, |(_, attempt)| outcome(attempt()))
}

fn in_jail(layer: Layer, attempt: impl FnOnce() -> io::Result<()>) -> ExitReason {
    attempt::prepare();
    match jail::take_socket().and_then(|socket| jail::lock(layer, None).map(|_| socket)) {
        Ok(socket) => {
            let outcome = outcome(attempt());
            // Leaving closes it; dropping it would be one more refused call.
            std::mem::forget(socket);
            outcome
        }
        Err(reason) => reason,
    }
}

fn outcome(attempted: io::Result<()>) -> ExitReason {
    if attempted.is_ok() { ExitReason::Finished } else { ExitReason::Refused }
}

#[cfg(test)]
mod tests {
    use opsward_wire::PROBES;

    use super::*;

    #[test]
    fn every_announced_probe_exists_once() {
        for (at, (name, _)) in PROBES.iter().enumerate() {
            assert!(find(name).is_some(), "{name}");
            assert!(PROBES[..at].iter().all(|(earlier, _)| earlier != name), "{name} twice");
        }
        assert!(find("").is_none());
    }
}
