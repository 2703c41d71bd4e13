//! A bit that flipped in the journal: the service starts read-only, says which entry it is, refuses what would have
//! to be recorded, and shows everything else.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::refused;
use crate::service::{Service, text};
use crate::support::binary;

const WORDS: &str = "words-that-will-be-damaged";

/// Changes one letter of the one body that holds `words`.
fn flip(journal: &Path, words: &str) {
    let mut bytes = std::fs::read(journal).unwrap();
    let at: Vec<usize> = bytes
        .windows(words.len())
        .enumerate()
        .filter(|(_, part)| *part == words.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(at.len(), 1, "the words stand in one place");
    bytes[at[0]] ^= 1;
    std::fs::write(journal, bytes).unwrap();
}

/// A service on a damaged folder, and what it said at its start.
fn start(data: &Path) -> (Child, String, String) {
    let mut child = Command::new(binary())
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().expect("the service ended").unwrap();
    let (first, second) = (next(), next());
    (child, first.strip_prefix("opsward listens on ").unwrap_or_else(|| panic!("{first}")).to_owned(), second)
}

fn stop(mut child: Child) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success(), "it did not end in order");
}

fn damaged(verified: &Value) -> Vec<u64> {
    verified["damage"].as_array().unwrap().iter().map(|pair| pair[0].as_u64().unwrap()).collect()
}

#[test]
fn a_damaged_entry_makes_the_service_read_only_and_is_named() {
    let mut service = Service::start();
    let token = service.sign_in();
    let made =
        service.command(&token, &["create-workspace", "-w", "shop", "--memory-bytes-max", "1000000000", "--yes"]);
    assert!(made.status.success(), "{}", text(&made));
    let said = service.call(&token, "POST", "/workspaces/shop/messages", Some(&json!({"text": WORDS})));
    let run = format!("conversation/{}", said["conversation"].as_str().unwrap());
    let answered = service.call(&token, "GET", &format!("/runs/{run}?wait_ms=20000"), None);
    assert_eq!(answered["status"], "answered", "{answered}");
    let make = ["create-volume", "-w", "shop", "--volume", "orders", "--size-bytes", "1000000", "--yes"];
    let made = service.command(&token, &make);
    assert!(made.status.success(), "{}", text(&made));
    let events = service.call(&token, "GET", "/events?limit=500", None);
    let events = events["events"].as_array().unwrap();
    let hit = events.iter().find(|event| event["body"]["text"] == WORDS).unwrap()["seq"].as_u64().unwrap();
    let later = events.last().unwrap()["seq"].as_u64().unwrap();
    assert!(later > hit, "there is something after it");
    service.stop();
    let data = service.data.path().to_owned();
    flip(&data.join("journal.sqlite"), WORDS);

    let (child, address, told) = start(&data);
    service.address = address;
    let named = format!("journal entry {hit} is damaged");
    assert!(told.contains("READ-ONLY") && told.contains(&named) && told.contains("state restore"), "{told}");
    let health = service.curl(&["-s", &format!("{}/healthz", service.address)]);
    assert!(health.starts_with("ok\n") && health.contains(&named), "{health}");
    // What changes or is recorded is refused, and why is said.
    for args in [
        vec!["delete-volume", "-w", "shop", "--volume", "orders", "--yes"],
        vec!["ask", "-w", "shop", "is anything wrong?"],
        vec!["person", "add", "ada"],
        vec!["switch", "on"],
    ] {
        refused(&service.command(&token, &args), 1, &named);
    }
    // What is there can be seen: the platform, lists, events before and after, other runs, the chain's state.
    for args in [vec!["status", "-w", "shop"], vec!["incident", "list"], vec!["approvals"]] {
        let shown = service.command(&token, &args);
        assert!(shown.status.success(), "{args:?}: {}", text(&shown));
    }
    let volumes = service.call(&token, "GET", "/workspaces/shop/volumes", None);
    assert_eq!(volumes[0]["name"], "orders", "{volumes}");
    let mut seen = Vec::new();
    let mut page = json!({"cursor": 0, "end": false});
    while page["end"] == false {
        page = service.call(&token, "GET", &format!("/events?limit=500&after={}", page["cursor"]), None);
        seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()));
    }
    assert!(seen.contains(&(hit - 1)) && seen.contains(&later) && !seen.contains(&hit), "{hit} {seen:?}");
    let explained = service.command(&token, &["audit", "explain", &run]);
    refused(&explained, 1, &named);
    let verified = service.command(&token, &["audit", "verify"]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert_eq!(damaged(&serde_json::from_slice(&verified.stdout).unwrap()), [hit]);
    stop(child);
    exported(&data, hit);
}

/// The folder at rest: verified, exported, and the export verified by itself.
fn exported(data: &Path, hit: u64) {
    let out = data.join("journal.jsonl");
    let run = |args: &[&str]| Command::new(binary()).args(args).output().unwrap();
    let (folder, file) = (data.to_str().unwrap(), out.to_str().unwrap());
    let export = ["audit", "export", "--data", folder, "--out", file];
    let done = run(&export);
    assert!(done.status.success(), "{}", text(&done));
    for args in [["audit", "verify", "--data", folder], ["audit", "verify", "--export", file]] {
        let verified = run(&args);
        assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
        assert_eq!(damaged(&serde_json::from_slice(&verified.stdout).unwrap()), [hit], "{args:?}");
    }
    refused(&run(&export), 1, "cannot be written");
}

#[test]
fn whoever_damage_may_have_put_out_stays_out() {
    let mut service = Service::start();
    let token = service.sign_in();
    let added = service.command(&token, &["person", "add", WORDS]);
    assert!(added.status.success(), "{}", text(&added));
    service.stop();
    let data = service.data.path().to_owned();
    flip(&data.join("journal.sqlite"), WORDS);
    let (child, address, told) = start(&data);
    service.address = address;
    assert!(told.contains("READ-ONLY"), "{told}");
    let me = service.call(&token, "GET", "/me", None);
    assert_eq!(me["error"]["code"], "denied", "the damaged entry may have ended this token: {me}");
    stop(child);
}
