//! opsward's own state through the terminal: backed up under a running server, restored into a new folder, and
//! everything that may go wrong on the way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::{Service, text};
use crate::support::binary;

fn state(args: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(binary());
    command.arg("state").args(args);
    for (name, path) in paths {
        command.arg(name).arg(path);
    }
    command.output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
}

/// A service with a workspace, a workload, a volume with a file in it, and a log line.
fn furnished() -> (Service, String) {
    let service = Service::start();
    let token = service.sign_in();
    let spec = json!({"version": "1", "command": ["/bin/sleep", "1000"], "replicas": 1,
        "limits": {"memory_bytes": 33_554_432}, "volumes": ["orders"]});
    for args in [
        vec!["create-workspace", "--memory-bytes-max", "1000000000"],
        vec!["create-volume", "--volume", "orders", "--size-bytes", "1000000"],
        vec!["deploy-workload", "--workload", "nap", "--spec", &spec.to_string()],
    ] {
        let done = service.command(&token, &[args, vec!["-w", "shop", "--yes"]].concat());
        assert!(done.status.success(), "{}", text(&done));
    }
    std::fs::write(orders(service.data.path()).join("ledger.txt"), "order 1").unwrap();
    let line = service.data.path().join("line");
    std::fs::write(&line, "a line to remember\n").unwrap();
    let kept = service.command(&token, &["log", "ingest", line.to_str().unwrap(), "--workload", "nap", "-w", "shop"]);
    assert!(kept.status.success(), "{}", text(&kept));
    (service, token)
}

fn orders(data: &Path) -> PathBuf {
    data.join("platform/tenants/local/shop/volumes/orders")
}

#[test]
fn a_backup_under_a_running_server_becomes_a_server_again() {
    let (service, token) = furnished();
    let vault = TempDir::new().unwrap();
    let vault = vault.path().join("vault");
    let data = service.data.path().to_owned();
    let taken = state(&["backup", "--volumes", "--json"], &[("--data", &data), ("--to", &vault)]);
    let taken = answer(&taken);
    assert!(taken["entries"].as_u64().unwrap() > 10 && taken["has_kit"] == json!(false), "{taken}");
    // What comes later is not in it.
    assert!(service.command(&token, &["person", "add", "late"]).status.success());
    let kit = state(&["kit"], &[("--data", &data), ("--from", &vault)]);
    let page = text(&kit);
    assert!(page.contains("OPSWARD RECOVERY KIT") && page.contains("Key:"), "{page}");
    let paper = vault.with_file_name("kit.txt");
    std::fs::write(&paper, page).unwrap();
    drop(service);
    // The machine is gone; vault and paper are left.
    let fresh = Arc::new(TempDir::new().unwrap());
    let back = state(&["restore", "--json"], &[("--from", &vault), ("--kit", &paper), ("--data", fresh.path())]);
    let back = answer(&back);
    assert_eq!((&back["entries"], &back["empty_volumes"]), (&taken["entries"], &json!([])), "{back}");
    assert_eq!(std::fs::read_to_string(orders(fresh.path()).join("ledger.txt")).unwrap(), "order 1");
    let again = Service::start_in(fresh);
    let verified = again.command(&token, &["audit", "verify"]);
    assert!(verified.status.success() && text(&verified).contains("\"damage\": []"), "{}", text(&verified));
    let people = text(&again.command(&token, &["person", "list"]));
    assert!(people.contains("owner") && !people.contains("late"), "{people}");
    let lines = text(&again.command(&token, &["log", "search", "remember", "-w", "shop"]));
    assert!(lines.contains("a line to remember"), "{lines}");
    let scaled =
        again.command(&token, &["scale-workload", "-w", "shop", "--workload", "nap", "--replicas", "1", "--yes"]);
    assert!(text(&scaled).contains("succeeded") || scaled.status.success(), "{}", text(&scaled));
}

