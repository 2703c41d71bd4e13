//! The configuration: one typed tree, unknown keys refused with file and line, secrets by reference only.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Where workspaces are besides this machine.
    pub provider: Provider,
}

/// Where workspaces are besides this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Kubernetes clusters; each workspace is a namespace of one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kubernetes: Vec<Kubernetes>,
}

/// A Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// What it is called here.
    pub name: String,
    /// The kubeconfig; absent: the service account of the pod that opsward runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Its context; absent: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// True if the program that the kubeconfig names may be run for a token.
    #[serde(default)]
    pub allow_exec: bool,
    /// Name under which the cluster knows a person, such as `{subject}@example.com`; `{tenant}` is filled in,
    /// too. Absent: every call is made with opsward's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonate: Option<String>,
    /// True if new workspaces become namespaces of this cluster.
    #[serde(default)]
    pub create_namespaces: bool,
    /// Storage class of new volumes; absent: the cluster's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Longest wait for one answer of the cluster.
    #[serde(default = "request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// Longest time without progress that a change may take.
    #[serde(default = "settle_timeout_ms")]
    pub settle_timeout_ms: u64,
    /// Whose the workspaces are; absent: the tenant of `[tenant]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Workspaces by name, each with its namespace.
    #[serde(default)]
    pub workspaces: BTreeMap<String, String>,
}

fn request_timeout_ms() -> u64 {
    30_000
}
fn settle_timeout_ms() -> u64 {
    120_000
}

impl Kubernetes {
    fn example() -> Self {
        Self {
            name: "prod".into(),
            kubeconfig: Some("/etc/opsward/kubeconfig".into()),
            context: Some("prod".into()),
            allow_exec: false,
            impersonate: Some("{subject}@example.com".into()),
            create_namespaces: false,
            storage_class: None,
            request_timeout_ms: request_timeout_ms(),
            settle_timeout_ms: settle_timeout_ms(),
            tenant: None,
            workspaces: [("shop".to_owned(), "shop-prod".to_owned())].into(),
        }
    }

    /// The tenant whose the workspaces are.
    pub fn owner<'a>(&'a self, config: &'a Config) -> &'a str {
        self.tenant.as_deref().unwrap_or(&config.tenant.name)
    }

    fn check(&self, config: &Config) -> Result<(), Fault> {
        opsward_domain::name::Workspace::parse(&self.name)?;
        opsward_domain::name::Tenant::parse(self.owner(config))?;
        for (workspace, namespace) in &self.workspaces {
            opsward_domain::name::Workspace::parse(workspace)?;
            opsward_domain::name::Workspace::parse(namespace)?;
        }
        if self.workspaces.is_empty() && !self.create_namespaces {
            return Err(Fault::invalid(format!("provider.kubernetes {:?} has no workspaces", self.name))
                .hint("name some under workspaces, as NAME = \"NAMESPACE\", or set create_namespaces = true"));
        }
        for (key, wait) in [("request", self.request_timeout_ms), ("settle", self.settle_timeout_ms)] {
            if !(100..=3_600_000).contains(&wait) {
                return Err(Fault::invalid(format!("{key}_timeout_ms is {wait}, not 100 to 3600000")));
            }
        }
        Ok(())
    }
}

impl Provider {
    /// Each cluster by itself, and no workspace in two.
    fn check(&self, config: &Config) -> Result<(), Fault> {
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        for cluster in &self.kubernetes {
            cluster.check(config)?;
            if !names.insert(&cluster.name) {
                return Err(Fault::invalid(format!("two provider.kubernetes are called {:?}", cluster.name)));
            }
            for workspace in cluster.workspaces.keys() {
                if !places.insert((cluster.owner(config), workspace)) {
                    return Err(Fault::invalid(format!("workspace {workspace} is in two clusters")));
                }
            }
        }
        if self.kubernetes.iter().filter(|it| it.create_namespaces).count() > 1 {
            return Err(Fault::invalid("two clusters have create_namespaces: new workspaces need one place"));
        }
        Ok(())
    }
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
        self.provider.check(self)?;
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
        format!(
            "# opsward: every key with its default. Leave [model] out to work without one.\n{body}\n{}",
            clusters_sample()
        )
    }
}

/// A cluster as a comment: one that is not there would keep opsward from being useful.
fn clusters_sample() -> String {
    let sample = Config { provider: Provider { kubernetes: vec![Kubernetes::example()] }, ..Config::default() };
    let text = toml::to_string_pretty(&sample).unwrap_or_default();
    let own = text.find("[[provider.kubernetes]]").map_or("", |at| &text[at..]);
    let lines = own.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") });
    format!("# A Kubernetes cluster (feature `scale`); any number of them.\n{}", lines.collect::<String>())
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
    fn the_commented_cluster_is_valid_too() {
        let sample = clusters_sample();
        let text: String =
            sample.lines().skip(1).map(|it| format!("{}\n", it.trim_start_matches(['#', ' ']))).collect();
        let config = Config::parse(&text, "sample").unwrap();
        assert_eq!(config.provider.kubernetes, [Kubernetes::example()], "{text}");
    }

    #[test]
    fn a_cluster_without_a_place_for_anything_is_refused() {
        let cluster = |more: &str| format!("[[provider.kubernetes]]\nname = \"a\"\n{more}\n");
        let shop = cluster("workspaces = { shop = \"shop\" }");
        Config::parse(&shop, "a.toml").unwrap();
        for (bad, wanted) in [
            (cluster(""), "has no workspaces"),
            (cluster("workspaces = { shop = \"../shop\" }"), "not a valid name"),
            (cluster("workspaces = { shop = \"shop\" }\ntoken = \"x\""), "token"),
            (cluster("create_namespaces = true\nsettle_timeout_ms = 1"), "settle_timeout_ms"),
            (format!("{shop}{}", shop.replace("\"a\"", "\"b\"")), "in two clusters"),
            (format!("{shop}{}", cluster("create_namespaces = true")), "are called"),
        ] {
            let fault = Config::parse(&bad, "a.toml").unwrap_err();
            assert!(fault.message.contains(wanted), "{bad}: {fault}");
        }
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
