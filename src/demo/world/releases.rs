//! The first release of every service, as the seed writes it.
//! Must never contain a step that a healthy program would not have.

use super::{CACHE, Knobs};
use crate::release::{Dialect, Job, Kind, Release, Route, Step, Task};
use crate::rng::Rng;

pub(crate) fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn call(peer: &str, method: &str, path: &str, attempts: u32, field: &str) -> Step {
    Step::Call {
        peer: peer.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        attempts,
        times: 1,
        field: Some(field.to_owned()),
    }
}

fn work(busy_us: u64, wait_ms: f64) -> Step {
    Step::Work { busy_us, wait_ms }
}

fn route(method: &str, path: &str, reply: &[&str], steps: Vec<Step>) -> Route {
    Route { method: method.to_owned(), path: path.to_owned(), steps, reply: text(reply) }
}

fn say(level: &str, first_ms: u64, every_ms: u64, line: &str) -> Task {
    Task { first_ms, every_ms, job: Job::Say { level: level.to_owned(), text: line.to_owned() } }
}

/// A periodic reload that reads its period from the configuration.
fn reload(key: &str, what: &str, first_ms: u64, line: &str, frames: &[&str]) -> Task {
    let job = Job::Reload { key: key.to_owned(), what: what.to_owned(), text: line.to_owned(), frames: text(frames) };
    Task { first_ms, every_ms: 30_000, job }
}

pub(crate) fn version(rng: &mut Rng) -> String {
    format!("{}.{}.{}", rng.whole(1, 4), rng.whole(0, 31), rng.whole(0, 9))
}

pub(crate) fn commit(rng: &mut Rng) -> String {
    format!("{:010x}", rng.next() >> 24)
}

fn release(rng: &mut Rng, service: &str, dialect: Dialect, require: &[&str]) -> Release {
    Release {
        service: service.to_owned(),
        version: version(rng),
        commit: commit(rng),
        dialect,
        kind: Kind::Http,
        warmup_ms: rng.whole(250, 600),
        require: text(require),
        routes: Vec::new(),
        tasks: Vec::new(),
    }
}

/// Dependencies first.
pub(super) fn all(rng: &mut Rng, knobs: &Knobs) -> Vec<Release> {
    let cache = Release { kind: Kind::KeyValue, ..release(rng, CACHE, Dialect::Plain, &[]) };
    vec![cache, ledger(rng, knobs), payments(rng, knobs), catalog(rng, knobs), checkout(rng), gateway(rng)]
}

fn ledger(rng: &mut Rng, knobs: &Knobs) -> Release {
    let bytes = knobs.record_bytes;
    Release {
        routes: vec![route("POST", "/entries/{id}", &["entry"], vec![work(250, 1.0), Step::Append { bytes }])],
        tasks: vec![say("info", 9_000, 21_000, "checkpoint written")],
        ..release(rng, "ledger", Dialect::Logfmt, &["DATA_DIR"])
    }
}

fn payments(rng: &mut Rng, knobs: &Knobs) -> Release {
    let region = Step::Known {
        key: "MERCHANT_REGION".to_owned(),
        values: text(&["eu-1", "eu-2", "us-1"]),
        text: "no acquirer route for merchant region {value}".to_owned(),
        frames: text(&[
            "c.s.payments.AcquirerTable.route(AcquirerTable.java:88)",
            "c.s.payments.ChargeService.charge(ChargeService.java:141)",
            "c.s.payments.ChargeEndpoint.post(ChargeEndpoint.java:52)",
        ]),
    };
    let fraud = Step::Depth { key: "FRAUD_DEPTH".to_owned(), unit_ms: knobs.fraud_ms };
    let steps = vec![region, work(300, 2.0), fraud, call("cardnet", "POST", "/authorize/{id}", 1, "approved")];
    Release {
        routes: vec![route("POST", "/charge/{id}", &["auth", "amount"], steps)],
        tasks: vec![
            say("warn", 7_000, 26_000, "clock skew to acquirer 3ms"),
            reload(
                "KEY_REFRESH_S",
                "signing keys",
                4_000,
                "uncaught exception in scheduler: refresh period must be a positive number of seconds",
                &[
                    "c.s.payments.KeyRing.schedule(KeyRing.java:61)",
                    "java.base/java.util.concurrent.ScheduledThreadPoolExecutor.run(ScheduledThreadPoolExecutor.java:304)",
                ],
            ),
        ],
        ..release(rng, "payments", Dialect::Plain, &["MERCHANT_REGION", "UPSTREAM_CARDNET"])
    }
}

