//! What a service does beside its requests: periodic reloads, chatter, indexes, retention.
//! Must never run before the service is ready.

use super::{Service, lock, server};
use crate::release::Job;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// How often old segments are looked for.
const COMPACT_EVERY: Duration = Duration::from_secs(2);
/// Exit status of a program that aborted.
const EXIT_ABORT: i32 = 134;

/// Starts every task on a thread of its own.
pub(super) fn run(service: &Arc<Service>) {
    for at in 0..service.release.tasks.len() {
        let service = Arc::clone(service);
        server::spawn("task", move || repeat(&service, at));
    }
    if service.store.is_some() {
        let service = Arc::clone(service);
        server::spawn("retention", move || retain(&service));
    }
}

fn repeat(service: &Service, at: usize) {
    let Some(task) = service.release.tasks.get(at) else {
        return;
    };
    let spread = lock(&service.rng).range(0.8, 1.2);
    sleep(Duration::from_secs_f64(task.first_ms as f64 * spread / 1000.0));
    while perform(service, &task.job) {
        let spread = lock(&service.rng).range(0.7, 1.3);
        sleep(Duration::from_secs_f64(task.every_ms.max(50) as f64 * spread / 1000.0));
    }
}

/// Does one round; gives whether there is another.
fn perform(service: &Service, job: &Job) -> bool {
    match job {
        Job::Say { level, text } => service.log.write(level, text, &[], &[]),
        Job::Reload { key, what, text, frames } => match service.settings.text(key).map(str::parse::<u64>) {
            None => service.log.write("info", &format!("reloaded {what}"), &[], &[]),
            Some(Ok(period)) if period > 0 => {
                let fields = [("period_s", period.to_string())];
                service.log.write("info", &format!("reloaded {what}"), &fields, &[]);
            }
            Some(_) => abort(service, text, frames),
        },
        Job::Abort { text, frames } => abort(service, text, frames),
        Job::Index { step_bytes, total_bytes } => {
            service.retained.keep(*step_bytes, usize::MAX);
            if service.retained.bytes() >= *total_bytes {
                let fields = [("bytes", service.retained.bytes().to_string())];
                service.log.write("info", "index complete", &fields, &[]);
                return false;
            }
        }
    }
    true
}

pub(super) fn abort(service: &Service, text: &str, frames: &[String]) {
    service.log.write("fatal", text, &[], frames);
    std::process::exit(EXIT_ABORT);
}

fn retain(service: &Service) {
    let Some(store) = &service.store else { return };
    loop {
        sleep(COMPACT_EVERY);
        let dropped = store.compact();
        if dropped > 0 {
            let fields = [("segments", dropped.to_string()), ("bytes_left", store.used_bytes().to_string())];
            service.log.write("info", "retention pass", &fields, &[]);
        }
    }
}
