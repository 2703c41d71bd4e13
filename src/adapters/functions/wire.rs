//! What client and host say to each other: frames of a JSON head and raw bytes.
//! A frame must never be read past its bound, whatever its sender claims.

use std::io::{Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_SOURCE_BYTES;
use crate::{Isolation, LoadReport, SourceError, Status};

/// Lengths of head and body, big-endian.
pub(crate) const PREFIX_BYTES: usize = 8;
/// Largest JSON head, in bytes: log lines escape to six times their size at worst.
const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// Largest body: a source is the largest thing sent.
const MAX_BODY_BYTES: usize = MAX_SOURCE_BYTES;

/// Names a function and version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) key: String,
    pub(crate) version: String,
}

/// How to read a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Language {
    Wasm,
    JavaScript,
}

/// Client to host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back with the answer.
    pub(crate) ticket: u64,
    pub(crate) name: Name,
    pub(crate) ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// The body is the source.
    Load {
        language: Language,
    },
    Unload,
    /// The body is the request.
    Invoke(Bounds),
}

/// What one invocation may use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) timeout_ms: u64,
    pub(crate) memory_max_bytes: u64,
    pub(crate) output_max_bytes: usize,
}

/// Host to client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Locked down and waiting; said once, with ticket 0.
    Ready(Isolation),
    Loaded(Result<LoadReport, SourceError>),
    Unloaded {
        known: bool,
    },
    /// The body is the response.
    Done(Done),
    /// The function is not loaded in this host.
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) ticket: u64,
    pub(crate) reply: Reply,
}

/// An invocation's outcome without its response.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) status: Status,
    pub(crate) detail: Option<String>,
    pub(crate) logs: Vec<String>,
    pub(crate) logs_truncated: bool,
    pub(crate) duration_us: u64,
    pub(crate) cold: bool,
    pub(crate) memory_peak_bytes: u64,
}

/// The other side does not speak this protocol, or went away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("frame of {head} and {body} bytes is too large")]
    TooLarge { head: usize, body: usize },
    #[error("frame cannot be understood: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// One frame in one piece.
pub(crate) fn encode<T: Serialize>(head: &T, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; PREFIX_BYTES];
    serde_json::to_writer(&mut bytes, head)?;
    let head = bytes.len() - PREFIX_BYTES;
    let too_large = || WireError::TooLarge { head, body: body.len() };
    if head > MAX_HEAD_BYTES || body.len() > MAX_BODY_BYTES {
        return Err(too_large());
    }
    let lengths = [head, body.len()].map(|length| u32::try_from(length).map(u32::to_be_bytes));
    for (place, length) in bytes.chunks_exact_mut(PREFIX_BYTES / 2).zip(lengths) {
        place.copy_from_slice(&length.map_err(|_| too_large())?);
    }
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// The lengths that a prefix announces, when they are in bounds.
pub(crate) fn lengths(prefix: [u8; PREFIX_BYTES]) -> Result<(usize, usize), WireError> {
    let all = u64::from_be_bytes(prefix);
    let part = |bits: u64| usize::try_from(bits & u64::from(u32::MAX)).unwrap_or(usize::MAX);
    let (head, body) = (part(all >> 32), part(all));
    if head > MAX_HEAD_BYTES || body > MAX_BODY_BYTES {
        return Err(WireError::TooLarge { head, body });
    }
    Ok((head, body))
}

pub(crate) fn decode<T: DeserializeOwned>(head: &[u8]) -> Result<T, WireError> {
    Ok(serde_json::from_slice(head)?)
}

/// Reads one frame; none at a clean end.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<(T, Vec<u8>)>, WireError> {
    let mut prefix = [0; PREFIX_BYTES];
    let first = loop {
        match from.read(&mut prefix) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(prefix.get_mut(first..).unwrap_or_default())?;
    let (head, body) = lengths(prefix)?;
    let (mut head, mut body) = (vec![0; head], vec![0; body]);
    from.read_exact(&mut head)?;
    from.read_exact(&mut body)?;
    Ok(Some((decode(&head)?, body)))
}

/// Writes one frame.
pub(crate) fn write<T: Serialize>(to: &mut impl Write, head: &T, body: &[u8]) -> Result<(), WireError> {
    Ok(to.write_all(&encode(head, body)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_bad_ones_are_refused() {
        let head = Answer { ticket: 7, reply: Reply::Unloaded { known: true } };
        let mut bytes = Vec::new();
        write(&mut bytes, &head, b"body").unwrap();
        let (back, body): (Answer, _) = read(&mut bytes.as_slice()).unwrap().unwrap();
        assert!(back.ticket == 7 && matches!(back.reply, Reply::Unloaded { known: true }));
        assert_eq!(body, b"body");
        assert!(read::<Answer>(&mut &b""[..]).unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(matches!(read::<Answer>(&mut &bytes[..cut]), Err(WireError::Socket(_))), "{cut}");
        }
        let huge = [0xff; PREFIX_BYTES];
        assert!(matches!(read::<Answer>(&mut &huge[..]), Err(WireError::TooLarge { .. })));
        let nonsense = [&[0, 0, 0, 2, 0, 0, 0, 0][..], b"[]"].concat();
        assert!(matches!(read::<Answer>(&mut nonsense.as_slice()), Err(WireError::Malformed(_))));
        assert!(matches!(encode(&head, &vec![0; MAX_BODY_BYTES + 1]), Err(WireError::TooLarge { .. })));
    }
}
