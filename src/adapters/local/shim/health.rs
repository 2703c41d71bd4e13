//! Asks one replica, again and again, whether it can serve. Never restarts anything: a sick replica
//! gets no traffic, what else happens to it is decided elsewhere.

use std::cell::RefCell;
use std::rc::Weak;
use std::time::Duration;

use opsward_domain::name::Workload;
use opsward_domain::spec::Health;

use super::core::Core;
use crate::http;
use crate::options::HEALTH_BYTES_MAX;

/// Time between checks of a replica that has not been ready yet.
const STARTING_INTERVAL_MS: u64 = 100;
/// The check of a replica that has a port and states none: it must accept one connection, once.
const ACCEPTS: Health = Health { http_path: None, interval_ms: 100, timeout_ms: 400, failures: 1 };

/// Checks until the replica is gone. One without a stated check is asked only until it is ready.
pub(super) async fn watch(core: Weak<RefCell<Core>>, name: Workload, serial: u64, port: u16, stated: Option<Health>) {
    let once = stated.is_none();
    let health = stated.unwrap_or(ACCEPTS);
    let (mut failures, mut ready) = (0_u32, false);
    loop {
        let result = check(port, &health).await;
        failures = if result.is_ok() { 0 } else { failures.saturating_add(1) };
        ready |= result.is_ok();
        let Some(core) = core.upgrade() else { return };
        let goes_on = core.borrow_mut().checked(&name, serial, result, failures >= health.failures);
        drop(core);
        if !goes_on || (once && ready) {
            return;
        }
        let wait_ms = if ready { health.interval_ms } else { health.interval_ms.min(STARTING_INTERVAL_MS) };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

async fn check(port: u16, health: &Health) -> Result<(), String> {
    let Some(path) = &health.http_path else {
        let wait = Duration::from_millis(health.timeout_ms);
        return match tokio::time::timeout(wait, http::connect(port)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(format!("nothing listens on port {port}"))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {} ms", health.timeout_ms)),
        };
    };
    let answer = http::get(port, path, health.timeout_ms, HEALTH_BYTES_MAX).await?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(format!("GET {path} answered {}", answer.status))
}
