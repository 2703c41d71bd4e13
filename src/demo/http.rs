//! Just enough HTTP/1.1 over blocking sockets for services, client and injector: bounded sizes,
//! keep-alive, one deadline per exchange. Must never follow a redirect or read without a bound.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest accepted line of a message head.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// Most header lines of one message.
const HEADERS_MAX: usize = 64;
/// Largest accepted body; a workload's description with its files stays well below.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A request or a response; `first` is its first line.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) first: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The status of a response; 0 when the first line is not one.
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The name is not an address that can be dialled.
    #[error("lookup {0}: no such host")]
    Lookup(String),
    /// Nothing accepted the connection.
    #[error("dial tcp {addr}: {cause}")]
    Connect {
        /// Where to.
        addr: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No answer in time.
    #[error("{addr}: no response within {after_ms}ms")]
    Timeout {
        /// Whose answer.
        addr: String,
        /// How long was waited.
        after_ms: u64,
    },
    /// The connection broke in the middle.
    #[error("read tcp {addr}: {cause}")]
    Broken {
        /// With whom.
        addr: String,
        /// What the system said.
        cause: io::Error,
    },
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn read_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if from.take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with('\n') {
        return Err(bad("header line too long or cut off"));
    }
    line.truncate(line.trim_end().len());
    Ok(Some(line))
}

fn read_exactly(from: &mut impl BufRead, size: usize, into: &mut Vec<u8>) -> io::Result<()> {
    if into.len() + size > BODY_BYTES_MAX {
        return Err(bad("body too large"));
    }
    let start = into.len();
    into.resize(start + size, 0);
    from.read_exact(&mut into[start..])
}

/// Reads one message; `None` when the peer closed between messages.
pub(crate) fn read_message(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(first) = read_line(from)? else {
        return Ok(None);
    };
    let mut message = Message { first, ..Message::default() };
    loop {
        let line = read_line(from)?.ok_or_else(|| bad("head cut off"))?;
        if line.is_empty() {
            break;
        }
        if message.headers.len() == HEADERS_MAX {
            return Err(bad("too many headers"));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("header without a colon"))?;
        message.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut body = Vec::new();
    if message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(from)?.ok_or_else(|| bad("chunk cut off"))?;
            let size = line.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| bad("chunk size"))?;
            read_exactly(from, size, &mut body)?;
            read_line(from)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = message.header("content-length") {
        let length = length.parse().map_err(|_| bad("content length"))?;
        read_exactly(from, length, &mut body)?;
    }
    message.body = body;
    Ok(Some(message))
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, host: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    finish(&mut out, headers, body)
}

/// The bytes of a response.
pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    };
    let mut out = format!("HTTP/1.1 {status} {reason}\r\n");
    finish(&mut out, headers, body)
}

fn finish(head: &mut String, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut out = std::mem::take(head).into_bytes();
    out.extend_from_slice(body);
    out
}

/// An address as configured: a literal, or `localhost`. Services here never ask a name server.
pub(crate) fn address(text: &str) -> Result<SocketAddr, CallError> {
    text.replace("localhost:", "127.0.0.1:")
        .parse()
        .map_err(|_| CallError::Lookup(text.rsplit_once(':').map_or(text, |(host, _)| host).to_owned()))
}

/// A connection that can carry several exchanges.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    addr: String,
    /// Exchanges done so far.
    pub(crate) used: u32,
    /// When it was opened.
    pub(crate) opened: Instant,
}

fn until(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (left > Duration::from_millis(1)).then_some(left)
}

impl Connection {
    pub(crate) fn open(addr: &str, deadline: Instant) -> Result<Self, CallError> {
        let started = Instant::now();
        let target = address(addr)?;
        let timeout = || CallError::Timeout { addr: addr.to_owned(), after_ms: started.elapsed().as_millis() as u64 };
        let left = until(deadline).ok_or_else(timeout)?;
        let stream = TcpStream::connect_timeout(&target, left).map_err(|cause| {
            if cause.kind() == io::ErrorKind::TimedOut {
                timeout()
            } else {
                CallError::Connect { addr: addr.to_owned(), cause }
            }
        })?;
        let ready = stream.set_nodelay(true);
        ready.map_err(|cause| CallError::Broken { addr: addr.to_owned(), cause })?;
        Ok(Self { stream: BufReader::with_capacity(2048, stream), addr: addr.to_owned(), used: 0, opened: started })
    }

    fn failed(&self, cause: io::Error, started: Instant) -> CallError {
        match cause.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                CallError::Timeout { addr: self.addr.clone(), after_ms: started.elapsed().as_millis() as u64 }
            }
            _ => CallError::Broken { addr: self.addr.clone(), cause },
        }
    }

    /// Lets `io` run on the stream with the time that is left until `deadline`.
    pub(crate) fn within<T>(
        &mut self,
        deadline: Instant,
        io: impl FnOnce(&mut BufReader<TcpStream>) -> io::Result<T>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let left = until(deadline).ok_or_else(|| CallError::Timeout { addr: self.addr.clone(), after_ms: 0 })?;
        let socket = self.stream.get_ref();
        let armed = socket.set_read_timeout(Some(left)).and_then(|()| socket.set_write_timeout(Some(left)));
        armed
            .and_then(|()| io(&mut self.stream))
            .inspect(|_| self.used += 1)
            .map_err(|cause| self.failed(cause, started))
    }

    /// Sends `bytes` and reads one response.
    pub(crate) fn exchange(&mut self, bytes: &[u8], deadline: Instant) -> Result<Message, CallError> {
        self.within(deadline, |stream| {
            stream.get_mut().write_all(bytes)?;
            read_message(stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }
}

/// One exchange on a connection of its own.
pub(crate) fn once(
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<Message, CallError> {
    let deadline = Instant::now() + timeout;
    let mut all = vec![("connection", "close")];
    all.extend_from_slice(headers);
    Connection::open(addr, deadline)?.exchange(&request(method, path, addr, &all, body), deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> io::Result<Option<Message>> {
        read_message(&mut text.as_bytes())
    }

    #[test]
    fn a_message_survives_the_round_trip() {
        let bytes = request("POST", "/pay", "h", &[("x-a", "1")], b"{}");
        let message = read_message(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(message.first, "POST /pay HTTP/1.1");
        assert_eq!(message.header("x-a"), Some("1"));
        assert_eq!(message.body, b"{}");
        let bytes = response(503, &[], b"no");
        assert_eq!(read_message(&mut bytes.as_slice()).unwrap().unwrap().status(), 503);
    }

    #[test]
    fn chunked_bodies_are_joined() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(text).unwrap().unwrap().body, b"abcde");
    }

    #[test]
    fn broken_messages_are_errors_and_silence_is_not() {
        assert!(parse("").unwrap().is_none());
        for text in [
            "GET / HTTP/1.1\r\nhost",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab",
            "GET / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&format!("GET {} HTTP/1.1\r\n\r\n", "a".repeat(9000))).is_err());
    }

    #[test]
    fn a_name_is_a_lookup_failure_and_a_closed_port_a_refusal() {
        assert!(matches!(address("payments.internal:80"), Err(CallError::Lookup(host)) if host == "payments.internal"));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failed = once(&free.to_string(), "GET", "/", &[], b"", Duration::from_secs(1));
        assert!(matches!(failed, Err(CallError::Connect { .. })), "{failed:?}");
    }
}
