//! `opsward doctor`: what works on this machine, what does not, and the fix. Looks; changes nothing but a
//! folder of its own that it removes.

use std::path::{Path, PathBuf};

use opsward_domain::fault::Fault;
use opsward_ports::clock::{Clock as _, SystemClock};
use opsward_ports::disk::Disk as _;
use opsward_ports::provider::Layer;
use opsward_ports::runner::Runner;
use serde::Serialize;

use crate::config::Config;
use crate::disk::DataDisk;
use crate::entropy::SystemEntropy;
use crate::recovery::Last;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// True if it works.
    pub works: bool,
    /// What was seen, and the fix if it does not work.
    pub detail: String,
}

/// Looks at everything.
pub async fn examine(config: &Config, exe: PathBuf) -> Vec<Finding> {
    let mut findings = vec![data(&config.data.dir), room(config), own_backup(config), port(&config.server.listen)];
    findings.extend(sandbox(exe.clone()).await);
    findings.extend(platform(exe).await.unwrap_or_else(|fault| vec![broken("platform", &fault)]));
    findings.extend(clusters(config).await.unwrap_or_else(|fault| vec![broken("kubernetes", &fault)]));
    findings.push(match &config.model {
        None => good("model", "none configured: answers come from the evidence itself"),
        Some(model) => model_endpoint(&model.base_url).await,
    });
    findings
}

fn good(what: &str, detail: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), works: true, detail: detail.into() }
}

fn bad(what: &str, detail: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), works: false, detail: detail.into() }
}

fn broken(what: &str, fault: &Fault) -> Finding {
    bad(what, format!("{fault}. {}", fault.hint).trim().to_owned())
}

fn data(dir: &Path) -> Finding {
    let probe = dir.join(".doctor");
    let existed = dir.exists();
    let wrote = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"x"));
    let _ = std::fs::remove_file(&probe);
    if !existed {
        // Only an empty folder goes: this never removes anything that was there.
        let _ = std::fs::remove_dir(dir);
    }
    match wrote {
        Ok(()) => good("data folder", dir.display().to_string()),
        Err(error) => {
            bad("data folder", format!("{} cannot be written: {error}; choose another with --data", dir.display()))
        }
    }
}

/// What the stores take and what is left, whether or not a server runs.
fn room(config: &Config) -> Finding {
    let whole = std::path::absolute(&config.data.dir).unwrap_or_else(|_| config.data.dir.clone());
    let there = whole.ancestors().find(|dir| dir.exists()).unwrap_or(&whole);
    let room = match DataDisk::at_rest(&config.data, there).room() {
        Ok(room) => room,
        Err(fault) => return broken("disk", &fault),
    };
    let stores: Vec<String> = room.stores.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
    let detail = format!(
        "{} of {}; the disk has {} of {} free; logs are kept {} h, metrics {} h",
        stores.join(", "),
        size(room.budget_bytes),
        size(room.disk_free_bytes),
        size(room.disk_total_bytes),
        config.data.logs_hours,
        config.data.metrics_hours,
    );
    match room.refusal() {
        None => good("disk", detail),
        Some(fault) => bad("disk", format!("{} ({detail}): {}", fault.message, fault.hint)),
    }
}

/// How the last backup of the own state went.
fn own_backup(config: &Config) -> Finding {
    const HOUR_MS: i64 = 60 * 60 * 1000;
    let (what, every) = ("own backup", config.data.backup_hours);
    let Some(last) = Last::of(&config.data.dir) else {
        return good(
            what,
            format!("none yet; taken every {every} h while the service runs, or by `opsward state backup`"),
        );
    };
    let hours = SystemClock.now_ms().saturating_sub(last.at_ms) / HOUR_MS;
    let late = every > 0 && hours > i64::from(every) * 2;
    match (&last.failed, &last.snapshot) {
        (Some(why), _) => bad(what, format!("the newest try failed: {why}; fix it and run `opsward state backup`")),
        (None, _) if late => bad(what, format!("the last one is {hours} h old; run `opsward state backup`")),
        (None, None) => good(what, format!("none yet; the first is due {every} h after the first start")),
        (None, Some(_)) => {
            good(what, format!("{hours} h old, {} in {}", size(last.bytes), config.data.backup_dir().display()))
        }
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

fn port(listen: &str) -> Finding {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => good("listen address", listen),
        Err(error) => bad(
            "listen address",
            format!("{listen}: {error}; a server may be running, or choose another with --listen"),
        ),
    }
}

async fn sandbox(exe: PathBuf) -> Vec<Finding> {
    match opsward_worker::Pool::start(opsward_worker::Options::new(exe)).await {
        Ok(pool) => pool
            .attestation()
            .probes
            .into_iter()
            .map(|probe| Finding { what: format!("sandbox: {}", probe.name), works: probe.held, detail: probe.detail })
            .collect(),
        Err(error) => vec![bad("sandbox", format!("workers cannot be started: {error}; effects stay off"))],
    }
}

async fn platform(exe: PathBuf) -> Result<Vec<Finding>, Fault> {
    use opsward_ports::provider::{Observation, Provider, Query};
    let folder = std::env::temp_dir().join(format!("opsward-doctor-{}", std::process::id()));
    let options = opsward_local::Options::new(&folder, exe);
    let provider = opsward_local::LocalProvider::open(
        options,
        std::sync::Arc::new(SystemClock),
        std::sync::Arc::new(SystemEntropy),
    )
    .await?;
    let cx = opsward_engine::parts::system_context(&opsward_domain::name::Tenant::parse("doctor")?)?;
    let observed = provider.observe(&cx, &Query::Platform).await;
    provider.shutdown(false).await?;
    let _ = std::fs::remove_dir_all(&folder);
    match observed? {
        Observation::Platform(facts) => Ok(facts.isolation.into_iter().map(layer).collect()),
        _ => Err(Fault::internal("the provider answered another question")),
    }
}

/// What each configured cluster says of itself; nothing where none is configured.
async fn clusters(config: &Config) -> Result<Vec<Finding>, Fault> {
    let mut findings = Vec::new();
    for cluster in crate::app::clusters(config).await? {
        let owner = cluster.workspaces.first().map(|(tenant, _)| tenant.clone());
        let tenant = owner.map_or_else(|| opsward_domain::name::Tenant::parse(&config.tenant.name), Ok)?;
        let cx = opsward_engine::parts::system_context(&tenant)?;
        let layers = crate::routing::layers(&cluster, &cx).await;
        findings.extend(layers.into_iter().map(|it| Finding { what: it.name, works: it.holds, detail: it.detail }));
    }
    Ok(findings)
}

fn layer(layer: Layer) -> Finding {
    Finding { what: format!("workloads: {}", layer.name), works: layer.holds, detail: layer.detail }
}

async fn model_endpoint(base_url: &str) -> Finding {
    const WAIT_S: u64 = 5;
    let client = match opsward_tls::client().timeout(std::time::Duration::from_secs(WAIT_S)).build() {
        Ok(client) => client,
        Err(error) => return bad("model", format!("no HTTP client can be made: {error}")),
    };
    match client.get(format!("{base_url}/models")).send().await {
        Ok(answer) => good("model", format!("{base_url} answers with {}", answer.status())),
        Err(_) => bad("model", format!("{base_url} does not answer; start it or fix model.base_url")),
    }
}
