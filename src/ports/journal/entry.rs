//! One entry of the chain, as every journal keeps it: sealed when written, checked when read. Pure: no
//! storage here, and no entry leaves here as an event unless its body matches its commitment.

use opsward_domain::canonical::digest_bytes;
use opsward_domain::chain::{GENESIS, Link, commit, link_hash};
use opsward_domain::context::{CallContext, Origin};
use opsward_domain::event::{BODY_VERSION, Body, Durability, Event, NewEvent, StreamKind, StreamName};
use opsward_domain::name::{Id, Subject, Tenant};
use opsward_domain::time::AtMs;

use super::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BODY_BYTES_MAX, DAMAGE_MAX, Error, Verified, upcast};

/// Bytes of the random salt of a body.
pub const SALT_BYTES: usize = 16;

/// A new event in the bytes that will be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    by: Subject,
    origin: Origin,
    at_ms: AtMs,
    cause: u64,
    bytes: Vec<u8>,
}

/// The events of one append, within all bounds and sure to be readable again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub events: Vec<Encoded>,
    /// The strongest that any of them asks for.
    pub durability: Durability,
    /// Bytes of all bodies.
    pub bytes: usize,
}

impl Batch {
    /// Encodes `events` as the caller's, checking every bound.
    pub fn encode(cx: &CallContext, events: Vec<NewEvent>) -> Result<Self, Error> {
        let count = events.len();
        if count > BATCH_EVENTS_MAX {
            return Err(Error::TooLarge(format!("append has {count} events, at most {BATCH_EVENTS_MAX} are allowed")));
        }
        let durability = events.iter().map(|event| event.body.durability()).max().unwrap_or(Durability::Process);
        let events = events.into_iter().map(|event| Encoded::new(cx, event)).collect::<Result<Vec<_>, _>>()?;
        let bytes = events.iter().map(|event| event.bytes.len()).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::TooLarge(format!("append has {bytes} bytes, at most {BATCH_BYTES_MAX} are allowed")));
        }
        Ok(Self { events, durability, bytes })
    }
}

impl Encoded {
    fn new(cx: &CallContext, event: NewEvent) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(&event.body).map_err(|error| unreadable(&error.to_string()))?;
        if bytes.len() > BODY_BYTES_MAX {
            let detail = format!("event body has {} bytes, at most {BODY_BYTES_MAX} are allowed", bytes.len());
            return Err(Error::TooLarge(detail));
        }
        // Why: a value such as NaN is written without complaint and can then never be read; one such body
        // would stop every fold of its stream for good.
        serde_json::from_slice::<Body>(&bytes).map_err(|error| unreadable(&error.to_string()))?;
        let cause = event.cause.unwrap_or(0);
        if i64::try_from(cause).is_err() {
            return Err(Error::TooLarge(format!("cause {cause} is no sequence number")));
        }
        Ok(Self { by: cx.principal.subject.clone(), origin: cx.origin, at_ms: event.at_ms, cause, bytes })
    }

    /// Makes the event the entry at `place`.
    pub fn seal(self, place: Place<'_>, salt: [u8; SALT_BYTES]) -> Entry {
        let link = Link {
            seq: place.seq,
            stream: place.stream.to_owned(),
            stream_seq: place.stream_seq,
            at_ms: self.at_ms,
            by: self.by.to_string(),
            origin: self.origin.word().to_owned(),
            cause: self.cause,
            version: BODY_VERSION,
            commitment: commit(&salt, &self.bytes),
        };
        let hash = link_hash(place.previous, &link);
        Entry { link, hash, kept: Kept::Body { salt: salt.to_vec(), bytes: self.bytes } }
    }
}

fn unreadable(detail: &str) -> Error {
    Error::Unavailable {
        detail: format!("event could not be read back: {detail}"),
        hint: "this is a defect of the program that made the event; please report it".into(),
    }
}

/// Where an event goes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Hash of the entry before.
    pub previous: &'a str,
    /// Sequence in the journal.
    pub seq: u64,
    /// Stream name as text.
    pub stream: &'a str,
    /// Sequence in the stream.
    pub stream_seq: u64,
}

/// What is left of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Body {
        /// What its commitment was salted with.
        salt: Vec<u8>,
        /// As written.
        bytes: Vec<u8>,
    },
    /// Nothing, on purpose.
    Erased {
        /// Why.
        reason: String,
    },
    /// Nothing, and nobody erased it.
    Missing,
}

/// One entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the chain covers.
    pub link: Link,
    /// Its hash, hex.
    pub hash: String,
    /// Its body.
    pub kept: Kept,
}

impl Entry {
    /// Bytes of the body.
    pub fn bytes(&self) -> usize {
        if let Kept::Body { bytes, .. } = &self.kept { bytes.len() } else { 0 }
    }

