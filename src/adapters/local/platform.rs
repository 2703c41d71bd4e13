//! What isolates workloads on this machine, as probed. Never claims a layer by a version number alone.

use std::path::Path;

use opsward_domain::fault::Fault;
use opsward_ports::provider::{Layer, PlatformFacts};

use crate::disk;
use crate::shim::jail::{Places, confine, rules};

/// Room on the disk under `root`, and every isolation layer. Blocks for a moment.
pub(crate) fn facts(root: &Path) -> Result<PlatformFacts, Fault> {
    let room =
        rustix::fs::statvfs(root).map_err(|error| disk::fault("the disk cannot be asked", root, &error.into()))?;
    Ok(PlatformFacts {
        backend: "local".into(),
        disk_free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        disk_total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        isolation: vec![
            probed("landlock", filesystem(root)),
            probed("no_new_privs", privileges()),
            layer(
                "memory_limit",
                true,
                "resident memory is sampled every 250 ms and the replica killed over its limit",
            ),
            layer(
                "volume_quota",
                true,
                "use is sampled and a full volume's writers get EFBIG; a program can overshoot between samples, \
                 or lift its own soft limit on purpose",
            ),
            layer(
                "network",
                false,
                "every workload of this machine shares one loopback network: run tenants that do not trust each other \
                 on separate machines or on the Kubernetes backend",
            ),
            layer("user", false, "replicas run as the user of opsward: start opsward as a user of its own"),
        ],
    })
}

fn layer(name: &str, holds: bool, detail: &str) -> Layer {
    Layer { name: name.into(), holds, detail: detail.into() }
}

fn probed(name: &str, probe: Result<String, String>) -> Layer {
    match probe {
        Ok(detail) => layer(name, true, &detail),
        Err(detail) => layer(name, false, &detail),
    }
}

/// Puts the replicas' rules on a thread and tries to read what they forbid.
fn filesystem(root: &Path) -> Result<String, String> {
    let secret = root.join("probe");
    std::fs::write(&secret, "probe").map_err(|error| error.to_string())?;
    let own = std::env::temp_dir();
    let rules = rules(&Places { own: &own.join("none"), volumes: &[], files: None, program: Path::new("/bin/sh") })?;
    let control = std::fs::read(&secret).is_ok();
    let inside = secret.clone();
    let probe = std::thread::spawn(move || confine(rules).map(|status| (format!("{status:?}"), std::fs::read(inside))));
    let seen = probe.join().map_err(|_| "the probe died".to_owned())?;
    let _ = std::fs::remove_file(&secret);
    match seen? {
        (status, Err(error)) if control && error.kind() == std::io::ErrorKind::PermissionDenied => {
            Ok(format!("a confined thread was denied a file outside its folder ({status})"))
        }
        (status, _) => Err(format!(
            "a confined thread could read outside its folder ({status}): use a kernel with Landlock (5.13 or newer)"
        )),
    }
}

fn privileges() -> Result<String, String> {
    let probe =
        std::thread::spawn(|| rustix::thread::set_no_new_privs(true).and_then(|()| rustix::thread::no_new_privs()));
    match probe.join() {
        Ok(Ok(true)) => Ok("set in every replica before it becomes the program".into()),
        Ok(other) => Err(format!("cannot be set: {other:?}")),
        Err(_) => Err("the probe died".into()),
    }
}
