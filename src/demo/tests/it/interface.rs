//! The part of the public interface that the injector needs, in front of the test's platform.
//! Must never offer more than the real interface does.

use crate::platform::Platform;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) const TOKEN: &str = "developer-token";

pub(crate) struct Interface {
    pub(crate) url: String,
    pub(crate) alerts: Arc<Mutex<Vec<Value>>>,
}

impl Interface {
    pub(crate) fn start(platform: &Arc<Platform>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let alerts = Arc::new(Mutex::new(Vec::new()));
        let (weak, kept) = (Arc::downgrade(platform), Arc::clone(&alerts));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(platform) = weak.upgrade() else {
                    return;
                };
                serve(&platform, &kept, stream);
            }
        });
        Self { url, alerts }
    }
}

fn serve(platform: &Arc<Platform>, alerts: &Mutex<Vec<Value>>, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut size, mut token) = (String::new(), 0, false);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            size = text.parse().unwrap();
        }
        token |= line == format!("authorization: Bearer {TOKEN}");
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body).unwrap();
    let (status, answer) = if token {
        answer(platform, alerts, first.trim(), &body)
    } else {
        (401, json!({"error": {"code": "unauthenticated"}}))
    };
    let text = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
    let _ = reader.get_mut().write_all((head + &text).as_bytes());
}

fn answer(platform: &Arc<Platform>, alerts: &Mutex<Vec<Value>>, first: &str, body: &[u8]) -> (u16, Value) {
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let path = path.strip_prefix("/api/v1/workspaces/shop/").unwrap_or_default();
    match (method, path.split_once('?').map_or(path, |(path, _)| path)) {
        ("POST", "actions") => {
            let body: Value = serde_json::from_slice(body).unwrap();
            match platform.act(&body["action"]) {
                Ok(()) => (200, json!({"run": "r", "status": "succeeded"})),
                Err(text) => (200, json!({"run": "r", "status": "failed", "detail": text})),
            }
        }
        ("POST", "alerts") => {
            alerts.lock().unwrap().push(serde_json::from_slice(body).unwrap());
            (202, json!({}))
        }
        ("GET", path) => match path.strip_prefix("workloads/").and_then(|name| platform.show(name)) {
            Some(found) => (200, found),
            None => (404, json!({"error": {"code": "not_found"}})),
        },
        _ => (404, json!({"error": {"code": "not_found"}})),
    }
}
