//! One HTTP GET of a replica on this machine. Never follows, never retries, never reads without bound.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status and as much of the body as was wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// True if there was more.
    pub(crate) cut: bool,
}

/// Connects to a replica.
pub(crate) async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // Where the kernel hands out the same range for outgoing ports, a socket can meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(std::io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// `GET path` of the replica on `port`, all within `timeout_ms`. HTTP 1.0, so that nothing comes chunked.
pub(crate) async fn get(port: u16, path: &str, timeout_ms: u64, bytes_max: usize) -> Result<Answer, String> {
    match tokio::time::timeout(Duration::from_millis(timeout_ms), exchange(port, path, bytes_max)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!("no answer within {timeout_ms} ms")),
    }
}

async fn exchange(port: u16, path: &str, bytes_max: usize) -> Result<Answer, String> {
    let mut stream = connect(port).await.map_err(|error| short(&error))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: opsward\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| short(&error))?;
    let mut bytes = Vec::new();
    let mut head: Option<(u16, usize, Option<usize>)> = None;
    let mut chunk = [0_u8; 8 * 1024];
    loop {
        if let Some((status, start, length)) = head {
            let have = bytes.len() - start;
            if length.is_some_and(|length| have >= length) || have > bytes_max {
                return Ok(answer(status, bytes, start, bytes_max));
            }
        } else if let Some(found) = parse_head(&bytes)? {
            head = Some(found);
            continue;
        } else if bytes.len() > bytes_max {
            return Err("the answer's head is too long".into());
        }
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if head.is_none() => return Err(short(&error)),
            Err(_) => break,
        }
    }
    let (status, start, _) = head.ok_or("the connection ended without an answer")?;
    Ok(answer(status, bytes, start, bytes_max))
}

fn answer(status: u16, mut bytes: Vec<u8>, start: usize, bytes_max: usize) -> Answer {
    bytes.drain(..start);
    let cut = bytes.len() > bytes_max;
    bytes.truncate(bytes_max);
    Answer { status, body: bytes, cut }
}

/// Status, start of the body, its length if stated; `None` while the head is not whole.
fn parse_head(bytes: &[u8]) -> Result<Option<(u16, usize, Option<usize>)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let status = status.ok_or("the answer is not HTTP")?;
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    Ok(Some((status, end + 4, length)))
}

fn short(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn serve(reply: &'static [u8]) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0_u8; 512];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(reply).await;
        });
        port
    }

    #[tokio::test]
    async fn reads_answers_and_refuses_nonsense() {
        let port = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello").await;
        let got = get(port, "/", 2_000, 100).await.unwrap();
        assert_eq!((got.status, got.body.len(), got.cut), (200, 5, false));
        let port = serve(b"HTTP/1.1 503 no\r\n\r\n0123456789").await;
        assert_eq!(get(port, "/", 2_000, 4).await.unwrap(), Answer { status: 503, body: b"0123".to_vec(), cut: true });
        let port = serve(b"SSH-2.0\r\n\r\n").await;
        assert!(get(port, "/", 2_000, 100).await.unwrap_err().contains("not HTTP"));
        let port = serve(b"").await;
        assert!(get(port, "/", 2_000, 100).await.unwrap_err().contains("without an answer"));
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        assert!(get(port, "/", 30, 100).await.unwrap_err().contains("30 ms"));
    }
}
