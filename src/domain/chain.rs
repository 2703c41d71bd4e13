//! The hash chain over the journal. A body enters by a salted commitment, so it can be erased later
//! while the chain stays provable. Never hashes anything that is not stored.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::time::AtMs;

/// Room for the names and numbers of a link's form.
const FORM_BYTES: usize = 160;

/// Hash before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Everything the chain covers, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Place in the journal, from 1.
    pub seq: u64,
    /// Stream name as text.
    pub stream: String,
    /// Place in the stream, from 1.
    pub stream_seq: u64,
    /// When.
    pub at_ms: AtMs,
    /// By whom.
    pub by: String,
    /// Through which door.
    pub origin: String,
    /// Which event caused it, 0 for none.
    pub cause: u64,
    /// Version of the body.
    pub version: u16,
    /// See [`commit`].
    pub commitment: String,
}

/// Commitment to a body: SHA-256 over its salt and its stored bytes, hex.
pub fn commit(salt: &[u8], body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update((salt.len() as u64).to_be_bytes());
    hash.update(salt);
    hash.update(body);
    hex::encode(hash.finalize())
}

/// Hash of an entry: SHA-256 over the previous hash and the entry's canonical form, hex.
pub fn link_hash(previous: &str, link: &Link) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(b"\n");
    hash.update(link_form(link).as_bytes());
    hex::encode(hash.finalize())
}

/// The canonical form of a link, written straight out: a journal is verified entry by entry, and going through
/// a tree of values takes most of the time.
fn link_form(link: &Link) -> String {
    let mut form = String::with_capacity(FORM_BYTES + link.stream.len() + link.by.len() + link.commitment.len());
    // Writing to a string cannot fail.
    let _ = write!(form, "{{\"at_ms\":{},\"by\":", link.at_ms);
    quote(&mut form, &link.by);
    let _ = write!(form, ",\"cause\":{},\"commitment\":", link.cause);
    quote(&mut form, &link.commitment);
    form.push_str(",\"origin\":");
    quote(&mut form, &link.origin);
    let _ = write!(form, ",\"seq\":{},\"stream\":", link.seq);
    quote(&mut form, &link.stream);
    let _ = write!(form, ",\"stream_seq\":{},\"version\":{}}}", link.stream_seq, link.version);
    form
}

/// Text as JSON; what every honest link holds needs no escapes.
fn quote(form: &mut String, text: &str) {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\');
    if plain {
        form.push('"');
        form.push_str(text);
        form.push('"');
    } else {
        form.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seq: u64) -> Link {
        Link {
            seq,
            stream: "acme/incident/i1".into(),
            stream_seq: seq,
            at_ms: 1,
            by: "ada".into(),
            origin: "api".into(),
            cause: 0,
            version: 1,
            commitment: commit(b"salt", b"{}"),
        }
    }

    #[test]
    fn the_form_is_the_canonical_one() {
        let odd =
            ["", "plain", "with \"quotes\" and \\", "line\nbreak\u{7f}", "\u{0}\u{1f}", "Ärger \u{202e}\u{1f980}"];
        for text in odd {
            for number in [0, 1, u64::MAX] {
                let edited = Link {
                    stream: text.into(),
                    by: text.into(),
                    origin: text.into(),
                    commitment: text.into(),
                    seq: number,
                    stream_seq: number,
                    cause: number,
                    at_ms: i64::MIN,
                    version: u16::MAX,
                };
                let value = serde_json::to_value(&edited).unwrap();
                assert_eq!(link_form(&edited), crate::canonical::canonical(&value));
            }
        }
    }

    #[test]
    fn every_field_changes_the_hash() {
        let base = link_hash(GENESIS, &link(1));
        let mut others = vec![link_hash(&base, &link(1)), link_hash(GENESIS, &link(2))];
        let mut edit = |change: fn(&mut Link)| {
            let mut edited = link(1);
            change(&mut edited);
            others.push(link_hash(GENESIS, &edited));
        };
        edit(|l| l.stream.push('x'));
        edit(|l| l.at_ms += 1);
        edit(|l| l.by.push('x'));
        edit(|l| l.origin.push('x'));
        edit(|l| l.cause = 7);
        edit(|l| l.version = 2);
        edit(|l| l.commitment = commit(b"sal", b"t{}"));
        assert!(others.iter().all(|other| *other != base));
    }
}
