//! Workloads, volumes, isolation and bad input, on a provider that nobody kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use opsward_domain::fault::Code;
use opsward_domain::resource::ReplicaState;
use opsward_ports::provider::conformance::{Kit, suite};
use opsward_ports::provider::{Observation, Provider as _, Query};
use rustix::process::Signal;
use serde_json::json;

use super::bench::{eventually, fetch, fetch_blocking, lives, signal, web, with};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("conforms", conforms),
    ("balances_and_survives_a_dead_replica", balances),
    ("half_closed_connections_get_their_answer", half_close),
    ("rolls_without_a_failed_request", rolls),
    ("a_bad_release_leaves_the_old_one_serving", bad_release),
    ("bad_specs_are_refused_before_anything_happens", bad_specs),
    ("a_crash_loop_is_told", crash_loop),
    ("a_port_that_nobody_binds_is_told", silent_port),
    ("a_memory_hog_is_killed_with_its_reason", memory_hog),
    ("a_full_volume_fails_writes_until_it_grows", full_volume),
    ("a_stopped_process_is_unhealthy_and_a_restart_helps", stopped_process),
    ("replicas_see_what_they_should", environment),
    ("replicas_cannot_leave_their_folder", confinement),
    ("the_platform_says_what_holds", platform),
    ("a_workspace_has_bounded_memory", workspace_memory),
    ("stubborn_processes_are_killed_after_grace", stubborn),
    ("a_job_runs_once", job),
];

fn conforms() {
    with(async |bench| {
        let kit = Kit {
            command: vec!["sleep".into(), "3600".into()],
            functions: true,
            backups: true,
            image: None,
            restart_rolls: false,
            rollback_renumbers: false,
        };
        suite(&bench.provider, &kit).await;
    });
}

fn balances() {
    with(async |bench| {
        bench.deploy("web", web("1", 2)).await;
        let address = bench.status("web").await.address.unwrap();
        let mut pids = std::collections::BTreeSet::new();
        for _ in 0..10 {
            pids.insert(fetch(&address, "/id").await.unwrap());
        }
        assert_eq!(pids.len(), 2, "{pids:?}");
        let victim = bench.status("web").await.replicas[0].pid.unwrap();
        signal(victim, Signal::KILL);
        eventually("the victim is dead", || !lives(victim));
        for _ in 0..50 {
            fetch(&address, "/id").await.unwrap();
        }
        let healed = bench.until("web", "settled again", |status| status.settled()).await;
        assert_ne!(healed.replicas[0].pid, Some(victim));
        assert_eq!(healed.replicas[0].restarts, 1);
        let exit = healed.replicas[0].last_exit.clone().unwrap();
        assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (None, Some(9), "exited"));
    });
}

fn half_close() {
    with(async |bench| {
        bench.deploy("web", web("1", 1)).await;
        let address = bench.status("web").await.address.unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"POST /drain HTTP/1.1\r\n\r\n0123456789").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        assert!(answer.await.unwrap().ends_with("ok 10"));
    });
}

fn rolls() {
    with(async |bench| {
        bench.deploy("web", web("1", 2)).await;
        let address = bench.status("web").await.address.unwrap();
        let (stop, failures, served) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (stop2, failures2, served2, address2) = (stop.clone(), failures.clone(), served.clone(), address.clone());
        let client = std::thread::spawn(move || {
            while !stop2.load(Ordering::SeqCst) {
                match fetch_blocking(&address2, "/id") {
                    Ok(_) => served2.fetch_add(1, Ordering::SeqCst),
                    Err(error) => {
                        eprintln!("a request failed: {error}");
                        failures2.fetch_add(1, Ordering::SeqCst)
                    }
                };
            }
        });
        bench.deploy("web", web("2", 2)).await;
        bench.done("restart_workload", json!({"workload": "web"})).await;
        bench.done("scale_workload", json!({"workload": "web", "replicas": 1})).await;
        stop.store(true, Ordering::SeqCst);
        client.join().unwrap();
        assert_eq!(failures.load(Ordering::SeqCst), 0);
        assert!(served.load(Ordering::SeqCst) > 20);
        assert!(fetch(&address, "/id").await.unwrap().ends_with(" 2"));
        assert_eq!(bench.status("web").await.address, Some(address), "the address is stable");
    });
}

