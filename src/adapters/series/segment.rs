//! Segment files: a header, then blocks with their length and checksum. A segment explains itself: it
//! defines every series it mentions, so older ones can go. Never trusts a byte it reads back.
//!
//! Block: length u32, CRC-32 u32, payload. Payload: entries that begin with a number: 0 defines the
//! next series, 1 expires a tenant's points, n >= 2 is a point of series n - 2, its time as distance
//! to the point before it in the block, its value as difference to the series' value before it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::{Tenant, Workload, Workspace};
use opsward_domain::time::AtMs;

use crate::Options;
use crate::codec::{put_bits, put_text, put_varint, take_bits, take_text, take_varint};
use crate::head::{Head, Key, Mark};

const MAGIC: &[u8; 6] = b"opsser";
const VERSION: u16 = 1;
const DEFINE: u64 = 0;
const EXPIRE: u64 = 1;
const FIRST: u64 = 2;
/// Size after which a payload is written as a block of its own.
const BLOCK_BYTES: usize = 1 << 20;
/// Points gathered by series before they go to memory together while reading back.
const GATHER_POINTS: usize = 200_000;

/// Path of segment `number`.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.segment"))
}

/// A fault for a failed file operation.
pub(crate) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::unavailable(format!("cannot {what} the metrics store")).detail(format!("{}: {error}", path.display()))
}

/// The segment being written.
pub(crate) struct Writer {
    file: File,
    path: PathBuf,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) newest: HashMap<Tenant, AtMs>,
    references: u64,
    payload: Vec<u8>,
    last_ms: AtMs,
}

impl Writer {
    /// Begins segment `number`.
    pub(crate) fn create(dir: &Path, number: u64) -> Result<Self, Fault> {
        let path = path(dir, number);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        let made = File::options().write(true).create_new(true).open(&path);
        let made = made.and_then(|mut file| file.write_all(&header).map(|()| file));
        let file = made.map_err(|error| failed("write", &path, &error))?;
        let (bytes, payload, newest) = (header.len() as u64, Vec::new(), HashMap::new());
        Ok(Self { file, path, number, bytes, newest, references: 0, payload, last_ms: 0 })
    }

    /// Adds a point, with its series' definition where this segment has none yet.
    pub(crate) fn point(
        &mut self,
        place: (&Tenant, &Workspace),
        key: &Key,
        mark: &mut Mark,
        (at_ms, value): (AtMs, f64),
    ) {
        if mark.segment != self.number {
            *mark = Mark { segment: self.number, reference: self.references, bits: 0 };
            self.references += 1;
            put_varint(&mut self.payload, DEFINE);
            put_key(&mut self.payload, place, key);
        }
        put_varint(&mut self.payload, FIRST + mark.reference);
        put_varint(&mut self.payload, at_ms.wrapping_sub(self.last_ms));
        put_bits(&mut self.payload, value.to_bits(), mark.bits);
        (self.last_ms, mark.bits) = (at_ms, value.to_bits());
        let newest = self.newest.entry(place.0.clone()).or_insert(at_ms);
        *newest = at_ms.max(*newest);
    }

    /// Adds an expiry.
    pub(crate) fn expire(&mut self, tenant: &Tenant, before_ms: AtMs) {
        put_varint(&mut self.payload, EXPIRE);
        put_text(&mut self.payload, tenant.as_str());
        put_varint(&mut self.payload, before_ms);
    }

    /// True if what was added should be written before more is.
    pub(crate) fn wants_write(&self) -> bool {
        self.payload.len() >= BLOCK_BYTES
    }

    /// Hands what was added to the operating system. After a fault this segment takes nothing more.
    pub(crate) fn write(&mut self) -> Result<(), Fault> {
        if self.payload.is_empty() {
            return Ok(());
        }
        let mut block = Vec::with_capacity(self.payload.len() + 8);
        block.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        block.extend_from_slice(&crc32fast::hash(&self.payload).to_le_bytes());
        block.append(&mut self.payload);
        self.last_ms = 0;
        self.file.write_all(&block).map_err(|error| failed("write", &self.path, &error))?;
        self.bytes += block.len() as u64;
        Ok(())
    }

    /// Flushes to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        self.file.sync_data().map_err(|error| failed("flush", &self.path, &error))
    }
}

fn put_key(out: &mut Vec<u8>, place: (&Tenant, &Workspace), key: &Key) {
    put_text(out, place.0.as_str());
    put_text(out, place.1.as_str());
    put_text(out, &key.metric);
    put_text(out, key.workload.as_ref().map_or("", |name| name.as_str()));
    put_varint(out, key.replica.map_or(0, |replica| u64::from(replica) + 1));
    put_varint(out, key.labels.len() as u64);
    for (label, value) in &key.labels {
        put_text(out, label);
        put_text(out, value);
    }
}

