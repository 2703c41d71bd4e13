//! A client for the Redis protocol: get, put with a time to live, and warming at the start.
//! Must never make a request fail; a cache that is away only makes it slower.

use super::pool::{PeerError, Pool};
use super::{Service, lock};
use crate::http::CallError;
use crate::release::Step;
use std::io::{self, BufRead, Read, Write};
use std::time::{Duration, Instant};

/// Longest reply line and value that are read.
const REPLY_BYTES_MAX: u64 = 64 * 1024;
/// Time to live when the configuration does not say.
const TTL_S: u64 = 120;
/// Keys that are filled at the start, for each kind of thing.
const WARM_KEYS: u64 = 200;
/// What is stored: the size of a small rendered document.
const VALUE: &[u8] = &[b'v'; 512];

fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Reads a simple or bulk reply; `None` is the store's nil.
fn reply(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    from.take(REPLY_BYTES_MAX).read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
    match kind {
        "+" | ":" => Ok(Some(rest.as_bytes().to_vec())),
        "$" if rest == "-1" => Ok(None),
        "$" => {
            let size: u64 = rest.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            if size > REPLY_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut value = vec![0; size as usize + 2];
            from.read_exact(&mut value)?;
            value.truncate(size as usize);
            Ok(Some(value))
        }
        _ => Err(io::Error::other(rest.to_owned())),
    }
}

pub(super) fn get(pool: &Pool, key: &str, deadline: Instant) -> Result<Option<Vec<u8>>, PeerError> {
    let bytes = command(&[b"GET", key.as_bytes()]);
    exchange(pool, &bytes, deadline)
}

fn exchange(pool: &Pool, bytes: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, PeerError> {
    pool.exchange(deadline, |connection, deadline| -> Result<_, CallError> {
        connection.within(deadline, |stream| {
            stream.get_mut().write_all(bytes)?;
            reply(stream)
        })
    })
}

/// Seconds that an entry lives, spread so that entries do not expire together; `None`: do not store.
fn ttl(service: &Service) -> Option<String> {
    let seconds = service.settings.number("CACHE_TTL_S", TTL_S).unwrap_or(TTL_S);
    let spread = lock(&service.rng).range(0.6, 1.0);
    (seconds > 0).then(|| ((seconds as f64 * spread) as u64).max(1).to_string())
}

pub(super) fn put(service: &Service, pool: &Pool, key: &str, deadline: Instant) -> Result<(), PeerError> {
    let Some(ttl) = ttl(service) else {
        return Ok(());
    };
    let bytes = command(&[b"SET", key.as_bytes(), VALUE, b"EX", ttl.as_bytes()]);
    exchange(pool, &bytes, deadline).map(|_| ())
}

/// Fills the cache with what is asked most, if what computes it is configured.
pub(super) fn warm(service: &Service) {
    let started = Instant::now();
    let mut filled = 0;
    for step in service.release.routes.iter().flat_map(|route| &route.steps) {
        let Step::Lookup { peer, space, miss } = step else {
            continue;
        };
        let Some(pool) = service.pools.get(peer) else {
            continue;
        };
        if let Some(problem) = unknown(service, miss) {
            service.log.write("warn", &format!("cache warm-up of {space} skipped: {problem}"), &[], &[]);
            continue;
        }
        for id in 1..=WARM_KEYS {
            let Some(ttl) = ttl(service) else { return };
            let key = format!("{space}:{id}");
            let parts: [&[u8]; 6] = [b"SET", key.as_bytes(), VALUE, b"EX", ttl.as_bytes(), b"NX"];
            let deadline = Instant::now() + Duration::from_millis(500);
            if let Err(cause) = exchange(pool, &command(&parts), deadline) {
                let fields = [("cause", cause.to_string())];
                service.log.write("warn", "cache warm-up stopped", &fields, &[]);
                return;
            }
            filled += 1;
        }
    }
    if filled > 0 {
        let fields = [("entries", filled.to_string()), ("dur_ms", started.elapsed().as_millis().to_string())];
        service.log.write("info", "cache warmed", &fields, &[]);
    }
}

fn unknown(service: &Service, miss: &[Step]) -> Option<String> {
    miss.iter().find_map(|step| match step {
        Step::Known { key, values, text, .. } => {
            let value = service.settings.text(key).unwrap_or_default();
            (!values.iter().any(|known| known == value)).then(|| text.replace("{value}", value))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_follow_the_protocol() {
        assert_eq!(command(&[b"GET", b"k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        let read = |text: &str| reply(&mut text.as_bytes());
        assert_eq!(read("$3\r\nabc\r\n").unwrap(), Some(b"abc".to_vec()));
        assert_eq!(read("$-1\r\n").unwrap(), None);
        assert_eq!(read("+OK\r\n").unwrap(), Some(b"OK".to_vec()));
        assert_eq!(read("-ERR no\r\n").unwrap_err().to_string(), "ERR no");
        for broken in ["", "\r\n", "$9999999\r\n", "$x\r\n", "$5\r\nab"] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
    }
}
