//! Starts the demo's roles and reads their lines, for a test that drives a demonstration.
//! Must never let a role outlive its handle, nor look into what a role does beyond its lines.

use opsward_demo::driver::lines::{ClientLine, ExternalLine, InjectorLine};
use opsward_demo::world::Traffic;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait to be read; beyond it the role waits.
const LINES_MAX: usize = 65_536;

/// A running role: a process of its own that writes `Line`s. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Role<Line> {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Result<Line, String>>,
}

/// The card network outside the platform.
pub(crate) type External = Role<ExternalLine>;
/// The client and judge.
pub(crate) type Client = Role<ClientLine>;
/// The injector.
pub(crate) type Injector = Role<InjectorLine>;

/// What an injector is told; see [`Injector::inject`].
#[derive(Debug, Clone)]
pub(crate) struct Injection<'a> {
    /// Where the public interface is, for example `http://127.0.0.1:8080`.
    pub(crate) api: &'a str,
    /// File with the token of an ordinary developer.
    pub(crate) token_file: &'a Path,
    /// The workspace in which the world was deployed.
    pub(crate) workspace: &'a str,
    /// Name of the incident.
    pub(crate) incident: &'a str,
    /// Play the healthy twin instead.
    pub(crate) twin: bool,
    /// Varies victim, magnitude, onset and decoys; the world must be of the same seed.
    pub(crate) seed: u64,
    /// Scales the waits of the scenario, 0.01 to 10; 1 is natural.
    pub(crate) pace: f64,
    /// Control address of the external network.
    pub(crate) external_control: &'a str,
}

impl<Line: DeserializeOwned + Send + 'static> Role<Line> {
    fn start(program: &Path, args: &[String]) -> io::Result<Self> {
        let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (sender, lines) = sync_channel(LINES_MAX);
        let (stdin, out) = (child.stdin.take(), child.stdout.take());
        // From here on the handle ends the process, whatever fails.
        let role = Self { child, stdin, lines };
        let out = out.ok_or(io::ErrorKind::BrokenPipe)?;
        thread::Builder::new().name("role-lines".to_owned()).spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).map_err(|cause| format!("{cause}: {line}"));
                if sender.send(parsed).is_err() {
                    return;
                }
            }
        })?;
        Ok(role)
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When the role has ended.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{line}\n").as_bytes())
    }

    /// Its next line; `None` when there was none in time or the role has ended. The error is a line
    /// that is not one of the role's.
    pub(crate) fn next(&self, within: Duration) -> Option<Result<Line, String>> {
        self.lines.recv_timeout(within).ok()
    }
}

impl<Line> Drop for Role<Line> {
    fn drop(&mut self) {
        // Closing its input lets it put things right; killing it is for when it does not.
        drop(self.stdin.take());
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // It may have ended between the look and the kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn words(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

impl External {
    /// Starts the card network on free ports; its first line says which.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn serve(program: &Path, seed: u64) -> io::Result<Self> {
        Self::start(program, &words(&["__demo-external", "--seed", &seed.to_string()]))
    }
}

impl Client {
    /// Starts traffic to `target` (`host:port`). Verdicts need at least `least` requests.
    /// It understands `calibrate N`, `judge N`, `traffic rate=R [buy=S] [search=S]` and `stop`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn visit(program: &Path, target: &str, traffic: Traffic, seed: u64, least: usize) -> io::Result<Self> {
        let mut args = words(&["__demo-client", "--target", target, "--seed", &seed.to_string()]);
        for (name, value) in [("--rate", traffic.rate), ("--buy", traffic.buy), ("--search", traffic.search)] {
            args.extend([name.to_owned(), value.to_string()]);
        }
        args.extend(["--min-sample".to_owned(), least.to_string()]);
        Self::start(program, &args)
    }
}

impl Injector {
    /// Plays a scenario. Keep it until the run is over: some causes have to be held, and it lets
    /// go of them when it is dropped. Pass its [`InjectorLine::Client`] lines on to the client.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn inject(program: &Path, what: &Injection<'_>) -> io::Result<Self> {
        let token_file = what.token_file.display().to_string();
        let (seed, pace) = (what.seed.to_string(), what.pace.to_string());
        let mut args = words(&[
            "__demo-inject",
            "--api",
            what.api,
            "--token-file",
            &token_file,
            "--workspace",
            what.workspace,
            "--incident",
            what.incident,
            "--seed",
            &seed,
            "--pace",
            &pace,
            "--external-control",
            what.external_control,
        ]);
        if what.twin {
            args.push("--twin".to_owned());
        }
        Self::start(program, &args)
    }
}
