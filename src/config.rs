//! The configuration: one typed tree, unknown keys refused with file and line, secrets by reference only.

use std::path::{Path, PathBuf};

use opsward_domain::fault::Fault;
use serde::{Deserialize, Serialize};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// Where it listens.
    pub server: Server,
    /// Where it keeps its data.
    pub data: Data,
    /// The first tenant and its owner.
    pub tenant: Tenant,
    /// A language model, if there is one.
    pub model: Option<Model>,
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port; loopback unless a proxy with TLS stands in front.
    pub listen: String,
    /// Further `host:port` values that a Host header may have.
    pub hosts: Vec<String>,
    /// Nothing is ever changed: plans are made and kept to be compared with what people do.
    pub observe_only: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7700".into(), hosts: Vec::new(), observe_only: false }
    }
}

/// Where it keeps its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Folder for everything, made if absent.
    pub dir: PathBuf,
    /// Most bytes of journal, logs and metrics together. Near it new log lines and samples are refused, so
    /// that the journal goes on.
    pub disk_bytes_max: u64,
    /// Share of that, and of the disk itself, at which new log lines and samples are refused.
    pub full_percent: u8,
    /// Most bytes of the journal.
    pub journal_bytes_max: u64,
    /// Hours that logs are kept.
    pub logs_hours: u32,
    /// Hours that metrics are kept.
    pub metrics_hours: u32,
    /// Hours between two backups of opsward's own state; 0 takes none by itself.
    pub backup_hours: u32,
    /// Newest backups that are kept.
    pub backups_kept: u32,
    /// Where they are kept, below `dir` unless it begins with `/`; another disk is safer.
    pub backup_dir: PathBuf,
    /// True if they hold logs and metrics too.
    pub backup_telemetry: bool,
}

/// Longest retention that can be configured.
const HOURS_MAX: u32 = 24 * 366 * 10;
/// Most backups of the own state that can be kept.
const BACKUPS_MAX: u32 = 1_000;

impl Default for Data {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("opsward-data"),
            disk_bytes_max: 12 << 30,
            full_percent: 95,
            journal_bytes_max: 4 << 30,
            logs_hours: 24 * 14,
            metrics_hours: 48,
            backup_hours: 24,
            backups_kept: 7,
            backup_dir: PathBuf::from("state-backups"),
            backup_telemetry: false,
        }
    }
}

impl Data {
    fn check(&self) -> Result<(), Fault> {
        for (key, hours) in [("logs_hours", self.logs_hours), ("metrics_hours", self.metrics_hours)] {
            if !(1..=HOURS_MAX).contains(&hours) {
                return Err(Fault::invalid(format!("data.{key} is {hours}, not 1 to {HOURS_MAX}")));
            }
        }
        if !(50..=99).contains(&self.full_percent) {
            return Err(Fault::invalid(format!("data.full_percent is {}, not 50 to 99", self.full_percent)));
        }
        if self.backup_hours > HOURS_MAX {
            return Err(Fault::invalid(format!("data.backup_hours is {}, not 0 to {HOURS_MAX}", self.backup_hours)));
        }
        if !(1..=BACKUPS_MAX).contains(&self.backups_kept) {
            return Err(Fault::invalid(format!("data.backups_kept is {}, not 1 to {BACKUPS_MAX}", self.backups_kept)));
        }
        if self.journal_bytes_max >= self.disk_bytes_max {
            let message = "data.journal_bytes_max leaves nothing of data.disk_bytes_max for logs and metrics";
            return Err(Fault::invalid(message).hint("raise data.disk_bytes_max, or lower data.journal_bytes_max"));
        }
        Ok(())
    }

    /// Where backups of the own state are kept.
    pub fn backup_dir(&self) -> PathBuf {
        self.dir.join(&self.backup_dir)
    }

