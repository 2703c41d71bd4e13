//! Who follows the feed and does not read, or says nothing, is let go and leaves the place to others; who does
//! both stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use futures::StreamExt as _;
use opsward_domain::context::Origin;
use opsward_domain::event::{Body, NewEvent, StreamKind};
use opsward_domain::name::Id;
use opsward_engine::facade::{Engine, stream};
use opsward_ports::journal::Journal as _;
use opsward_surface::http::{Patience, READERS_MAX, Shared, router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::world::{World, cx, subject};

/// Longest wait for anything here.
const WITHIN: Duration = Duration::from_secs(30);

struct Served {
    world: World,
    engine: Arc<Engine>,
    shared: Shared,
    address: SocketAddr,
    token: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    async fn start(patience: Patience) -> Self {
        let world = World::new();
        let engine = world.peopled().await;
        let owner = cx(&engine, "owner", Origin::Api);
        let token = engine
            .setup
            .people
            .issue(&owner, &subject("owner"), None, opsward_engine::people::Purpose::Session)
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { patience, ..Shared::new(engine.clone(), vec![address.to_string()]) };
        let routes = router(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { world, engine, shared, address, token, task }
    }

    fn readers(&self) -> usize {
        READERS_MAX - self.shared.readers.available_permits()
    }

    async fn until_readers(&self, wanted: usize) {
        let until = Instant::now() + WITHIN;
        while self.readers() != wanted {
            assert!(Instant::now() < until, "{} readers, not {wanted}", self.readers());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A reader of whom only the greeting was read.
    async fn mute(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let greeting = format!(
            "GET /api/v1/feed HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address, self.token
        );
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream
    }

    /// A reader as there should be: it reads, and with that answers what it is asked. How many bytes it got.
    async fn polite(&self) -> tokio::sync::watch::Receiver<usize> {
        let mut request = format!("ws://{}/api/v1/feed", self.address).into_client_request().unwrap();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let (sender, got) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                sender.send_modify(|bytes| *bytes += message.len());
            }
        });
        got
    }

    /// Records more than the buffers between two sockets hold.
    async fn flood(&self) -> usize {
        const EVENTS: usize = 24;
        const BYTES: usize = 1 << 20;
        let owner = cx(&self.engine, "owner", Origin::Api);
        let name = stream(&owner, StreamKind::Conversation, &Id::parse("c-flood").unwrap());
        for at in 0..EVENTS {
            let body = Body::EvidenceMissing { what: "all of it".into(), why: "x".repeat(BYTES) };
            let event = NewEvent { at_ms: 1, cause: None, body };
            self.world.journal.append(&owner, &name, at as u64, vec![event]).await.unwrap();
        }
        EVENTS * BYTES
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_dropped_and_others_are_not() {
    let patience = Patience { send_within: Duration::from_millis(500), ping_every: Duration::from_secs(3_600) };
    let served = Served::start(patience).await;
    let mut slow = served.mute().await;
    let mut polite = served.polite().await;
    served.until_readers(2).await;
    let all = served.flood().await;
    served.until_readers(1).await;
    let whole = tokio::time::timeout(WITHIN, polite.wait_for(|bytes| *bytes >= all)).await;
    whole.expect("the polite reader got everything").unwrap();
    assert_eq!(served.readers(), 1, "and is still there");
    let mut got = Vec::new();
    let read = tokio::time::timeout(WITHIN, slow.read_to_end(&mut got)).await.expect("the slow one was let go");
    assert!(read.is_err() || got.len() < all, "{} bytes of {all}", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_answers_is_gone_after_three_questions() {
    let patience = Patience { send_within: Duration::from_secs(20), ping_every: Duration::from_millis(500) };
    let served = Served::start(patience).await;
    let polite = served.polite().await;
    let began = Instant::now();
    let mut silent = served.mute().await;
    served.until_readers(2).await;
    let mut got = Vec::new();
    // It reads everything, and says nothing.
    let _ = tokio::time::timeout(WITHIN, silent.read_to_end(&mut got)).await.expect("it was never dropped");
    let took = began.elapsed();
    assert!(took >= 3 * patience.ping_every, "dropped after {took:?}");
    let pings = got.windows(2).filter(|pair| *pair == [0x89, 0]).count();
    assert!(pings >= 3, "{pings} questions in {took:?}");
    served.until_readers(1).await;
    assert!(polite.has_changed().is_ok(), "who answers stays");
}
