//! The jail from outside: every probe with its control, the full system call sweep, and what the kernel
//! itself says about a locked-down worker.

use opsward_sandbox::ALLOWED_SYSCALLS;
use opsward_wire::{Control, ExitReason, NO_JAIL_FLAG, PROBE_FLAG, PROBES, PROTOCOL_VERSION};

use crate::Test;
use crate::worker::{Death, Ending, ROLE, Worker, run_frame};

pub(crate) const TESTS: &[Test] = &[
    ("jail::probes_are_stopped_and_their_controls_are_not", probes_are_stopped_and_their_controls_are_not),
    ("jail::sweep_of_all_system_calls", sweep_of_all_system_calls),
    ("jail::the_kernel_confirms_the_lock_down", the_kernel_confirms_the_lock_down),
    ("jail::the_oldest_landlock_is_enough", the_oldest_landlock_is_enough),
    ("jail::a_worker_dies_with_its_parent_thread", a_worker_dies_with_its_parent_thread),
];

const KILLED_BY_FILTER: Death = Death::Signal(libc::SIGSYS);

fn probes_are_stopped_and_their_controls_are_not() {
    for (name, control_must) in PROBES {
        let jailed = Worker::start(&[PROBE_FLAG, name]).death();
        let control = Worker::start(&[PROBE_FLAG, name, NO_JAIL_FLAG]).death();
        let stopped = matches!(jailed, KILLED_BY_FILTER | Death::Left(ExitReason::Refused));
        assert!(stopped, "{} in the jail: {jailed:?}", name);
        match control_must {
            Control::MustWork => assert_eq!(control, Death::Left(ExitReason::Finished), "{} outside", name),
            Control::HostMayRefuse => println!("probe {}: control {control:?}", name),
        }
    }
}

/// One more than the highest system call number of any present kernel, rounded up.
const SWEPT_NUMBERS: i64 = 512;

/// `uretprobe` and `uprobe` on x86-64: newer kernels let them past any filter, because they only work
/// from addresses that the kernel itself has put there.
const EXEMPT_BY_KERNEL: [i64; 2] = [335, 336];

fn sweep_of_all_system_calls() {
    let mut reached = Vec::new();
    for number in 0..SWEPT_NUMBERS {
        match Worker::start(&[PROBE_FLAG, &format!("syscall:{number}")]).death() {
            KILLED_BY_FILTER => {}
            Death::Left(ExitReason::Finished | ExitReason::Refused) => reached.push(number),
            Death::Signal(_) if EXEMPT_BY_KERNEL.contains(&number) => {}
            other => panic!("system call {number}: {other:?}"),
        }
    }
    reached.retain(|number| !EXEMPT_BY_KERNEL.contains(number));
    // With zero arguments the argument checks refuse these three.
    let checked = [libc::SYS_read, libc::SYS_write, libc::SYS_mmap];
    let mut expected: Vec<i64> = ALLOWED_SYSCALLS.into_iter().filter(|call| !checked.contains(call)).collect();
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

fn status_field(pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn limit(pid: u32, name: &str) -> Vec<String> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect()
}

fn the_kernel_confirms_the_lock_down() {
    let mut worker = Worker::start(&[]);
    let attestation = worker.expect_ready();
    assert_eq!(attestation.protocol, PROTOCOL_VERSION);
    assert!(attestation.landlock_abi >= 1);
    let pid = worker.pid();
    for (field, value) in [
        ("Seccomp:", "2"),
        ("Seccomp_filters:", "1"),
        ("NoNewPrivs:", "1"),
        ("Threads:", "1"),
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
    ] {
        assert_eq!(status_field(pid, field), value, "{field}");
    }
    for (name, value) in [
        ("Max open files", "0"),
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max processes", "0"),
        ("Max locked memory", "0"),
    ] {
        assert_eq!(limit(pid, name), [value, value], "{name}");
    }
    assert_eq!(limit(pid, "Max cpu time"), ["5", "6"]);
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line.split_terminator('\0').skip(1).collect::<Vec<_>>(), [ROLE], "no secret among the arguments");
    let descriptors: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(descriptors, ["3"]);
    assert!(std::fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty());
}

fn the_oldest_landlock_is_enough() {
    let mut worker = Worker::start(&["--landlock-abi", "1"]);
    let frame = run_frame("return [workloads()]", opsward_wire::RunLimits::default());
    let ending = worker.serve(&frame, |_, _| opsward_wire::Outcome::Value(serde_json::json!(1)));
    assert_eq!(ending, Ending::Done(serde_json::json!([1])));
    let mut worker = Worker::start(&["--landlock-abi", "1"]);
    assert_eq!(worker.expect_ready().landlock_abi, 1);
}

fn a_worker_dies_with_its_parent_thread() {
    let mut worker = std::thread::spawn(Worker::ready).join().unwrap();
    assert_eq!(worker.death_without_closing(), Death::Signal(libc::SIGKILL));
}