    /// How long things are kept.
    pub fn retention(&self) -> opsward_engine::keeping::Retention {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        opsward_engine::keeping::Retention {
            logs_ms: i64::from(self.logs_hours) * HOUR_MS,
            metrics_ms: i64::from(self.metrics_hours) * HOUR_MS,
        }
    }
}

/// The first tenant and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Its first owner.
    pub owner: String,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { name: "local".into(), owner: "owner".into() }
    }
}

/// A language model behind an OpenAI-compatible endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Base address, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// Model name as the endpoint knows it.
    pub name: String,
    /// Environment variable that holds the key, if one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Tokens of context it takes.
    #[serde(default = "context_tokens")]
    pub context_tokens: u32,
}

fn context_tokens() -> u32 {
    32_000
}

impl Config {
    /// Reads `path`; the fault names file, line and what was expected.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Fault::invalid(format!("{} cannot be read", path.display()))
                .detail(error.to_string())
                .hint("`opsward config sample` prints one to begin with")
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses configuration text; `name` is used in faults.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Fault::invalid(format!("{name}, line {line}: {}", error.message()))
                .hint("`opsward config sample` prints every key")
        })?;
        config.check().map_err(|fault| Fault {
            message: format!("{name}: {}", fault.message),
            hint: if fault.hint.is_empty() {
                "`opsward config sample` prints every key".to_owned()
            } else {
                fault.hint
            },
            ..fault
        })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Fault> {
        self.server.listen.parse::<std::net::SocketAddr>().map_err(|_| {
            Fault::invalid(format!("server.listen is {:?}, not an address and port", self.server.listen))
                .hint("for example 127.0.0.1:7700")
        })?;
        self.data.check()?;
        opsward_domain::name::Tenant::parse(&self.tenant.name)?;
        opsward_domain::name::Subject::parse(&self.tenant.owner)?;
        if let Some(model) = &self.model
            && !(model.base_url.starts_with("http://") || model.base_url.starts_with("https://"))
        {
            return Err(Fault::invalid("model.base_url must start with http:// or https://"));
        }
        Ok(())
    }

    /// A sample with every key at its default.
    pub fn sample() -> String {
        let sample = Self {
            model: Some(Model {
                base_url: "http://127.0.0.1:11434/v1".into(),
                name: "qwen3:8b".into(),
                key_env: Some("OPSWARD_MODEL_KEY".into()),
                context_tokens: context_tokens(),
            }),
            ..Self::default()
        };
        let body = toml::to_string_pretty(&sample).unwrap_or_default();
        format!("# opsward: every key with its default. Leave [model] out to work without one.\n{body}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_valid_and_complete() {
        let config = Config::parse(&Config::sample(), "sample").unwrap();
        assert_eq!(config.server, Server::default());
        assert!(config.model.is_some());
    }

    #[test]
    fn mistakes_name_file_line_and_what_was_expected() {
        let unknown = Config::parse("[server]\nlisten = \"127.0.0.1:1\"\nlisten_on = 3\n", "a.toml").unwrap_err();
        assert!(unknown.message.starts_with("a.toml, line 3"), "{unknown}");
        assert!(unknown.message.contains("listen_on") && unknown.message.contains("listen"), "{unknown}");
        let kind = Config::parse("[data]\nlogs_hours = \"many\"\n", "a.toml").unwrap_err();
        assert!(kind.message.starts_with("a.toml, line 2") && kind.message.contains("u32"), "{kind}");
        for (text, key) in [
            ("logs_hours = 0", "data.logs_hours"),
            ("full_percent = 100", "data.full_percent"),
            ("disk_bytes_max = 1000", "data.disk_bytes_max"),
        ] {
            let fault = Config::parse(&format!("[data]\n{text}\n"), "a.toml").unwrap_err();
            assert!(fault.message.contains(key), "{fault}");
        }
        let address = Config::parse("[server]\nlisten = \"here\"\n", "a.toml").unwrap_err();
        assert!(address.hint.contains("127.0.0.1:7700"), "{address:?}");
    }
}
