//! Killing the server, the shim and their children, and what is found afterwards.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use opsward_domain::fault::Code;
use opsward_ports::provider::Provider as _;
use opsward_ports::provider::conformance::{action, apply, step};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::bench::{Bench, eventually, fetch, lives, open, signal, web, with};

/// A server that applies what it reads from its input and then waits to be killed.
pub(crate) const ROLE: &str = "__server";

pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_killed_server_leaves_everything_running_and_adopts_it", adoption),
    ("a_step_interrupted_by_a_kill_is_answered", interrupted),
    ("a_removal_interrupted_by_a_kill_is_answered", interrupted_removal),
    ("a_call_interrupted_by_a_kill_is_not_repeated", interrupted_call),
    ("a_killed_shim_comes_back_with_everything", killed_shim),
    ("a_shim_whose_folder_is_gone_ends", homeless),
    ("runaway_children_are_reaped", runaways),
    ("two_servers_on_one_folder_are_refused", two_servers),
    ("shutdown_keeps_or_stops_workloads", shutdown),
    ("damaged_state_is_refused_by_name", damaged),
];

pub(crate) fn serve(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let root = std::path::PathBuf::from(&args[0]);
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        for line in std::io::stdin().lock().lines() {
            let mut request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let (key, kind) = (request["key"].take(), request["kind"].take());
            let (key, kind) = (key.as_str().unwrap(), kind.as_str().unwrap());
            let step = step(&bench.provider, &bench.cx, &bench.workspace, action(kind, request["fields"].take())).await;
            println!("begun");
            match apply(&bench.provider, &bench.cx, step, key).await {
                Ok(outcome) => println!("done {}", outcome.summary),
                Err(fault) => println!("failed {fault}"),
            }
        }
    });
    ExitCode::SUCCESS
}

struct Server {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(root: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(ROLE).arg(root).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }
    fn begin(&mut self, key: &str, kind: &str, fields: Value) {
        let request = json!({"key": key, "kind": kind, "fields": fields});
        writeln!(self.child.stdin.as_mut().unwrap(), "{request}").unwrap();
        assert_eq!(self.line(), "begun");
    }
    fn apply(&mut self, key: &str, kind: &str, fields: Value) {
        self.begin(key, kind, fields);
        let line = self.line();
        assert!(line.starts_with("done"), "{line}");
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A runtime and a folder on which servers come and go; what runs at the end is stopped.
fn on_root<F: Future<Output = ()>>(test: impl FnOnce(std::path::PathBuf) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        test(root.clone()).await;
        open(&root).await.unwrap().shutdown(false).await.unwrap();
    });
}

fn adoption() {
    on_root(async |root| {
        let mut server = Server::start(&root);
        server.apply("k1", "create_workspace", json!({"memory_bytes_max": 4_u64 << 30}));
        server.apply("k2", "deploy_workload", json!({"workload": "web", "spec": web("1", 2)}));
        server.kill();
        let state: Value =
            serde_json::from_slice(&std::fs::read(root.join("tenants/acme/shop/state.json")).unwrap()).unwrap();
        let address = format!("127.0.0.1:{}", state["workloads"]["web"]["port"]);
        let before = fetch(&address, "/id").await.expect("served while no server runs");
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        let status = bench.status("web").await;
        assert!(status.settled() && status.address == Some(address));
        let pids: Vec<String> = status.replicas.iter().map(|it| it.pid.unwrap().to_string()).collect();
        assert!(pids.contains(&before.split(' ').next().unwrap().to_owned()), "adopted, not started anew");
        assert!(status.replicas.iter().all(|it| it.restarts == 0));
        assert!(bench.provider.lookup(&bench.cx, "k2").await.unwrap().is_some());
        bench.deploy("web", web("2", 1)).await;
        bench.provider.shutdown(true).await.unwrap();
    });
}

fn interrupted() {
    on_root(async |root| {
        let mut server = Server::start(&root);
        server.apply("k1", "create_workspace", json!({"memory_bytes_max": 4_u64 << 30}));
        let mut slow = web("1", 1);
        slow["env"]["START_MS"] = json!("1500");
        server.begin("k2", "deploy_workload", json!({"workload": "web", "spec": slow}));
        let state = root.join("tenants/acme/shop/state.json");
        eventually("the change is committed", || std::fs::read_to_string(&state).unwrap().contains("k2"));
        server.kill();
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        let outcome = bench.provider.lookup(&bench.cx, "k2").await.unwrap().expect("it took effect");
        assert_eq!(outcome.result["revision"], 1, "{outcome:?}");
        let status = bench.status("web").await;
        assert!(status.settled() && status.revision == 1 && status.replicas[0].restarts == 0, "{status:?}");
        assert_eq!(bench.provider.lookup(&bench.cx, "k3").await.unwrap(), None);
        bench.provider.shutdown(true).await.unwrap();
    });
}

fn interrupted_removal() {
    on_root(async |root| {
        let mut server = Server::start(&root);
        server.apply("k1", "create_workspace", json!({"memory_bytes_max": 4_u64 << 30}));
        let script = "trap '' TERM; while true; do sleep 0.1; done";
        let spec = json!({"version": "1", "command": ["sh", "-c", script], "replicas": 1,
            "limits": {"memory_bytes": 64 << 20}});
        server.apply("k2", "deploy_workload", json!({"workload": "mule", "spec": spec}));
        server.begin("k3", "delete_workspace", json!({}));
        let folder = root.join("tenants/acme/shop");
        eventually("the removal is committed", || {
            std::fs::read_to_string(folder.join("state.json")).map_or(true, |text| text.contains("k3"))
        });
        server.kill();
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        assert!(bench.provider.lookup(&bench.cx, "k3").await.unwrap().is_some());
        assert!(!folder.exists());
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        bench.provider.shutdown(false).await.unwrap();
    });
}

