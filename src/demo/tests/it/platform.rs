//! A platform in small: workloads as supervised processes behind balanced addresses, revisions,
//! rolling changes, restarts with backoff, volumes that fill up.
//! Must never know what a scenario is about.

use crate::replica::{Replica, free_port};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Ports tried for one address.
const PORT_TRIES: usize = 50;
const TICK: Duration = Duration::from_millis(100);
const READY_WITHIN: Duration = Duration::from_secs(20);
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(8);

struct Slot {
    replica: Option<Replica>,
    restarts: u32,
    due: Instant,
    probed: Instant,
}

struct Workload {
    port: u16,
    revisions: Vec<Value>,
    current: usize,
    slots: Vec<Slot>,
    turn: Arc<AtomicUsize>,
}

impl Workload {
    fn spec(&self) -> &Value {
        &self.revisions[self.current]
    }
}

#[derive(Default)]
struct State {
    workloads: BTreeMap<String, Workload>,
    volumes: BTreeMap<String, u64>,
}

pub(crate) struct Platform {
    root: tempfile::TempDir,
    state: Mutex<State>,
    acting: Mutex<()>,
    ended: AtomicBool,
}

fn folder_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().flatten().map(|e| e.metadata().map_or(0, |m| m.len())).sum()
}

impl Platform {
    pub(crate) fn start() -> Arc<Self> {
        let platform = Arc::new(Self {
            root: tempfile::tempdir().unwrap(),
            state: Mutex::default(),
            acting: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&platform);
        thread::spawn(move || {
            while let Some(platform) = weak.upgrade() {
                if platform.ended.load(Ordering::SeqCst) {
                    return;
                }
                platform.supervise();
                drop(platform);
                sleep(TICK);
            }
        });
        platform
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.state.lock().unwrap().workloads.clear();
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.root.path().join("volumes").join(name)
    }

    fn launch(&self, state: &State, name: &str, spec: &Value, revision: usize) -> Replica {
        let files = self.root.path().join(format!("{name}-{revision}"));
        // Written once: another replica of the revision may be reading.
        if std::fs::create_dir(&files).is_ok() {
            for (file, body) in spec["files"].as_object().unwrap() {
                let body = STANDARD.decode(body.as_str().unwrap()).unwrap();
                std::fs::write(files.join(file), body).unwrap();
            }
        }
        let expand = |text: &str| {
            let mut text = text.replace("${files}", files.to_str().unwrap());
            for (peer, workload) in &state.workloads {
                text = text.replace(&format!("${{addr:{peer}}}"), &format!("127.0.0.1:{}", workload.port));
            }
            for volume in state.volumes.keys() {
                text = text.replace(&format!("${{volume:{volume}}}"), self.volume(volume).to_str().unwrap());
            }
            text
        };
        Replica::start(spec, &expand, &self.root.path().join(format!("{name}.log")))
    }

    fn supervise(&self) {
        let mut guard = self.state.lock().unwrap();
        let names: Vec<String> = guard.workloads.keys().cloned().collect();
        for name in names {
            let workload = &guard.workloads[&name];
            let (spec, revision) = (workload.spec().clone(), workload.current);
            let full = spec["volumes"].as_array().into_iter().flatten().any(|volume| {
                let volume = volume.as_str().unwrap();
                folder_bytes(&self.volume(volume)) >= guard.volumes[volume]
            });
            for at in 0..workload.slots.len() {
                let start = {
                    let slot = &mut guard.workloads.get_mut(&name).unwrap().slots[at];
                    tend(slot, &spec["health"], full)
                };
                if start {
                    let replica = self.launch(&guard, &name, &spec, revision);
                    guard.workloads.get_mut(&name).unwrap().slots[at].replica = Some(replica);
                }
            }
        }
    }

    /// Replaces all processes by new ones of the current revision, new before old.
    fn roll(&self, name: &str) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        let count = {
            let state = self.state.lock().unwrap();
            state.workloads[name].spec()["replicas"].as_u64().unwrap()
        };
        let mut fresh: Vec<Replica> = {
            let state = self.state.lock().unwrap();
            let workload = &state.workloads[name];
            (0..count).map(|_| self.launch(&state, name, workload.spec(), workload.current)).collect()
        };
        let health = self.state.lock().unwrap().workloads[name].spec()["health"].clone();
        for replica in &mut fresh {
            while !replica.ready {
                if Instant::now() > until || !matches!(replica.child.try_wait(), Ok(None)) {
                    return Err(format!("{name} did not become ready"));
                }
                sleep(TICK);
                replica.probe(&health);
            }
        }
        let now = Instant::now();
        let slots =
            fresh.into_iter().map(|replica| Slot { replica: Some(replica), restarts: 0, due: now, probed: now });
        let slots: Vec<_> = slots.collect();
        let old = {
            let mut state = self.state.lock().unwrap();
            std::mem::replace(&mut state.workloads.get_mut(name).unwrap().slots, slots)
        };
        let leaving: Vec<_> =
            old.into_iter().filter_map(|slot| slot.replica).map(|replica| thread::spawn(|| replica.stop())).collect();
        leaving.into_iter().for_each(|thread| thread.join().unwrap());
        Ok(())
    }

