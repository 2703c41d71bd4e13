//! What a workload is asked to be. Pure description; never touches a process or a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::name::{Volume, Workload};

/// Most replicas of one workload.
pub const REPLICAS_MAX: u32 = 1_000;
/// Most replicas of one workload on one machine.
pub const MACHINE_REPLICAS_MAX: u32 = 32;
/// Most bytes of all files of one version together, decoded.
pub const FILES_BYTES_MAX: usize = 256 * 1024;
/// Most environment variables.
pub const ENVIRONMENT_MAX: usize = 200;
/// Most bytes of one environment value or argument.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Upper bounds of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Resident memory at which a replica is killed.
    pub memory_bytes: u64,
    /// Open file descriptors.
    #[serde(default = "open_files_default")]
    pub open_files: u64,
}

fn open_files_default() -> u64 {
    1024
}

/// How readiness is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// An HTTP GET that must answer 2xx; absent means a TCP connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_path: Option<String>,
    /// Time between checks.
    #[serde(default = "health_interval")]
    pub interval_ms: u64,
    /// Longest wait for one check.
    #[serde(default = "health_timeout")]
    pub timeout_ms: u64,
    /// Failures in a row before a replica counts as not ready.
    #[serde(default = "health_failures")]
    pub failures: u32,
}

fn health_interval() -> u64 {
    500
}
fn health_timeout() -> u64 {
    400
}
fn health_failures() -> u32 {
    3
}

/// When a replica that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Whatever the exit status.
    Always,
    /// After a failure only.
    OnFailure,
    /// Never.
    Never,
}

fn restart_default() -> Restart {
    Restart::Always
}

/// What its owner calls healthy; the source of a workload's own alert rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Share of failed requests above which an alert fires, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio_max: Option<f64>,
    /// 95th percentile of the answer time above which an alert fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p95_ms_max: Option<f64>,
}

/// A version of a workload: everything needed to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// Free label of the release, 1 to 64 printable ASCII characters.
    pub version: String,
    /// Program and arguments; `${port}`, `${addr:NAME}`, `${volume:NAME}`, `${files}` are expanded.
    pub command: Vec<String>,
    /// Environment; values are expanded like arguments.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Small read-only files of this version, base64.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Wanted replicas.
    pub replicas: u32,
    /// Bounds of one replica.
    pub limits: Limits,
    /// True if replicas listen on `${port}` behind a stable balanced address.
    #[serde(default)]
    pub port: bool,
    /// Readiness; absent means the process is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Where its Prometheus text is, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_path: Option<String>,
    /// Volumes it may write.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Workloads it calls, as declared.
    #[serde(default)]
    pub depends_on: Vec<Workload>,
    /// Restart rule.
    #[serde(default = "restart_default")]
    pub restart: Restart,
    /// Alert rules of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Container image, where workloads are containers; the command may then be the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Most characters of an image's name.
const IMAGE_CHARS_MAX: usize = 512;

/// Checks the name of a container image.
pub fn image_name(image: &str) -> Result<(), Fault> {
    let plain = image.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b));
    if image.is_empty() || image.len() > IMAGE_CHARS_MAX || !plain {
        return refuse("the image is not a valid name", "for example registry.example/shop/web:1.4.2");
    }
    Ok(())
}

fn refuse(what: &str, hint: &str) -> Result<(), Fault> {
    Err(Fault::invalid(what).hint(hint))
}

impl WorkloadSpec {
    /// Checks every bound that does not need the machine.
    pub fn validate(&self) -> Result<(), Fault> {
        let printable = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if self.version.is_empty() || self.version.len() > 64 || !printable(&self.version) {
            return refuse("version must be 1 to 64 printable ASCII characters", "for example 1.14.2");
        }
        self.image.as_deref().map_or(Ok(()), image_name)?;
        match self.command.first() {
            None if self.image.is_some() => {}
            None => return refuse("command is empty", "give the program's path and its arguments"),
            Some(program) if program.is_empty() || self.command.len() > 64 => {
                return refuse("command must have 1 to 64 parts and name a program", "the first part is the program");
            }
            Some(_) => {}
        }
        for part in self.command.iter().chain(self.env.values()) {
            if part.len() > VALUE_BYTES_MAX || part.contains('\0') {
                return refuse(
                    "an argument or value is longer than 8 KiB or holds a NUL",
                    "put large content in files",
                );
            }
        }
        if self.env.len() > ENVIRONMENT_MAX {
            return refuse("more than 200 environment variables", "put large configuration in files");
        }
        self.env.keys().try_for_each(|key| environment_key(key))?;
        if self.replicas > REPLICAS_MAX {
            return refuse("more than 1000 replicas", "share the work among several workloads");
        }
        if self.limits.memory_bytes < 1024 * 1024 {
            return refuse("memory limit is below 1 MiB", "memory_bytes is in bytes");
        }
        self.validate_files()?;
        self.validate_paths()
    }

    fn validate_files(&self) -> Result<(), Fault> {
        let mut bytes = 0usize;
        for (name, body) in &self.files {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if name.is_empty() || name.len() > 100 || !plain || name.starts_with('.') {
                return refuse(
                    "a file name may use only letters, digits, '.', '_' and '-'",
                    "no folders, no leading dot",
                );
            }
            bytes = bytes.saturating_add(body.len() / 4 * 3);
        }
        if bytes > FILES_BYTES_MAX {
            return refuse("files are larger than 256 KiB together", "put data on a volume");
        }
        Ok(())
    }

    fn validate_paths(&self) -> Result<(), Fault> {
        let health = self.health.as_ref().and_then(|h| h.http_path.as_ref());
        for path in health.into_iter().chain(&self.metrics_path) {
            if !path.starts_with('/') || path.len() > 200 || path.bytes().any(|b| b <= 0x20 || b >= 0x7f) {
                return refuse("an HTTP path must start with '/' and be plain ASCII", "for example /healthz");
            }
        }
        if let Some(health) = &self.health {
            if health.interval_ms < 50 || health.timeout_ms < 10 || health.failures == 0 {
                return refuse(
                    "health check is faster than 50 ms or never fails",
                    "use interval_ms >= 50, timeout_ms >= 10, failures >= 1",
                );
            }
            if !self.port {
                return refuse("a health check needs a port", "set \"port\": true");
            }
        }
        Ok(())
    }
}

/// Checks the name of an environment variable.
pub fn environment_key(key: &str) -> Result<(), Fault> {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if key.is_empty() || key.len() > 128 || !plain || key.as_bytes()[0].is_ascii_digit() {
        return refuse(
            "an environment variable's name is not valid",
            "use letters, digits and '_', not starting with a digit",
        );
    }
    Ok(())
}
