//! From a request to its response: the operational endpoints, routing, the worker slot, the log line.
//! Must never let the operational endpoints wait behind the requests.

use super::Service;
use super::slots::NoSlot;
use super::steps::{Failure, Flow};
use crate::http::{self, Message};
use crate::release::Route;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One in so many successful requests is logged.
const LOG_ONE_IN: u64 = 8;
/// A successful request that took longer is worth a warning.
const SLOW_MS: u128 = 750;

/// The route of a path, and the segment that stands for `{id}`.
fn route<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<(&'a Route, String)> {
    let path = path.split('?').next().unwrap_or_default();
    routes.iter().filter(|route| route.method == method).find_map(|route| {
        let (mut want, mut got) = (route.path.split('/'), path.split('/'));
        let mut id = String::new();
        loop {
            match (want.next(), got.next()) {
                (None, None) => return Some((route, id)),
                (Some("{id}"), Some(segment)) if !segment.is_empty() => segment.clone_into(&mut id),
                (Some(a), Some(b)) if a == b => {}
                _ => return None,
            }
        }
    })
}

/// The bytes that answer `message`.
pub(super) fn respond(service: &Service, message: &Message) -> Vec<u8> {
    let mut words = message.first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let draining = service.draining.load(Ordering::SeqCst);
    let end: &[(&str, &str)] = if draining || message.closes() { &[("connection", "close")] } else { &[] };
    match path {
        "/healthz" => {
            let up = service.ready.load(Ordering::SeqCst) && !draining;
            let (status, text) = if up { (200, "ok\n") } else { (503, "not ready\n") };
            return http::response(status, end, text.as_bytes());
        }
        "/metrics" => return http::response(200, end, service.metrics.render(service).as_bytes()),
        _ => {}
    }
    let started = Instant::now();
    let Some((route, id)) = route(&service.release.routes, method, path) else {
        service.metrics.served("unmatched", 404, started.elapsed());
        let path: String = path.chars().take(120).collect();
        service.log.write("warn", "no route", &[("method", method.to_owned()), ("path", path)], &[]);
        return http::response(404, end, b"{\"error\":\"not found\"}");
    };
    let _flying = service.flying();
    let mut flow = flow(service, message, id, started);
    let outcome = serve(&mut flow, route);
    let took = started.elapsed();
    let label = format!("{} {}", route.method, route.path);
    let status = outcome.as_ref().map_or_else(|failure| failure.status, |_| 200);
    service.metrics.served(&label, status, took);
    write_log(&flow, &label, &outcome, took);
    let headers: Vec<_> = [("content-type", "application/json")].iter().chain(end).copied().collect();
    match outcome {
        Ok(body) => http::response(200, &headers, &body),
        Err(failure) => {
            let body = json!({"error": failure.text, "request_id": flow.request_id}).to_string();
            http::response(status, &headers, body.as_bytes())
        }
    }
}

fn flow<'a>(service: &'a Service, message: &Message, id: String, started: Instant) -> Flow<'a> {
    let asked = message.header("x-request-timeout-ms").and_then(|ms| ms.parse().ok());
    let own = service.timeout();
    let timeout = asked.map_or(own, |ms| own.min(Duration::from_millis(ms)));
    let request_id = message.header("x-request-id").map_or_else(
        || format!("{:016x}", super::lock(&service.rng).next()),
        |given| given.chars().filter(char::is_ascii_alphanumeric).take(32).collect(),
    );
    Flow { service, request_id, id, deadline: started + timeout, last: Vec::new() }
}

fn serve(flow: &mut Flow<'_>, route: &Route) -> Result<Vec<u8>, Failure> {
    let service = flow.service;
    if !service.ready.load(Ordering::SeqCst) {
        return Err(Failure::new(503, "starting up"));
    }
    let slot = service.slots.enter(flow.deadline).map_err(|cause| {
        let (busy, waiting, workers) = service.slots.load();
        service.metrics.count("requests_rejected_total");
        Failure::new(
            503,
            match cause {
                NoSlot::Full => {
                    format!("queue full: {busy}/{workers} workers busy, {waiting} waiting")
                }
                NoSlot::Late => {
                    format!("timed out in queue: {busy}/{workers} workers busy, {waiting} waiting")
                }
            },
        )
    })?;
    flow.run(&route.steps)?;
    drop(slot);
    if route.reply.is_empty() {
        return Ok(std::mem::take(&mut flow.last));
    }
    let mut body = serde_json::Map::new();
    for field in &route.reply {
        body.insert(field.clone(), format!("{field}-{}", flow.id).into());
    }
    Ok(serde_json::Value::Object(body).to_string().into_bytes())
}

fn write_log(flow: &Flow<'_>, label: &str, outcome: &Result<Vec<u8>, Failure>, took: Duration) {
    let log = &flow.service.log;
    let mut fields = vec![
        ("route", label.to_owned()),
        ("status", outcome.as_ref().map_or_else(|failure| failure.status, |_| 200).to_string()),
        ("dur_ms", took.as_millis().to_string()),
        ("req_id", flow.request_id.clone()),
    ];
    match outcome {
        Err(failure) => {
            fields.push(("error", failure.text.clone()));
            log.write("error", "request failed", &fields, &failure.trace);
        }
        Ok(_) if took.as_millis() > SLOW_MS => log.write("warn", "slow request", &fields, &[]),
        Ok(_) if log.writes("debug") || super::lock(&flow.service.rng).below(LOG_ONE_IN) == 0 => {
            log.write("info", "request", &fields, &[]);
        }
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_by_segment() {
        let route_to = |method: &str, path: &str| Route {
            method: method.to_owned(),
            path: path.to_owned(),
            steps: vec![],
            reply: vec![],
        };
        let routes = [route_to("GET", "/"), route_to("GET", "/items/{id}"), route_to("POST", "/pay")];
        let found = |method, path| route(&routes, method, path).map(|(r, id)| (r.path.clone(), id));
        assert_eq!(found("GET", "/"), Some(("/".to_owned(), String::new())));
        assert_eq!(found("GET", "/items/7?x=1"), Some(("/items/{id}".to_owned(), "7".to_owned())));
        assert_eq!(found("GET", "/items/"), None);
        assert_eq!(found("GET", "/items/7/8"), None);
        assert_eq!(found("GET", "/pay"), None);
    }
}
