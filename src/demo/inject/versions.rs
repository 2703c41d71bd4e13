//! Versions of services that turn out badly, each the way a real one does.
//! Must never write a log text that names the trouble before a program would notice it.

use crate::release::{Job, Release, Step, Task};
use crate::rng::Rng;
use crate::world::releases::text;

/// The route that carries a service's main work.
fn main_steps(release: &mut Release) -> Option<&mut Vec<Step>> {
    let (method, path) = match release.service.as_str() {
        "gateway" => ("POST", "/checkout/{id}"),
        "catalog" => ("GET", "/items/{id}"),
        "checkout" => ("POST", "/orders/{id}"),
        "payments" => ("POST", "/charge/{id}"),
        _ => ("POST", "/entries/{id}"),
    };
    release.route_mut(method, path).map(|route| &mut route.steps)
}

/// Each service's own way to complain: message and trace.
fn complaint(service: &str, rng: &mut Rng) -> (String, Vec<String>) {
    let (message, frames): (&str, &[&str]) = match (service, rng.below(2)) {
        ("gateway", 0) => (
            "called `Option::unwrap()` on a `None` value",
            &["gateway::proxy::forward (src/proxy.rs:212)", "gateway::serve (src/serve.rs:64)"],
        ),
        ("gateway", _) => (
            "invalid header value: utf-8 in position 17",
            &["http::header::value (src/header/value.rs:61)", "gateway::proxy::rewrite (src/proxy.rs:158)"],
        ),
        ("catalog", 0) => (
            "sql: Scan error on column index 3, name \"price_minor\": converting NULL to int64 is unsupported",
            &["catalog/items.(*Repo).Load items/repo.go:91", "net/http.HandlerFunc.ServeHTTP net/http/server.go:2136"],
        ),
        ("catalog", _) => (
            "runtime error: index out of range [5] with length 5",
            &["catalog/render.Title render/title.go:47", "catalog/items.(*API).Get items/api.go:120"],
        ),
        ("checkout", 0) => (
            "TypeError: Cannot read properties of undefined (reading 'vatRate')",
            &["applyTax (/app/src/tax.js:58:29)", "placeOrder (/app/src/orders.js:119:22)"],
        ),
        ("checkout", _) => (
            "AssertionError: expected order {id} to be in state NEW but was PENDING",
            &["assertState (/app/src/orders.js:77:11)", "placeOrder (/app/src/orders.js:104:5)"],
        ),
        ("payments", 0) => (
            "java.lang.NullPointerException: Cannot invoke \"Instrument.scheme()\" because \"instrument\" is null",
            &[
                "c.s.payments.ChargeService.charge(ChargeService.java:133)",
                "c.s.payments.ChargeEndpoint.post(ChargeEndpoint.java:52)",
            ],
        ),
        ("payments", _) => (
            "java.lang.IllegalStateException: idempotency key reused for a different amount",
            &[
                "c.s.payments.Idempotency.check(Idempotency.java:44)",
                "c.s.payments.ChargeService.charge(ChargeService.java:118)",
            ],
        ),
        (_, 0) => ("entry checksum mismatch, refusing to append", &["ledger::entry::seal entry.c:210"]),
        _ => ("unbalanced entry: debit 0 credit 1999", &["ledger::entry::balance entry.c:161"]),
    };
    (message.to_owned(), text(frames))
}

/// Some requests fail inside.
pub(super) fn failing(release: &mut Release, rng: &mut Rng) {
    let (message, frames) = complaint(&release.service, rng);
    let per_mille = rng.whole(300, 800);
    if let Some(steps) = main_steps(release) {
        let at = usize::from(rng.chance(0.5)).min(steps.len());
        steps.insert(at, Step::Raise { per_mille, status: 500, text: message, frames });
    }
}

/// Requests take far longer.
pub(super) fn slow(release: &mut Release, rng: &mut Rng) {
    let wait_ms = rng.range(550.0, 950.0);
    if let Some(steps) = main_steps(release) {
        steps.insert(0, Step::Work { busy_us: 600, wait_ms });
    }
}

/// One request becomes many calls to the same peer.
pub(super) fn chatty(release: &mut Release, rng: &mut Rng) {
    for step in main_steps(release).into_iter().flatten() {
        if let Step::Call { times, .. } = step {
            *times = rng.whole(7, 10) as u32;
            return;
        }
    }
}

/// A peer is asked for something that it does not have.
pub(super) fn wrong_path(release: &mut Release, _: &mut Rng) {
    for step in main_steps(release).into_iter().flatten() {
        if let Step::Call { path, .. } = step {
            *path = format!("/v2{path}");
            return;
        }
    }
}

/// The answer's shape changes under its callers.
pub(super) fn renamed_field(release: &mut Release, _: &mut Rng) {
    for route in &mut release.routes {
        for field in &mut route.reply {
            for (old, new) in
                [("auth", "authorization"), ("price", "amount"), ("entry", "entry_id"), ("order_id", "orderId")]
            {
                if field == old {
                    new.clone_into(field);
                }
            }
        }
    }
}

/// The process dies a few seconds after it became ready.
pub(super) fn dies_of_age(release: &mut Release, rng: &mut Rng) {
    let (line, frames) = complaint(&release.service, rng);
    let job = Job::Abort { text: line.replace("{id}", "(snapshot)"), frames };
    release.tasks.push(Task { first_ms: rng.whole(2_500, 4_000), every_ms: 60_000, job });
}

/// Some requests kill the process.
pub(super) fn dies_of_requests(release: &mut Release, rng: &mut Rng) {
    let (line, frames) = complaint(&release.service, rng);
    let per_mille = if release.service == "catalog" { 30 } else { 70 };
    if let Some(steps) = main_steps(release) {
        steps.push(Step::Abort { per_mille, text: format!("fatal: {line}"), frames });
    }
}

/// Each request leaves memory behind.
pub(super) fn hoarding(release: &mut Release, bytes: usize) {
    if let Some(steps) = main_steps(release) {
        steps.retain(|step| !matches!(step, Step::Keep { .. }));
        steps.insert(0, Step::Keep { bytes, cap_key: None });
    }
}

/// Each request may leave a descriptor behind.
pub(super) fn leaking_sockets(release: &mut Release, per_mille: u64) {
    if let Some(steps) = main_steps(release) {
        steps.insert(0, Step::Hold { per_mille });
    }
}

/// An index is built in memory after the start and then stays as it is.
pub(super) fn indexing(release: &mut Release, total_bytes: usize) {
    let job = Job::Index { step_bytes: total_bytes / 16, total_bytes };
    release.tasks.push(Task { first_ms: 300, every_ms: 400, job });
}
