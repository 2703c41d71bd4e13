//! Names of the probes that a worker executable offers, and how the broker asks for one. What each one
//! does is in the worker alone.

/// Argument that names a probe to try instead of serving a run.
pub const PROBE_FLAG: &str = "--probe";

/// Argument that leaves the jail away, for the control of a probe. Refused for a run.
pub const NO_JAIL_FLAG: &str = "--no-jail";

/// What the control of a probe must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Outside the jail the thing works on every host; otherwise the probe proves nothing.
    MustWork,
    /// The host itself may refuse it, for instance in a container. In the jail it still has to fail.
    HostMayRefuse,
}

use Control::{HostMayRefuse, MustWork};

/// All probes. In the jail each must end killed by the system call filter or as
/// [`crate::ExitReason::Refused`].
pub const PROBES: [(&str, Control); 36] = [
    ("landlock_open_file", MustWork),
    ("limits_address_space", MustWork),
    ("limits_new_descriptor", MustWork),
    ("descriptors_inherited", MustWork),
    ("filter_open_file", MustWork),
    ("open_file", MustWork),
    ("open_own_memory", MustWork),
    ("read_other_descriptor", MustWork),
    ("write_other_descriptor", MustWork),
    ("receive_descriptor", MustWork),
    ("socket_inet", MustWork),
    ("socket_unix", MustWork),
    ("fork", MustWork),
    ("exec", MustWork),
    ("map_executable", MustWork),
    ("make_executable", MustWork),
    ("memory_file", MustWork),
    ("signal_parent", MustWork),
    ("signal_everyone", MustWork),
    ("trace", MustWork),
    ("undo_dumpable", MustWork),
    ("second_filter", MustWork),
    ("raise_limit", MustWork),
    ("sleep", MustWork),
    ("socket_netlink", HostMayRefuse),
    ("socket_vsock", HostMayRefuse),
    ("io_uring", HostMayRefuse),
    ("read_process_memory", HostMayRefuse),
    ("userfault", HostMayRefuse),
    ("bpf", HostMayRefuse),
    ("perf_event", HostMayRefuse),
    ("keyring", HostMayRefuse),
    ("new_namespace", HostMayRefuse),
    ("process_descriptor", HostMayRefuse),
    ("foreign_call_table", HostMayRefuse),
    ("legacy_entry", HostMayRefuse),
];
