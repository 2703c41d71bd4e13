//! Starts the demo's roles and reads their lines, for the program that drives a demonstration.
//! Must never let a role outlive its handle, nor look into what a role does beyond its lines.

use crate::driver::lines::{ClientLine, ExternalLine, InjectorLine};
use crate::world::Traffic;
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
pub struct Role<Line> {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Result<Line, String>>,
}

/// The card network outside the platform.
pub type External = Role<ExternalLine>;
/// The client and judge.
pub type Client = Role<ClientLine>;
/// The injector.
pub type Injector = Role<InjectorLine>;

/// What an injector is told; see [`Injector::inject`].
#[derive(Debug, Clone)]
pub struct Injection<'a> {
    /// Where the public interface is, for example `http://127.0.0.1:8080`.
    pub api: &'a str,
    /// File with the token of an ordinary developer.
    pub token_file: &'a Path,
    /// The workspace in which the world was deployed.
    pub workspace: &'a str,
    /// Name of the incident.
    pub incident: &'a str,
    /// Play the healthy twin instead.
    pub twin: bool,
    /// Varies victim, magnitude, onset and decoys; the world must be of the same seed.
    pub seed: u64,
    /// Scales the waits of the scenario, 0.01 to 10; 1 is natural.
    pub pace: f64,
    /// Control address of the external network.
    pub external_control: &'a str,
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

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When the role has ended.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{line}\n").as_bytes())
    }

    /// Its next line; `None` when there was none in time or the role has ended. The error is a line
    /// that is not one of the role's.
    pub fn next(&self, within: Duration) -> Option<Result<Line, String>> {
        self.lines.recv_timeout(within).ok()
    }

    /// Whether the process is still there.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
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
    pub fn serve(program: &Path, seed: u64) -> io::Result<Self> {
        Self::start(program, &words(&["__demo-external", "--seed", &seed.to_string()]))
    }
}

impl Client {
    /// Starts traffic to `target` (`host:port`). Verdicts need at least `least` requests.
    /// It understands `calibrate N`, `judge N`, `traffic rate=R [buy=S] [search=S]` and `stop`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn visit(program: &Path, target: &str, traffic: Traffic, seed: u64, least: usize) -> io::Result<Self> {
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
    pub fn inject(program: &Path, what: &Injection<'_>) -> io::Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Client {
        Role::start(Path::new("/bin/sh"), &words(&["-c", script])).unwrap()
    }

    #[test]
    fn lines_are_read_and_strange_ones_are_errors() {
        let role = shell("echo '{\"kind\":\"error\",\"text\":\"x\"}'; echo hello");
        let within = Duration::from_secs(5);
        assert_eq!(role.next(within), Some(Ok(ClientLine::Error { text: "x".to_owned() })));
        assert!(role.next(within).is_some_and(|line| line.is_err_and(|text| text.contains("hello"))));
        assert_eq!(role.next(within), None);
    }

    #[test]
    fn a_role_hears_and_ends_with_its_handle() {
        let mut role = shell("read line; echo \"{\\\"kind\\\":\\\"error\\\",\\\"text\\\":\\\"$line\\\"}\"; sleep 60");
        assert!(role.runs());
        role.say("judge 500").unwrap();
        let heard = role.next(Duration::from_secs(5));
        assert_eq!(heard, Some(Ok(ClientLine::Error { text: "judge 500".to_owned() })));
        let pid = role.pid();
        drop(role);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(
            Client::visit(Path::new("/nowhere"), "h:1", Traffic { rate: 1.0, buy: 0.1, search: 0.1 }, 1, 500).is_err()
        );
    }
}
