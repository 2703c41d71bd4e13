//! The processes of a run: the service, the outside client, the external dependency, the injector. Each
//! is this binary entered again; each ends with the run, however it ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use opsward_demo::driver::lines::{ClientLine, ExternalLine, InjectorLine};
use opsward_domain::fault::Fault;
use opsward_surface::cli::Client;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest wait for a process to say its first line.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A process that speaks lines.
pub(crate) struct Player {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    /// Starts this binary with `args`.
    pub(crate) fn start(exe: &Path, args: &[String], log: Option<&Path>) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| {
            Fault::unavailable("a process of the demo cannot be started").detail(error.to_string())
        };
        let stderr = match log {
            Some(path) => Stdio::from(std::fs::File::create(path).map_err(failed)?),
            None => Stdio::null(),
        };
        let mut child = Command::new(exe)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| Fault::internal("a process has no output"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// The process, 0 once it has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// The next line, or `None` once the process has ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }

    /// The next line as a value.
    pub(crate) async fn value<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        match self.line().await {
            None => Ok(None),
            Some(line) => serde_json::from_str(&line).map(Some).map_err(|error| {
                Fault::internal("a process of the demo said something unexpected").detail(format!("{error}: {line}"))
            }),
        }
    }

    /// Says a line.
    pub(crate) async fn say(&mut self, line: &str) -> Result<(), Fault> {
        let Some(stdin) = &mut self.stdin else { return Err(Fault::internal("the process listens no more")) };
        let text = format!("{line}\n");
        stdin
            .write_all(text.as_bytes())
            .await
            .map_err(|error| Fault::unavailable("a process of the demo has ended").detail(error.to_string()))
    }

    /// Closes its standard input and waits for it, bounded; kills it after that.
    pub(crate) async fn end(mut self) {
        self.stdin = None;
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Sends SIGTERM and waits, bounded; kills it after that.
    pub(crate) async fn terminate(mut self) {
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Kills it the hard way, as a power cut would.
    pub(crate) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }
}

/// The service: its process, address and the owner's one-time link.
pub(crate) struct Service {
    /// The process.
    pub(crate) player: Player,
    /// Base address.
    pub(crate) address: String,
    /// The secret of the owner link.
    pub(crate) link: String,
}

impl Service {
    /// Starts `opsward up` on a data folder; port 0 takes a free one.
    pub(crate) async fn start(exe: &Path, data: &Path, listen: &str, extra: &[String]) -> Result<Self, Fault> {
        let mut args: Vec<String> = ["up", "--listen", listen, "--data"].map(str::to_owned).to_vec();
        args.push(data.display().to_string());
        args.extend(extra.iter().cloned());
        let log = data.join("service.log");
        let mut player = Player::start(exe, &args, Some(&log))?;
        let (mut address, mut link) = (None, None);
        let heard = tokio::time::timeout(START_WITHIN, async {
            while let Some(line) = player.line().await {
                if let Some(found) = line.strip_prefix("opsward listens on ") {
                    address = Some(found.to_owned());
                }
                if let Some((_, secret)) = line.split_once("#link=") {
                    link = Some(secret.to_owned());
                    return;
                }
            }
        });
        let said = heard.await;
        match (address, link) {
            (Some(address), Some(link)) if said.is_ok() => Ok(Self { player, address, link }),
            _ => {
                let why = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = why.lines().rev().take(4).collect();
                Err(Fault::unavailable("the service did not start")
                    .detail(tail.into_iter().rev().collect::<Vec<_>>().join(" | ")))
            }
        }
    }

    /// Signs in with the link, once.
    pub(crate) async fn sign_in(&self) -> Result<Client, Fault> {
        let anonymous = Client::new(&self.address, None, true)?;
        let session = anonymous.post("/login", &json!({"link": self.link})).await?;
        Client::new(&self.address, session["token"].as_str().map(str::to_owned), true)
    }
}

/// Starts the external dependency; yields its process, its address and its control address.
pub(crate) async fn external(exe: &Path, seed: u64) -> Result<(Player, String, String), Fault> {
    let args = ["__demo-external", "--seed", &seed.to_string()].map(str::to_owned);
    let mut player = Player::start(exe, &args, None)?;
    let first = tokio::time::timeout(START_WITHIN, player.value::<ExternalLine>()).await;
    match first {
        Ok(Ok(Some(ExternalLine::External { listen, control }))) => Ok((player, listen, control)),
        _ => Err(Fault::unavailable("the external dependency of the demo did not start")),
    }
}

/// Starts the model that obeys whatever it reads; yields its process and its base address.
pub(crate) async fn model(exe: &Path) -> Result<(Player, String), Fault> {
    let mut player = Player::start(exe, &["__demo-model".to_owned()], None)?;
    let first = tokio::time::timeout(START_WITHIN, player.value::<serde_json::Value>()).await;
    match first {
        Ok(Ok(Some(line))) if line["base_url"].is_string() => {
            let address = line["base_url"].as_str().unwrap_or_default().to_owned();
            Ok((player, address))
        }
        _ => Err(Fault::unavailable("the model of the demo did not start")),
    }
}

/// A line of either the client or the injector.
pub(crate) enum Heard {
    /// The client spoke.
    Client(ClientLine),
    /// The injector spoke.
    Injector(InjectorLine),
    /// The injector ended.
    InjectorEnded,
}