fn catalog(rng: &mut Rng, knobs: &Knobs) -> Release {
    let list = || Step::Known {
        key: "PRICE_LIST".to_owned(),
        values: text(&["2026-q3", "2026-q4"]),
        text: "price list {value} not found".to_owned(),
        frames: text(&[
            "catalog/prices.(*Lists).Open prices/lists.go:114",
            "catalog/items.(*Repo).Load items/repo.go:73",
        ]),
    };
    let lookup = |space: &str| Step::Lookup {
        peer: CACHE.to_owned(),
        space: space.to_owned(),
        miss: vec![list(), work(400, knobs.miss_ms)],
    };
    let rank = Step::Depth { key: "SEARCH_DEPTH".to_owned(), unit_ms: knobs.search_ms / 3.0 };
    Release {
        routes: vec![
            route("GET", "/items/{id}", &["id", "price", "title"], vec![work(200, 1.5), lookup("item")]),
            route("GET", "/search/{id}", &["hits", "took"], vec![work(300, 1.0), lookup("search"), rank]),
        ],
        tasks: vec![
            say("warn", 5_000, 24_000, "slow query: select price from price_list took 212ms"),
            reload(
                "PRICE_REFRESH_S",
                "price list index",
                3_500,
                "panic: time: non-positive interval for NewTicker",
                &["catalog/prices.(*Refresher).loop prices/refresh.go:38", "runtime.goexit asm_amd64.s:1700"],
            ),
        ],
        ..release(rng, "catalog", Dialect::Logfmt, &["UPSTREAM_CACHE", "PRICE_LIST"])
    }
}

fn checkout(rng: &mut Rng) -> Release {
    let currency = Step::Known {
        key: "CURRENCY".to_owned(),
        values: text(&["EUR", "USD", "GBP"]),
        text: "RangeError: invalid currency code: {value}".to_owned(),
        frames: text(&["formatTotal (/app/src/totals.js:31:17)", "placeOrder (/app/src/orders.js:112:9)"]),
    };
    let steps = vec![
        currency,
        work(400, 6.0),
        Step::Keep { bytes: 20 * 1024, cap_key: Some("SESSION_CACHE_MAX".to_owned()) },
        call("payments", "POST", "/charge/{id}", 2, "auth"),
        call("ledger", "POST", "/entries/{id}", 2, "entry"),
    ];
    Release {
        routes: vec![route("POST", "/orders/{id}", &["order_id", "total"], steps)],
        tasks: vec![
            say("warn", 6_000, 19_000, "DeprecationWarning: header X-Shop-Session will be removed in v5"),
            say("info", 11_000, 40_000, "session cache swept"),
        ],
        ..release(rng, "checkout", Dialect::Severity, &["UPSTREAM_PAYMENTS", "UPSTREAM_LEDGER", "CURRENCY"])
    }
}

fn gateway(rng: &mut Rng) -> Release {
    Release {
        routes: vec![
            route("GET", "/", &["home"], vec![work(150, 1.0)]),
            route(
                "GET",
                "/products/{id}",
                &[],
                vec![work(150, 0.5), call("catalog", "GET", "/items/{id}", 1, "price")],
            ),
            route("GET", "/search/{id}", &[], vec![work(150, 0.5), call("catalog", "GET", "/search/{id}", 1, "hits")]),
            route(
                "POST",
                "/checkout/{id}",
                &[],
                vec![work(200, 0.5), call("checkout", "POST", "/orders/{id}", 1, "order_id")],
            ),
        ],
        tasks: vec![
            say("warn", 8_000, 33_000, "client sent oversized cookie header, truncated"),
            reload(
                "ROUTES_REFRESH_S",
                "route table",
                4_000,
                "fatal: route table refresh interval is invalid",
                &["gateway::routes::refresh (src/routes.rs:77)", "gateway::main (src/main.rs:29)"],
            ),
        ],
        ..release(rng, "gateway", Dialect::Json, &["UPSTREAM_CATALOG", "UPSTREAM_CHECKOUT"])
    }
}
