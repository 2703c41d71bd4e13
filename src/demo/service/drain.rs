//! Orderly shutdown: on SIGTERM the service stops being ready, finishes what it has, and leaves.
//! Must never keep the process alive past its bound.

use super::{Service, server};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time for the balancer to notice before the last connections are served.
const NOTICE: Duration = Duration::from_millis(250);
/// Longest time for requests that are under way.
const FINISH: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);

fn term() -> libc::sigset_t {
    #[allow(unsafe_code, reason = "signal sets exist only behind the C interface")]
    // SAFETY: an all-zero sigset_t is a valid value to initialise, and both calls get a pointer to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

/// Blocks SIGTERM in this thread and in all that it starts; to be called before any other thread exists.
pub(super) fn hold_back_signals() {
    let set = term();
    #[allow(unsafe_code, reason = "masking a signal exists only behind the C interface")]
    // SAFETY: `set` is initialised and outlives the call; no old mask is asked for.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for SIGTERM on a thread of its own.
pub(super) fn watch(service: Arc<Service>) {
    server::spawn("signals", move || {
        let set = term();
        let mut signal = 0;
        #[allow(unsafe_code, reason = "waiting for a signal exists only behind the C interface")]
        // SAFETY: both pointers are to live, initialised values of this frame.
        let waited = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        if waited != 0 {
            return;
        }
        service.log.write("info", "received SIGTERM, draining", &[], &[]);
        service.draining.store(true, Ordering::SeqCst);
        sleep(NOTICE);
        let until = Instant::now() + FINISH;
        while service.metrics.inflight.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            sleep(POLL);
        }
        service.log.write("info", "stopped", &[], &[]);
        std::process::exit(0);
    });
}

/// For a program with nothing to finish: SIGTERM ends it at once.
pub(super) fn leave_on_signal() {
    let set = term();
    #[allow(unsafe_code, reason = "unmasking a signal exists only behind the C interface")]
    // SAFETY: `set` is initialised and outlives the call; no old mask is asked for.
    unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}