fn bad_release() {
    with(async |bench| {
        bench.deploy("web", web("1", 2)).await;
        let mut bad = web("2", 2);
        bad["env"]["HEALTH"] = json!("500");
        let fault = bench.failed("deploy_workload", json!({"workload": "web", "spec": bad})).await;
        assert_eq!(fault.code, Code::Timeout, "{fault}");
        assert!(fault.detail.contains("GET /healthz answered 500"), "{fault}");
        for _ in 0..5 {
            assert!(bench.get("web", "/id").await.ends_with(" 1"), "the old revision serves");
        }
        let status = bench.status("web").await;
        assert!(!status.settled() && status.revision == 2);
        bench.done("rollback_workload", json!({"workload": "web", "revision": 1})).await;
        let status = bench.status("web").await;
        assert!(status.settled() && status.revision == 3 && status.spec.version == "1");
    });
}

fn bad_specs() {
    with(async |bench| {
        let cases = [
            (json!(["no-such-program"]), json!({}), "there is no program"),
            (json!(["/etc/passwd"]), json!({}), "not executable"),
            (json!(["relative/path"]), json!({}), "absolute"),
            (json!(["sleep", "${addr:nobody}"]), json!({}), "nobody"),
            (json!(["sleep", "${port}"]), json!({}), "port"),
            (json!(["sleep", "1"]), json!({"V": "${volume:none}"}), "none"),
            (json!(["sleep", "1"]), json!({"V": "${files}"}), "files"),
        ];
        for (command, env, why) in cases {
            let spec = json!({"version": "1", "command": command, "env": env, "replicas": 1,
                "limits": {"memory_bytes": 64 << 20}});
            let fault = bench.failed("deploy_workload", json!({"workload": "bad", "spec": spec})).await;
            assert_eq!(fault.code, Code::InvalidInput, "{fault}");
            assert!(fault.detail.contains(why), "{fault}");
        }
        let spec = json!({"version": "1", "command": ["sleep", "1"], "files": {"a.txt": "not base64!"},
            "replicas": 1, "limits": {"memory_bytes": 64 << 20}});
        let fault = bench.failed("deploy_workload", json!({"workload": "bad", "spec": spec})).await;
        assert!(fault.message.contains("a.txt"), "{fault}");
        let query = Query::Workloads { workspace: bench.workspace.clone() };
        let list = bench.provider.observe(&bench.cx, &query).await.unwrap();
        assert_eq!(list, Observation::Workloads(Vec::new()));
    });
}

fn crash_loop() {
    with(async |bench| {
        let spec = json!({"version": "1", "command": ["sh", "-c", "echo FATAL no database; exit 3"], "replicas": 1,
            "limits": {"memory_bytes": 64 << 20}});
        let fault = bench.failed("deploy_workload", json!({"workload": "sick", "spec": spec})).await;
        assert_eq!(fault.code, Code::Unavailable, "{fault}");
        assert!(fault.detail.contains("code 3"), "{fault}");
        let status = bench.status("sick").await;
        assert!(status.replicas[0].restarts >= 3);
        assert_eq!(status.replicas[0].last_exit.as_ref().unwrap().code, Some(3));
        bench.done("delete_workload", json!({"workload": "sick"})).await;
    });
}

fn silent_port() {
    with(async |bench| {
        let mut spec = web("1", 1);
        spec["command"] = json!(["sleep", "3600"]);
        let fault = bench.failed("deploy_workload", json!({"workload": "mute", "spec": spec.clone()})).await;
        assert_eq!(fault.code, Code::Timeout);
        assert!(fault.detail.contains("connection refused"), "{fault}");
        spec["health"] = json!(null);
        let fault = bench.failed("deploy_workload", json!({"workload": "mute2", "spec": spec})).await;
        assert!(fault.detail.contains("nothing listens"), "{fault}");
    });
}

