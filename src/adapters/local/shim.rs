//! The shim of one workspace: parent of its replicas, keeper of their output, balancer of their
//! addresses. It outlives the server and holds nothing of it; when it dies, its replicas die.

mod balance;
mod control;
mod core;
mod health;
pub(crate) mod jail;
pub(crate) mod leftovers;
mod limits;
mod output;
mod replica;
mod rollout;
pub(crate) mod spawn;

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, WaitOptions};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use self::core::Core;
pub(crate) use self::output::plain;
use crate::disk;
use crate::folder::Folder;
use crate::options::ShimOptions;
use crate::procfs;
use crate::spool::Spool;
use crate::wire::Identity;

/// First argument that makes our program a shim.
pub const ROLE: &str = "__shim";
/// Time between looks while something moves, and while nothing does.
const BUSY_TICK_MS: u64 = 50;
const IDLE_TICK_MS: u64 = 1_000;

/// Enters the shim role: `args` are those after the program's name, with or without the role word,
/// then the workspace folder and the bounds as JSON. Call before anything else exists in the process.
pub fn role_main(args: &[String]) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The provider reads this as the reason; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<(), String> {
    let args = args.strip_prefix(&[ROLE.to_owned()]).unwrap_or(args);
    let [folder, bounds] = args else { return Err("usage: __shim FOLDER BOUNDS".into()) };
    let bounds: ShimOptions = serde_json::from_str(bounds).map_err(|error| format!("bounds: {error}"))?;
    let folder = Folder::new(PathBuf::from(folder));
    std::env::set_current_dir(folder.path()).map_err(|error| format!("{}: {error}", folder.path().display()))?;
    let lock = File::create(folder.shim_lock()).map_err(|error| format!("lock: {error}"))?;
    lock.try_lock().map_err(|error| format!("another shim has this folder: {error}"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| error.to_string())?;
    let files = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: files.maximum, maximum: files.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).map_err(|error| format!("open files: {error}"))?;
    if !leftovers::reap(&folder) {
        return Err("processes of an earlier shim cannot be killed".into());
    }
    disk::remove_tree(&folder.run()).map_err(|error| format!("own folders: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, supervise(folder, bounds));
    drop(lock);
    done
}

async fn supervise(folder: Folder, bounds: ShimOptions) -> Result<(), String> {
    let say = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let token = std::fs::read_to_string(folder.token()).map_err(say("token"))?;
    let spool = Spool::open(&folder.logs(), bounds.segment_bytes, bounds.segments_max).map_err(say("logs"))?;
    let mut exits = signal(SignalKind::child()).map_err(say("signals"))?;
    let mut ends = signal(SignalKind::terminate()).map_err(say("signals"))?;
    let _ = std::fs::remove_file(folder.socket());
    // Relative, because a socket's path has 107 bytes at most.
    let listener = UnixListener::bind("shim.sock").map_err(say("socket"))?;
    std::fs::set_permissions("shim.sock", std::fs::Permissions::from_mode(0o600)).map_err(say("socket"))?;
    let (memory_ms, volume_ms) = (bounds.memory_interval_ms, bounds.volume_interval_ms);
    let core = Core::new(folder.clone(), bounds, spool);
    core.borrow_mut().reload()?;
    let pid = std::process::id();
    let identity = Identity { pid, started: procfs::stat(pid).map_or(0, |stat| stat.started) };
    let bytes = disk::encode(&identity).map_err(say("identity"))?;
    disk::write_whole(&folder.shim(), &bytes).map_err(say("identity"))?;
    tokio::task::spawn_local(accept(core.clone(), listener, token.trim().into()));
    let wake = core.borrow().wake.clone();
    let mut memory = tokio::time::interval(Duration::from_millis(memory_ms));
    let mut volumes = tokio::time::interval(Duration::from_millis(volume_ms));
    for interval in [&mut memory, &mut volumes] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        let moving = core.borrow_mut().tick(Instant::now());
        if core.borrow().stopping && core.borrow().replicas().next().is_none() {
            return Ok(());
        }
        let pause = Duration::from_millis(if moving { BUSY_TICK_MS } else { IDLE_TICK_MS });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wake.notified() => {}
            _ = exits.recv() => reap(&core),
            _ = ends.recv() => core.borrow_mut().stopping = true,
            _ = memory.tick() => limits::watch_memory(&mut core.borrow_mut()),
            _ = volumes.tick() => {
                if folder.state().try_exists().is_ok_and(|exists| !exists) {
                    // Somebody removed the workspace behind our back; nobody could ever stop us otherwise.
                    core.borrow_mut().stopping = true;
                }
                limits::watch_volumes(&mut core.borrow_mut());
                leftovers::kill_escaped(&core.borrow());
            }
        }
    }
}

async fn accept(core: Rc<RefCell<Core>>, listener: UnixListener, token: Rc<str>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(control::answer(core.clone(), token.clone(), stream));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(BUSY_TICK_MS)).await,
        }
    }
}

/// Collects every child that has ended.
fn reap(core: &RefCell<Core>) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
        core.borrow_mut().reaped(pid, status.exit_status(), status.terminating_signal());
    }
}
