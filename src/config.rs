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
    /// Most bytes of the journal.
    pub journal_bytes_max: u64,
    /// Hours that logs are kept.
    pub logs_hours: u32,
    /// Hours that metrics are kept.
    pub metrics_hours: u32,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: PathBuf::from("opsward-data"), journal_bytes_max: 4 << 30, logs_hours: 24 * 14, metrics_hours: 48 }
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
        let text = std::fs::read_to_string(path)
            .map_err(|error| Fault::invalid(format!("{} cannot be read", path.display())).detail(error.to_string()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses configuration text; `name` is used in faults.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Fault::invalid(format!("{name}, line {line}: {}", error.message()))
                .hint("`opsward config sample` prints every key")
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Fault> {
        self.server.listen.parse::<std::net::SocketAddr>().map_err(|_| {
            Fault::invalid(format!("server.listen is {:?}, not an address and port", self.server.listen))
                .hint("for example 127.0.0.1:7700")
        })?;
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
        let address = Config::parse("[server]\nlisten = \"here\"\n", "a.toml").unwrap_err();
        assert!(address.hint.contains("127.0.0.1:7700"), "{address:?}");
    }
}