fn memory_hog() {
    with(async |bench| {
        bench.deploy("hog", web("1", 1)).await;
        let address = bench.status("hog").await.address.unwrap();
        let _ = fetch(&address, "/hog?400").await;
        let status = bench.until("hog", "killed and back", |it| it.settled() && it.replicas[0].restarts > 0).await;
        let exit = status.replicas[0].last_exit.clone().unwrap();
        assert_eq!((exit.reason.as_str(), exit.signal), ("memory_limit", Some(9)));
    });
}

fn full_volume() {
    with(async |bench| {
        bench.done("create_volume", json!({"volume": "data", "size_bytes": 256 * 1024})).await;
        let mut spec = web("1", 1);
        spec["volumes"] = json!(["data"]);
        spec["env"]["DATA"] = json!("${volume:data}");
        bench.deploy("db", spec).await;
        let path = format!("/write?{}/log", bench.folder().join("volumes/data").display());
        for _ in 0..4 {
            assert_eq!(bench.get("db", &path).await, "ok");
        }
        assert_eq!(bench.get("db", &path).await, format!("error {}", libc::EFBIG), "one file cannot outgrow it");
        let other = path.replace("/log", "/other");
        let deadline = Instant::now() + Duration::from_secs(10);
        while bench.get("db", &other).await == "ok" {
            assert!(Instant::now() < deadline, "a full volume must fail writes");
        }
        assert!(bench.get("db", "/id").await.ends_with(" 1"), "the workload itself lives");
        let mut size = 4 << 20;
        let fault = bench.failed("resize_volume", json!({"volume": "data", "size_bytes": 64 * 1024})).await;
        assert_eq!(fault.code, Code::Conflict, "{fault}");
        bench.done("resize_volume", json!({"volume": "data", "size_bytes": size})).await;
        assert_eq!(bench.get("db", &path).await, "ok", "growing it lifts the bound at once");
        size += 1;
        bench.done("resize_volume", json!({"volume": "data", "size_bytes": size})).await;
    });
}

fn stopped_process() {
    with(async |bench| {
        let mut spec = web("1", 2);
        spec["health"]["timeout_ms"] = json!(100);
        bench.deploy("web", spec).await;
        let victim = bench.status("web").await.replicas[0].pid.unwrap();
        signal(victim, Signal::STOP);
        bench.until("web", "one sick", |it| it.replicas.iter().any(|r| r.state == ReplicaState::Unhealthy)).await;
        for _ in 0..10 {
            bench.get("web", "/id").await;
        }
        bench.done("restart_workload", json!({"workload": "web"})).await;
        assert!(bench.status("web").await.settled());
        eventually("the stopped process is gone", || !lives(victim));
    });
}

fn environment() {
    with(async |bench| {
        bench.deploy("db", web("7", 1)).await;
        let mut spec = web("1", 1);
        spec["env"]["DB"] = json!("http://${addr:db}/x");
        spec["env"]["SHELL_STYLE"] = json!("${HOME}");
        spec["env"]["CONF"] = json!("${files}/app.conf");
        spec["files"] = json!({"app.conf": "aGVsbG8="});
        bench.deploy("web", spec).await;
        let env = bench.get("web", "/env").await;
        let db = bench.status("db").await.address.unwrap();
        assert!(env.contains(&format!("DB=http://{db}/x\n")), "{env}");
        assert!(env.contains("SHELL_STYLE=${HOME}\n"), "what is not ours stays");
        assert!(!env.contains("CARGO"), "nothing of the server's environment");
        let own = bench.folder().join("run/web/0").display().to_string();
        assert!(env.contains(&format!("HOME={own}\n")), "{env}");
        let conf = env.lines().find_map(|line| line.strip_prefix("CONF=")).unwrap();
        assert_eq!(bench.get("web", &format!("/cat?{conf}")).await, "hello");
        assert!(bench.get("web", &format!("/write?{conf}")).await.starts_with("error"), "files are read-only");
    });
}