fn interrupted_call() {
    on_root(async |root| {
        let mut server = Server::start(&root);
        server.apply("k1", "create_workspace", json!({"memory_bytes_max": 4_u64 << 30}));
        let text = "export default function () { for (;;) {} }";
        let slow = json!({"function": "slow", "timeout_ms": 60_000, "memory_bytes_max": 32 << 20,
            "source": {"runtime": "javascript", "text": text}});
        server.apply("k2", "deploy_function", slow);
        server.begin("k3", "invoke_function", json!({"function": "slow", "input": null}));
        let state = root.join("tenants/acme/shop/state.json");
        eventually("the call is committed", || std::fs::read_to_string(&state).unwrap().contains("k3"));
        server.kill();
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        let outcome = bench.provider.lookup(&bench.cx, "k3").await.unwrap().expect("it was begun");
        assert_eq!(outcome.result["status"], "interrupted");
        bench.provider.shutdown(true).await.unwrap();
    });
}

fn shim_pid(bench: &Bench) -> u32 {
    let text = std::fs::read_to_string(bench.folder().join("shim.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["pid"].as_u64().unwrap().try_into().unwrap()
}

fn killed_shim() {
    with(async |bench| {
        bench.deploy("web", web("1", 2)).await;
        let before = bench.status("web").await;
        signal(shim_pid(&bench), Signal::KILL);
        for replica in &before.replicas {
            eventually("replicas die with their shim", || !lives(replica.pid.unwrap()));
        }
        let after = bench.until("web", "back", |status| status.settled()).await;
        assert_eq!(after.address, before.address);
        bench.get("web", "/id").await;
    });
}

fn homeless() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let bench = Bench::on(open(dir.path()).await.unwrap(), dir.path().to_owned(), None);
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        bench.deploy("web", web("1", 1)).await;
        let (shim, pid) = (shim_pid(&bench), bench.status("web").await.replicas[0].pid.unwrap());
        bench.provider.shutdown(true).await.unwrap();
        drop(dir);
        eventually("the shim and its replica end", || !lives(shim) && !lives(pid));
    });
}

fn runaways() {
    with(async |bench| {
        let note = "echo $! > $HOME/../pid";
        let script = format!("setsid sh -c 'sleep 3600 & echo $! > /proc/self/cwd/pid; wait' & {note}; sleep 3600");
        let spec = json!({"version": "1", "command": ["sh", "-c", script.replace("/proc/self/cwd/", "")],
            "replicas": 1, "limits": {"memory_bytes": 64 << 20}});
        bench.deploy("leaky", spec).await;
        let file = bench.folder().join("run/leaky/0/pid");
        eventually("the grandchild runs", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
        let grandchild: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        assert!(lives(grandchild));
        signal(bench.status("leaky").await.replicas[0].pid.unwrap(), Signal::KILL);
        eventually("a child in a session of its own dies with its replica", || !lives(grandchild));

        bench.until("leaky", "restarted", |status| status.settled()).await;
        eventually("the next one runs", || {
            let pid = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            pid.is_some_and(|pid: u32| pid != grandchild && lives(pid))
        });
        let next: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        signal(shim_pid(&bench), Signal::KILL);
        eventually("the next shim reaps what the dead one left", || !lives(next));
        bench.done("delete_workload", json!({"workload": "leaky"})).await;
    });
}

fn two_servers() {
    with(async |bench| {
        let fault = open(&bench.root).await.err().expect("a second server is refused");
        assert_eq!(fault.code, Code::Conflict);
        assert!(fault.detail.contains(&std::process::id().to_string()), "{fault}");
    });
}

fn shutdown() {
    on_root(async |root| {
        let bench = Bench::on(open(&root).await.unwrap(), root.clone(), None);
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        bench.deploy("web", web("1", 1)).await;
        let (shim, pid) = (shim_pid(&bench), bench.status("web").await.replicas[0].pid.unwrap());
        bench.provider.shutdown(true).await.unwrap();
        assert!(lives(shim) && lives(pid));
        let bench = Bench::on(open(&root).await.unwrap(), root, None);
        assert_eq!(bench.status("web").await.replicas[0].pid, Some(pid));
        bench.provider.shutdown(false).await.unwrap();
        assert!(!lives(shim) && !lives(pid));
    });
}

fn damaged() {
    on_root(async |root| {
        let bench = Bench::on(open(&root).await.unwrap(), root.clone(), None);
        bench.done("create_workspace", json!({"memory_bytes_max": 4_u64 << 30})).await;
        bench.provider.shutdown(false).await.unwrap();
        let path = root.join("tenants/acme/shop/state.json");
        let good = std::fs::read_to_string(&path).unwrap();
        for (bad, why) in [
            (good.replacen("\"format\":1", "\"format\":99", 1), "form 99"),
            (good[..good.len() / 2].to_owned(), "state.json"),
            (good.replacen("acme", "globex", 1), "another's folder"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let fault = open(&root).await.err().expect("refused");
            assert_eq!(fault.code, Code::Corrupt, "{fault}");
            assert!(fault.to_string().contains(why), "{fault}");
        }
        std::fs::write(&path, good).unwrap();
        let blocked = root.join("file");
        std::fs::write(&blocked, "x").unwrap();
        assert_eq!(open(&blocked).await.err().unwrap().code, Code::Unavailable);
    });
}
