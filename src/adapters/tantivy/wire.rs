//! Bytes on disk: numbers, checked frames, files replaced as a whole. Never trusts what it reads.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use integer_encoding::VarInt;
use opsward_domain::fault::{Code, Fault};

/// Most bytes of one number.
const VARINT_BYTES_MAX: usize = 10;
/// Bytes before a frame's payload: length and CRC-32.
const FRAME_HEAD: usize = 8;

/// Appends `value` in 7-bit groups, low ones first; signed ones so that small distances either way stay short.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: impl VarInt) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let length = value.encode_var(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
}

/// Reads what [`put_varint`] wrote and moves `from` behind it.
pub(crate) fn take_varint<T: VarInt>(from: &mut &[u8]) -> Option<T> {
    let (value, length) = T::decode_var(from)?;
    *from = from.get(length..)?;
    Some(value)
}

/// `payload` with its length and checksum in front.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + FRAME_HEAD);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// What stands at the front of some bytes.
pub(crate) enum Framed<'a> {
    /// A whole frame's payload.
    Whole(&'a [u8]),
    /// Nothing more.
    End,
    /// What a writer leaves that was stopped: a part of a frame, or space never written.
    Torn,
    /// A frame that was whole once and is not now.
    Damaged,
}

/// Takes the next frame.
pub(crate) fn take_frame<'a>(from: &mut &'a [u8]) -> Framed<'a> {
    if from.is_empty() {
        return Framed::End;
    }
    let head = from.split_first_chunk::<4>().and_then(|(length, rest)| {
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*length) as usize, u32::from_le_bytes(*crc), rest))
    });
    let Some((length, crc, rest)) = head else { return Framed::Torn };
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Framed::Torn };
    if crc32fast::hash(payload) == crc && length > 0 {
        *from = rest;
        return Framed::Whole(payload);
    }
    if rest.is_empty() || from.iter().all(|byte| *byte == 0) { Framed::Torn } else { Framed::Damaged }
}

/// A fault for a failed file operation.
pub(crate) fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::unavailable(format!("cannot {what} the log store")).detail(format!("{}: {error}", path.display()))
}

/// A fault for stored bytes that are wrong.
pub(crate) fn damaged(path: &Path, what: &str) -> Fault {
    Fault::new(Code::Corrupt, "the log store is damaged")
        .detail(format!("{}: {what}", path.display()))
        .hint("restore the directory from a backup, or move the tenant's folder away to go on without its logs")
}

/// Replaces the file at `path` by `bytes`: after a crash either is there, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let fresh = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(|error| failed("write", path, &error))
}

/// Makes names in `dir` survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
