//! Length-prefixed JSON: four bytes big-endian, then that many bytes. Never allocates more than the bound.

use std::io::{ErrorKind, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

use crate::WireError;

/// Bytes of the length prefix.
pub const HEADER_BYTES: usize = 4;

/// Largest payload of one frame, in bytes, in either direction.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// Header and payload of one frame.
///
/// # Errors
/// [`WireError::Oversized`] over [`MAX_FRAME_BYTES`]; [`WireError::Malformed`] for what JSON cannot say.
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut bytes, frame).map_err(|error| WireError::Malformed(error.to_string()))?;
    let length = bytes.len() - HEADER_BYTES;
    if length > MAX_FRAME_BYTES {
        return Err(WireError::Oversized { bytes: length });
    }
    let header = u32::try_from(length).map_err(|_| WireError::Oversized { bytes: length })?;
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_be_bytes());
    Ok(bytes)
}

/// Payload length that a header announces.
///
/// # Errors
/// [`WireError::Oversized`] over [`MAX_FRAME_BYTES`]; [`WireError::Malformed`] for an empty frame.
pub fn payload_len(header: [u8; HEADER_BYTES]) -> Result<usize, WireError> {
    let bytes = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    match bytes {
        0 => Err(WireError::Malformed("empty frame".to_owned())),
        1..=MAX_FRAME_BYTES => Ok(bytes),
        _ => Err(WireError::Oversized { bytes }),
    }
}

/// The frame in a payload.
///
/// # Errors
/// [`WireError::Malformed`] for invalid UTF-8, JSON, nesting over the parser's bound or an unknown frame.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(payload).map_err(|error| WireError::Malformed(error.to_string()))
}

/// Writes one frame in one piece.
///
/// # Errors
/// As [`encode`]; [`WireError::Socket`] when the write fails.
pub fn write_frame<T: Serialize>(writer: &mut impl Write, frame: &T) -> Result<(), WireError> {
    let bytes = encode(frame)?;
    writer.write_all(&bytes)?;
    Ok(writer.flush()?)
}

/// Reads one frame; `None` when the other end closed between two frames.
///
/// # Errors
/// As [`payload_len`] and [`decode`]; [`WireError::Truncated`] for an end inside the frame.
pub fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> Result<Option<T>, WireError> {
    let mut header = [0; HEADER_BYTES];
    let first = loop {
        match reader.read(&mut header) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    fill(reader, &mut header[first..])?;
    let mut payload = vec![0; payload_len(header)?];
    fill(reader, &mut payload)?;
    decode(&payload).map(Some)
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), WireError> {
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => WireError::Truncated,
        _ => WireError::Socket(error),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{FromWorker, Outcome, RunLimits, ToWorker};

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<FromWorker>, WireError> {
        read_frame(&mut &bytes[..])
    }

    #[test]
    fn frames_survive_the_round_trip() {
        let frames = [
            ToWorker::Run {
                source: "return []".to_owned(),
                input: json!({"a": 1}),
                queries: Vec::new(),
                steps: Vec::new(),
                limits: RunLimits::default(),
            },
            ToWorker::Reply { seq: 1, outcome: Outcome::Value(json!(null)) },
            ToWorker::Reply {
                seq: u64::MAX,
                outcome: Outcome::Denied { code: "x".to_owned(), message: "y".to_owned() },
            },
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            write_frame(&mut bytes, frame).unwrap();
        }
        let mut reader = &bytes[..];
        for frame in &frames {
            assert_eq!(read_frame::<ToWorker>(&mut reader).unwrap().as_ref(), Some(frame));
        }
        assert!(read_frame::<ToWorker>(&mut reader).unwrap().is_none());
    }

    #[test]
    fn every_cut_is_truncated_and_never_a_panic() {
        let whole = encode(&FromWorker::Done { value: json!("x") }).unwrap();
        assert!(read(&whole).unwrap().is_some());
        for cut in 1..whole.len() {
            assert!(matches!(read(&whole[..cut]), Err(WireError::Truncated)), "cut at {cut}");
        }
    }

    #[test]
    fn oversized_is_refused_before_it_is_read_or_written() {
        let announced = [0xff, 0xff, 0xff, 0xff];
        assert!(matches!(read(&announced), Err(WireError::Oversized { .. })));
        let edge = u32::try_from(MAX_FRAME_BYTES).unwrap();
        assert_eq!(payload_len(edge.to_be_bytes()).unwrap(), MAX_FRAME_BYTES);
        assert!(payload_len((edge + 1).to_be_bytes()).is_err());
        let big = FromWorker::Done { value: json!("x".repeat(MAX_FRAME_BYTES)) };
        assert!(matches!(encode(&big), Err(WireError::Oversized { .. })));
    }

    #[test]
    fn malformed_payloads_are_typed_errors() {
        let deep = format!("{{\"done\":{{\"value\":{}{}}}}}", "[".repeat(5_000), "]".repeat(5_000));
        let payloads: [&[u8]; 9] = [
            b"",
            b"\xff\xfe",
            b"{",
            b"[]",
            b"null",
            b"{\"done\":{}}",
            b"{\"done\":{\"value\":1,\"tenant\":\"b\"}}",
            b"{\"approve\":{\"id\":1}}",
            deep.as_bytes(),
        ];
        for payload in payloads {
            assert!(
                matches!(read(&framed(payload)), Err(WireError::Malformed(_))),
                "{}",
                String::from_utf8_lossy(&payload[..payload.len().min(40)])
            );
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for seq in ["-1", "1.5", "18446744073709551616", "1e400"] {
            let payload = format!("{{\"call\":{{\"seq\":{seq},\"query\":\"q\",\"args\":{{}}}}}}");
            assert!(matches!(read(&framed(payload.as_bytes())), Err(WireError::Malformed(_))), "{seq}");
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let seed =
            encode(&FromWorker::Call { seq: 1, query: "q".to_owned(), args: json!({"k": [1, 2.5, "s"]}) }).unwrap();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut bytes = seed.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[at] = state.to_le_bytes()[3];
            }
            // Only that it returns: a mutation may well be a valid frame.
            let _outcome = read(&bytes);
        }
    }
}
