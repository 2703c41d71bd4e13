//! The real service as a process: bad days at start, who is let in, a first action and its record.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{binary, end_processes_of};

/// A running service with a data folder of its own; gone with its workloads when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: String,
    link: String,
    pub(crate) data: Arc<TempDir>,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()))
    }

    pub(crate) fn start_in(data: Arc<TempDir>) -> Self {
        Self::start_with(data, &[])
    }

    /// With further arguments of `up`.
    pub(crate) fn start_with(data: Arc<TempDir>, more: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |prefix: &str| {
            let line = lines.next().expect("the service ended").unwrap();
            line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let address = next("opsward listens on ");
        let link = next("owner link (once, 24 h): ").split_once("#link=").unwrap().1.to_owned();
        let service = Self { child, address, link, data };
        service.wait_ready();
        service
    }

    fn wait_ready(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if self.curl(&["-s", &format!("{}/readyz", self.address)]) == "ready\n" {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the service did not become ready");
    }

    pub(crate) fn curl(&self, args: &[&str]) -> String {
        let output = Command::new("curl").args(["--max-time", "90"]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn call(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
        let bearer = format!("Authorization: Bearer {token}");
        let url = format!("{}/api/v1{path}", self.address);
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut args = vec!["-s", "-X", method, "-H", &bearer];
        if body.is_some() {
            args.extend(["-H", "content-type: application/json", "-d", &text]);
        }
        args.push(&url);
        let said = self.curl(&args);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{method} {path}: {said}"))
    }

    pub(crate) fn sign_in(&self) -> String {
        let answer = self.call("", "POST", "/login", Some(&json!({"link": self.link})));
        answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub(crate) fn command(&self, token: &str, args: &[&str]) -> Output {
        Command::new(binary())
            .args(args)
            .env("OPSWARD_SERVER", &self.address)
            .env("OPSWARD_TOKEN", token)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Service {
    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server in order; its workloads go on until this is dropped.
    pub(crate) fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "it did not end in order");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_processes_of(self.data.path());
    }
}

/// What a command said, on both ways out.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn only_known_callers_hosts_and_pages_are_let_in() {
    let service = Service::start();
    let me = format!("{}/api/v1/me", service.address);
    let status = |args: &[&str]| service.curl(&[&["-s", "-o", "/dev/null", "-w", "%{http_code}"], args].concat());
    assert_eq!(status(&[&me]), "403", "no token");
    assert_eq!(status(&["-H", "Authorization: Bearer ow_t1_00", &me]), "403", "a token nobody made");
    let token = service.sign_in();
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(status(&["-H", &bearer, &me]), "200", "the control");
    assert_eq!(status(&["-H", &bearer, "-H", "Host: evil.example", &me]), "403", "a host that is not ours");
    assert_eq!(status(&["-H", &bearer, "-H", "Origin: http://evil.example", &me]), "403", "a page that is not ours");
    let again = service.call("", "POST", "/login", Some(&json!({"link": service.link})));
    assert_eq!(again["error"]["code"], "denied", "a link works once: {again}");
    let page = service.curl(&["-s", "-i", &format!("{}/", service.address)]);
    assert!(page.contains("content-security-policy") && page.contains("<title>opsward</title>"), "{page}");
}

#[test]
fn bad_starts_are_told_with_what_to_do() {
    let service = Service::start();
    let second = Command::new(binary())
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(service.data.path())
        .output()
        .unwrap();
    assert!(!second.status.success() && text(&second).contains("hint"), "two on one folder: {}", text(&second));
    let port = service.address.trim_start_matches("http://");
    let other = TempDir::new().unwrap();
    let taken = Command::new(binary()).args(["up", "--listen", port, "--data"]).arg(other.path()).output().unwrap();
    assert!(text(&taken).contains("--listen"), "{}", text(&taken));
    let file = other.path().join("bad.toml");
    std::fs::write(&file, "[server]\nlisten = 3\n").unwrap();
    let config = Command::new(binary()).args(["config", "check"]).arg(&file).output().unwrap();
    assert_eq!(config.status.code(), Some(2));
    assert!(text(&config).contains("line 2"), "{}", text(&config));
    let blocked = other.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    let folder =
        Command::new(binary()).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&blocked).output().unwrap();
    assert!(text(&folder).contains("--data") || text(&folder).contains("hint"), "{}", text(&folder));
}

#[test]
fn a_first_action_from_the_terminal_to_the_audit() {
    let service = Service::start();
    let token = service.sign_in();
    let waits = service.command(&token, &["create-workspace", "-w", "shop", "--memory-bytes-max", "1000000000"]);
    assert_eq!(waits.status.code(), Some(3), "without a yes it waits: {}", text(&waits));
    assert!(text(&waits).contains("opsward approve ok-"), "{}", text(&waits));
    let made =
        service.command(&token, &["create-workspace", "-w", "shop", "--memory-bytes-max", "1000000000", "--yes"]);
    assert!(made.status.success(), "{}", text(&made));
    let spec = json!({"version": "1", "command": ["/bin/sleep", "1000"], "replicas": 2, "limits": {"memory_bytes": 33_554_432}});
    let spec = spec.to_string();
    let deploy =
        service.command(&token, &["deploy-workload", "-w", "shop", "--workload", "nap", "--spec", &spec, "--yes"]);
    assert!(deploy.status.success(), "{}", text(&deploy));
    let scale = service.command(&token, &["scale-workload", "--workload", "nap", "--replicas", "1", "--yes", "--json"]);
    let run: Value = serde_json::from_slice(&scale.stdout).unwrap();
    assert_eq!(run["status"], "succeeded", "{run}");
    let status = service.command(&token, &["status", "-w", "shop"]);
    assert!(text(&status).contains("nap") && text(&status).contains("1/1"), "{}", text(&status));
    let trail = service.command(&token, &["audit", "explain", &format!("command/{}", run["run"].as_str().unwrap())]);
    assert!(text(&trail).contains("owner said yes") && text(&trail).contains("step 0 applied"), "{}", text(&trail));
    let verify = service.command(&token, &["audit", "verify"]);
    assert!(verify.status.success() && text(&verify).contains("\"damage\": []"), "{}", text(&verify));
    for (args, code, says) in [
        (vec!["scale-workload", "--workload", "nope", "--replicas", "1"], 1, "does not exist"),
        (vec!["scale-workload", "--workload", "../nap", "--replicas", "1"], 2, "not a valid name"),
        (vec!["rollback-workload", "--workload", "nap", "--revision", "99"], 1, "no revision 99"),
        (vec!["action", "run", "{\"kind\":\"format_disk\"}"], 1, "no action"),
        (vec!["tool", "show", "nope"], 1, "no tool"),
        (vec!["incident", "show", "i-0"], 1, "no incident"),
    ] {
        let output = service.command(&token, &args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(says), "{args:?}: {}", text(&output));
    }
}