fn confinement() {
    with(async |bench| {
        bench.done("create_volume", json!({"volume": "mine", "size_bytes": 1 << 20})).await;
        bench.done("create_volume", json!({"volume": "other", "size_bytes": 1 << 20})).await;
        let mut spec = web("1", 1);
        spec["volumes"] = json!(["mine"]);
        bench.deploy("web", spec).await;
        bench.deploy("neighbour", web("1", 1)).await;
        let folder = bench.folder();
        let foreign = bench.root.join("secret");
        std::fs::write(&foreign, "x").unwrap();
        let other = folder.join("volumes/other/file");
        std::fs::write(&other, "x").unwrap();
        let (token, state) = (folder.join("shim.token"), folder.join("state.json"));
        for path in [&foreign, &other, &token, &state] {
            assert!(std::fs::read(path).is_ok(), "control: this process can read {}", path.display());
            let answer = bench.get("web", &format!("/read?{}", path.display())).await;
            assert_eq!(answer, format!("error {}", libc::EACCES), "{}", path.display());
        }
        let neighbour = folder.join("run/neighbour/0/x");
        assert!(bench.get("web", &format!("/write?{}", neighbour.display())).await.starts_with("error 13"));
        for path in [folder.join("volumes/mine/x"), folder.join("run/web/0/x")] {
            assert_eq!(bench.get("web", &format!("/write?{}", path.display())).await, "ok");
        }
        assert_eq!(bench.get("web", "/read?/etc/hosts").await, "ok");
        if std::fs::read("/etc/shadow").is_ok() {
            assert_eq!(bench.get("web", "/read?/etc/shadow").await, format!("error {}", libc::EACCES));
        }
        let pid = bench.status("neighbour").await.replicas[0].pid.unwrap();
        assert_eq!(bench.get("web", &format!("/read?/proc/{pid}/environ")).await, format!("error {}", libc::EACCES));
        let answer = bench.get("web", &format!("/kill?{pid}")).await;
        assert_eq!(answer, format!("error {}", libc::EPERM), "signals end at the replica");
    });
}

fn platform() {
    with(async |bench| match bench.provider.observe(&bench.cx, &Query::Platform).await.unwrap() {
        Observation::Platform(facts) => {
            assert_eq!(facts.backend, "local");
            assert!(facts.disk_free_bytes > 0 && facts.disk_free_bytes <= facts.disk_total_bytes);
            let holds = |name: &str| facts.isolation.iter().find(|layer| layer.name == name).unwrap().holds;
            assert!(holds("landlock") && holds("no_new_privs") && holds("memory_limit"));
            assert!(!holds("network"), "what is not isolated is said");
        }
        other => panic!("{other:?}"),
    });
}

fn workspace_memory() {
    with(async |bench| {
        let mut spec = web("1", 1);
        spec["limits"]["memory_bytes"] = json!(3_u64 << 30);
        bench.deploy("big", spec).await;
        let fault = bench.failed("scale_workload", json!({"workload": "big", "replicas": 2})).await;
        assert_eq!(fault.code, Code::TooMany, "{fault}");
        let fault = bench.failed("deploy_workload", json!({"workload": "more", "spec": web("1", 10)})).await;
        assert_eq!(fault.code, Code::TooMany, "{fault}");
        assert_eq!(bench.status("big").await.spec.replicas, 1);
    });
}

fn stubborn() {
    with(async |bench| {
        let script = "trap '' TERM; while true; do sleep 0.1; done";
        let spec = json!({"version": "1", "command": ["sh", "-c", script], "replicas": 1,
            "limits": {"memory_bytes": 64 << 20}});
        bench.deploy("mule", spec).await;
        let pid = bench.status("mule").await.replicas[0].pid.unwrap();
        bench.done("delete_workload", json!({"workload": "mule"})).await;
        assert!(!lives(pid));
    });
}

fn job() {
    with(async |bench| {
        let spec = json!({"version": "1", "command": ["true"], "replicas": 1, "restart": "never",
            "limits": {"memory_bytes": 64 << 20}});
        bench.deploy("once", spec).await;
        let status = bench.status("once").await;
        assert_eq!(status.replicas[0].state, ReplicaState::Stopped);
        assert_eq!((status.replicas[0].restarts, status.replicas[0].last_exit.as_ref().unwrap().code), (0, Some(0)));
    });
}
