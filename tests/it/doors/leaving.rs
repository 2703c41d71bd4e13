//! Callers that go away in the middle: what they asked for is done all the same, nothing of theirs stays
//! behind, and who comes back with a cursor gets exactly what was missed. And pages that are not ours.

use crate::support;
use std::time::{Duration, Instant};

use futures::StreamExt;
use opsward_surface::cli::{Client, Following, follow};
use opsward_surface::http::READERS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const WITHIN: Duration = Duration::from_secs(20);

impl House {
    fn host(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    async fn raw(&self, text: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.host()).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        socket
    }

    /// The request line and headers of an upgrade to the feed.
    fn upgrade(&self, extra: &str) -> String {
        format!(
            "GET /api/v1/feed?after=0 HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {}\r\n{extra}\r\n",
            self.host(),
            self.token
        )
    }

    async fn readers(&self) -> u64 {
        let text = support::http().get(format!("{}/metrics", self.address)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("opsward_feed_readers ")).unwrap();
        line.split_once(' ').unwrap().1.parse().unwrap()
    }

    async fn readers_become(&self, wanted: u64) {
        let until = Instant::now() + WITHIN;
        while self.readers().await != wanted {
            assert!(Instant::now() < until, "{} readers are left", self.readers().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn status(socket: &mut TcpStream) -> String {
    let mut head = [0; 12];
    tokio::time::timeout(WITHIN, socket.read_exact(&mut head)).await.unwrap().unwrap();
    String::from_utf8_lossy(&head).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_caller_left_is_done_all_the_same() {
    let house = House::open("owner").await;
    let body = json!({"text": "is anything wrong?"}).to_string();
    let request = format!(
        "POST /api/v1/workspaces/shop/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        house.host(),
        house.token,
        body.len()
    );
    for _ in 0..40 {
        // Neither waits for the answer nor says goodbye.
        drop(house.raw(&request).await);
    }
    let until = Instant::now() + WITHIN;
    loop {
        house.engine.catch_up().await.unwrap();
        let begun = house.engine.views.conversations(&tenant());
        let mut ended = 0;
        for line in &begun {
            let stream = StreamName { tenant: tenant(), kind: StreamKind::Conversation, id: line.id.clone() };
            ended += usize::from(house.engine.run(&system(), &stream).await.unwrap().over());
        }
        // A request that was torn before it was read never came; one that is recorded is finished.
        if !begun.is_empty() && ended == begun.len() && house.engine.drivers.busy() == 0 {
            return;
        }
        assert!(Instant::now() < until, "{ended} of {} ended", begun.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_a_cursor_gets_exactly_what_was_missed() {
    let house = House::open("owner").await;
    let mut seen: Vec<u64> = Vec::new();
    for round in 0..5 {
        let before = *house.engine.head().borrow();
        // The reader leaves while its turn runs; the turn ends without it.
        let mut feed = follow(&house.terminal(), seen.last().copied().unwrap_or(0)).await.unwrap();
        let said = house.post("/workspaces/shop/messages", &json!({"text": format!("round {round}")})).await;
        let stream = house.stream(StreamKind::Conversation, &said, "conversation");
        while seen.last().copied().unwrap_or(0) <= before {
            let next = tokio::time::timeout(WITHIN, feed.next()).await.unwrap().unwrap().unwrap();
            if let Following::Event(event) = next {
                seen.push(event.seq);
            }
        }
        drop(feed);
        assert!(house.engine.settle(&system(), &stream, 10_000, RunState::over).await.unwrap().over());
    }
    let head = *house.engine.head().borrow();
    let mut feed = follow(&house.terminal(), seen.last().copied().unwrap_or(0)).await.unwrap();
    while seen.last() != Some(&head) {
        let next = tokio::time::timeout(WITHIN, feed.next()).await.unwrap().unwrap().unwrap();
        if let Following::Event(event) = next {
            seen.push(event.seq);
        }
    }
    assert_eq!(seen, (1..=head).collect::<Vec<_>>(), "a gap, or something twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_bounded_and_leave_nothing_behind() {
    let house = House::open("owner").await;
    let mut sockets = Vec::new();
    for _ in 0..READERS_MAX {
        let mut socket = house.raw(&house.upgrade("")).await;
        assert_eq!(status(&mut socket).await, "HTTP/1.1 101");
        sockets.push(socket);
    }
    let mut one_more = house.raw(&house.upgrade("")).await;
    assert_eq!(status(&mut one_more).await, "HTTP/1.1 429");
    sockets.truncate(3);
    house.readers_become(3).await;
    drop(sockets);
    house.readers_become(0).await;
    assert_eq!(status(&mut house.raw(&house.upgrade("")).await).await, "HTTP/1.1 101", "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_loses_the_token_loses_the_feed() {
    let house = House::open("olga").await;
    let head = *house.engine.head().borrow();
    let mut feed = follow(&house.terminal(), head).await.unwrap();
    house.readers_become(1).await;
    let owner = cx(&house.engine, "owner", Origin::Api);
    let token = Id::parse(house.token.split('_').nth(1).unwrap()).unwrap();
    house.engine.setup.people.revoke(&owner, &token, "over").await.unwrap();
    let next = tokio::time::timeout(WITHIN, feed.next()).await.expect("the feed goes on");
    assert!(next.is_none_or(|next| next.is_err()), "something came after the token had ended");
    house.readers_become(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_elsewhere_is_not_heard() {
    let house = House::open("owner").await;
    let owner = cx(&house.engine, "owner", Origin::Api);
    let people = &house.engine.setup.people;
    people.add(&owner, &subject("eve")).await.unwrap();
    let elsewhere = opsward_domain::name::Workspace::parse("elsewhere").unwrap();
    people
        .set_role(&owner, &subject("eve"), Some(&elsewhere), Some(opsward_domain::principal::Role::Owner))
        .await
        .unwrap();
    let token = people.issue(&owner, &subject("eve"), None, opsward_engine::people::Purpose::Session).await.unwrap();
    let eve = Client::new(&house.address, Some(token), true).unwrap();
    let mut feed = follow(&eve, *house.engine.head().borrow()).await.unwrap();
    house.readers_become(1).await;
    let said = house.post("/workspaces/shop/messages", &json!({"text": "a secret of the shop"})).await;
    let stream = house.stream(StreamKind::Conversation, &said, "conversation");
    assert!(house.engine.settle(&system(), &stream, 10_000, RunState::over).await.unwrap().over());
    // What she asks for herself comes after everything that was said before it.
    let body = json!({"action": {"kind": "restart_workload", "workload": "web"}});
    let own = eve.post("/workspaces/elsewhere/actions", &body).await.unwrap();
    let next = tokio::time::timeout(WITHIN, feed.next()).await.unwrap().unwrap().unwrap();
    match next {
        Following::Event(event) => assert_eq!(event.stream.id.as_str(), own["run"], "{event:?}"),
        Following::Piece { run, .. } => panic!("a piece of {run}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_refused_everywhere() {
    let house = House::open("owner").await;
    let ours = format!("origin: {}\r\n", house.address);
    assert_eq!(status(&mut house.raw(&house.upgrade(&ours)).await).await, "HTTP/1.1 101", "the control");
    for origin in [
        "http://evil.example",
        "null",
        "https://evil.example:80",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1:1",
    ] {
        let header = format!("origin: {origin}\r\n");
        assert_eq!(status(&mut house.raw(&house.upgrade(&header)).await).await, "HTTP/1.1 403", "feed, {origin}");
        for (method, path) in [("GET", "/api/v1/me"), ("POST", "/api/v1/login"), ("GET", "/"), ("GET", "/metrics")] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let url = format!("{}{path}", house.address);
            let request = support::http().request(method.clone(), url).bearer_auth(&house.token);
            let answer = request.header("origin", origin).send().await.unwrap();
            assert_eq!(answer.status(), 403, "{method} {path} from {origin}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_read_in_parts_from_its_end() {
    let house = House::open("owner").await;
    let said = house.post("/workspaces/shop/messages", &json!({"text": "is anything wrong?"})).await;
    let stream = house.stream(StreamKind::Conversation, &said, "conversation");
    let state = house.engine.settle(&system(), &stream, 10_000, RunState::over).await.unwrap();
    let path = format!("/runs/conversation/{}/items", stream.id);
    let client = house.terminal();
    let places = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|item| item["at"].as_u64().unwrap()).collect()
    };
    let mut seen: Vec<u64> = Vec::new();
    let mut page = client.get(&format!("{path}?limit=2")).await.unwrap();
    loop {
        let mut part = places(&page);
        assert!(!part.is_empty() && part.len() <= 2, "{page}");
        part.extend(seen);
        seen = part;
        if page["first"] == true {
            break;
        }
        page = client.get(&format!("{path}?before={}&limit=2", seen[0])).await.unwrap();
    }
    assert_eq!(seen, (1..=state.stream_seq).collect::<Vec<_>>(), "a gap, or something twice");
    let tail = client.get(&format!("{path}?after=2")).await.unwrap();
    assert_eq!(places(&tail), (3..=state.stream_seq).collect::<Vec<_>>());
    assert_eq!((&tail["more"], &tail["status"]), (&json!(false), &json!("answered")));
    let nothing = client.get(&format!("{path}?after=100000")).await.unwrap();
    assert_eq!((places(&nothing), &nothing["last"]), (Vec::new(), &json!(100_000)));
    assert!(client.get(&format!("{path}?after=x")).await.is_err());
    assert!(client.get("/runs/conversation/nope/items").await.is_err());
}
