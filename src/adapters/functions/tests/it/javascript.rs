//! JavaScript: what works, what is stopped, what is refused.

use std::time::Duration;

use opsward_functions::{Invocation, Kind, Options, SourceError, Status};

use crate::runner::{Test, tests};
use crate::support::{call, detail, host, host_with, invoke, once, refusal, script, text, with, within};

pub(crate) fn tests(list: &mut Vec<Test>) {
    tests!(
        list,
        functions_of_every_form_answer,
        requests_and_responses_are_json,
        logs_are_lines,
        asynchronous_functions_settle,
        exceptions_name_their_line,
        loops_of_every_kind_are_stopped,
        memory_and_stack_are_bounded,
        nothing_is_remembered,
        there_is_no_system,
        bad_scripts_are_refused,
    );
}

async fn functions_of_every_form_answer() {
    let host = host().await;
    for (version, source) in [
        "export default function (request) { return request.n + 1 }",
        "export default (request) => request.n + 1",
        "export default async function handler(request) { return request.n + 1 }",
        "const one = await Promise.resolve(1); export default function (request) { return request.n + one }",
        "export function handle(request) { return request.n + 1 }",
        "function handle(request) { return request.n + 1 }",
        "async function handle(request) { return request.n + 1 }",
        "sloppy = 1; function handle(request) { return request.n + sloppy }",
        "class A { #n = 1; get n() { return this.#n } }; export default (r) => r?.n + new A().n",
    ]
    .into_iter()
    .enumerate()
    {
        let report = host.load("f", &version.to_string(), script(source)).await;
        assert_eq!(report.unwrap_or_else(|error| panic!("{source}: {error}")).kind, Kind::JavaScript);
        let outcome = host.invoke("f", &version.to_string(), call(r#"{"n":41}"#)).await.unwrap();
        assert_eq!((outcome.status, text(&outcome)), (Status::Ok, "42"), "{source}: {outcome:?}");
    }
}

async fn requests_and_responses_are_json() {
    let host = with(script("export default (request) => ({ got: request, kind: typeof request })")).await;
    for (input, expected) in [
        (r#"{"a":[1,2.5,"ж",null]}"#, r#"{"got":{"a":[1,2.5,"ж",null]},"kind":"object"}"#),
        ("plain text", r#"{"got":"plain text","kind":"string"}"#),
        ("", r#"{"kind":"undefined"}"#),
        ("{\"cut", r#"{"got":"{\"cut","kind":"string"}"#),
    ] {
        assert_eq!(text(&invoke(&host, call(input)).await), expected);
    }
    assert_eq!(text(&once(script("export default () => {}"), call("")).await), "null");
    assert_eq!(text(&once(script("export default () => 'plain'"), call("")).await), "\"plain\"");
    let circle = once(script("export default () => { const a = {}; a.a = a; return a }"), call("")).await;
    assert_eq!(circle.status, Status::Failed, "{circle:?}");
    let big = once(script("export default () => 'x'.repeat(5000000)"), call("")).await;
    assert!(big.status == Status::Failed && detail(&big).contains("larger than"), "{big:?}");
}

async fn logs_are_lines() {
    let chatty = "export default () => { console.log('one', 2, {three: [3]}, null); console.error(new Error('four')); \
                  console.warn('a\\nb'); return 1 }";
    let outcome = once(script(chatty), call("")).await;
    assert_eq!(outcome.logs, ["one 2 {\"three\":[3]} null", "Error: four", "a", "b"], "{outcome:?}");
    let flood = once(script("export default () => { for (;;) console.log('x'.repeat(1000)) }"), within(200)).await;
    assert_eq!(flood.status, Status::TimedOut);
    assert!(flood.logs_truncated && flood.logs.len() <= 200);
}

async fn asynchronous_functions_settle() {
    let chain = "const later = (n) => new Promise((done) => done(n)); \
                 export default async (r) => { let sum = 0; for (let i = 0; i < 100; i++) sum += await later(i); return sum }";
    assert_eq!(text(&once(script(chain), call("")).await), "4950");
    let never = once(script("export default () => new Promise(() => {})"), call("")).await;
    assert!(never.status == Status::Failed && detail(&never).contains("never settles"), "{never:?}");
    let rejected = once(script("export default async () => {\n throw new TypeError('no') }"), call("")).await;
    assert_eq!((rejected.status, detail(&rejected)), (Status::Failed, "TypeError: no (line 2)"));
}

async fn exceptions_name_their_line() {
    let outcome = once(script("export default function (r) {\n\n  return r.a.b.c\n}"), call("{}")).await;
    assert_eq!(outcome.status, Status::Failed);
    assert!(detail(&outcome).starts_with("TypeError") && detail(&outcome).ends_with("(line 3)"), "{outcome:?}");
    let odd = once(script("export default () => { throw 'a string' }"), call("")).await;
    assert_eq!((odd.status, detail(&odd)), (Status::Failed, "it threw a string"));
    let long = once(script("export default () => { throw new Error('x'.repeat(100000)) }"), call("")).await;
    assert!(long.status == Status::Failed && detail(&long).len() <= 1000);
}

async fn loops_of_every_kind_are_stopped() {
    for source in [
        "export default () => { for (;;); }",
        "export default () => { for (;;) { try { for (;;); } catch (e) {} finally { continue } } }",
        "export default async () => { for (;;) await 0 }",
        "export default () => { const f = () => Promise.resolve().then(f); return f() }",
        "export default () => ({ toJSON() { for (;;); } })",
        "export default () => /^(a+)+$/.test('a'.repeat(64) + 'b')",
        "export default () => { console.log({ toJSON() { for (;;); } }) }",
        "export default () => [...function* () { for (;;) yield 1 }()].length",
    ] {
        let host = with(script(source)).await;
        let outcome = invoke(&host, within(150)).await;
        assert!(matches!(outcome.status, Status::TimedOut | Status::OutOfMemory), "{source}: {outcome:?}");
        assert_eq!(host.status().await.restarts, 0, "{source}: the host had to be killed");
        assert!(outcome.duration_us < Duration::from_secs(5).as_micros() as u64, "{source}: {outcome:?}");
    }
}

async fn memory_and_stack_are_bounded() {
    for source in [
        "export default () => { const a = []; for (;;) a.push(new Array(10000).fill(1.5)) }",
        "export default () => { let s = 'x'; for (;;) s += s }",
        "export default () => new Uint8Array(10 * 1024 * 1024 * 1024).length",
        "export default () => 'x'.repeat(1000000000).length",
    ] {
        let outcome = once(script(source), Invocation { timeout_ms: 20_000, ..call("") }).await;
        // The engine itself refuses strings and arrays beyond its own bounds.
        let refused = ["invalid", "too long"].iter().any(|word| detail(&outcome).contains(word));
        let stated = outcome.status == Status::OutOfMemory || refused;
        assert!(stated && outcome.status != Status::Ok, "{source}: {outcome:?}");
        assert!(outcome.memory_peak_bytes <= 64 * 1024 * 1024, "{outcome:?}");
    }
    for source in [
        "export default function f() { return f() + 1 }",
        "export default () => { let a = []; for (let i = 0; i < 200000; i++) a = [a]; return a }",
        "export default () => { const f = () => JSON.parse('['.repeat(100000) + ']'.repeat(100000)); return f() }",
    ] {
        let outcome = once(script(source), call("")).await;
        assert_eq!(outcome.status, Status::Failed, "{source}: {outcome:?}");
    }
    let deep_input = "[".repeat(500_000);
    let outcome = once(script("export default (r) => typeof r"), call(&deep_input)).await;
    assert_eq!(text(&outcome), "\"string\"");
    let small = Options { memory_max_bytes: 2 * 1024 * 1024, ..Options::default() };
    let host = host_with(small).await;
    host.load("f", "1", script("export default () => 1")).await.unwrap();
    let refused = host.invoke("f", "1", call("")).await;
    assert!(refused.is_err(), "more memory than the host may give: {refused:?}");
}

async fn nothing_is_remembered() {
    let host = with(script(
        "let n = 0; export default () => { n++; globalThis.m = (globalThis.m ?? 0) + 1; \
         const was = [].polluted; Array.prototype.polluted = 1; return [n, m, was ?? null] }",
    ))
    .await;
    for _ in 0..3 {
        assert_eq!(text(&invoke(&host, call("")).await), "[1,1,null]");
    }
}

async fn there_is_no_system() {
    let look = "export default () => ['process', 'require', 'fetch', 'std', 'os', 'XMLHttpRequest', 'WebSocket', 'Deno', \
                'setTimeout', 'Worker', 'WebAssembly', 'SharedArrayBuffer' in globalThis ? 'x' : 'print'] \
                .filter((name) => name in globalThis)";
    assert_eq!(text(&once(script(look), call("")).await), "[]");
    let import = once(
        script("export default async () => { try { await import('fs'); return 'in' } catch (e) { return 'out' } }"),
        call(""),
    );
    assert_eq!(text(&import.await), "\"out\"");
}

async fn bad_scripts_are_refused() {
    let syntax = refusal(script("export default function () {\n  return 1 +;\n}")).await;
    assert!(matches!(&syntax, SourceError::Syntax { line: 2, message } if !message.is_empty()), "{syntax:?}");
    let syntax = refusal(script("function handle( {\n}")).await;
    assert!(matches!(&syntax, SourceError::Syntax { line: 1 | 2, .. }), "{syntax:?}");
    assert_eq!(refusal(script("const a = 1")).await, SourceError::NoHandler);
    assert_eq!(refusal(script("export default 42")).await, SourceError::NoHandler);
    assert_eq!(refusal(script("")).await, SourceError::NoHandler);
    let thrown = refusal(script("\nthrow new Error('early'); export default () => 1")).await;
    assert!(matches!(&thrown, SourceError::LoadFailed { message } if message == "Error: early (line 2)"), "{thrown:?}");
    let import = refusal(script("import fs from 'fs'; export default () => 1")).await;
    assert!(matches!(&import, SourceError::LoadFailed { .. }), "{import:?}");
    let endless = refusal(script("for (;;); export default () => 1")).await;
    assert!(matches!(&endless, SourceError::LoadFailed { message } if message.contains("time")), "{endless:?}");
    let zero = refusal(script("export default () => 1 \0 more")).await;
    assert!(matches!(&zero, SourceError::Syntax { .. } | SourceError::LoadFailed { .. }), "{zero:?}");
}
