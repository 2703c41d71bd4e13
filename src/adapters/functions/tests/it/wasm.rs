//! WebAssembly: what works, what is stopped, what is refused.

use std::time::{Duration, Instant};

use opsward_functions::{Invocation, Kind, SourceError, Status};

use crate::modules::{PLAIN_ECHO, WASI_ECHO, command};
use crate::runner::{Test, tests};
use crate::support::{call, detail, host, invoke, once, refusal, text, wasm, with, within};

const MIB: u64 = 1024 * 1024;

pub(crate) fn tests(list: &mut Vec<Test>) {
    tests!(
        list,
        a_wasi_command_echoes,
        a_plain_module_echoes,
        a_trap_is_told,
        an_endless_loop_is_stopped,
        memory_is_bounded,
        recursion_is_bounded,
        output_and_logs_are_bounded,
        exit_codes_are_kept,
        pointers_are_checked,
        there_is_no_system,
        waiting_ends_with_the_time,
        nothing_is_remembered,
        bad_modules_are_refused,
    );
}

async fn a_wasi_command_echoes() {
    let host = with(wasm(WASI_ECHO)).await;
    let outcome = invoke(&host, call(r#"{"hello":"world"}"#)).await;
    assert_eq!((outcome.status, text(&outcome)), (Status::Ok, r#"{"hello":"world"}"#), "{outcome:?}");
    assert_eq!(outcome.logs, ["copied a piece"]);
    assert!(outcome.cold && outcome.memory_peak_bytes == 131_072, "{outcome:?}");
    let empty = invoke(&host, call("")).await;
    assert!(empty.status == Status::Ok && empty.output.is_empty() && !empty.cold);
    let big = vec![7u8; 3 * 1024 * 1024];
    let outcome = invoke(&host, Invocation::new(big.clone())).await;
    assert!(outcome.output == big, "{:?}", outcome.detail);
}

async fn a_plain_module_echoes() {
    let host = host().await;
    let report = host.load("f", "1", wasm(PLAIN_ECHO)).await.unwrap();
    assert_eq!(report.kind, Kind::PlainModule);
    for size in [0, 1, 100_000, 1_000_000] {
        let outcome = host.invoke("f", "1", Invocation::new(vec![b'x'; size])).await.unwrap();
        assert!(outcome.status == Status::Ok && outcome.output.len() == size, "{:?}", outcome.detail);
    }
}

async fn a_trap_is_told() {
    let outcome = once(wasm(&command("unreachable")), call("")).await;
    assert_eq!(outcome.status, Status::Trapped);
    assert!(detail(&outcome).contains("unreachable"), "{outcome:?}");
    assert!(outcome.output.is_empty());
    let divided = once(wasm(&command("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 4096))))")), call("")).await;
    assert_eq!(divided.status, Status::Trapped, "{divided:?}");
    let outside = once(wasm(&command("(drop (i32.load (i32.const -4)))")), call("")).await;
    assert!(outside.status == Status::Trapped && detail(&outside).contains("out of bounds"), "{outside:?}");
}

async fn an_endless_loop_is_stopped() {
    let host = with(wasm(&command("(loop $for (br $for))"))).await;
    let started = Instant::now();
    let outcome = invoke(&host, within(100)).await;
    assert_eq!(outcome.status, Status::TimedOut, "{outcome:?}");
    assert!(outcome.duration_us >= 100_000, "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(host.status().await.restarts, 0, "the host lives on");
}

async fn memory_is_bounded() {
    // Ten gigabytes, page by page, and then it gives up.
    let greedy = "(block $full (loop $more
        (br_if $full (i32.eq (memory.grow (i32.const 160)) (i32.const -1))) (br $more))) unreachable";
    let outcome = once(wasm(&command(greedy)), call("")).await;
    assert_eq!(outcome.status, Status::OutOfMemory, "{outcome:?}");
    assert!(outcome.memory_peak_bytes <= 64 * MIB && outcome.memory_peak_bytes > 50 * MIB, "{outcome:?}");
    let at_once = WASI_ECHO.replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 65536)");
    let outcome = once(wasm(&at_once), call("")).await;
    assert_eq!(outcome.status, Status::OutOfMemory, "{outcome:?}");
    let table = WASI_ECHO.replace("(memory", "(table 90000000 funcref) (memory");
    let outcome = once(wasm(&table), call("")).await;
    assert_eq!(outcome.status, Status::OutOfMemory, "{outcome:?}");
    // A refusal that the function copes with is no failure.
    let modest = "(drop (memory.grow (i32.const 60000))) (call $say (i32.const 256) (i32.const 3))";
    let outcome = once(wasm(&command(modest)), call("")).await;
    assert_eq!((outcome.status, text(&outcome)), (Status::Ok, "etc"), "{outcome:?}");
}

async fn recursion_is_bounded() {
    let outcome = once(wasm(&command("(drop (call $deeper (i32.const 0)))")), call("")).await;
    assert_eq!(outcome.status, Status::Trapped);
    assert!(detail(&outcome).contains("stack"), "{outcome:?}");
}

async fn output_and_logs_are_bounded() {
    let chatty = command("(loop $more (call $say (i32.const 0) (i32.const 65536)) (br $more))");
    let outcome = once(wasm(&chatty), call("")).await;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    assert!(detail(&outcome).contains("larger than"), "{outcome:?}");
    let noisy = chatty.replace("(call $write (i32.const 1)", "(call $write (i32.const 2)");
    let outcome = once(wasm(&noisy), within(200)).await;
    assert_eq!(outcome.status, Status::TimedOut);
    assert!(outcome.logs_truncated && outcome.logs.iter().map(String::len).sum::<usize>() <= 64 * 1024);
}

async fn exit_codes_are_kept() {
    let failed = once(wasm(&command("(call $exit (i32.const 3))")), call("")).await;
    assert_eq!((failed.status, detail(&failed)), (Status::Failed, "exit status 3"));
    let fine = command("(call $say (i32.const 256) (i32.const 10)) (call $exit (i32.const 0)) unreachable");
    let fine = once(wasm(&fine), call("")).await;
    assert_eq!((fine.status, text(&fine)), (Status::Ok, "etc/passwd"));
}

async fn pointers_are_checked() {
    for body in [
        "(call $say (i32.const 65530) (i32.const 100))",
        "(call $say (i32.const -1) (i32.const -1))",
        "(drop (call $write (i32.const 1) (i32.const -8) (i32.const 4) (i32.const 8)))",
        "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -2)))",
        "(drop (call $random (i32.const 65000) (i32.const -1)))",
        "(drop (call $poll (i32.const 65500) (i32.const 0) (i32.const 8) (i32.const 16)))",
    ] {
        let outcome = once(wasm(&command(body)), call("")).await;
        assert_eq!((outcome.status, detail(&outcome)), (Status::Failed, "pointers lead outside its memory"), "{body}");
    }
    let liar = PLAIN_ECHO.replace("(i64.extend_i32_u (local.get $length))", "(i64.const 0xffffffff)");
    let outcome = once(wasm(&liar), call("x")).await;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    let lost = PLAIN_ECHO.replace("(local.get $at))\n  (func", "(i32.const -16))\n  (func");
    let outcome = once(wasm(&lost), call("xxxxxxxxxxxxxxxxxxxxxxx")).await;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
}

async fn there_is_no_system() {
    // Each call's error number as one byte: bad descriptor (8), not a socket (57); no environment.
    let look = command(
        "(i32.store8 (i32.const 512) (call $prestat (i32.const 3) (i32.const 1024)))
         (i32.store8 (i32.const 513) (call $open (i32.const 3) (i32.const 0) (i32.const 256) (i32.const 10)
            (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 1024)))
         (i32.store8 (i32.const 514) (call $write (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8)))
         (i32.store8 (i32.const 515) (call $send (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
         (i32.store (i32.const 600) (i32.const 99))
         (drop (call $environ (i32.const 600) (i32.const 604)))
         (i32.store8 (i32.const 516) (i32.load (i32.const 600)))
         (call $say (i32.const 512) (i32.const 5))",
    );
    let outcome = once(wasm(&look), call("")).await;
    assert_eq!((outcome.status, outcome.output.as_slice()), (Status::Ok, &[8, 8, 8, 57, 0][..]), "{outcome:?}");
    let dice = command(
        "(drop (call $random (i32.const 512) (i32.const 16))) (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 528)))
         (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 536)))
         (call $say (i32.const 512) (i32.const 32))",
    );
    let host = with(wasm(&dice)).await;
    let (one, two) = (invoke(&host, call("")).await.output, invoke(&host, call("")).await.output);
    assert_ne!(one[..16], two[..16], "random bytes repeat");
    assert!(one[16..24] != two[16..24], "the wall clock stands still");
    let since_start = u64::from_le_bytes(two[24..32].try_into().unwrap());
    assert!(since_start < 60_000_000_000, "the clock shows more than this invocation: {since_start}");
}

async fn waiting_ends_with_the_time() {
    // Waits ten minutes on the monotonic clock.
    let sleepy = command(
        "(i32.store (i32.const 528) (i32.const 1)) (i64.store (i32.const 536) (i64.const 600000000000))
         (drop (call $poll (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 8)))",
    );
    let outcome = once(wasm(&sleepy), within(100)).await;
    assert_eq!(outcome.status, Status::TimedOut, "{outcome:?}");
    assert!(outcome.duration_us < 5_000_000);
    let nap = sleepy.replace("600000000000", "2000000");
    let outcome = once(wasm(&nap), call("")).await;
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
    assert!(outcome.duration_us >= 2_000, "{outcome:?}");
}

async fn nothing_is_remembered() {
    let counter = command(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (global.get $calls)))
         (call $say (i32.const 2048) (i32.const 1))",
    );
    let host = with(wasm(&counter)).await;
    for _ in 0..3 {
        assert_eq!(invoke(&host, call("")).await.output, [1]);
    }
}

async fn bad_modules_are_refused() {
    use opsward_functions::Source;
    let good = wat::parse_str(WASI_ECHO).unwrap();
    for bytes in [b"".to_vec(), b"hello".to_vec(), good[..good.len() / 2].to_vec(), b"\0asm\x0d\0\x01\0".to_vec()] {
        let error = refusal(Source::Wasm(bytes.into())).await;
        assert!(matches!(error, SourceError::InvalidModule { .. }), "{error:?}");
    }
    let missing = |name: &str| SourceError::MissingExport { name: name.to_owned() };
    assert_eq!(refusal(wasm("(module)")).await, missing("memory"));
    assert_eq!(refusal(wasm(r#"(module (memory (export "memory") 1))"#)).await, missing("_start or handle"));
    let no_alloc = PLAIN_ECHO.replace("(export \"alloc\")", "");
    assert_eq!(refusal(wasm(&no_alloc)).await, missing("alloc"));
    let wrong = r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#;
    assert!(matches!(refusal(wasm(wrong)).await, SourceError::WrongExport { name, .. } if name == "_start"));
    let wrong = r#"(module (global (export "memory") i32 (i32.const 0)) (func (export "_start")))"#;
    assert!(matches!(refusal(wasm(wrong)).await, SourceError::WrongExport { name, .. } if name == "memory"));
    let unknown =
        r#"(module (import "env" "system" (func (param i32))) (memory (export "memory") 1) (func (export "_start")))"#;
    let expected = SourceError::UnknownImport { module: "env".to_owned(), name: "system".to_owned() };
    assert_eq!(refusal(wasm(unknown)).await, expected);
    let wrong_type = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    assert!(matches!(refusal(wasm(wrong_type)).await, SourceError::InvalidModule { .. }));
    let huge = Source::Wasm(vec![0; 16 * 1024 * 1024 + 1].into());
    assert!(matches!(refusal(huge).await, SourceError::TooLarge { .. }));
}
