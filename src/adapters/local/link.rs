//! The provider's end of a workspace's shim: find it, start it, ask it, end it. Never trusts a process
//! id without its start time, never has two shims on one folder.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use opsward_domain::fault::Fault;
use opsward_domain::time::AtMs;
use opsward_ports::clock::{Clock, Entropy};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::disk;
use crate::folder::Folder;
use crate::options::{Options, ShimOptions};
use crate::procfs;
use crate::shim::ROLE;
use crate::wire::{Ask, FORMAT, Identity, LINE_BYTES_MAX, Reply, Report, Signed};

/// Unanswered questions in a row before a shim that is alive counts as lost.
const SILENT_MAX: u32 = 3;
/// Time between two looks while something is awaited.
const LOOK_MS: u64 = 10;

/// Bytes of a shim's last words that are shown.
const LAST_WORDS_BYTES: usize = 400;

/// A shim that has not answered yet. One that nobody waits for any more must not come up behind our back.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Ended already is as good.
            let _ = child.start_kill();
        }
    }
}

/// A connection that is made when needed.
pub(crate) struct Link {
    folder: Folder,
    exe: PathBuf,
    bounds: ShimOptions,
    timeout_ms: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stream: Mutex<Option<BufReader<UnixStream>>>,
    heard_at_ms: AtomicI64,
    silent: AtomicU32,
}

