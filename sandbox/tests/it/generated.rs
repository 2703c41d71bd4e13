//! Generated scripts: random calls of everything the interpreter offers, on random values. Each must end in
//! a value, a failure or a clean exit; never in a refused system call or a fault. Seeds are fixed.

use std::collections::BTreeMap;

use opsward_wire::{ExitReason, RunLimits};

use crate::Test;
use crate::worker::{Death, Ending, run_with};

pub(crate) const TESTS: &[Test] = &[("generated::scripts_end_cleanly", scripts_end_cleanly)];

/// Scripts generated in one test run.
const SCRIPTS: u64 = 400;

/// Calls in each script.
const CALLS: usize = 24;

const OPERATIONS: u64 = 20_000;

const VALUES: [&str; 28] = [
    "()",
    "true",
    "0",
    "1",
    "-1",
    "63",
    "64",
    "9223372036854775807",
    "-9223372036854775808",
    "0.0",
    "-0.5",
    "1e308",
    "(0.0/0.0)",
    "(1.0/0.0)",
    "'x'",
    "\"\"",
    "\"abc\"",
    "\"日本\"",
    "[]",
    "[1, 2, 3]",
    "[[], [\"a\"], #{}]",
    "#{}",
    "#{a: 1, b: [2]}",
    "(0..3)",
    "(3..=-3)",
    "|x| x",
    "|x, y| x < y",
    "Fn(\"len\")",
];

const FUNCTIONS: [&str; 94] = [
    "len",
    "push",
    "pop",
    "shift",
    "insert",
    "append",
    "pad",
    "truncate",
    "chop",
    "splice",
    "extract",
    "remove",
    "clear",
    "reverse",
    "sort",
    "sort_desc",
    "dedup",
    "drain",
    "retain",
    "filter",
    "map",
    "reduce",
    "reduce_rev",
    "for_each",
    "zip",
    "some",
    "all",
    "find",
    "find_map",
    "index_of",
    "contains",
    "split",
    "split_rev",
    "chars",
    "bytes",
    "bits",
    "range",
    "replace",
    "trim",
    "to_upper",
    "to_lower",
    "sub_string",
    "crop",
    "starts_with",
    "ends_with",
    "get",
    "set",
    "keys",
    "values",
    "mixin",
    "merge",
    "fill_with",
    "to_json",
    "is_empty",
    "to_string",
    "to_debug",
    "parse_int",
    "parse_float",
    "to_int",
    "to_float",
    "to_binary",
    "to_hex",
    "to_octal",
    "abs",
    "sign",
    "sqrt",
    "exp",
    "ln",
    "log",
    "floor",
    "ceiling",
    "round",
    "min",
    "max",
    "is_nan",
    "is_odd",
    "is_zero",
    "PI",
    "hypot",
    "atan",
    "call",
    "curry",
    "name",
    "type_of",
    "is_shared",
    "is_anonymous",
    "is_even",
    "make_upper",
    "order",
    "nth",
    "first",
    "last",
    "group",
    "rotate",
];

/// A small generator of numbers; the seed makes it repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn value(&mut self) -> String {
        match self.below(3) {
            0 => format!("v{}", self.below(4)),
            _ => VALUES[self.below(VALUES.len())].to_owned(),
        }
    }

    fn call(&mut self) -> String {
        let arguments = (0..self.below(4)).map(|_| self.value()).collect::<Vec<_>>().join(", ");
        let function = FUNCTIONS[self.below(FUNCTIONS.len())];
        match self.below(6) {
            0 => format!("{function}({arguments})"),
            1 => format!(
                "{} {} {}",
                self.value(),
                ["+", "-", "*", "/", "%", "**", "<<", "==", "in", "??"][self.below(10)],
                self.value()
            ),
            2 => format!("v{}[{}]", self.below(4), self.value()),
            _ => format!("v{}.{function}({arguments})", self.below(4)),
        }
    }
}

fn script(seed: u64) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut text: String = (0..4).map(|at| format!("let v{at} = {};\n", VALUES[dice.below(VALUES.len())])).collect();
    for _ in 0..CALLS {
        text += &format!("try {{ v{} = {}; }} catch {{ }}\n", dice.below(4), dice.call());
    }
    text + "return [v0, v1, v2, v3].map(|v| if type_of(v) == \"Fn\" || v != v { () } else { v });"
}

fn scripts_end_cleanly() {
    let mut endings = BTreeMap::new();
    for seed in 0..SCRIPTS {
        let script = script(seed);
        let ending = run_with(&script, RunLimits { operations: OPERATIONS, ..RunLimits::default() });
        let kind = match &ending {
            Ending::Done(_) => "done".to_owned(),
            Ending::Fail(kind, ..) => format!("{kind:?}"),
            // The interpreter has known panics on shared data; the process is what holds them.
            Ending::Died(Death::Left(ExitReason::Panic)) => "panic".to_owned(),
            Ending::Died(death) => panic!("seed {seed}: {death:?}\n{script}"),
        };
        *endings.entry(kind).or_insert(0) += 1;
    }
    println!("generated scripts ended as {endings:?}");
    assert!(endings.get("done").is_some_and(|done| *done > 10), "the control: some of them work: {endings:?}");
}
