//! Data folders and configurations that a server cannot start with.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::disk::SmallDisk;
use super::refused;
use crate::service::Service;
use crate::support::binary;

fn up(args: &[&str], data: &Path) -> Output {
    Command::new(binary()).args(["up", "--listen", "127.0.0.1:0"]).args(args).arg("--data").arg(data).output().unwrap()
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that could not run says so")]
fn a_data_folder_that_cannot_be_written_is_told() {
    let data = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount(data.path(), 1 << 20) else {
        eprintln!("skipped: no small disk can be mounted here");
        return;
    };
    std::fs::write(data.path().join("filler"), vec![1; 1 << 20]).unwrap();
    refused(&up(&[], data.path()), 1, "free");
    std::fs::remove_file(data.path().join("filler")).unwrap();
    disk.make_read_only();
    refused(&up(&[], data.path()), 1, "Read-only file system");
    let taken = Command::new(binary()).args(["state", "backup", "--data"]).arg(data.path()).output().unwrap();
    refused(&taken, 1, "no journal in");
}

#[test]
fn one_server_a_data_folder() {
    let service = Service::start();
    let second = up(&[], service.data.path());
    refused(&second, 1, &format!("process {}", service.pid()));
    let port = service.address.trim_start_matches("http://");
    let other = TempDir::new().unwrap();
    let output = Command::new(binary()).args(["up", "--listen", port, "--data"]).arg(other.path()).output().unwrap();
    refused(&output, 1, port);
    assert!(!other.path().join("journal.sqlite").exists(), "nothing is made for a server that cannot listen");
}

#[test]
fn a_newer_data_folder_is_left_alone() {
    let mut service = Service::start();
    service.stop();
    let path = service.data.path().join("journal.sqlite");
    let before = std::fs::read(&path).unwrap();
    let mut newer = before.clone();
    // Where SQLite keeps the version that its user gives, big end first.
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, &newer).unwrap();
    refused(&up(&[], service.data.path()), 1, "version 99");
    assert_eq!(std::fs::read(&path).unwrap(), newer, "it was changed");
    std::fs::write(&path, &before).unwrap();
    std::fs::write(service.data.path().join("logs/format"), "99\n").unwrap();
    refused(&up(&[], service.data.path()), 1, "newer version");
}

#[test]
fn a_file_that_is_no_journal_is_not_touched() {
    let data = TempDir::new().unwrap();
    let path = data.path().join("journal.sqlite");
    std::fs::write(&path, "a letter to my mother, and no database at all".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    refused(&up(&[], data.path()), 1, "damaged or is no journal");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn configurations_name_file_line_and_what_was_expected() {
    let data = TempDir::new().unwrap();
    let file = data.path().join("opsward.toml");
    for (text, line, says) in [
        ("[server]\nlisten_on = 3\n", "line 2", "unknown field `listen_on`"),
        ("[data]\n\nlogs_hours = \"many\"\n", "line 3", "expected u32"),
        ("[data\n", "line 1", "opsward.toml"),
        ("[data]\nlogs_hours = 0\n", "data.logs_hours", "not 1 to"),
        ("[server]\nlisten = \"here\"\n", "server.listen", "127.0.0.1:7700"),
        ("[tenant]\nname = \"../acme\"\n", "../acme", "not a valid name"),
        ("[model]\nbase_url = \"ftp://x\"\nname = \"m\"\n", "model.base_url", "http://"),
    ] {
        std::fs::write(&file, text).unwrap();
        let checked = Command::new(binary()).args(["config", "check"]).arg(&file).output().unwrap();
        refused(&checked, 2, line);
        refused(&checked, 2, says);
        refused(&up(&["--config", file.to_str().unwrap()], data.path()), 2, says);
    }
    let missing = Command::new(binary()).args(["config", "check", "/no/such/file"]).output().unwrap();
    refused(&missing, 2, "/no/such/file cannot be read");
}
