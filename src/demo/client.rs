//! The client: steady, noisy traffic from outside, and the only judge of health.
//! Must never look at anything but its own requests; it knows no workload and no metric.

mod traffic;
mod view;

use crate::driver::lines::ClientLine;
use crate::http;
use crate::rng::Rng;
use crate::service::option;
use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use traffic::{Mix, Request};
use view::{Sample, View};

/// Requests under way at a time; further ones wait, and their wait counts.
const SENDERS: usize = 96;
/// Requests that may wait for a sender; beyond it a request has failed.
const WAITING_MAX: usize = 512;
/// Answers that wait for the judge.
const EVENTS_MAX: usize = 8192;
const STACK_BYTES: usize = 160 * 1024;
/// Patience of a shopper.
const PATIENCE: Duration = Duration::from_millis(2500);
const SECOND: Duration = Duration::from_secs(1);

/// What reaches the judge.
enum Event {
    Sample(Sample),
    Command(String),
}

/// `--target H:P --seed N [--rate R] [--buy S] [--search S] [--min-sample N]`, commands on standard input.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let Some(target) = option(args, "--target") else {
        crate::complain("usage: --target HOST:PORT --seed N");
        return ExitCode::from(2);
    };
    let number = |name, otherwise: f64| option(args, name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let mix = Arc::new(Mutex::new(Mix {
        rate: number("--rate", 40.0),
        buy: number("--buy", 0.3),
        search: number("--search", 0.15),
    }));
    let (events, judge) = sync_channel(EVENTS_MAX);
    let (requests, queue) = sync_channel(WAITING_MAX);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..SENDERS {
        let (queue, events, target) = (Arc::clone(&queue), events.clone(), target.to_owned());
        let run = move || send(&queue, &events, &target);
        if thread::Builder::new().stack_size(STACK_BYTES).spawn(run).is_err() {
            crate::complain("cannot start a sender");
            return ExitCode::from(2);
        }
    }
    let rng = Rng::new(number("--seed", 1.0) as u64, "traffic");
    let (shared, failed) = (Arc::clone(&mix), events.clone());
    thread::spawn(move || arrive(rng, &shared, &requests, &failed));
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if events.send(Event::Command(line)).is_err() {
                return;
            }
        }
        // The driver is gone: so is the reason to go on.
        let _ = events.send(Event::Command("stop".to_owned()));
    });
    crate::tell(&ClientLine::Started { target: target.to_owned() });
    watch(&judge, &mix, number("--min-sample", 500.0) as usize);
    ExitCode::SUCCESS
}

/// Open loop: requests start when they are due, whatever became of the earlier ones.
fn arrive(mut rng: Rng, mix: &Mutex<Mix>, requests: &SyncSender<Request>, failed: &SyncSender<Event>) {
    let mut due = Instant::now();
    loop {
        let now = mix.lock().unwrap_or_else(PoisonError::into_inner).clone();
        due += Duration::from_secs_f64(now.gap(&mut rng));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = now.request(&mut rng, due);
        match requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => {
                let lost = Sample::failed(&request, PATIENCE);
                if failed.send(Event::Sample(lost)).is_err() {
                    return;
                }
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

fn send(queue: &Mutex<Receiver<Request>>, events: &SyncSender<Event>, target: &str) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return };
        let left = PATIENCE.saturating_sub(request.due.elapsed());
        let ok = !left.is_zero()
            && http::once(target, request.method, &request.path, &[], b"", left).is_ok_and(|answer| {
                answer.status() == 200
                    && String::from_utf8_lossy(&answer.body).contains(&format!("\"{}\"", request.expects))
            });
        let sample = Sample { class: request.class, ok, took: request.due.elapsed(), due: request.due };
        if events.send(Event::Sample(sample)).is_err() {
            return;
        }
    }
}

fn watch(events: &Receiver<Event>, mix: &Mutex<Mix>, least: usize) {
    let mut view = View::new(least);
    let mut tick = Instant::now() + SECOND;
    loop {
        match events.recv_timeout(tick.saturating_duration_since(Instant::now())) {
            Ok(Event::Sample(sample)) => {
                if let Some(line) = view.add(sample) {
                    crate::tell(&line);
                }
            }
            Ok(Event::Command(line)) => {
                let mut words = line.split_whitespace();
                let answer = match (words.next(), words.next().and_then(|text| text.parse().ok())) {
                    (Some("stop"), _) => return,
                    (Some("calibrate"), Some(count)) => view.calibrate(count),
                    (Some("judge"), Some(count)) => view.judge(count),
                    (Some("traffic"), _) => {
                        let mut mix = mix.lock().unwrap_or_else(PoisonError::into_inner);
                        mix.change(&line)
                    }
                    _ => Err(format!("unknown command: {line}")),
                };
                if let Err(text) = answer {
                    crate::tell(&ClientLine::Error { text });
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= tick {
            crate::tell(&view.second());
            tick += SECOND;
        }
    }
}
