//! Workers gone bad: this executable speaks the protocol wrongly in every way, and the pool must answer each
//! with a typed error and a dead process.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use opsward_ports::runner::{Error, Program, RunLimits};
use opsward_wire::{Attestation, FailKind, FromWorker, PROTOCOL_VERSION, ToWorker, read_frame, write_frame};
use opsward_worker::{Options, Pool};
use serde_json::{Value, json};

use crate::Test;
use crate::support::{Echo, block_on, options, program};
use opsward_ports::runner::Runner;
use std::sync::Arc;

pub(crate) const TESTS: &[Test] = &[
    ("evil::the_control_is_served", the_control_is_served),
    ("evil::every_breach_ends_the_run", every_breach_ends_the_run),
    ("evil::what_never_gets_ready_is_unavailable", what_never_gets_ready_is_unavailable),
];

/// First argument that makes this executable a bad worker; the second says how.
pub(crate) const ROLE: &str = "__evil";

/// Breaches after a proper start.
const BREACHES: [&str; 20] = [
    "exit",
    "oversized",
    "truncated",
    "empty",
    "not_json",
    "not_utf8",
    "deep",
    "unknown_frame",
    "tenant_field",
    "ready_twice",
    "seq_zero",
    "seq_ahead",
    "seq_again",
    "pipelined",
    "unknown_query",
    "foreign_step",
    "half_closed",
    "flood",
    "stalled",
    "says_nothing",
];

/// Breaches that only the wall clock can end.
const STALLS: [&str; 2] = ["stalled", "says_nothing"];

/// What is wrong from the start.
const NEVER_READY: [&str; 5] = ["silent", "call_first", "done_first", "other_protocol", "no_landlock"];

fn ready(protocol: u32, landlock_abi: u32) -> FromWorker {
    let attestation = Attestation { protocol, landlock_abi, syscalls: 8, heap_bytes: 1, cpu_s: 5 };
    FromWorker::Ready { attestation }
}

fn call(seq: u64, query: &str) -> FromWorker {
    FromWorker::Call { seq, query: query.to_owned(), args: json!({}) }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// The bad worker. Waits for the end of its input where it should, so that it is the broker who ends it.
pub(crate) fn role_main(args: &[String]) -> ExitCode {
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let how = args.first().map_or("", String::as_str);
    let first = match how {
        "silent" => None,
        "call_first" => Some(call(1, "logs")),
        "done_first" => Some(FromWorker::Done { value: json!([]) }),
        "other_protocol" => Some(ready(PROTOCOL_VERSION + 1, 7)),
        "no_landlock" => Some(ready(PROTOCOL_VERSION, 0)),
        _ => Some(ready(PROTOCOL_VERSION, 7)),
    };
    if let Some(frame) = first {
        write_frame(&mut socket, &frame).unwrap();
    }
    if let Ok(Some(ToWorker::Run { .. })) = read_frame(&mut socket) {
        breach(how, &mut socket);
    }
    let _until_killed = read_frame::<ToWorker>(&mut socket);
    ExitCode::SUCCESS
}

fn breach(how: &str, socket: &mut UnixStream) {
    let deep = format!("{{\"done\":{{\"value\":{}{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bytes = match how {
        "oversized" => vec![0xff; 64],
        "truncated" | "stalled" => vec![0, 0, 1, 0, b'{'],
        "empty" => vec![0; 4],
        "not_json" => framed(b"{"),
        "not_utf8" => framed(b"{\"done\":{\"value\":\"\xff\"}}"),
        "deep" => framed(deep.as_bytes()),
        "unknown_frame" => framed(b"{\"apply\":{\"step\":1}}"),
        "tenant_field" => framed(b"{\"call\":{\"seq\":1,\"query\":\"logs\",\"args\":{},\"tenant\":\"b\"}}"),
        _ => Vec::new(),
    };
    let mut send = |frame: &FromWorker| {
        let _gone = write_frame(socket, frame);
    };
    match how {
        "exit" => std::process::exit(0),
        "ready_twice" => send(&ready(PROTOCOL_VERSION, 7)),
        "seq_zero" => send(&call(0, "logs")),
        "seq_ahead" => send(&call(2, "logs")),
        "unknown_query" => send(&call(1, "secrets")),
        "foreign_step" => send(&FromWorker::Done { value: json!([{"deep": {"$step": "delete_workspace"}}]) }),
        "flood" => (1..10_000).for_each(|seq| send(&call(seq, "logs"))),
        "seq_again" => {
            send(&call(1, "logs"));
            let _reply = read_frame::<ToWorker>(&mut &*socket);
            let _gone = write_frame(socket, &call(1, "logs"));
        }
        "pipelined" => (1..=2).for_each(|seq| send(&call(seq, "logs"))),
        "fine" => send(&FromWorker::Done { value: json!(["fine"]) }),
        "two_dones" => ["first", "second"].iter().for_each(|text| send(&FromWorker::Done { value: json!([text]) })),
        "long_message" => {
            let message = "\u{1b}[2J!".repeat(100_000);
            send(&FromWorker::Fail { kind: FailKind::Runtime, message, line: None });
        }
        "fail" => send(&FromWorker::Fail { kind: FailKind::Runtime, message: "no".to_owned(), line: Some(7) }),
        _ => {}
    }
    let _gone = socket.write_all(&bytes);
    if matches!(how, "truncated" | "half_closed") {
        socket.shutdown(Shutdown::Write).unwrap();
    }
}

async fn run_as(how: &str, queue_ms: u64) -> Result<Value, Error> {
    let options = Options { role: vec![ROLE.to_owned(), how.to_owned()], queue_ms, start_ms: 500, ..options(how) };
    let pool = Pool::start(options).await.unwrap();
    assert!(!pool.attestation().passed(), "{how} has no jail to attest");
    let wall_ms = if STALLS.contains(&how) { 200 } else { 20_000 };
    let limits = RunLimits { wall_ms, ..RunLimits::default() };
    pool.run(Program { limits, ..program("return []") }, Arc::new(Echo::default())).await
}

fn the_control_is_served() {
    block_on(async {
        assert_eq!(run_as("fine", 20_000).await, Ok(json!(["fine"])));
        assert_eq!(run_as("two_dones", 20_000).await, Ok(json!(["first"])), "nothing after the last frame is read");
        let long = run_as("long_message", 20_000).await;
        let Err(Error::Script { message, .. }) = long else { panic!("{long:?}") };
        assert!(message.chars().count() == 400 && !message.contains('\u{1b}'), "{message}");
        let failed = run_as("fail", 20_000).await;
        assert!(matches!(&failed, Err(Error::Script { kind, line: Some(7), .. }) if kind == "runtime"), "{failed:?}");
    });
}

fn every_breach_ends_the_run() {
    block_on(async {
        for how in BREACHES {
            let ended = run_as(how, 20_000).await;
            // A flood that arrives one call after the other is stopped by the call limit.
            let limited = matches!(ended, Err(Error::Limit(_))) && (how == "flood" || STALLS.contains(&how));
            let expected = limited || matches!(ended, Err(Error::Jailed(_)));
            assert!(expected, "{how}: {ended:?}");
        }
    });
}

fn what_never_gets_ready_is_unavailable() {
    block_on(async {
        for how in NEVER_READY {
            let refused = run_as(how, 1_500).await;
            assert!(matches!(&refused, Err(Error::Unavailable(why)) if why.contains(';')), "{how}: {refused:?}");
        }
    });
}
