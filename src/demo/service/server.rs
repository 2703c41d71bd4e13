//! Accepts connections and serves each on a thread of its own, with keep-alive.
//! Must never hold more connections than its bound, and never end because one of them fails.

use super::{STACK_BYTES, Service, handle};
use crate::http;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

/// Most connections at a time; further ones are closed at once.
const CONNECTIONS_MAX: usize = 400;
/// How long a connection may stay silent.
const IDLE: Duration = Duration::from_secs(6);
/// Pause after a failed accept, so that a lack of descriptors does not burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(40);

/// A thread with a small stack; nothing happens when the system has none to give.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(run).is_ok()
}

/// Serves until the process ends.
pub(super) fn accept(service: &Arc<Service>, listener: &TcpListener) -> ExitCode {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(cause) => {
                service.log.write("error", &format!("accept: {cause}"), &[], &[]);
                sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (service, counter) = (Arc::clone(service), Arc::clone(&open));
        let started = spawn("conn", move || {
            // A connection that breaks concerns nobody else.
            let _ = converse(&service, stream);
            counter.fetch_sub(1, Ordering::SeqCst);
        });
        if !started {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn converse(service: &Service, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::with_capacity(2048, stream);
    while let Some(message) = http::read_message(&mut reader)? {
        let answer = handle::respond(service, &message);
        reader.get_mut().write_all(&answer)?;
        if message.closes() || service.draining.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}
