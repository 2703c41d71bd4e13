//! The card network: a dependency outside the platform that nobody here can repair.
//! Must never be reachable by an action of the platform; only its control address changes it.

use crate::http;
use crate::rng::Rng;
use crate::service::option;
use serde_json::json;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const STACK_BYTES: usize = 192 * 1024;
const CONNECTIONS_MAX: usize = 300;
const IDLE: Duration = Duration::from_secs(20);
/// How long an answer takes that never comes.
const HANG: Duration = Duration::from_secs(8);
/// Ordinary time of an authorisation.
const USUAL_MS: (f64, f64) = (14.0, 34.0);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Ok,
    Slow { ms: u64 },
    Errors { per_mille: u64 },
    Hang,
    Down,
}

impl Mode {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mode = match (words.next()?, words.next().map(str::parse::<u64>)) {
            ("ok", None) => Self::Ok,
            ("hang", None) => Self::Hang,
            ("down", None) => Self::Down,
            ("slow", Some(Ok(ms))) => Self::Slow { ms },
            ("errors", Some(Ok(per_mille))) => Self::Errors { per_mille },
            _ => return None,
        };
        words.next().is_none().then_some(mode)
    }
}

struct Network {
    mode: Mutex<Mode>,
    changed: Condvar,
    rng: Mutex<Rng>,
    open: AtomicUsize,
}

impl Network {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
        self.changed.notify_all();
    }

    fn draw<T>(&self, from: impl FnOnce(&mut Rng) -> T) -> T {
        from(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `--listen H:P --control H:P --seed N`; says both addresses in one line of JSON.
/// Ends when standard input does.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let seed = option(args, "--seed").and_then(|text| text.parse().ok()).unwrap_or(1);
    let bind = |name| {
        let addr = option(args, name).unwrap_or("127.0.0.1:0");
        TcpListener::bind(addr).and_then(|listener| listener.local_addr().map(|at| (listener, at)))
    };
    let ((listener, at), (control, control_at)) = match (bind("--listen"), bind("--control")) {
        (Ok(listen), Ok(control)) => (listen, control),
        (Err(cause), _) | (_, Err(cause)) => {
            crate::complain(&format!("cannot listen: {cause}"));
            return ExitCode::from(2);
        }
    };
    crate::tell(&json!({"kind": "external", "listen": at.to_string(), "control": control_at.to_string()}));
    let network = Arc::new(Network {
        mode: Mutex::new(Mode::Ok),
        changed: Condvar::new(),
        rng: Mutex::new(Rng::new(seed, "external")),
        open: AtomicUsize::new(0),
    });
    thread::spawn(|| {
        // Content does not matter, only the end of it: nobody drives this any more.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let commands = Arc::clone(&network);
    thread::spawn(move || {
        for stream in control.incoming().flatten() {
            // A driver that breaks off its line has said nothing.
            let _ = obey(&commands, stream, &at.to_string());
        }
    });
    serve(&network, listener, &at.to_string())
}

fn obey(network: &Network, stream: TcpStream, own: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut line)?;
    let answer = match Mode::parse(&line) {
        Some(mode) => {
            network.set(mode);
            // Wakes the thread that waits for a connection.
            drop(TcpStream::connect(own));
            "done\n"
        }
        None => "unknown\n",
    };
    reader.get_mut().write_all(answer.as_bytes())
}

fn serve(network: &Arc<Network>, listener: TcpListener, at: &str) -> ExitCode {
    let mut listener = Some(listener);
    loop {
        if network.mode() == Mode::Down {
            listener = None;
            let mode = network.mode.lock().unwrap_or_else(PoisonError::into_inner);
            drop(network.changed.wait_while(mode, |mode| *mode == Mode::Down));
            continue;
        }
        let Some(open) = &listener else {
            listener = TcpListener::bind(at).ok();
            if listener.is_none() {
                thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        let Ok((stream, _)) = open.accept() else {
            continue;
        };
        if network.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            network.open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let shared = Arc::clone(network);
        let run = move || {
            // A caller that goes away concerns nobody else.
            let _ = converse(&shared, stream);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().stack_size(STACK_BYTES).spawn(run).is_err() {
            network.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn converse(network: &Network, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = BufReader::with_capacity(1024, stream);
    while let Some(message) = http::read_message(&mut reader)? {
        let mode = network.mode();
        let usual = network.draw(|rng| rng.range(USUAL_MS.0, USUAL_MS.1));
        thread::sleep(Duration::from_secs_f64(usual / 1000.0));
        match mode {
            Mode::Down => return Ok(()),
            Mode::Hang => {
                thread::sleep(HANG);
                return Ok(());
            }
            Mode::Slow { ms } => thread::sleep(Duration::from_millis(ms)),
            Mode::Ok | Mode::Errors { .. } => {}
        }
        let failed = matches!(mode, Mode::Errors { per_mille } if network.draw(|rng| rng.below(1000)) < per_mille);
        let answer = if failed {
            http::response(503, &[], b"{\"error\":\"acquirer temporarily unavailable\"}")
        } else {
            let approved = network.draw(|rng| rng.chance(0.985));
            let trace = network.draw(Rng::next);
            let body = json!({"approved": approved, "trace": format!("{trace:012x}")}).to_string();
            http::response(200, &[], body.as_bytes())
        };
        reader.get_mut().write_all(&answer)?;
        if message.closes() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn control_lines_are_exact() {
        assert_eq!(Mode::parse("ok\n"), Some(Mode::Ok));
        assert_eq!(Mode::parse("slow 900"), Some(Mode::Slow { ms: 900 }));
        assert_eq!(Mode::parse("errors 400"), Some(Mode::Errors { per_mille: 400 }));
        for line in ["", "ok 1", "slow", "slow x", "slow 1 2", "explode"] {
            assert_eq!(Mode::parse(line), None, "{line:?}");
        }
    }
}
