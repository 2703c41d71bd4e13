//! A key-value store that speaks the Redis protocol, for machines without a real one.
//! Must never grow without bound: beyond its entries it forgets expired ones, then all.

use super::lock;
use super::log::Log;
use super::server;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ENTRIES_MAX: usize = 20_000;
const PARTS_MAX: usize = 8;
const PART_BYTES_MAX: usize = 64 * 1024;
/// A store without a signal thread of its own ends when it is told to.
const IDLE: Duration = Duration::from_secs(60);

type Entries = HashMap<Vec<u8>, (Vec<u8>, Option<Instant>)>;

/// Serves until the process ends.
pub(super) fn serve(listener: &TcpListener, log: &Log) -> ExitCode {
    super::drain::leave_on_signal();
    log.write("info", "ready to accept connections", &[], &[]);
    let entries = Arc::new(Mutex::new(Entries::new()));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let entries = Arc::clone(&entries);
        server::spawn("conn", move || {
            // A client that goes away ends only its own connection.
            let _ = converse(&entries, stream);
        });
    }
}

fn converse(entries: &Mutex<Entries>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    while let Some(parts) = parts(&mut reader)? {
        let answer = answer(&mut lock(entries), &parts);
        reader.get_mut().write_all(&answer)?;
    }
    Ok(())
}

fn number(from: &mut impl BufRead, mark: char) -> io::Result<Option<usize>> {
    let mut line = String::new();
    if from.take(32).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let digits = line.trim_end().strip_prefix(mark).ok_or(io::ErrorKind::InvalidData)?;
    digits.parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn parts(from: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = number(from, '*')? else {
        return Ok(None);
    };
    if count > PARTS_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let size = number(from, '$')?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if size > PART_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut part = vec![0; size + 2];
        from.read_exact(&mut part)?;
        part.truncate(size);
        parts.push(part);
    }
    Ok(Some(parts))
}

fn answer(entries: &mut Entries, parts: &[Vec<u8>]) -> Vec<u8> {
    let words: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let live = |found: &&(Vec<u8>, Option<Instant>)| found.1.is_none_or(|end| end > Instant::now());
    match words.as_slice() {
        [name, key] if name.eq_ignore_ascii_case(b"GET") => match entries.get(*key).filter(live) {
            Some((value, _)) => {
                let mut out = format!("${}\r\n", value.len()).into_bytes();
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
                out
            }
            None => b"$-1\r\n".to_vec(),
        },
        [name, key, value, rest @ ..] if name.eq_ignore_ascii_case(b"SET") => {
            let only_new = rest.iter().any(|word| word.eq_ignore_ascii_case(b"NX"));
            if only_new && entries.get(*key).is_some_and(|found| live(&found)) {
                return b"$-1\r\n".to_vec();
            }
            let seconds = rest
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"EX"))
                .and_then(|at| rest.get(at + 1))
                .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            if entries.len() >= ENTRIES_MAX {
                entries.retain(|_, found| live(&&*found));
                if entries.len() >= ENTRIES_MAX {
                    entries.clear();
                }
            }
            let end = seconds.map(|s| Instant::now() + Duration::from_secs(s));
            entries.insert(key.to_vec(), (value.to_vec(), end));
            b"+OK\r\n".to_vec()
        }
        [name] if name.eq_ignore_ascii_case(b"PING") => b"+PONG\r\n".to_vec(),
        _ => b"-ERR unknown command\r\n".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(entries: &mut Entries, words: &[&str]) -> String {
        let parts: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        String::from_utf8(answer(entries, &parts)).unwrap()
    }

    #[test]
    fn it_stores_expires_and_refuses() {
        let mut entries = Entries::new();
        assert_eq!(ask(&mut entries, &["GET", "k"]), "$-1\r\n");
        assert_eq!(ask(&mut entries, &["SET", "k", "v", "EX", "60", "NX"]), "+OK\r\n");
        assert_eq!(ask(&mut entries, &["SET", "k", "w", "EX", "60", "NX"]), "$-1\r\n");
        assert_eq!(ask(&mut entries, &["get", "k"]), "$1\r\nv\r\n");
        assert_eq!(ask(&mut entries, &["SET", "k", "v", "EX", "0"]), "+OK\r\n");
        assert_eq!(ask(&mut entries, &["GET", "k"]), "$-1\r\n");
        assert_eq!(ask(&mut entries, &["PING"]), "+PONG\r\n");
        assert!(ask(&mut entries, &["FLUSHALL"]).starts_with("-ERR"));
    }

    #[test]
    fn requests_with_absurd_sizes_are_refused() {
        for text in ["*99\r\n", "*1\r\n$99999999\r\n", "x", "*1\r\n+\r\n"] {
            assert!(parts(&mut text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parts(&mut "".as_bytes()).unwrap().is_none());
    }
}
