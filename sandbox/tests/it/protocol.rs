//! What a worker does when the broker's end misbehaves: it leaves, with the right reason, and never panics.

use std::net::Shutdown;

use opsward_wire::{ExitReason, FromWorker, MAX_FRAME_BYTES, Outcome, RunLimits, ToWorker};
use serde_json::json;

use crate::Test;
use crate::worker::{Death, Ending, Worker, run_frame};

pub(crate) const TESTS: &[Test] = &[
    ("protocol::frames_that_are_none_end_the_worker", frames_that_are_none_end_the_worker),
    ("protocol::replies_must_match_the_call", replies_must_match_the_call),
    ("protocol::a_broker_that_goes_away_ends_the_worker", a_broker_that_goes_away_ends_the_worker),
    ("protocol::unsound_names_end_the_worker", unsound_names_end_the_worker),
    ("protocol::one_run_only", one_run_only),
    ("protocol::wrong_starts_are_refused", wrong_starts_are_refused),
    ("protocol::limits_of_the_frame_are_capped", limits_of_the_frame_are_capped),
];

const LEFT_FOR_PROTOCOL: Death = Death::Left(ExitReason::Protocol);
const LEFT_ALONE: Death = Death::Left(ExitReason::BrokerGone);

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The death of a ready worker that is sent these bytes; it must not answer.
fn death_after(bytes: &[u8]) -> Death {
    let mut worker = Worker::ready();
    worker.send_bytes(bytes);
    let answer = worker.receive();
    assert!(matches!(answer, Ok(None)), "{answer:?}");
    worker.death()
}

fn frames_that_are_none_end_the_worker() {
    let deep = format!("{{\"run\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let over = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    for bytes in [
        vec![0xff, 0xff, 0xff, 0xff],
        over.to_be_bytes().to_vec(),
        vec![0, 0, 0, 0],
        framed(b"\xff\xfe"),
        framed(b"{"),
        framed(b"{\"run\":{}}"),
        framed(b"{\"exec\":{\"path\":\"/bin/sh\"}}"),
        framed(b"{\"done\":{\"value\":1}}"),
        framed(deep.as_bytes()),
    ] {
        assert_eq!(
            death_after(&bytes),
            LEFT_FOR_PROTOCOL,
            "{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(30)])
        );
    }
}

/// A worker that waits for the reply to its first call.
fn in_a_call() -> Worker {
    let mut worker = Worker::ready();
    worker.send(&run_frame("return workloads()", RunLimits::default()));
    let frame = worker.receive().unwrap();
    assert!(matches!(frame, Some(FromWorker::Call { seq: 1, .. })), "{frame:?}");
    worker
}

fn replies_must_match_the_call() {
    let value = || Outcome::Value(json!([]));
    for seq in [0, 2, u64::MAX] {
        let mut worker = in_a_call();
        worker.send(&ToWorker::Reply { seq, outcome: value() });
        assert!(worker.receive().unwrap().is_none());
        assert_eq!(worker.death(), LEFT_FOR_PROTOCOL, "reply {seq}");
    }
    let mut worker = in_a_call();
    worker.send(&ToWorker::Reply { seq: 1, outcome: value() });
    assert!(matches!(worker.receive().unwrap(), Some(FromWorker::Done { .. })), "the control: the right reply");

    let mut early = Worker::ready();
    early.send(&ToWorker::Reply { seq: 1, outcome: value() });
    assert!(early.receive().unwrap().is_none());
    assert_eq!(early.death(), LEFT_FOR_PROTOCOL, "a reply before the run");
}

fn a_broker_that_goes_away_ends_the_worker() {
    let mut idle = Worker::ready();
    assert_eq!(idle.death(), LEFT_ALONE);
    let mut waiting = in_a_call();
    waiting.socket.shutdown(Shutdown::Write).unwrap();
    assert!(waiting.receive().unwrap().is_none());
    assert_eq!(waiting.death(), LEFT_ALONE, "half closed");
    let mut cut = Worker::ready();
    cut.send_bytes(&[0, 0, 1, 0, b'{']);
    assert_eq!(cut.death(), LEFT_ALONE, "an end inside a frame");
}

fn unsound_names_end_the_worker() {
    let many: Vec<String> = (0..300).map(|i| format!("q{i}")).collect();
    let one = |name: &str| vec![name.to_owned()];
    let long = "a".repeat(65);
    for (queries, steps) in [
        (one(""), one("a")),
        (one("A"), one("a")),
        (one("1a"), one("a")),
        (one("a-b"), one("a")),
        (one("a\u{430}"), one("a")),
        (one(&long), one("a")),
        (one("same"), one("same")),
        (many, one("a")),
    ] {
        let mut worker = Worker::ready();
        worker.send(&ToWorker::Run {
            source: "return []".to_owned(),
            input: json!({}),
            queries,
            steps,
            limits: RunLimits::default(),
        });
        assert!(worker.receive().unwrap().is_none());
        assert_eq!(worker.death(), LEFT_FOR_PROTOCOL);
    }
}

fn one_run_only() {
    let mut worker = in_a_call();
    worker.send(&run_frame("return []", RunLimits::default()));
    assert!(worker.receive().unwrap().is_none());
    assert_eq!(worker.death(), LEFT_FOR_PROTOCOL);
}

fn wrong_starts_are_refused() {
    use std::process::Stdio;
    let death = |mut worker: Worker| {
        assert!(!matches!(worker.receive(), Ok(Some(_))), "it must not get ready");
        worker.death()
    };
    let with_environment = Worker::start_with(&[], |command| {
        command.env("TOKEN", "x");
    });
    assert_eq!(death(with_environment), Death::Left(ExitReason::Environment));
    let without_socket = Worker::start_with(&[], |command| {
        command.stdin(Stdio::null());
    });
    assert_eq!(death(without_socket), Death::Left(ExitReason::Socket));
    for args in
        [&["--no-jail"][..], &["--probe"], &["--probe", "no_such"], &["--landlock-abi", "x"], &["run", "--no-jail"]]
    {
        assert_eq!(death(Worker::start(args)), Death::Left(ExitReason::Usage), "{args:?}");
    }
    for abi in ["0", "99"] {
        assert_eq!(death(Worker::start(&["--landlock-abi", abi])), Death::Left(ExitReason::Landlock), "{abi}");
    }
}

fn limits_of_the_frame_are_capped() {
    let unlimited = RunLimits { operations: u64::MAX, calls: u32::MAX };
    let source = "let n = 0; loop { workloads(); n += 1; }\nreturn [n]";
    let ending = Worker::start(&[]).serve(&run_frame(source, unlimited), |_, _| Outcome::Value(json!(null)));
    assert!(matches!(&ending, Ending::Fail(_, message, _) if message.contains("more than 1000 calls")), "{ending:?}");
    let ending = Worker::start(&[])
        .serve(&run_frame(source, unlimited), |_, _| Outcome::Denied { code: String::new(), message: String::new() });
    assert!(matches!(&ending, Ending::Fail(_, message, _) if message.contains("20 calls were denied")), "{ending:?}");
}
