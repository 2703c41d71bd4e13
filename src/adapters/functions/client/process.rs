//! One host process: starting it, asking it, noticing its end.
//! It must never leave a question without an answer once the process is gone.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot, watch};

use crate::wire::{self, Answer, Ask, Name, PREFIX_BYTES, Reply, Request, WireError};
use crate::{Error, Isolation, Options, Result, host};

/// How long a killed process may take to be gone.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is needed to start a host.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) exe: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) options: Options,
}

type Answered = (Reply, Vec<u8>);

/// A host that was started and is locked down.
pub(super) struct Process {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    shared: Arc<Shared>,
    tickets: AtomicU64,
    known: Mutex<HashSet<Name>>,
    isolation: Isolation,
    pid: Option<u32>,
    /// Why the process ended; none while it lives.
    end: watch::Receiver<Option<String>>,
}

/// What the reading task shares with those who ask.
#[derive(Default)]
struct Shared {
    pending: Mutex<HashMap<u64, oneshot::Sender<Answered>>>,
    kill: Notify,
}

impl Process {
    pub(super) async fn start(launch: &Launch) -> Result<Self> {
        let failed = |error: io::Error| Error::Start { detail: error.to_string() };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let child = Command::new(&launch.exe)
            .args(&launch.args)
            .args(host::arguments(&launch.options))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child.id();
        let (mut reader, writer) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let wait = Duration::from_millis(launch.options.start_timeout_ms);
        let ready = tokio::time::timeout(wait, read(&mut reader)).await;
        let Ok(Ok((Answer { reply: Reply::Ready(isolation), .. }, _))) = ready else {
            return Err(Error::Start { detail: ending(child).await });
        };
        let shared = Arc::new(Shared::default());
        let (ended, end) = watch::channel(None);
        tokio::spawn(listen(reader, child, Arc::clone(&shared), ended));
        Ok(Self {
            writer: tokio::sync::Mutex::new(writer),
            shared,
            tickets: AtomicU64::new(1),
            known: Mutex::default(),
            isolation,
            pid,
            end,
        })
    }

    /// Asks and waits for the answer, at most `wait`: none when it did not come in time, after which the process must
    /// be killed (half of the question may have been written). Must not be dropped before it is done.
    pub(super) async fn ask(&self, name: Name, ask: Ask, body: &[u8], wait: Duration) -> Result<Option<Answered>> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let invalid = |error: WireError| Error::Invalid { field: "input", detail: error.to_string() };
        let frame = wire::encode(&Request { ticket, name, ask }, body).map_err(invalid)?;
        let (answer, answered) = oneshot::channel();
        self.shared.pending().insert(ticket, answer);
        let exchange = async {
            let mut writer = self.writer.lock().await;
            writer.write_all(&frame).await.ok()?;
            drop(writer);
            answered.await.ok()
        };
        match tokio::time::timeout(wait, exchange).await {
            Ok(Some(answered)) => Ok(Some(answered)),
            Ok(None) => Err(Error::Lost { detail: self.ended().await }),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.end.borrow().is_none() && self.end.has_changed().is_ok()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(super) fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Kills the process and waits until it is gone and all its questions have failed.
    pub(super) async fn kill(&self) {
        self.shared.kill.notify_one();
        self.ended().await;
    }

    /// The host answered something that was not asked for: it cannot be trusted any more.
    pub(super) async fn nonsense(&self) -> Error {
        self.kill().await;
        Error::Lost { detail: "it did not keep to the protocol".to_owned() }
    }

    async fn ended(&self) -> String {
        let mut end = self.end.clone();
        let ended = tokio::time::timeout(REAP_TIMEOUT, end.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(reason)) => reason.clone().unwrap_or_default(),
            _ => "it ended in an unknown way".to_owned(),
        }
    }

    pub(super) fn knows(&self, name: &Name) -> bool {
        self.known().contains(name)
    }

    pub(super) fn remember(&self, name: Name) {
        self.known().insert(name);
    }

    pub(super) fn forget(&self, name: &Name) {
        self.known().remove(name);
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answered>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes answers on until the socket ends, somebody asks to kill, or the host talks nonsense; then buries it.
async fn listen(mut reader: OwnedReadHalf, child: Child, shared: Arc<Shared>, ended: watch::Sender<Option<String>>) {
    loop {
        let (answer, body) = tokio::select! {
            frame = read(&mut reader) => match frame {
                Ok(frame) => frame,
                Err(_) => break,
            },
            () = shared.kill.notified() => break,
        };
        let asker = shared.pending().remove(&answer.ticket);
        if let Some(asker) = asker {
            // An asker that has gone meanwhile does not want to know.
            let _gone = asker.send((answer.reply, body));
        }
    }
    let reason = ending(child).await;
    ended.send_replace(Some(reason));
    shared.pending().clear();
}

/// Kills what is left of the process and says how it ended.
async fn ending(mut child: Child) -> String {
    // It may have ended by itself a moment ago, which says more than our kill.
    let by_itself = tokio::time::timeout(Duration::from_millis(50), child.wait()).await;
    if let Ok(Ok(status)) = by_itself {
        return describe(status);
    }
    if let Err(error) = child.start_kill() {
        return format!("it could not be killed: {error}");
    }
    match tokio::time::timeout(REAP_TIMEOUT, child.wait()).await {
        Ok(Ok(_)) => "it was killed".to_owned(),
        Ok(Err(error)) => format!("its end is unknown: {error}"),
        Err(_) => "it does not go away".to_owned(),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == libc::SIGSYS => "it made a system call that the jail forbids".to_owned(),
        (Some(signal), _) => format!("it died of signal {signal}"),
        (None, Some(code)) => host::meaning(code).to_owned(),
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}

async fn read(reader: &mut OwnedReadHalf) -> std::result::Result<(Answer, Vec<u8>), WireError> {
    let mut prefix = [0; PREFIX_BYTES];
    reader.read_exact(&mut prefix).await?;
    let (head, body) = wire::lengths(prefix)?;
    let (mut head, mut body) = (vec![0; head], vec![0; body]);
    reader.read_exact(&mut head).await?;
    reader.read_exact(&mut body).await?;
    Ok((wire::decode(&head)?, body))
}
