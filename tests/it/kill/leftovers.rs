//! What a killed server leaves behind: its workloads serve on, and the next one adopts them. What a killed shim
//! leaves behind besides is ended, and everything comes up again where it was, on the same addresses.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use opsward_demo::world::{Place, World};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::house::House;
use crate::support::binary;

/// A store that answers over TCP, from the demo's shop.
fn store() -> Value {
    let place = Place { program: binary().display().to_string(), external: "127.0.0.1:9".to_owned(), redis: None };
    let actions = World::new(1).actions(&place);
    actions.into_iter().find(|action| action["workload"] == "cache").expect("the shop has a cache")
}

/// Starts a child that leaves its replica's session, and names both by `mark`.
fn straying(mark: u32) -> Value {
    let line = format!("setsid sleep {mark} & exec sleep {mark}");
    let spec = json!({"version": "1", "command": ["/bin/sh", "-c", line], "replicas": 1,
        "limits": {"memory_bytes": 33_554_432}});
    json!({"kind": "deploy_workload", "workload": "mule", "spec": spec})
}

/// Processes that have `mark` among their arguments.
fn marked(mark: u32) -> Vec<i32> {
    let word = mark.to_string();
    let has = |line: &[u8]| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found: Vec<i32> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            has(&std::fs::read(entry.path().join("cmdline")).ok()?).then_some(pid)
        })
        .collect();
    found.sort_unstable();
    found
}

/// True if a process does more than wait for somebody to ask how it ended.
fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True if somebody at `address` answers as the store does.
fn answers(address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    talk().is_ok_and(|line| line.starts_with("+PONG"))
}

/// What a workload is now, once all of it is ready.
async fn settled(house: &House, name: &str) -> Value {
    let ready = |value: &Value| {
        let replicas = value["replicas"].as_array();
        replicas.is_some_and(|list| !list.is_empty() && list.iter().all(|replica| replica["state"] == "ready"))
    };
    house.until(&format!("/workspaces/shop/workloads/{name}"), name, ready).await
}

fn replicas(status: &Value, key: &str) -> Vec<Value> {
    status["replicas"].as_array().unwrap().iter().map(|replica| replica[key].clone()).collect()
}

async fn furnished(mark: u32) -> House {
    let mut house = House::new(None);
    assert!(house.start(None).await);
    house.must(json!({"kind": "create_workspace", "memory_bytes_max": 1_000_000_000u64})).await;
    house.must(store()).await;
    house.must(straying(mark)).await;
    until("the replica and its child", || (marked(mark).len() == 2).then_some(()));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_a_killed_server_are_adopted_as_they_are() {
    let mark = 1_000_000 + std::process::id();
    let mut house = furnished(mark).await;
    let (before, strays) = (settled(&house, "cache").await, marked(mark));
    let address = before["address"].as_str().unwrap().to_owned();
    assert!(answers(&address), "the store answers");
    house.kill();
    assert!(replicas(&before, "pid").iter().all(runs), "its process lives on");
    assert!(answers(&address), "it answers while there is no server");
    assert!(house.start(None).await);
    let after = settled(&house, "cache").await;
    for key in ["pid", "port", "restarts", "started_at_ms", "revision"] {
        assert_eq!(replicas(&before, key), replicas(&after, key), "{key}");
    }
    assert_eq!(after["address"], before["address"]);
    assert!(answers(&address));
    assert_eq!(marked(mark), strays, "what runs is what ran");
    // They are the server's again: it changes them, and a removed one is gone with its child and its port.
    house.must(json!({"kind": "scale_workload", "workload": "cache", "replicas": 2})).await;
    assert_eq!(settled(&house, "cache").await["replicas"].as_array().unwrap().len(), 2);
    for name in ["mule", "cache"] {
        house.must(json!({"kind": "delete_workload", "workload": name})).await;
    }
    until("the removed workload's processes", || marked(mark).is_empty().then_some(()));
    assert!(TcpStream::connect(&address).is_err(), "nobody has the address any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_a_killed_server_and_shim_are_ended_and_come_up_again() {
    let mark = 2_000_000 + std::process::id();
    let mut house = furnished(mark).await;
    let (before, strays) = (settled(&house, "cache").await, marked(mark));
    let address = before["address"].as_str().unwrap().to_owned();
    let shims = house.shims();
    assert_eq!(shims.len(), 1, "the workspace's shim");
    house.kill();
    shims.iter().for_each(|shim| kill_process(*shim, Signal::KILL).unwrap());
    until("the address to be let go", || (!answers(&address)).then_some(()));
    assert!(house.start(None).await);
    let after = settled(&house, "cache").await;
    assert_eq!(after["address"], before["address"], "callers find it where it was");
    assert!(answers(&address));
    for pid in replicas(&before, "pid") {
        assert!(!replicas(&after, "pid").contains(&pid), "started anew");
        assert!(!runs(&pid), "{pid} was left over");
    }
    settled(&house, "mule").await;
    let now = until("the replica and its child, once", || Some(marked(mark)).filter(|now| now.len() == 2));
    assert!(now.iter().all(|pid| !strays.contains(pid)), "left over: {now:?}, before {strays:?}");
    let shims = house.shims();
    assert_eq!(shims.len(), 1, "one shim looks after them");
}
