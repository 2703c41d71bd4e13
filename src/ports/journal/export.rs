//! The journal as text that anybody can check with no database: JSON lines, a head line and then one line
//! an entry with its link, hash, salt and body. Reading never trusts what it reads.

use std::io::{BufRead, Read as _};

use opsward_domain::chain::Link;
use serde::{Deserialize, Serialize};

use super::entry::{Check, Entry, Kept};
use super::{BODY_BYTES_MAX, Error, Verified};

/// Version of the text form.
pub const EXPORT_VERSION: u16 = 1;
/// Longest line: a body in which every byte had to be escaped, and its link.
pub const LINE_BYTES_MAX: usize = BODY_BYTES_MAX * 6 + 64 * 1024;

const FORMAT: &str = "opsward-journal";

/// First line: what has to follow, so that a shortened export is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u16,
    entries: u64,
    head: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    link: Link,
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased: Option<String>,
}

/// The first line of an export of `entries` entries, the last of which has hash `head`. Ends in a newline.
pub fn head_line(entries: u64, head: &str) -> Result<String, Error> {
    line(&Head { format: FORMAT.into(), version: EXPORT_VERSION, entries, head: head.into() })
}

/// The line of one entry. Ends in a newline.
pub fn entry_line(entry: Entry) -> Result<String, Error> {
    let (salt, body, erased) = match entry.kept {
        // Why lossy: a body is JSON; if it no longer is, it is damaged, and stays so in the copy.
        Kept::Body { salt, bytes } => {
            (Some(hex::encode(salt)), Some(String::from_utf8_lossy(&bytes).into_owned()), None)
        }
        Kept::Erased { reason } => (None, None, Some(reason)),
        Kept::Missing => (None, None, None),
    };
    line(&Line { link: entry.link, hash: entry.hash, salt, body, erased })
}

fn line(value: &impl Serialize) -> Result<String, Error> {
    let mut text = serde_json::to_string(value).map_err(|error| refused(format!("line cannot be written: {error}")))?;
    text.push('\n');
    Ok(text)
}

fn refused(detail: String) -> Error {
    Error::Unavailable { detail, hint: "export the journal again with this version of opsward".into() }
}

/// Checks an export from its first line to its last. An error means that it is no export at all, or could
/// not be read; everything else is damage in the answer. Uses memory for one line at a time.
pub fn verify_export(mut reader: impl BufRead) -> Result<Verified, Error> {
    let mut bytes = Vec::new();
    next_line(&mut reader, &mut bytes)?;
    let head: Head = serde_json::from_slice(&bytes).map_err(|_| refused("this is not a journal export".into()))?;
    if head.format != FORMAT || head.version != EXPORT_VERSION {
        return Err(refused(format!(
            "export has format {} {}, not {FORMAT} {EXPORT_VERSION}",
            head.format, head.version
        )));
    }
    let mut check = Check::from_start();
    while next_line(&mut reader, &mut bytes)? {
        match serde_json::from_slice::<Line>(&bytes) {
            Ok(line) => check.entry(&line.into_entry()),
            Err(error) => check.damage(check.next_seq(), format!("its line cannot be read: {error}")),
        }
    }
    let missing = check.next_seq();
    if missing <= head.entries {
        check.damage(missing, format!("entries {missing} to {} are missing", head.entries));
    }
    let mut found = check.finish();
    if found.damage.is_empty() && (found.entries, &found.head) != (head.entries, &head.head) {
        found.damage.push((found.entries, "it is not the entry that the export says it ends with".into()));
    }
    Ok(found)
}

/// Reads one line of at most [`LINE_BYTES_MAX`]; false at the end.
fn next_line(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> Result<bool, Error> {
    bytes.clear();
    let mut bounded = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
    bounded.read_until(b'\n', bytes).map_err(|error| Error::Unavailable {
        detail: format!("export cannot be read: {error}"),
        hint: "check the file and its permissions".into(),
    })?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Error::TooLarge(format!("export has a line of more than {LINE_BYTES_MAX} bytes")));
    }
    Ok(!bytes.is_empty())
}