impl Link {
    pub(crate) fn new(folder: Folder, options: &Options, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            folder,
            exe: options.exe.clone(),
            bounds: options.shim.clone(),
            timeout_ms: options.shim_timeout_ms,
            clock,
            entropy,
            stream: Mutex::new(None),
            heard_at_ms: AtomicI64::new(AtMs::MIN),
            silent: AtomicU32::new(0),
        }
    }

    /// When the shim last answered.
    pub(crate) fn heard_at_ms(&self) -> AtMs {
        self.heard_at_ms.load(Ordering::Relaxed)
    }

    /// Asks the shim, starting one if there is none.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Reply, Fault> {
        let mut held = self.stream.lock().await;
        // Taken out: whoever gives up waiting leaves no connection behind that still owes an answer.
        if let Some(mut stream) = held.take()
            && let Ok(reply) = self.exchange(&mut stream, ask.clone()).await
        {
            *held = Some(stream);
            return self.heard(reply);
        }
        let mut stream = self.connect_or_start().await?;
        let reply = self.exchange(&mut stream, ask).await?;
        *held = Some(stream);
        self.heard(reply)
    }

    fn heard(&self, reply: Reply) -> Result<Reply, Fault> {
        self.silent.store(0, Ordering::Relaxed);
        self.heard_at_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        match reply {
            Reply::Refused { why } => Err(Fault::internal("the shim refused").detail(why)),
            reply => Ok(reply),
        }
    }

    /// What is running.
    pub(crate) async fn report(&self) -> Result<Report, Fault> {
        match self.ask(Ask::Report).await? {
            Reply::Report(report) => Ok(report),
            _ => Err(Fault::internal("the shim answered another question")),
        }
    }

    async fn exchange(&self, stream: &mut BufReader<UnixStream>, ask: Ask) -> Result<Reply, Fault> {
        let broken = |error: std::io::Error| Fault::unavailable("the shim does not answer").detail(error.to_string());
        let token = std::fs::read_to_string(self.folder.token()).map_err(broken)?;
        let mut bytes = disk::encode(&Signed { token: token.trim().to_owned(), ask }).map_err(broken)?;
        bytes.push(b'\n');
        let talk = async {
            stream.get_mut().write_all(&bytes).await?;
            let mut line = Vec::new();
            stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
            serde_json::from_slice(&line).map_err(std::io::Error::other)
        };
        match tokio::time::timeout(Duration::from_millis(self.timeout_ms), talk).await {
            Ok(reply) => reply.map_err(broken),
            Err(_) => {
                self.silent.fetch_add(1, Ordering::Relaxed);
                Err(Fault::unavailable("the shim does not answer").detail(format!("waited {} ms", self.timeout_ms)))
            }
        }
    }

    async fn connect(&self) -> std::io::Result<BufReader<UnixStream>> {
        // Through the folder's descriptor, because a socket's path has 107 bytes at most.
        let folder = File::open(self.folder.path())?;
        let path = format!("/proc/self/fd/{}/shim.sock", folder.as_raw_fd());
        UnixStream::connect(path).await.map(BufReader::new)
    }

    /// A connection to a shim that speaks our form.
    async fn greeted(&self) -> Result<BufReader<UnixStream>, Fault> {
        let absent = |error: std::io::Error| Fault::unavailable("there is no shim").detail(error.to_string());
        let mut stream = self.connect().await.map_err(absent)?;
        match self.exchange(&mut stream, Ask::Hello).await? {
            Reply::Hello { format: FORMAT, .. } => Ok(stream),
            _ => Err(Fault::unavailable("the shim speaks another form")),
        }
    }

    async fn connect_or_start(&self) -> Result<BufReader<UnixStream>, Fault> {
        let fault = match self.greeted().await {
            Ok(stream) => return Ok(stream),
            Err(fault) => fault,
        };
        let silent = self.silent.load(Ordering::Relaxed);
        if (1..SILENT_MAX).contains(&silent) {
            return Err(fault);
        }
        self.kill().await?;
        let mut starting = Starting(Some(self.spawn()?));
        let deadline = Instant::now() + Duration::from_millis(self.timeout_ms.max(1_000) * 2);
        loop {
            if let Ok(stream) = self.greeted().await {
                tracing::info!(folder = %self.folder.path().display(), "started the workspace's shim");
                if let Some(mut child) = starting.0.take() {
                    tokio::spawn(async move { child.wait().await });
                }
                return Ok(stream);
            }
            if let Some(Ok(Some(status))) = starting.0.as_mut().map(Child::try_wait) {
                return Err(Fault::unavailable("the shim ended at once").detail(self.last_words(status)));
            }
            if Instant::now() > deadline {
                return Err(Fault::unavailable("the shim does not come up"));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    fn last_words(&self, status: std::process::ExitStatus) -> String {
        let bytes = std::fs::read(self.folder.shim_log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LAST_WORDS_BYTES)]).trim().to_owned();
        if text.is_empty() { status.to_string() } else { text }
    }

    fn spawn(&self) -> Result<Child, Fault> {
        let failed = |error: &std::io::Error| disk::fault("the shim cannot be started", &self.exe, error);
        let token = self.folder.token();
        if !token.exists() {
            disk::write_durable(&token, self.entropy.secret_hex(32).as_bytes()).map_err(|error| failed(&error))?;
        }
        let log = File::create(self.folder.shim_log()).map_err(|error| failed(&error))?;
        let bounds = serde_json::to_string(&self.bounds).map_err(|error| failed(&error.into()))?;
        let mut command = Command::new(&self.exe);
        command.arg(ROLE).arg(self.folder.path()).arg(bounds).env_clear().process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().map_err(|error| failed(&error))
    }

    fn identity(&self) -> Option<Identity> {
        let identity: Identity = disk::read_json(&self.folder.shim()).ok().flatten()?;
        procfs::is_same(identity.pid, identity.started).then_some(identity)
    }

    /// Kills the shim that the folder names, if it lives, and waits for its end.
    async fn kill(&self) -> Result<(), Fault> {
        self.silent.store(0, Ordering::Relaxed);
        let Some(identity) = self.identity() else { return Ok(()) };
        let pid = i32::try_from(identity.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            tracing::warn!(pid = identity.pid, "killing a shim that does not answer");
            // It may have ended since.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        self.gone(self.timeout_ms).await
    }

    async fn gone(&self, within_ms: u64) -> Result<(), Fault> {
        let deadline = Instant::now() + Duration::from_millis(within_ms);
        while self.identity().is_some() {
            if Instant::now() > deadline {
                return Err(Fault::unavailable("the shim does not end"));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        Ok(())
    }

    /// Ends the shim and everything it runs, politely first.
    pub(crate) async fn end(&self) -> Result<(), Fault> {
        let mut held = self.stream.lock().await;
        *held = None;
        if let Ok(mut stream) = self.greeted().await {
            let _ = self.exchange(&mut stream, Ask::Stop).await;
            let grace_ms = self.bounds.stop_grace_ms + self.bounds.drain_ms + self.timeout_ms;
            if self.gone(grace_ms).await.is_ok() {
                return Ok(());
            }
        }
        self.kill().await
    }
}
