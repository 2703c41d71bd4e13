//! What a service does: the release artefact that a developer ships. The file is packed so that
//! nothing outside the service can tell a good release from a bad one by reading it.
//! Must never carry a word that a diagnosis could match on; behaviour is numbers and ordinary text.

use serde::{Deserialize, Serialize};

/// First bytes of every artefact.
const MAGIC: &[u8; 4] = b"SVC2";
/// Largest artefact that is accepted.
const RELEASE_BYTES_MAX: usize = 128 * 1024;

/// The compiled behaviour of one version of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) commit: String,
    pub(crate) dialect: Dialect,
    pub(crate) kind: Kind,
    /// Time between the start and the first answer.
    pub(crate) warmup_ms: u64,
    /// Variables without which it does not start.
    pub(crate) require: Vec<String>,
    pub(crate) routes: Vec<Route>,
    pub(crate) tasks: Vec<Task>,
}

/// How it writes its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dialect {
    /// `{"ts":…,"level":…,"msg":…}`
    Json,
    /// `{"timestamp":…,"severity":…,"message":…}`
    Severity,
    /// `ts=… level=… msg=…`
    Logfmt,
    /// `2026-11-23 05:48:40,120 INFO [worker-3] …`
    Plain,
}

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// HTTP with routes.
    Http,
    /// A key-value store, where no real one is installed.
    KeyValue,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) method: String,
    /// Segments; `{id}` stands for any one.
    pub(crate) path: String,
    pub(crate) steps: Vec<Step>,
    /// Fields of the answer; empty passes the last upstream answer through.
    pub(crate) reply: Vec<String>,
}

/// One thing a request does, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Computes, and waits for something that is not a service (disk, model, lock).
    Work { busy_us: u64, wait_ms: f64 },
    /// Waits in proportion to a number in the configuration.
    Depth { key: String, unit_ms: f64 },
    /// Calls another service `times` in a row.
    Call { peer: String, method: String, path: String, attempts: u32, times: u32, field: Option<String> },
    /// Asks the cache, and computes and stores on a miss.
    Lookup { peer: String, space: String, miss: Vec<Step> },
    /// Appends a record to the data folder and makes it durable.
    Append { bytes: usize },
    /// A value of the configuration must be one of these.
    Known { key: String, values: Vec<String>, text: String, frames: Vec<String> },
    /// Keeps state in memory, at most as many entries as the configuration says.
    Keep { bytes: usize, cap_key: Option<String> },
    /// Holds on to descriptors.
    Hold { per_mille: u64 },
    /// Some requests end the process.
    Abort { per_mille: u64, text: String, frames: Vec<String> },
    /// Some requests run into this.
    Raise { per_mille: u64, status: u16, text: String, frames: Vec<String> },
}

/// Something that happens beside the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) first_ms: u64,
    pub(crate) every_ms: u64,
    pub(crate) job: Job,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Writes a line.
    Say { level: String, text: String },
    /// Reloads something whose period is configured; a period that is not a positive number is fatal.
    Reload { key: String, what: String, text: String, frames: Vec<String> },
    /// Ends the process.
    Abort { text: String, frames: Vec<String> },
    /// Builds an in-memory index up to a size.
    Index { step_bytes: usize, total_bytes: usize },
}

/// Why an artefact cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ReleaseError {
    /// Not one of ours, or cut off.
    #[error("not a release artefact")]
    Format,
    /// Bytes were changed.
    #[error("release artefact is damaged (checksum)")]
    Checksum,
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn mask(bytes: &mut [u8], key: u64) {
    let mut state = key;
    for byte in bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte ^= (state >> 56) as u8;
    }
}

impl Release {
    /// Packs the release into its artefact.
    pub(crate) fn pack(&self) -> Vec<u8> {
        // Serialising plain data with string keys cannot fail.
        let mut body = serde_json::to_vec(self).unwrap_or_default();
        // Pad to whole kilobytes: the size must not tell versions apart.
        body.resize(body.len().next_multiple_of(1024), b' ');
        let sum = checksum(&body);
        mask(&mut body, sum);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads an artefact.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ReleaseError::Format)?;
        let (sum, body) = rest.split_first_chunk::<8>().ok_or(ReleaseError::Format)?;
        if body.len() > RELEASE_BYTES_MAX {
            return Err(ReleaseError::Format);
        }
        let sum = u64::from_le_bytes(*sum);
        let mut body = body.to_vec();
        mask(&mut body, sum);
        if checksum(&body) != sum {
            return Err(ReleaseError::Checksum);
        }
        serde_json::from_slice(&body).map_err(|_| ReleaseError::Format)
    }

    /// The route with this method and path pattern, to change it in a later version.
    pub(crate) fn route_mut(&mut self, method: &str, path: &str) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| route.method == method && route.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Release {
        Release {
            service: "ledger".to_owned(),
            version: "1.2.3".to_owned(),
            commit: "abc".to_owned(),
            dialect: Dialect::Logfmt,
            kind: Kind::Http,
            warmup_ms: 10,
            require: vec![],
            routes: vec![],
            tasks: vec![],
        }
    }

    #[test]
    fn an_artefact_round_trips_and_hides_its_text() {
        let packed = sample().pack();
        assert_eq!(Release::unpack(&packed).unwrap(), sample());
        assert!(!packed.windows(6).any(|window| window == b"ledger"));
    }

    #[test]
    fn damage_is_refused() {
        let mut packed = sample().pack();
        assert_eq!(Release::unpack(&packed[..8]), Err(ReleaseError::Format));
        assert_eq!(Release::unpack(b"ELF"), Err(ReleaseError::Format));
        let last = packed.len() - 1;
        packed[last] ^= 1;
        assert_eq!(Release::unpack(&packed), Err(ReleaseError::Checksum));
    }
}
