//! Work that goes wrong: programs that are not there, functions that misbehave, backups that cannot be read.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::service::{Service, text};

fn shop(service: &Service) -> String {
    let token = service.sign_in();
    done(service, &token, &["create-workspace", "--memory-bytes-max", "1000000000"]);
    token
}

fn run(service: &Service, token: &str, args: &[&str]) -> (i32, String) {
    let output = service.command(token, &[args, &["-w", "shop", "--yes"]].concat());
    (output.status.code().unwrap(), text(&output))
}

#[track_caller]
fn done(service: &Service, token: &str, args: &[&str]) {
    let (code, said) = run(service, token, args);
    assert_eq!(code, 0, "{args:?}: {said}");
}

#[track_caller]
fn fails(service: &Service, token: &str, args: &[&str], says: &[&str]) {
    let (code, said) = run(service, token, args);
    assert_eq!(code, 1, "{args:?}: {said}");
    for part in says {
        assert!(said.contains(part), "{part:?} not in: {said}");
    }
}

#[test]
fn a_program_that_is_not_there_is_told_and_nothing_is_left() {
    let service = Service::start();
    let token = shop(&service);
    let spec =
        json!({"version": "1", "command": ["/no/such/program"], "replicas": 1, "limits": {"memory_bytes": 33_554_432}});
    let deploy = ["deploy-workload", "--workload", "ghost", "--spec", &spec.to_string()];
    fails(&service, &token, &deploy, &["the command cannot be run", "/no/such/program"]);
    let status = service.command(&token, &["status", "-w", "shop"]);
    assert!(!text(&status).contains("ghost"), "{}", text(&status));
}

#[test]
fn functions_that_misbehave_end_with_a_true_status() {
    let service = Service::start();
    let token = shop(&service);
    let script = "export default (x) => { if (x === 'throw') { throw new Error('no ones'); } \
        if (x === 'loop') { for (;;) {} } if (x === 'eat') { const all = []; for (;;) { all.push('x'.repeat(1e6) + all.length); } } return x; }";
    // A module whose one function traps, whatever it is given.
    let trap = "AGFzbQEAAAABBAFgAAADAgEABQMBAAEHEwIGbWVtb3J5AgAGX3N0YXJ0AAAKBQEDAAAL";
    let deploy = |name: &str, source: Value, memory: &str| {
        let source = source.to_string();
        let args = [
            "deploy-function",
            "--function",
            name,
            "--source",
            &source,
            "--timeout-ms",
            "500",
            "--memory-bytes-max",
            memory,
        ];
        run(&service, &token, &args)
    };
    let javascript = json!({"runtime": "javascript", "text": script});
    let (code, said) = deploy("odd", javascript.clone(), "33554432");
    assert_eq!(code, 0, "{said}");
    let (code, said) = deploy("trap", json!({"runtime": "wasm", "module": trap}), "33554432");
    assert_eq!(code, 0, "{said}");
    let (code, said) = deploy("greedy", javascript, "10737418240");
    assert!(code != 0 && said.contains("memory"), "10 GB: {said}");
    let (code, said) = deploy("broken", json!({"runtime": "javascript", "text": "export default ("}), "33554432");
    assert!(code != 0 && said.contains("syntax"), "{said}");
    let call = |name: &str, input: &str| {
        let body = json!({"approve": true, "action": {"kind": "invoke_function", "function": name, "input": input}});
        let answer = service.call(&token, "POST", "/workspaces/shop/actions?wait_ms=20000", Some(&body));
        answer.to_string()
    };
    for (name, input, status) in [
        ("odd", "throw", "\"failed\""),
        ("odd", "loop", "\"timed_out\""),
        ("odd", "eat", "memory"),
        ("trap", "", "\"trapped\""),
        ("odd", "fine", "\"ok\""),
    ] {
        let said = call(name, input);
        assert!(said.contains(status), "{name}({input}): {said}");
    }
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(packs(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[test]
fn a_damaged_backup_and_a_lost_key_are_told() {
    let mut service = Service::start();
    let token = shop(&service);
    done(&service, &token, &["create-volume", "--volume", "orders", "--size-bytes", "1000000"]);
    let data = service.data.path().to_owned();
    std::fs::write(data.join("platform/tenants/local/shop/volumes/orders/file"), vec![3; 50_000]).unwrap();
    done(&service, &token, &["create-backup", "--backup", "nightly", "--volumes", "orders"]);
    done(&service, &token, &["verify-backup", "--backup", "nightly"]);
    let kit = service.command(&token, &["recovery-kit", "-w", "shop"]);
    assert!(kit.status.success() && text(&kit).contains("OPSWARD RECOVERY KIT"), "{}", text(&kit));
    // A key that is not the vault's; its server must not make it one.
    let key = data.join("platform/keys/backups");
    let before = std::fs::read(&key).unwrap();
    service.stop();
    std::fs::write(&key, "correct horse battery staple").unwrap();
    let mut again = Service::start_in(service.data.clone());
    fails(&again, &token, &["verify-backup", "--backup", "nightly"], &["wrong passphrase", "recovery kit"]);
    again.stop();
    std::fs::write(&key, before).unwrap();
    for pack in packs(&data.join("platform/vaults/local/shop/data")) {
        let mut bytes = std::fs::read(&pack).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 0xff;
        std::fs::remove_file(&pack).unwrap();
        std::fs::write(&pack, bytes).unwrap();
    }
    let last = Service::start_in(service.data.clone());
    fails(&last, &token, &["verify-backup", "--backup", "nightly"], &["is damaged", "take a new backup"]);
    let restore = ["restore-backup", "--backup", "nightly", "--volume", "orders", "--into", "orders-2"];
    fails(&last, &token, &restore, &["damaged"]);
    let volumes = last.call(&token, "GET", "/workspaces/shop/volumes", None);
    assert!(!volumes.to_string().contains("orders-2"), "nothing half restored stays: {volumes}");
}
