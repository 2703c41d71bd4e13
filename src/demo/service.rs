//! The service program: one generic server whose behaviour is its release artefact and whose
//! settings are its environment, as a real service's would be.
//! Must never know that it is part of a demonstration, nor who looks at it.

mod cache;
mod drain;
mod handle;
mod keyvalue;
mod log;
mod metrics;
mod pool;
mod retained;
mod server;
mod settings;
mod slots;
mod steps;
mod store;
mod tasks;

use crate::release::{Kind, Release, Step};
use crate::rng::Rng;
use log::Log;
use metrics::Metrics;
use pool::Pool;
use retained::Retained;
use settings::Settings;
use slots::Slots;
use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::Store;

/// Exit status for a start that the environment or the arguments made impossible.
const EXIT_CONFIG: u8 = 78;
/// Stack of a thread of the service; requests nest only a few calls deep.
const STACK_BYTES: usize = 256 * 1024;
/// Answer to a request that names no time limit of its own.
const REQUEST_TIMEOUT_MS: u64 = 2000;

/// Everything that the threads of one service share.
struct Service {
    release: Release,
    settings: Settings,
    log: Log,
    metrics: Metrics,
    slots: Slots,
    pools: BTreeMap<String, Pool>,
    retained: Retained,
    sockets: Mutex<Vec<UdpSocket>>,
    store: Option<Store>,
    ready: AtomicBool,
    draining: AtomicBool,
    rng: Mutex<Rng>,
    started: Instant,
}

/// Takes a lock whether or not a thread died while it held it; the values stay usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn peers<'a>(steps: &'a [Step], into: &mut Vec<&'a str>) {
    for step in steps {
        match step {
            Step::Call { peer, .. } => into.push(peer),
            Step::Lookup { peer, miss, .. } => {
                into.push(peer);
                peers(miss, into);
            }
            _ => {}
        }
    }
}

fn appends(release: &Release) -> bool {
    release.routes.iter().flat_map(|route| &route.steps).any(|step| matches!(step, Step::Append { .. }))
}

impl Service {
    fn new(release: Release, settings: Settings, log: Log) -> Result<Self, String> {
        for key in &release.require {
            if settings.text(key).is_none_or(str::is_empty) {
                return Err(format!("missing required variable {key}"));
            }
        }
        let mut names = Vec::new();
        release.routes.iter().for_each(|route| peers(&route.steps, &mut names));
        let mut pools = BTreeMap::new();
        for name in names {
            pools.insert(name.to_owned(), Pool::new(name, &settings)?);
        }
        let store = if appends(&release) { Some(Store::open(&settings)?) } else { None };
        let workers = settings.number("WORKERS", 8)?;
        let queue = settings.number("QUEUE_LIMIT", 64)?;
        Ok(Self {
            slots: Slots::new(workers as usize, queue as usize),
            retained: Retained::new(settings.number("HEAP_MB", 0)?),
            metrics: Metrics::default(),
            sockets: Mutex::new(Vec::new()),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            rng: Mutex::new(Rng::new(crate::clock::now_ms() ^ u64::from(std::process::id()), "service")),
            started: Instant::now(),
            release,
            settings,
            log,
            pools,
            store,
        })
    }

    fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && lock(&self.rng).below(1000) < per_mille
    }

    fn timeout(&self) -> Duration {
        let ms = self.settings.number("REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS);
        Duration::from_millis(ms.unwrap_or(REQUEST_TIMEOUT_MS))
    }
}

/// Value of `--name value` in the arguments.
pub(crate) fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).map(String::as_str)
}

/// Runs the service until it is told to stop.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let refuse = |text: String| {
        use std::io::Write;
        // Nowhere else to say it when standard error is gone.
        let _ = writeln!(std::io::stderr(), "fatal: {text}");
        ExitCode::from(EXIT_CONFIG)
    };
    let (Some(listen), Some(path)) = (option(args, "--listen"), option(args, "--release")) else {
        return refuse("usage: --listen HOST:PORT --release FILE".to_owned());
    };
    drain::hold_back_signals();
    let read = std::fs::read(path).map_err(|cause| cause.to_string());
    let release = match read.and_then(|bytes| Release::unpack(&bytes).map_err(|e| e.to_string())) {
        Ok(release) => release,
        Err(cause) => return refuse(format!("cannot load {path}: {cause}")),
    };
    let settings = Settings::from_env();
    let log = Log::new(&release, settings.text("LOG_LEVEL").unwrap_or("info"));
    let listener = match TcpListener::bind(listen) {
        Ok(listener) => listener,
        Err(cause) => return refuse(format!("listen {listen}: {cause}")),
    };
    if release.kind == Kind::KeyValue {
        return keyvalue::serve(&listener, &log);
    }
    let workload = release.service.clone();
    match Service::new(release, settings, log.clone()) {
        Ok(service) => run(Arc::new(service), &listener, listen),
        Err(cause) => {
            log.write("fatal", &format!("{workload} cannot start: {cause}"), &[], &[]);
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn run(service: Arc<Service>, listener: &TcpListener, listen: &str) -> ExitCode {
    let release = &service.release;
    let fields =
        [("version", release.version.clone()), ("commit", release.commit.clone()), ("listen", listen.to_owned())];
    service.log.write("info", &format!("starting {}", release.service), &fields, &[]);
    drain::watch(Arc::clone(&service));
    let warming = Arc::clone(&service);
    server::spawn("warmup", move || {
        std::thread::sleep(Duration::from_millis(warming.release.warmup_ms));
        cache::warm(&warming);
        warming.ready.store(true, Ordering::SeqCst);
        warming.log.write("info", "ready to serve", &[], &[]);
        tasks::run(&warming);
    });
    server::accept(&service, listener)
}
