//! `opsward state`: backups of opsward's own state. Works on the data folder, with or without a server; whoever
//! may read that folder may do this.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use opsward::config::Config;
use opsward::recovery::{self, Opener, What, short};
use opsward_domain::fault::Fault;
use opsward_ports::clock::{Clock as _, SystemClock};
use serde::Serialize;
use serde_json::json;

use super::say;

fn path(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(clap::value_parser!(PathBuf)).help(about)
}

/// The command with its verbs.
pub(super) fn command() -> Command {
    let data = || path("data", "data folder (opsward-data)");
    let config = || path("config", "configuration file");
    let from = || path("from", "the vault (data.backup_dir of the configuration)");
    let key = || path("key", "the vault's key, a copy of keys/state of a data folder");
    let kit = || path("kit", "the recovery kit's page as a text file");
    let id = |about: &'static str| Arg::new("id").help(about);
    let skip = Arg::new("no-telemetry").long("no-telemetry").action(ArgAction::SetTrue);
    let volumes = Arg::new("volumes").long("volumes").action(ArgAction::SetTrue);
    Command::new("state")
        .about("Backups of opsward's own state: journal, people, keys, workspaces, logs, metrics")
        .subcommand_required(true)
        .subcommand(
            Command::new("backup")
                .about("Back the data folder up, encrypted, and read the result back; a running server goes on")
                .arg(data())
                .arg(config())
                .arg(path("to", "the vault, made if absent (data.backup_dir of the configuration)"))
                .arg(skip.help("leave logs and metrics out"))
                .arg(volumes.help("with the volumes and backups of every workspace")),
        )
        .subcommand(
            Command::new("list").about("List backups").arg(data()).arg(config()).arg(from()).arg(key()).arg(kit()),
        )
        .subcommand(
            Command::new("verify")
                .about("Read every byte of a backup back")
                .arg(id("which; the newest unless said"))
                .arg(data())
                .arg(config())
                .arg(from())
                .arg(key())
                .arg(kit()),
        )
        .subcommand(
            Command::new("restore")
                .about("Restore a backup into a new data folder and verify its journal")
                .after_help(
                    "The vault opens with its key or its recovery kit. Without either, the key of the data folder \
                     that the vault lies in is tried.",
                )
                .arg(id("which; the newest unless said"))
                .arg(from().required(true).help("the vault"))
                .arg(data().required(true).help("the new data folder; must not exist or be empty"))
                .arg(key())
                .arg(kit()),
        )
        .subcommand(
            Command::new("kit")
                .about("Add a recovery key to the vault and print its page, once")
                .arg(data())
                .arg(config())
                .arg(from()),
        )
}

/// Runs one verb. The value is the exit code.
pub(super) async fn run(verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    if verb == "restore" {
        return restore(matches).await;
    }
    let config = super::config(matches)?;
    let named = |name: &str| matches.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    let vault = named("from").or_else(|| named("to")).unwrap_or_else(|| config.data.backup_dir());
    let opener = match (named("key"), named("kit")) {
        (Some(key), _) => Opener::Key(key),
        (None, Some(kit)) => Opener::Kit(kit),
        (None, None) => Opener::of(&config.data.dir),
    };
    match verb {
        "backup" => return backup(matches, &config, &vault).await,
        "list" => list(matches, blocking(move || recovery::list(&vault, &opener)).await?),
        "kit" => {
            let data = config.data.dir.clone();
            say(&blocking(move || recovery::kit(&data, &vault, &today())).await?);
        }
        _ => {
            let id = matches.get_one::<String>("id").cloned();
            let report = blocking(move || recovery::verify(&vault, &opener, id.as_deref())).await?;
            let text = format!(
                "backup {} is whole: {} files and {} bytes read back",
                short(&report.id),
                report.files,
                report.bytes
            );
            tell(matches, &report, &text);
        }
    }
    Ok(0)
}

async fn backup(matches: &ArgMatches, config: &Config, vault: &Path) -> Result<u8, Fault> {
    let what = What { telemetry: !matches.get_flag("no-telemetry"), volumes: matches.get_flag("volumes") };
    let (kept, now_ms) = (config.data.backups_kept as usize, SystemClock.now_ms());
    let taken = recovery::take(&config.data.dir, vault, what, kept, now_ms, Default::default()).await?;
    let mut text = format!(
        "backup {} in {}: {} journal entries verified, {} files, {} bytes read back, {} new in the vault",
        short(&taken.id),
        vault.display(),
        taken.entries,
        taken.files,
        taken.bytes,
        taken.added_bytes
    );
    if taken.changed > 0 {
        text.push_str(&format!("\n{} files of volumes changed while they were read", taken.changed));
    }
    if !taken.has_kit {
        text.push_str("\nnobody has a recovery kit yet: print one with `opsward state kit` and keep it elsewhere");
    }
    tell(matches, &taken, &text);
    Ok(0)
}

async fn restore(matches: &ArgMatches) -> Result<u8, Fault> {
    let named = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let (Some(from), Some(data)) = (named("from"), named("data")) else { return Ok(2) };
    let opener = match (named("key"), named("kit")) {
        (Some(key), _) => Opener::Key(key),
        (None, Some(kit)) => Opener::Kit(kit),
        (None, None) => Opener::of(from.parent().unwrap_or(&from)),
    };
    let id = matches.get_one::<String>("id").map(String::as_str);
    let restored = recovery::restore(&from, opener, id, &data).await?;
    let mut text = format!(
        "restored backup {} of {} into {}: {} journal entries verified, {} bytes\nstart it with `opsward up --data {}`",
        short(&restored.id),
        when(restored.taken_at_ms),
        data.display(),
        restored.entries,
        restored.bytes,
        data.display()
    );
    for volume in &restored.empty_volumes {
        text.push_str(&format!("\nvolume {volume} was not in it and begins empty"));
    }
    tell(matches, &restored, &text);
    Ok(0)
}

fn list(matches: &ArgMatches, records: Vec<opsward_snapshots::SnapshotRecord>) {
    if matches.get_flag("json") {
        return say(&json!(records).to_string());
    }
    for record in &records {
        let at_ms = i64::try_from(record.taken_at_ms).unwrap_or(0);
        say(&format!("{}  {}  {:>12} bytes  {} files", short(&record.id), when(at_ms), record.bytes, record.files));
    }
    if records.is_empty() {
        say("no backups");
    }
}

fn tell(matches: &ArgMatches, value: &impl Serialize, text: &str) {
    if matches.get_flag("json") { say(&json!(value).to_string()) } else { say(text) }
}

fn when(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| "unknown".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn today() -> String {
    when(SystemClock.now_ms()).chars().take(10).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::internal(error.to_string()))?
}