    /// What is wrong with the body, if anything.
    fn body_damage(&self) -> Option<&'static str> {
        match &self.kept {
            Kept::Body { salt, bytes } if commit(salt, bytes) == self.link.commitment => None,
            Kept::Body { .. } => Some("its body or salt does not match its commitment"),
            Kept::Erased { .. } => None,
            Kept::Missing => Some("its body is missing and was not erased"),
        }
    }

    /// The entry as an event. Damage is [`Error::Corrupt`]; a body this program is too old for is
    /// [`Error::Unavailable`].
    pub fn event(self) -> Result<Event, Error> {
        let seq = self.link.seq;
        let corrupt = |detail: &str| Error::Corrupt { seq, detail: detail.to_owned() };
        if let Some(detail) = self.body_damage() {
            return Err(corrupt(detail));
        }
        let link = self.link;
        let body = match self.kept {
            Kept::Body { bytes, .. } => {
                Some(upcast::body(link.version, &bytes).map_err(|error| Error::Unavailable {
                    detail: format!("journal entry {seq} cannot be understood: {error}"),
                    hint: "use the version of opsward that wrote it, or a newer one".into(),
                })?)
            }
            _ => None,
        };
        let origin = Origin::ALL.into_iter().find(|origin| origin.word() == link.origin);
        Ok(Event {
            seq,
            stream: stream_name(&link.stream).ok_or_else(|| corrupt("its stream name is not valid"))?,
            stream_seq: link.stream_seq,
            at_ms: link.at_ms,
            by: Subject::parse(&link.by).map_err(|_| corrupt("its subject is not a valid name"))?,
            origin: origin.ok_or_else(|| corrupt("its origin is not known"))?,
            cause: Some(link.cause).filter(|cause| *cause > 0),
            version: link.version,
            body,
        })
    }
}

/// What a blob is kept under, if it is not too large.
pub fn blob_digest(bytes: &[u8]) -> Result<String, Error> {
    if bytes.len() > BODY_BYTES_MAX {
        let detail = format!("blob has {} bytes, at most {BODY_BYTES_MAX} are allowed", bytes.len());
        return Err(Error::TooLarge(detail));
    }
    Ok(digest_bytes(bytes))
}

/// Reads a stream name from its text.
pub fn stream_name(text: &str) -> Option<StreamName> {
    let mut parts = text.split('/');
    let (tenant, kind, id) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = StreamKind::ALL.into_iter().find(|known| known.word() == kind)?;
    let name = StreamName { tenant: Tenant::parse(tenant).ok()?, kind, id: Id::parse(id).ok()? };
    parts.next().is_none().then_some(name)
}

/// A check of the chain, entry by entry, that goes on after damage so as to name each place once.
#[derive(Debug)]
pub struct Check {
    previous: String,
    next_seq: u64,
    found: Verified,
}

impl Check {
    /// Starts at the first entry.
    pub fn from_start() -> Self {
        Self::after(0, GENESIS.to_owned())
    }

    /// Starts after entry `seq`, whose hash is `hash`.
    pub fn after(seq: u64, hash: String) -> Self {
        let found = Verified { entries: 0, head: hash.clone(), damage: Vec::new(), erased: 0 };
        Self { previous: hash, next_seq: seq.saturating_add(1), found }
    }

    /// The sequence number that must come next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Checks the next entry.
    pub fn entry(&mut self, entry: &Entry) {
        let seq = entry.link.seq;
        if seq > self.next_seq {
            self.damage(self.next_seq, format!("entries {} to {} are missing", self.next_seq, seq.saturating_sub(1)));
        } else if seq < self.next_seq {
            self.damage(seq, "it stands after a later entry".into());
        }
        if link_hash(&self.previous, &entry.link) != entry.hash {
            self.damage(seq, "its hash does not follow from it and the entry before".into());
        }
        if let Some(detail) = entry.body_damage() {
            self.damage(seq, detail.into());
        }
        self.found.erased += u64::from(matches!(entry.kept, Kept::Erased { .. }));
        self.found.entries += 1;
        self.previous.clone_from(&entry.hash);
        self.next_seq = seq.saturating_add(1).max(self.next_seq);
    }

    /// Passes over an entry that cannot be read at all.
    pub fn unreadable(&mut self, seq: u64, detail: String) {
        self.damage(seq, detail);
        self.found.entries += 1;
        self.next_seq = seq.saturating_add(1).max(self.next_seq);
    }

    /// Notes damage that is not in the chain itself.
    pub fn damage(&mut self, seq: u64, detail: String) {
        if self.found.damage.len() < DAMAGE_MAX {
            self.found.damage.push((seq, detail));
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Verified {
        self.found.head = self.previous;
        self.found.damage.sort();
        self.found
    }
}