impl Line {
    fn into_entry(self) -> Entry {
        let kept = match (self.body, self.salt, self.erased) {
            (Some(body), Some(salt), None) => {
                // Why a default: a salt that is not hex cannot match the commitment, which is what gets reported.
                Kept::Body { salt: hex::decode(salt).unwrap_or_default(), bytes: body.into_bytes() }
            }
            (None, None, Some(reason)) => Kept::Erased { reason },
            _ => Kept::Missing,
        };
        Entry { link: self.link, hash: self.hash, kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::{Batch, Place};
    use opsward_domain::chain::GENESIS;
    use opsward_domain::context::{CallContext, Origin};
    use opsward_domain::event::{Body, NewEvent};
    use opsward_domain::name::{Id, Subject, Tenant};
    use opsward_domain::principal::{Kind, Principal};

    fn entries(count: u64) -> Vec<Entry> {
        let principal = Principal {
            subject: Subject::parse("ada").unwrap(),
            kind: Kind::Person,
            tenant: Tenant::parse("acme").unwrap(),
            tenant_role: None,
            roles: Default::default(),
        };
        let cx = CallContext::new(principal, Origin::Api);
        let mut previous = GENESIS.to_owned();
        let place = |seq: u64| -> Entry {
            let body = Body::TurnStarted { turn: Id::parse(&format!("t{seq}")).unwrap() };
            let event = NewEvent { at_ms: 7, cause: None, body };
            let encoded = Batch::encode(&cx, vec![event]).unwrap().events.remove(0);
            let place = Place { previous: &previous, seq, stream: "acme/incident/i1", stream_seq: seq };
            let entry = encoded.seal(place, [u8::try_from(seq).unwrap(); 16]);
            previous.clone_from(&entry.hash);
            entry
        };
        (1..=count).map(place).collect()
    }

    fn lines(entries: &[Entry]) -> Vec<String> {
        let head = head_line(entries.len() as u64, entries.last().map_or(GENESIS, |last| &last.hash)).unwrap();
        std::iter::once(head).chain(entries.iter().map(|entry| entry_line(entry.clone()).unwrap())).collect()
    }

    fn verify(lines: &[String]) -> Verified {
        verify_export(lines.concat().as_bytes()).unwrap()
    }

    #[test]
    fn a_sound_export_verifies_and_so_does_an_erased_body() {
        let mut entries = entries(5);
        let sound = verify(&lines(&entries));
        assert_eq!((sound.entries, sound.erased, sound.damage.len()), (5, 0, 0));
        assert_eq!(sound.head, entries[4].hash);
        entries[2].kept = Kept::Erased { reason: "leaked password".into() };
        let erased = verify(&lines(&entries));
        assert_eq!((erased.entries, erased.erased, erased.damage.len()), (5, 1, 0));
        assert_eq!(verify(&lines(&[])).entries, 0);
    }

    #[test]
    fn every_change_is_found_and_named() {
        let base = entries(5);
        let first = |lines: &[String]| verify(lines).damage.first().map(|(seq, _)| *seq);
        let edited = |change: fn(&mut Vec<Entry>)| {
            let mut copy = base.clone();
            change(&mut copy);
            first(&lines(&copy))
        };
        assert_eq!(edited(|e| e[1].link.at_ms += 1), Some(2));
        assert_eq!(edited(|e| e[1].link.stream = "evil/incident/i1".into()), Some(2));
        assert_eq!(edited(|e| e[2].hash = e[1].hash.clone()), Some(3));
        assert_eq!(edited(|e| e[3].kept = e[2].kept.clone()), Some(4));
        assert_eq!(edited(|e| e[3].kept = Kept::Missing), Some(4));
        assert_eq!(edited(|e| e[4].link.version += 1), Some(5));
        assert_eq!(edited(|e| e.swap(1, 2)), Some(2));
        assert_eq!(edited(|e| drop(e.remove(1))), Some(2));
        assert_eq!(edited(|e| e.insert(2, e[1].clone())), Some(2));
        let mut cut = lines(&base);
        cut.pop();
        assert_eq!(first(&cut), Some(5));
        let mut torn = lines(&base);
        torn[5].truncate(40);
        assert_eq!(first(&torn), Some(5));
        let mut longer = lines(&base);
        longer[0] = head_line(4, &base[3].hash).unwrap();
        assert_eq!(first(&longer), Some(5));
    }

    #[test]
    fn what_is_no_export_is_refused() {
        for bad in
            ["", "\n", "{}\n", "hello", "{\"format\":\"opsward-journal\",\"version\":9,\"entries\":0,\"head\":\"\"}\n"]
        {
            assert!(verify_export(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