#[test]
fn what_cannot_be_restored_says_why_and_leaves_nothing() {
    let (service, _token) = furnished();
    let data = service.data.path().to_owned();
    let vault = data.join("state-backups");
    let taken = state(&["backup", "--no-telemetry"], &[("--data", &data)]);
    assert!(taken.status.success() && text(&taken).contains("opsward state kit"), "{}", text(&taken));
    let listed = state(&["list"], &[("--data", &data)]);
    assert_eq!(text(&listed).lines().count(), 1, "{}", text(&listed));
    let place = TempDir::new().unwrap();
    let fresh = place.path().join("fresh");
    let wrong = place.path().join("wrong");
    std::fs::write(&wrong, "correct horse battery").unwrap();
    let nothing = place.path().join("nothing");
    for (args, paths, says) in [
        (vec!["restore"], vec![("--from", &vault), ("--data", &data)], "not an empty folder"),
        (vec!["restore"], vec![("--from", &vault), ("--data", &fresh), ("--key", &wrong)], "wrong passphrase"),
        (
            vec!["restore"],
            vec![("--from", &vault), ("--data", &fresh), ("--kit", &wrong)],
            "recovery kit cannot be read",
        ),
        (vec!["restore"], vec![("--from", &vault), ("--data", &fresh), ("--key", &nothing)], "cannot be read"),
        (
            vec!["restore"],
            vec![("--from", &place.path().to_owned()), ("--data", &fresh), ("--key", &wrong)],
            "no vault in",
        ),
        (vec!["restore", "ffffffff"], vec![("--from", &vault), ("--data", &fresh)], "there is no backup ffffffff"),
        (vec!["backup"], vec![("--data", &nothing)], "no journal in"),
    ] {
        let paths: Vec<(&str, &Path)> = paths.into_iter().map(|(name, path)| (name, path.as_path())).collect();
        let output = state(&args, &paths);
        assert!(!output.status.success(), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(says) && text(&output).contains("hint: "), "{args:?}: {}", text(&output));
        assert!(!fresh.exists(), "{args:?} left a folder");
    }
    let without = state(&["restore", "--json"], &[("--from", &vault), ("--data", &fresh)]);
    assert_eq!(answer(&without)["empty_volumes"], json!(["local/shop/orders"]));
    assert!(orders(&fresh).is_dir() && !fresh.join("logs").exists());
    damage(&vault);
    let verified = state(&["verify"], &[("--data", &data)]);
    assert!(!verified.status.success(), "{}", text(&verified));
    assert!(text(&verified).contains("damaged") && text(&verified).contains("hint: "), "{}", text(&verified));
    let again = place.path().join("again");
    let refused = state(&["restore"], &[("--from", &vault), ("--data", &again)]);
    assert!(!refused.status.success() && !again.exists(), "{}", text(&refused));
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restoring")), "{left:?}");
    drop(service);
}

/// Flips a byte in the middle of every pack.
fn damage(vault: &Path) {
    let mut packs = 0;
    for folder in std::fs::read_dir(vault.join("data")).unwrap().flatten() {
        for pack in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let mut bytes = std::fs::read(pack.path()).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 1;
            let mut permissions = pack.metadata().unwrap().permissions();
            #[allow(clippy::permissions_set_readonly_false, reason = "the test owns the folder")]
            permissions.set_readonly(false);
            std::fs::set_permissions(pack.path(), permissions).unwrap();
            std::fs::write(pack.path(), bytes).unwrap();
            packs += 1;
        }
    }
    assert!(packs > 0, "there is nothing to damage");
}

#[test]
fn a_damaged_journal_is_named_and_not_backed_up() {
    let (mut service, token) = furnished();
    let data = service.data.path().to_owned();
    assert!(service.command(&token, &["person", "add", "an-odd-one"]).status.success());
    assert!(state(&["backup", "--no-telemetry"], &[("--data", &data)]).status.success());
    service.stop();
    let journal = data.join("journal.sqlite");
    let mut bytes = std::fs::read(&journal).unwrap();
    let word = b"\"subject\":\"an-odd-one\"";
    let at = bytes.windows(word.len()).position(|part| part == word).unwrap();
    bytes[at + word.len() - 2] = b'a';
    std::fs::write(&journal, bytes).unwrap();
    let verified = Command::new(binary()).args(["audit", "verify", "--data"]).arg(&data).output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("does not match its commitment"), "{}", text(&verified));
    let refused = state(&["backup", "--no-telemetry"], &[("--data", &data)]);
    assert!(
        !refused.status.success() && text(&refused).contains("is damaged, so nothing was backed up"),
        "{}",
        text(&refused)
    );
    assert_eq!(text(&state(&["list"], &[("--data", &data)])).lines().count(), 1, "the good one stays");
}
