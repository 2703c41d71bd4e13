//! The interpreter and its bounds. No eval, no modules, no clock, no sleep, no file, nothing printed.
//! These bounds give good messages; the process limits and the jail are what holds.

use std::cell::Cell;
use std::rc::Rc;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, OptimizationLevel, Position};

use crate::{heap, host::Host, value::Step};
use opsward_wire::FailKind;

/// Ceiling of operations in one run, whatever the broker allows.
pub(crate) const MAX_OPERATIONS: u64 = 1_000_000;

/// Bytes of allocations after which a run ends with a message.
pub(crate) const MAX_HEAP_BYTES: usize = 64 * 1024 * 1024;

const MAX_CALL_LEVELS: usize = 24;
const MAX_EXPRESSION_DEPTH: usize = 48;
const MAX_FUNCTION_EXPRESSION_DEPTH: usize = 24;
/// Bytes of all strings in one value; half of a frame, because JSON escapes grow.
const MAX_STRING_BYTES: usize = 512 * 1024;
/// Items of all arrays in one value. A reply of some thousand records must fit.
const MAX_ARRAY_ITEMS: usize = 10_000;
/// Fields of all maps in one value.
const MAX_MAP_FIELDS: usize = 10_000;
const MAX_VARIABLES: usize = 128;
const MAX_FUNCTIONS: usize = 32;
const MAX_INTERNED_STRINGS: usize = 1_024;
/// Operations between two looks at the heap; a power of two.
const HEAP_CHECK_OPERATIONS: u64 = 4_096;

/// An engine with bounds and plain functions, and none of the host's.
pub(crate) fn bounded() -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_max_operations(MAX_OPERATIONS)
        .set_max_call_levels(MAX_CALL_LEVELS)
        .set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_FUNCTION_EXPRESSION_DEPTH)
        .set_max_string_size(MAX_STRING_BYTES)
        .set_max_array_size(MAX_ARRAY_ITEMS)
        .set_max_map_size(MAX_MAP_FIELDS)
        .set_max_variables(MAX_VARIABLES)
        .set_max_functions(MAX_FUNCTIONS)
        .set_max_strings_interned(MAX_INTERNED_STRINGS)
        .set_strict_variables(true)
        .disable_symbol("eval");
    engine.register_type_with_name::<Step>("step");
    bound_replace(&mut engine);
    engine.register_fn("utc", utc);
    engine
}

/// A time in milliseconds since 1970 as RFC 3339 in UTC, to the second.
fn utc(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| "no time".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Ends the run at its operation limit, when the allocator holds too much, or as soon as the host has ended it.
///
/// Counts by itself: the engine starts from the caller's count in each callback of a native function and
/// forgets what was counted there, so its own limit does not hold for `map` and its like.
pub(crate) fn watch(engine: &mut Engine, host: &Rc<Host>) {
    let host = Rc::clone(host);
    let limit = host.limits().operations;
    let counted = Cell::new(0_u64);
    engine.on_progress(move |_| {
        let operations = counted.get() + 1;
        counted.set(operations);
        if operations > limit {
            host.end(FailKind::Limit, "too many operations");
        }
        if operations.is_multiple_of(HEAP_CHECK_OPERATIONS) && heap::in_use_bytes() > MAX_HEAP_BYTES {
            host.end(FailKind::Limit, "the script holds more than 64 MiB");
        }
        host.has_ended().then_some(Dynamic::UNIT)
    });
}

/// The engine's own `replace` builds its result before any bound is looked at.
fn bound_replace(engine: &mut Engine) {
    engine
        .register_fn("replace", |text: &mut ImmutableString, find: &str, put: &str| replace(text, find, put))
        .register_fn("replace", |text: &mut ImmutableString, find: &str, put: char| {
            replace(text, find, put.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, put: &str| {
            replace(text, find.encode_utf8(&mut [0; 4]), put)
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, put: char| {
            replace(text, find.encode_utf8(&mut [0; 4]), put.encode_utf8(&mut [0; 4]))
        });
}

fn replace(text: &mut ImmutableString, find: &str, put: &str) -> Result<(), Box<EvalAltResult>> {
    if text.is_empty() {
        return Ok(());
    }
    let grown = text.matches(find).count().saturating_mul(put.len()).saturating_add(text.len());
    if grown > MAX_STRING_BYTES.saturating_mul(2) {
        return Err(EvalAltResult::ErrorDataTooLarge("Length of string".to_owned(), Position::NONE).into());
    }
    *text = text.replace(find, put).into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_functions_are_there() {
        let engine = bounded();
        for (source, expected) in [
            ("let s = \"a-b\"; s.replace(\"-\", \"+\"); return s == \"a+b\"", true),
            ("return [3, 1, 2].map(|x| x * 2).reduce(|a, b| (a ?? 0) + b) == 12", true),
            ("return #{a: 1}.keys() == [\"a\"]", true),
            ("return \"a b\".split(' ').len() == 2 && \"ab\".contains(\"b\")", true),
            ("return max(1, 2) == 2 && 2.5.floor() == 2.0", true),
            ("let a = [3, 1]; a.sort(); return a[0] == 1", true),
            ("return utc(1_700_000_000_999) == \"2023-11-14T22:13:20Z\"", true),
            ("return utc(-1) == \"1969-12-31T23:59:59Z\" && utc(9_223_372_036_854_775_807) == \"no time\"", true),
        ] {
            assert_eq!(engine.eval::<bool>(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn dangerous_functions_are_not() {
        let engine = bounded();
        for source in [
            "eval(\"1\")",
            "Fn(\"eval\").call(\"1\")",
            "sleep(1)",
            "exit(1)",
            "parse_json(\"{}\")",
            "timestamp()",
            "import \"x\" as y; 1",
            "blob(1)",
            "get_fn_metadata_list()",
        ] {
            assert!(engine.eval::<Dynamic>(source).is_err(), "{source}");
        }
    }

    #[test]
    fn replace_is_bounded_before_it_allocates() {
        let mut text: ImmutableString = "a".repeat(200_000).into();
        assert!(replace(&mut text, "a", &"b".repeat(2_000)).is_err());
        assert!(replace(&mut text, "", &"b".repeat(2_000)).is_err());
        assert!(replace(&mut text, "a", "b").is_ok());
        assert!(text.starts_with("bbb"));
    }
}
