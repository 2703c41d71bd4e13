//! Probes: each tries one forbidden thing, in the jail and, as its control, outside of it. A layer
//! counts because its probe fails to get through, never because of a version number.

mod attempts;

use std::io;

use crate::exit::ExitReason;
use crate::jail::{self, Layer};
use attempts as attempt;

/// What the control of a probe must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Outside the jail the thing works on every host; otherwise the probe proves nothing.
    MustWork,
    /// The host itself may refuse it, for instance in a container. The probe then still has to fail.
    HostMayRefuse,
}

/// One forbidden thing.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name on the command line and in reports.
    pub name: &'static str,
    /// What its control must show.
    pub control: Control,
    layer: Layer,
    attempt: fn() -> io::Result<()>,
}

const fn probe(name: &'static str, layer: Layer, attempt: fn() -> io::Result<()>) -> Probe {
    Probe { name, control: Control::MustWork, layer, attempt }
}

const fn rare(name: &'static str, attempt: fn() -> io::Result<()>) -> Probe {
    Probe { name, control: Control::HostMayRefuse, layer: Layer::All, attempt }
}

/// All probes. In the jail each must end killed by the filter or [`ExitReason::Refused`].
pub const PROBES: &[Probe] = &[
    probe("landlock_open_file", Layer::Landlock, attempt::open_file),
    probe("limits_address_space", Layer::Limits, attempt::much_memory),
    probe("limits_new_descriptor", Layer::Limits, attempt::duplicate_descriptor),
    probe("descriptors_inherited", Layer::Descriptors, attempt::inherited_descriptor),
    probe("filter_open_file", Layer::Filter, attempt::open_file),
    probe("open_file", Layer::All, attempt::open_file),
    probe("open_own_memory", Layer::All, attempt::open_own_memory),
    probe("read_other_descriptor", Layer::All, attempt::read_other_descriptor),
    probe("write_other_descriptor", Layer::All, attempt::write_other_descriptor),
    probe("receive_descriptor", Layer::All, attempt::receive_message),
    probe("socket_inet", Layer::All, attempt::socket_inet),
    probe("socket_unix", Layer::All, attempt::socket_unix),
    probe("fork", Layer::All, attempt::fork),
    probe("exec", Layer::All, attempt::exec),
    probe("map_executable", Layer::All, attempt::map_executable),
    probe("make_executable", Layer::All, attempt::make_executable),
    probe("memory_file", Layer::All, attempt::memory_file),
    probe("signal_parent", Layer::All, attempt::signal_parent),
    probe("signal_everyone", Layer::All, attempt::signal_everyone),
    probe("trace", Layer::All, attempt::trace),
    probe("undo_dumpable", Layer::All, attempt::undo_dumpable),
    probe("second_filter", Layer::All, attempt::second_filter),
    probe("raise_limit", Layer::All, attempt::raise_limit),
    probe("sleep", Layer::All, attempt::sleep),
    rare("socket_netlink", attempt::socket_netlink),
    rare("socket_vsock", attempt::socket_vsock),
    rare("io_uring", attempt::io_uring),
    rare("read_process_memory", attempt::read_process_memory),
    rare("userfault", attempt::userfault),
    rare("bpf", attempt::bpf),
    rare("perf_event", attempt::perf_event),
    rare("keyring", attempt::keyring),
    rare("new_namespace", attempt::new_namespace),
    rare("process_descriptor", attempt::process_descriptor),
    rare("foreign_call_table", attempt::foreign_call_table),
    rare("legacy_entry", attempt::legacy_entry),
];

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
    find(name).map_or(ExitReason::Usage, |probe| in_jail(probe.layer, probe.attempt))
}

/// Tries the probe of this name with no jail at all.
pub(crate) fn try_outside(name: &str) -> ExitReason {
    attempt::prepare();
    find(name).map_or(ExitReason::Usage, |probe| outcome((probe.attempt)()))
}

fn find(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
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
