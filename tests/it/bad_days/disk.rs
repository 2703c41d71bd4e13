//! A disk that fills up under a running service, for real: a small file system of its own. Says so and passes
//! where none can be mounted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::service::{Service, text};
use crate::support::binary;

/// Bytes of the small disk.
const DISK_BYTES: u64 = 128 << 20;

/// A mounted small disk; unmounted when dropped.
pub(super) struct SmallDisk(pub(super) PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    pub(super) fn mount(at: &Path, bytes: u64) -> Option<Self> {
        let size = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output().ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }
}

impl SmallDisk {
    /// Nothing can be written from now on.
    pub(super) fn make_read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that could not run says so")]
fn a_full_disk_stops_ingest_and_not_the_journal() {
    let data = Arc::new(TempDir::new().unwrap());
    let Some(disk) = SmallDisk::mount(data.path(), DISK_BYTES) else {
        eprintln!("skipped: no small disk can be mounted here");
        return;
    };
    let service = Service::start_in(data);
    let token = service.sign_in();
    let made = ["create-workspace", "-w", "shop", "--memory-bytes-max", "1000000000", "--yes"];
    let made = service.command(&token, &made);
    assert!(made.status.success(), "{}", text(&made));
    let lines = service.data.path().parent().unwrap().join(format!("opsward-lines-{}", std::process::id()));
    std::fs::write(&lines, "a first line\n").unwrap();
    let ingest =
        || service.command(&token, &["log", "ingest", lines.to_str().unwrap(), "--workload", "web", "-w", "shop"]);
    assert!(ingest().status.success(), "the control");
    let health = || service.curl(&["-s", &format!("{}/healthz", service.address)]);
    assert_eq!(health(), "ok\n");
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1; usize::try_from(DISK_BYTES).unwrap() * 955 / 1000]).unwrap();
    eventually("the disk counts as full", || {
        health().contains("ingest stopped: the disk of the data folder is 95 % full")
    });
    let refused = ingest();
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(
        text(&refused).contains("95 % full") && text(&refused).contains("hint: free some room"),
        "{}",
        text(&refused)
    );
    let url = format!("{}/api/v1/workspaces/shop/logs?workload=web", service.address);
    let bearer = format!("Authorization: Bearer {token}");
    let pushed = service.curl(&["-s", "-w", "%{http_code}", "-H", &bearer, "-d", "a line", &url]);
    assert!(pushed.ends_with("507") && pushed.contains("\"code\":\"no_room\""), "{pushed}");
    // The journal goes on: people, approvals and effects too.
    let added = service.command(&token, &["person", "add", "ada"]);
    assert!(added.status.success(), "{}", text(&added));
    let volume = ["create-volume", "-w", "shop", "--volume", "orders", "--size-bytes", "1000000", "--yes"];
    let volume = service.command(&token, &volume);
    assert!(volume.status.success(), "{}", text(&volume));
    let metrics = service.curl(&["-s", &format!("{}/metrics", service.address)]);
    assert!(
        metrics.contains("\nopsward_ingest_stopped 1\n") && metrics.contains("opsward_store_bytes{store=\"logs\"}")
    );
    let doctor = Command::new(binary()).args(["doctor", "--json", "--data"]).arg(&disk.0).output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding = findings.as_array().unwrap().iter().find(|finding| finding["what"] == "disk").unwrap();
    assert!(finding["works"] == json!(false) && finding["detail"].as_str().unwrap().contains("95 %"), "{finding}");
    std::fs::remove_file(&filler).unwrap();
    eventually("there is room again", || health() == "ok\n");
    assert!(ingest().status.success(), "ingest goes on by itself");
    let verified = service.command(&token, &["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified));
    std::fs::remove_file(&lines).unwrap();
}
