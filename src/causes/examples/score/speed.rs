//! How long a large case takes: 50 services with 40 metrics each over two hours at five seconds, one of them at fault.

use std::time::Instant;

use opsward_causes::case::{Call, Case, Component, ComponentId, Series};
use opsward_causes::{Options, diagnose};

const SERVICES: u32 = 50;
const METRICS: u32 = 40;
const POINTS: i64 = 1_440;

pub(crate) fn all() {
    let case = made();
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            let said = diagnose(&case, &Options::default());
            assert_eq!(said.causes.first().map(|cause| cause.component.as_str()), Some("unit-37"));
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "\nspeed: {SERVICES} services x {METRICS} metrics x {POINTS} points: median {:.1} ms, most {:.1} ms",
        times[4], times[8]
    );
}

fn made() -> Case {
    let mut case = Case::default();
    let mut noise = 3_u64;
    let kinds = [
        "latency_p95_ms",
        "error_rate",
        "cpu_utilization",
        "memory_rss_bytes",
        "requests_per_sec",
        "queue_depth",
        "disk_used_bytes",
        "network_receive_bytes",
    ];
    for service in 0..SERVICES {
        case.components.push(Component { name: format!("unit-{service}"), service: None, node: None });
        for metric in 0..METRICS {
            let kind = kinds[metric as usize % kinds.len()];
            let points = (0..POINTS)
                .map(|step| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let random = (noise >> 33) as f64 / f64::from(1_u32 << 31);
                    let broken = service == 37 && step > 1_200 && kind == "latency_p95_ms";
                    (1_700_000_000_000 + step * 5_000, (10.0 + random) * if broken { 8.0 } else { 1.0 })
                })
                .collect();
            case.metrics.push(Series {
                source: "m".to_owned(),
                component: ComponentId(service),
                name: format!("{kind}_{metric}"),
                unit: String::new(),
                points,
            });
        }
        if service > 0 {
            case.calls.push(Call { caller: ComponentId(service / 2), callee: ComponentId(service) });
        }
    }
    case
}