    fn revise(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<(), String> {
        {
            let mut state = self.state.lock().unwrap();
            let workload = state.workloads.get_mut(name).ok_or(format!("no workload {name}"))?;
            let mut spec = workload.spec().clone();
            change(&mut spec);
            workload.revisions.push(spec);
            workload.current = workload.revisions.len() - 1;
        }
        self.roll(name)
    }

    /// Does an action of the public interface.
    pub(crate) fn act(self: &Arc<Self>, action: &Value) -> Result<(), String> {
        let _one_at_a_time = self.acting.lock().unwrap();
        let name = action["workload"].as_str().unwrap_or_default().to_owned();
        match action["kind"].as_str().unwrap() {
            "create_volume" | "resize_volume" => {
                let volume = action["volume"].as_str().unwrap();
                std::fs::create_dir_all(self.volume(volume)).unwrap();
                let size = action["size_bytes"].as_u64().unwrap();
                self.state.lock().unwrap().volumes.insert(volume.to_owned(), size);
                Ok(())
            }
            "deploy_workload" => {
                self.publish(&name);
                self.revise(&name, |spec| spec.clone_from(&action["spec"]))
            }
            "set_environment" => self.revise(&name, |spec| {
                for (key, value) in action["set"].as_object().into_iter().flatten() {
                    spec["env"][key] = value.clone();
                }
            }),
            "set_limits" => self.revise(&name, |spec| spec["limits"] = action["limits"].clone()),
            "scale_workload" => self.revise(&name, |spec| spec["replicas"] = action["replicas"].clone()),
            "restart_workload" => self.roll(&name),
            "rollback_workload" => {
                let to = action["revision"].as_u64().unwrap() as usize;
                let old = self.state.lock().unwrap().workloads[&name].revisions[to].clone();
                self.revise(&name, |spec| *spec = old)
            }
            kind => Err(format!("unknown action {kind}")),
        }
    }

    /// Gives a new workload its address.
    fn publish(self: &Arc<Self>, name: &str) {
        let mut state = self.state.lock().unwrap();
        if state.workloads.contains_key(name) {
            return;
        }
        // Somebody else may take a free port first; then the next one is tried.
        let taken = || {
            let port = free_port();
            TcpListener::bind(("127.0.0.1", port)).map(|listener| (port, listener))
        };
        let (port, listener) = (0..PORT_TRIES).find_map(|_| taken().ok()).unwrap();
        let turn = Arc::new(AtomicUsize::new(0));
        let workload = Workload { port, revisions: vec![json!({})], current: 0, slots: vec![], turn };
        state.workloads.insert(name.to_owned(), workload);
        let (weak, name) = (Arc::downgrade(self), name.to_owned());
        thread::spawn(move || {
            for inbound in listener.incoming().flatten() {
                let Some(platform) = weak.upgrade() else {
                    return;
                };
                if platform.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(port) = platform.choose(&name) {
                    thread::Builder::new().stack_size(96 * 1024).spawn(move || relay(inbound, port)).unwrap();
                }
            }
        });
    }

    fn choose(&self, name: &str) -> Option<u16> {
        let state = self.state.lock().unwrap();
        let workload = state.workloads.get(name)?;
        let ready: Vec<u16> = workload
            .slots
            .iter()
            .filter_map(|slot| slot.replica.as_ref().filter(|replica| replica.ready).map(|replica| replica.port))
            .collect();
        ready.get(workload.turn.fetch_add(1, Ordering::SeqCst) % ready.len().max(1)).copied()
    }

    /// What the interface shows of a workload.
    pub(crate) fn show(&self, name: &str) -> Option<Value> {
        let state = self.state.lock().unwrap();
        let workload = state.workloads.get(name)?;
        let replicas: Vec<Value> = workload
            .slots
            .iter()
            .enumerate()
            .map(|(index, slot)| json!({"index": index, "pid": slot.replica.as_ref().map(Replica::pid), "restarts": slot.restarts}))
            .collect();
        Some(json!({
            "name": name, "revision": workload.current, "spec": workload.spec(),
            "address": format!("127.0.0.1:{}", workload.port), "replicas": replicas,
        }))
    }

    /// An earlier revision's description.
    pub(crate) fn revision(&self, name: &str, revision: usize) -> Value {
        self.state.lock().unwrap().workloads[name].revisions[revision].clone()
    }
}

/// Looks after one process; gives whether it has to be started.
fn tend(slot: &mut Slot, health: &Value, full: bool) -> bool {
    let now = Instant::now();
    let Some(replica) = slot.replica.as_mut() else {
        return now >= slot.due;
    };
    if !matches!(replica.child.try_wait(), Ok(None)) {
        slot.replica = None;
        slot.due = now + (BACKOFF * 2u32.pow(slot.restarts.min(5))).min(BACKOFF_MAX);
        slot.restarts += 1;
        return false;
    }
    replica.limit_writes(full);
    replica.enforce_memory();
    let every = if replica.ready { 500 } else { 150 };
    if now.duration_since(slot.probed) >= Duration::from_millis(every) {
        slot.probed = now;
        replica.probe(health);
    }
    false
}

fn relay(inbound: TcpStream, port: u16) {
    let Ok(outbound) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    let (mut a, mut b) = (inbound.try_clone().unwrap(), outbound.try_clone().unwrap());
    let (mut c, mut d) = (inbound, outbound);
    for stream in [&c, &d] {
        let _ = stream.set_nodelay(true);
    }
    let back = thread::Builder::new().stack_size(96 * 1024).spawn(move || {
        let _ = std::io::copy(&mut d, &mut c);
        let _ = c.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut a, &mut b);
    let _ = b.shutdown(Shutdown::Write);
    let _ = back.unwrap().join();
}
