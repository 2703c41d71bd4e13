//! Keeps workers ready, and reaps the ones that are done. Two plain threads, because the kernel kills a
//! worker when the thread that started it ends, and because waiting for a process blocks.

use std::io;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::process::{Launch, Worker};

/// First pause after a worker could not be started; doubled each time.
const FIRST_PAUSE_MS: u64 = 50;

/// Longest such pause.
const LONGEST_PAUSE_MS: u64 = 5_000;

/// Why no worker could be started last, if so.
#[derive(Clone, Default)]
pub(crate) struct LastFault(Arc<Mutex<Option<String>>>);

impl LastFault {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// Starts both threads. `warm` workers at least 1 wait in the returned queue; it ends when it is dropped.
pub(crate) fn start(
    launch: Launch,
    warm: usize,
    start_timeout: Duration,
) -> io::Result<(mpsc::Receiver<Worker>, LastFault)> {
    let (reaper, reaped) = channel();
    let fault = LastFault::default();
    // One more waits in the keeper's hands.
    let (ready, queue) = mpsc::channel(warm.saturating_sub(1).max(1));
    Builder::new().name("worker-reaper".to_owned()).spawn(move || reap(&reaped))?;
    let keeper_fault = fault.clone();
    Builder::new()
        .name("worker-keeper".to_owned())
        .spawn(move || keep(&launch, start_timeout, &reaper, &ready, &keeper_fault))?;
    Ok((queue, fault))
}

fn keep(launch: &Launch, timeout: Duration, reaper: &Sender<Child>, ready: &mpsc::Sender<Worker>, fault: &LastFault) {
    let mut pause_ms = FIRST_PAUSE_MS;
    while !ready.is_closed() {
        match Worker::start(launch, timeout, reaper.clone()) {
            Ok(worker) => {
                fault.set(None);
                pause_ms = FIRST_PAUSE_MS;
                if ready.blocking_send(worker).is_err() {
                    break;
                }
            }
            Err(message) => {
                tracing::warn!(message, "no script worker could be started");
                fault.set(Some(message));
                std::thread::sleep(Duration::from_millis(pause_ms));
                pause_ms = (pause_ms * 2).min(LONGEST_PAUSE_MS);
            }
        }
    }
}

fn reap(children: &Receiver<Child>) {
    while let Ok(mut child) = children.recv() {
        // It has been killed, so this ends soon; an error means that it is gone already.
        let _status = child.wait();
    }
}