fn take_key(from: &mut &[u8]) -> Option<(Tenant, Workspace, Key)> {
    let tenant = Tenant::parse(take_text(from)?).ok()?;
    let workspace = Workspace::parse(take_text(from)?).ok()?;
    let metric = take_text(from)?.to_owned();
    let workload = match take_text(from)? {
        "" => None,
        name => Some(Workload::parse(name).ok()?),
    };
    let replica = take_varint::<u64>(from)?.checked_sub(1).map(u32::try_from).transpose().ok()?;
    let mut labels = std::collections::BTreeMap::new();
    for _ in 0..take_varint::<u64>(from)? {
        labels.insert(take_text(from)?.to_owned(), take_text(from)?.to_owned());
    }
    Some((tenant, workspace, Key { metric, workload, replica, labels }))
}

/// What reading a segment back found.
pub(crate) struct Replayed {
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Newest point by tenant.
    pub(crate) newest: HashMap<Tenant, AtMs>,
    /// False if it ends in, or contains, what no writer completed.
    pub(crate) whole: bool,
}

/// Reads a segment back into `head`, up to its end or the first damage.
pub(crate) fn replay(path: &Path, options: &Options, head: &mut Head) -> Result<Replayed, Fault> {
    let bytes = fs::read(path).map_err(|error| failed("read", path, &error))?;
    let mut found = Replayed { bytes: bytes.len() as u64, newest: HashMap::new(), whole: true };
    let Some((header, mut rest)) = bytes.split_at_checked(MAGIC.len() + 2) else {
        return Ok(Replayed { whole: false, ..found });
    };
    if &header[..MAGIC.len()] != MAGIC {
        return Err(Fault::new(Code::Corrupt, "a file in the metrics store is not one of its segments")
            .detail(path.display().to_string())
            .hint("move the file out of the directory"));
    }
    let version = u16::from_le_bytes([header[6], header[7]]);
    if version > VERSION {
        return Err(Fault::conflict("the metrics store was written by a newer version")
            .detail(format!("{} has format {version}, this version knows {VERSION}", path.display()))
            .hint("use the newer version, or another data directory"));
    }
    let mut reader = Reader { series: Vec::new(), gathered: 0, options, head };
    while !rest.is_empty() {
        let Some(payload) = take_block(&mut rest) else {
            found.whole = false;
            break;
        };
        if reader.block(payload, &mut found.newest).is_none() {
            found.whole = false;
            break;
        }
    }
    reader.settle();
    Ok(found)
}

fn take_block<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *from = rest;
    (crc32fast::hash(payload) == u32::from_le_bytes(*crc)).then_some(payload)
}

struct Known {
    tenant: Tenant,
    workspace: Workspace,
    key: Key,
    bits: u64,
    points: Vec<(AtMs, f64)>,
}

struct Reader<'a> {
    series: Vec<Known>,
    gathered: usize,
    options: &'a Options,
    head: &'a mut Head,
}

impl Reader<'_> {
    fn block(&mut self, mut from: &[u8], newest: &mut HashMap<Tenant, AtMs>) -> Option<()> {
        let mut at_ms = 0_i64;
        while !from.is_empty() {
            match take_varint::<u64>(&mut from)? {
                DEFINE => {
                    let (tenant, workspace, key) = take_key(&mut from)?;
                    self.series.push(Known { tenant, workspace, key, bits: 0, points: Vec::new() });
                }
                EXPIRE => {
                    let tenant = Tenant::parse(take_text(&mut from)?).ok()?;
                    let before_ms = take_varint::<i64>(&mut from)?;
                    self.settle();
                    self.head.expire(&tenant, before_ms);
                }
                reference => {
                    let known = self.series.get_mut(usize::try_from(reference - FIRST).ok()?)?;
                    at_ms = at_ms.wrapping_add(take_varint::<i64>(&mut from)?);
                    known.bits = take_bits(&mut from, known.bits)?;
                    known.points.push((at_ms, f64::from_bits(known.bits)));
                    self.gathered += 1;
                    match newest.get_mut(&known.tenant) {
                        Some(newest) => *newest = at_ms.max(*newest),
                        None => drop(newest.insert(known.tenant.clone(), at_ms)),
                    }
                }
            }
            if self.gathered >= GATHER_POINTS {
                self.settle();
            }
        }
        Some(())
    }

    /// Hands gathered points to memory.
    fn settle(&mut self) {
        for known in &mut self.series {
            if !known.points.is_empty() {
                self.head.extend(self.options, (&known.tenant, &known.workspace), &known.key, &known.points);
                known.points.clear();
            }
        }
        self.gathered = 0;
        self.head.shed(self.options);
    }
}
