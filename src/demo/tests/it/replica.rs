//! One process of a workload on the test's platform: start, readiness, limits, end.
//! Must never leave a process behind.

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const PROBE: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Replica {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) ready: bool,
    pub(crate) failures: u32,
    memory_bytes: u64,
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// A port below those that the system hands out to clients, so that no connection is in the way.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let base = 16_000 + (std::process::id() % 40) as u16 * 100;
        let port = base + NEXT.fetch_add(1, Ordering::SeqCst) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Replica {
    /// `expand` replaces `${...}` other than `${port}`.
    pub(crate) fn start(spec: &Value, expand: &dyn Fn(&str) -> String, logs: &Path) -> Self {
        let port = free_port();
        let expand = |text: &Value| expand(text.as_str().unwrap()).replace("${port}", &port.to_string());
        let command: Vec<String> = spec["command"].as_array().unwrap().iter().map(expand).collect();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(logs).unwrap();
        let child = Command::new("/bin/sh")
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            .args(command)
            .env_clear()
            .envs(spec["env"].as_object().unwrap().iter().map(|(key, value)| (key, expand(value))))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let files = spec["limits"]["open_files"].as_u64();
        prlimit(Some(pid(&child)), Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
        let memory_bytes = spec["limits"]["memory_bytes"].as_u64().unwrap();
        Self { child, port, ready: false, failures: 0, memory_bytes }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn probe(&mut self, health: &Value) {
        if self.probed(health).is_some() {
            (self.ready, self.failures) = (true, 0);
        } else {
            self.failures += 1;
            self.ready &= self.failures < 3;
        }
    }

    fn probed(&self, health: &Value) -> Option<()> {
        let addr = format!("127.0.0.1:{}", self.port).parse().ok()?;
        let mut stream = TcpStream::connect_timeout(&addr, PROBE).ok()?;
        let Some(path) = health["http_path"].as_str() else {
            return Some(());
        };
        stream.set_read_timeout(Some(PROBE)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        (&answer == b"HTTP/1.1 200").then_some(())
    }

    /// Resident memory above the limit ends it, as on the real platform.
    pub(crate) fn enforce_memory(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        if kib.unwrap_or(0u64) * 1024 > self.memory_bytes {
            let _ = self.child.kill();
        }
    }

    /// No more bytes in files, or as many as it likes.
    pub(crate) fn limit_writes(&self, full: bool) {
        let limit = Rlimit { current: full.then_some(0), maximum: None };
        let _ = prlimit(Some(pid(&self.child)), Resource::Fsize, limit);
    }

    /// Asks it to leave, then insists.
    pub(crate) fn stop(mut self) {
        let _ = kill_process(pid(&self.child), Signal::TERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
