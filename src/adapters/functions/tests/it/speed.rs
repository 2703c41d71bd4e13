//! How long a start takes: measured and printed; the bounds here only catch what is badly wrong, in a debug build
//! on a busy machine.

use std::time::Instant;

use crate::modules::{PLAIN_ECHO, WASI_ECHO};
use crate::runner::{Test, tests};
use crate::support::{KEY, VERSION, call, host, script, wasm};

const ROUNDS: usize = 300;
const P50_BOUND_US: u64 = 5_000;

pub(crate) fn tests(list: &mut Vec<Test>) {
    tests!(list, a_fresh_instance_starts_quickly);
}

async fn a_fresh_instance_starts_quickly() {
    let host = host().await;
    let script = script("export default (r) => ({ hello: r.name })");
    for (what, source, bound_us) in [
        ("wasi command", wasm(WASI_ECHO), P50_BOUND_US),
        ("plain module", wasm(PLAIN_ECHO), P50_BOUND_US),
        ("javascript", script, 4 * P50_BOUND_US),
    ] {
        let report = host.load(KEY, VERSION, source).await.unwrap();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let outcome = host.invoke(KEY, VERSION, call(r#"{"name":"x"}"#)).await.unwrap();
            outside.push(u64::try_from(started.elapsed().as_micros()).unwrap());
            inside.push(outcome.duration_us);
            assert!(!outcome.output.is_empty());
        }
        let (inside, outside) = (percentiles(inside), percentiles(outside));
        println!(
            "{what}: compile {} us; in the host {inside:?} us, through the socket {outside:?} us (p50, p99)",
            report.compile_us
        );
        assert!(inside.0 < bound_us, "{what}: {inside:?}");
    }
}

fn percentiles(mut all: Vec<u64>) -> (u64, u64) {
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}
