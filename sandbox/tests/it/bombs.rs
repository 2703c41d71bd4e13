//! Scripts that try to exhaust or confuse the interpreter. Each must end as listed, and a small version
//! of it, with the same shape, must work: that is the control.

use opsward_wire::FailKind::{self, BadValue, Limit, RefusedSource, Runtime, Syntax};
use opsward_wire::RunLimits;

use crate::Test;
use crate::worker::{Death, Ending, run_with};

pub(crate) const TESTS: &[Test] = &[
    ("bombs::that_run_for_ever", that_run_for_ever),
    ("bombs::that_fill_memory", that_fill_memory),
    ("bombs::that_nest", that_nest),
    ("bombs::that_burn_the_processor", that_burn_the_processor),
    ("bombs::that_reach_for_the_host", that_reach_for_the_host),
    ("bombs::odd_values_are_harmless", odd_values_are_harmless),
];

/// How a bomb may end.
enum End {
    /// With a failure of one of these kinds.
    Fails(&'static [FailKind]),
    /// As `Fails`, or killed by the kernel: at the processor limit, or for want of memory. A process that is
    /// out of memory or stack cannot say so; the filter or a fault ends it.
    FailsOrDies(&'static [FailKind]),
}

/// A script with `N` in it, the number that makes it a bomb and one that makes it harmless.
struct Bomb {
    script: &'static str,
    large: u64,
    small: u64,
    end: End,
}

const fn bomb(script: &'static str, large: u64, small: u64, end: End) -> Bomb {
    Bomb { script, large, small, end }
}

const OVER_LIMIT: End = End::Fails(&[Limit]);

/// Fewer operations than in production, so that a debug build ends in time; none of the bombs needs more.
const OPERATIONS: u64 = 200_000;

const DEADLY_SIGNALS: [i32; 5] = [libc::SIGSYS, libc::SIGXCPU, libc::SIGKILL, libc::SIGSEGV, libc::SIGABRT];

fn explode(script: &str) -> Ending {
    run_with(script, RunLimits { operations: OPERATIONS, ..RunLimits::default() })
}

fn check(bombs: &[Bomb]) {
    for Bomb { script, large, small, end } in bombs {
        let control = explode(&script.replace('N', &small.to_string()));
        assert!(matches!(control, Ending::Done(_)), "the control of {script}: {control:?}");
        let ending = explode(&script.replace('N', &large.to_string()));
        let as_listed = match (end, &ending) {
            (End::Fails(kinds) | End::FailsOrDies(kinds), Ending::Fail(kind, ..)) => kinds.contains(kind),
            (End::FailsOrDies(_), Ending::Died(Death::Signal(signal))) => DEADLY_SIGNALS.contains(signal),
            _ => false,
        };
        assert!(as_listed, "{script}: {ending:?}");
        if let Ending::Died(death) = ending {
            println!("bomb ended by the kernel, {death:?}: {script}");
        }
    }
}

fn that_run_for_ever() {
    check(&[
        bomb("let i = 0; loop { i += 1; if i > N { break } } return [i];", 10_000_000, 10, OVER_LIMIT),
        bomb("let i = 0; while i < N { i += 1 } return [i];", 10_000_000, 10, OVER_LIMIT),
        bomb("for i in 0..N { } return [];", i64::MAX.unsigned_abs(), 10, OVER_LIMIT),
        bomb("fn f(n) { if n == 0 { 0 } else { f(n - 1) } } return [f(N)];", 1_000, 10, OVER_LIMIT),
        bomb(
            "fn a(n) { if n == 0 { 0 } else { b(n - 1) } } fn b(n) { if n == 0 { 0 } else { a(n - 1) } } return [a(N)];",
            1_000,
            10,
            OVER_LIMIT,
        ),
        bomb("let f = |n, f| if n == 0 { 0 } else { f.call(n - 1, f) }; return [f.call(N, f)];", 1_000, 5, OVER_LIMIT),
        bomb(
            "fn f(n) { if n == 0 { 0 } else { 1+(1+(1+(1+(1+(1+(1+(1+f(n - 1)))))))) } } return [f(N)];",
            1_000,
            20,
            OVER_LIMIT,
        ),
        bomb(
            "let a = []; a.pad(N, 1); a.map(|x| { let i = 0; while i < 1000 { i += 1 } i }); return [a.len()];",
            1_000,
            2,
            OVER_LIMIT,
        ),
        bomb(
            "let a = []; a.pad(N, 1); try { a.filter(|x| { logs(#{x: x}); true }); } catch { } return [a.len()];",
            1_000,
            5,
            OVER_LIMIT,
        ),
        bomb(
            "let n = 0; loop { try { n += 1; if n > N { break } } catch { } } return [n];",
            10_000_000,
            10,
            OVER_LIMIT,
        ),
        bomb(
            "let n = 0; while n < N { try { n += 1; let x = \"\"; x.pad(n * 1000000, \"x\"); } catch { n += 1; } } return [];",
            100,
            0,
            OVER_LIMIT,
        ),
        bomb("for i in 0..N { print(\"flood\"); debug(i); } return [];", 10_000_000, 10, OVER_LIMIT),
    ]);
}

fn that_fill_memory() {
    const MEMORY: End = End::FailsOrDies(&[Limit]);
    check(&[
        bomb("let s = \"x\"; for i in 0..N { s += s; } return [s.len()];", 64, 4, OVER_LIMIT),
        bomb(
            "let s = \"xxxxxxxxxxxxxxxx\"; for i in 0..N { s = `${s}${s}${s}`; } return [s.len()];",
            40,
            2,
            OVER_LIMIT,
        ),
        bomb(
            "let a = []; let s = \"\"; s.pad(500000, \"x\"); for i in 0..N { a.push(s + i); } return [a.len()];",
            1_000,
            1,
            OVER_LIMIT,
        ),
        bomb("let a = []; for i in 0..N { a.push(i); } return [a.len()];", 30_000, 10, MEMORY),
        bomb("let a = [1]; for i in 0..N { a = [a, a]; } return [1];", 60, 3, OVER_LIMIT),
        bomb("let a = [1]; for i in 0..N { a += a; } return [1];", 60, 3, OVER_LIMIT),
        bomb("let m = #{}; for i in 0..N { m[`k${i}`] = i; } return [m.len()];", 100_000, 10, MEMORY),
        bomb(
            "let v = \"\"; v.pad(250000, \"x\"); let m = #{}; for i in 0..N { m[`k${i}`] = v + i; } return [1];",
            10_000,
            1,
            MEMORY,
        ),
        bomb("let s = \"\"; s.pad(N, \"x\"); return [s.len()];", 2_000_000_000, 10, OVER_LIMIT),
        bomb("let a = []; a.pad(N, 1); return [a.len()];", 2_000_000_000, 10, OVER_LIMIT),
        bomb(
            "let s = \"\"; s.pad(N, \"a\"); let t = s; s.replace(\"a\", t); return [s.len()];",
            200_000,
            10,
            OVER_LIMIT,
        ),
        bomb("let s = \"\"; s.pad(N, \"a\"); return [s.split(\"\").len()];", 100_000, 10, OVER_LIMIT),
        bomb(
            "let s = \"\"; s.pad(N, \"a\"); let c = s.chars(); let a = []; for x in c { a.push(s); } return [1];",
            1_000,
            10,
            OVER_LIMIT,
        ),
        bomb("let b = []; for i in 0..N { let c = #{}; c.x = b; b = [c]; } return [1];", 100_000, 10, MEMORY),
        bomb(
            "let a = []; for i in 0..N { let x = i; a.push(|| x); } return [a.len()];",
            100_000,
            10,
            End::FailsOrDies(&[Limit, Runtime]),
        ),
    ]);
}

/// Repeats the text between the two.
fn nested(open: &str, middle: &str, close: &str, times: usize) -> String {
    format!("let x = {}{middle}{}; return [];", open.repeat(times), close.repeat(times))
}

fn that_nest() {
    let shapes: [(&str, &str, &str); 6] =
        [("(", "1", ")"), ("[", "", "]"), ("{", "1", "}"), ("!", "true", ""), ("- ", "1", ""), ("#{a:", "1", "}")];
    for (open, middle, close) in shapes {
        let control = explode(&nested(open, middle, close, 8));
        assert!(matches!(control, Ending::Done(_)), "{open}: {control:?}");
        let ending = explode(&nested(open, middle, close, 2_000));
        assert!(matches!(ending, Ending::Fail(Limit | Syntax, ..)), "{open}: {ending:?}");
    }
    let sum = |terms: usize| format!("return [{}1];", "1+".repeat(terms));
    assert!(matches!(explode(&sum(8)), Ending::Done(_)));
    assert!(matches!(explode(&sum(8_000)), Ending::Fail(Limit, ..)));
    let variables = |count: usize| (0..count).map(|i| format!("let v{i}=1;")).collect::<String>() + "return [];";
    assert!(matches!(explode(&variables(8)), Ending::Done(_)));
    assert!(matches!(explode(&variables(1_000)), Ending::Fail(Limit, ..)));
    let functions = |count: usize| (0..count).map(|i| format!("fn f{i}() {{1}} ")).collect::<String>() + "return [];";
    assert!(matches!(explode(&functions(8)), Ending::Done(_)));
    assert!(matches!(explode(&functions(500)), Ending::Fail(Limit, ..)));
    let closures = |count: usize| format!("let a = [{}]; return [];", "|x| x, ".repeat(count));
    assert!(matches!(explode(&closures(8)), Ending::Done(_)));
    assert!(matches!(explode(&closures(1_500)), Ending::Fail(Limit, ..)));
    let cases = |count: usize| {
        format!(
            "return switch input.count {{ {} _ => [] }};",
            (0..count).map(|i| format!("{i} => [{i}], ")).collect::<String>()
        )
    };
    assert!(matches!(explode(&cases(10)), Ending::Done(_)));
    assert!(matches!(explode(&cases(900)), Ending::Done(_)), "a wide switch is fine");
    assert!(matches!(explode(&cases(50_000)), Ending::Fail(RefusedSource, ..)), "the source bound comes first");
}

fn that_burn_the_processor() {
    const PROCESSOR: End = End::FailsOrDies(&[Limit, Runtime]);
    check(&[
        bomb(
            "let a = []; a.pad(8000, 1); let n = 0; for i in 0..N { n += a.index_of(2); } return [n];",
            50_000,
            2,
            PROCESSOR,
        ),
        bomb(
            "let a = []; for i in 0..200 { a.push(200 - i); } for i in 0..N { a.sort(|x, y| if x == y { 0 } else { 1 }); } return [a.len()];",
            50_000,
            1,
            PROCESSOR,
        ),
        bomb(
            "let a = []; a.pad(3000, \"x\"); for i in 0..N { a.dedup(); a.pad(3000, \"x\"); } return [1];",
            50_000,
            2,
            PROCESSOR,
        ),
        bomb(
            "let s = \"\"; s.pad(100000, \"ab\"); let n = 0; for i in 0..N { n += s.index_of(\"abc\"); } return [n];",
            100_000,
            2,
            PROCESSOR,
        ),
    ]);
}

fn that_reach_for_the_host() {
    for (script, kinds) in [
        ("return eval(\"[1]\");", &[Syntax, Runtime][..]),
        ("return Fn(\"eval\").call(\"[1]\");", &[Syntax]),
        ("let n = \"ev\"; return Fn(n + \"al\").call(\"[1]\");", &[Runtime, Syntax]),
        ("import \"/etc/passwd\" as p; return [];", &[Syntax]),
        ("sleep(3600); return [];", &[Runtime]),
        ("return parse_json(\"[[[[]]]]\");", &[Runtime]),
        ("return [timestamp()];", &[Runtime]),
        ("exit([1]); return [];", &[Runtime]),
        ("return blob(2000000000);", &[Runtime]),
        ("let f = Fn(\"workloads\"); return [f];", &[BadValue]),
        ("fn workloads(x) { [x] } return workloads(1);", &[RefusedSource]),
        ("let s = scale_workload(#{workload: 1, replicas: 1}); return [`${s}`.len(), s + 1];", &[Runtime]),
        ("let s = scale_workload(#{workload: 1, replicas: 1}); s[\"$step\"] = 2; return [s];", &[Runtime]),
        ("return logs(#{workload: |x| x});", &[BadValue]),
        ("return logs(#{workload: workloads});", &[Syntax]),
        ("fn +(a, b) { 1 } return [1 + 1];", &[Syntax]),
        ("let s = scale_workload(#{}); s.workload = 2; return s;", &[Runtime]),
        ("return scale_workload(scale_workload(#{}));", &[Runtime]),
        ("return scale_workload(\"web\", 3);", &[Runtime]),
        ("let p\u{430}y = 1; return [p\u{430}y];", &[RefusedSource]),
        ("let a = 1; /* \u{202e} */ return [a];", &[RefusedSource]),
        ("return []; /* never closed", &[RefusedSource]),
    ] {
        match explode(script) {
            Ending::Fail(kind, ..) if kinds.contains(&kind) => {}
            other => panic!("{script}: {other:?}"),
        }
    }
}

fn odd_values_are_harmless() {
    for script in [
        "return [2 ** 62];",
        "return [1 << 9999999];",
        "return [99999999999999999999];",
        "return [\"abc\".sub_string(-1, 100), \"abc\".sub_string(9223372036854775807, 1)];",
        "let a = [1, 2]; a.splice(-9, 100, [3]); return a;",
        "let a = [1, 2]; return a.extract(1..999999999);",
        "let x = []; x.push(x); return x;",
        "let m = #{}; m.m = m; return m;",
        "return [1.0e308, -1.0e308, 5e-324];",
        "return #{\"\": 1, \"a b\": 2, \"\\u0000\": 3};",
        "let a = [3, 1, 2]; a.sort(|x, y| 1); return [a.len()];",
    ] {
        let ending = explode(script);
        assert!(matches!(ending, Ending::Done(_)), "{script}: {ending:?}");
    }
    for script in [
        "return [2 ** 9999];",
        "return [-9223372036854775808 / -1];",
        "return [1 / 0];",
        "return [1 % 0];",
        "let a = [1]; return [a[-9223372036854775807]];",
        "return [9223372036854775807 + 1];",
    ] {
        let ending = explode(script);
        assert!(matches!(ending, Ending::Fail(Runtime | Syntax, ..)), "{script}: {ending:?}");
    }
    // Shared values inside data are a known trap of the interpreter: any clean end will do.
    for script in [
        "let x = 1; let f = || { x += 1; }; let a = [x]; a.push(x); f.call(); return a;",
        "let x = [1]; let f = || x.len(); let m = #{a: x, b: #{c: x}}; return m;",
        "let x = []; let f = || x; x.push(f); return [x.len()];",
        "let x = #{}; let f = || x; x.f = f; x.g = x; return [f.call().len()];",
    ] {
        let ending = explode(script);
        let clean = matches!(
            ending,
            Ending::Done(_) | Ending::Fail(Limit | Runtime | BadValue, ..) | Ending::Died(Death::Left(_))
        );
        assert!(clean, "{script}: {ending:?}");
    }
}
