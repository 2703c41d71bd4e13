//! Bad days: busy, broken, slow, silent, endless and foreign answers; every cut of a stream.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opsward_openai::{Key, OpenAiModel, Options};
use opsward_ports::model::conformance::request;
use opsward_ports::model::{Error, Model as _, Sink};
use serde_json::{Value, json};

use crate::endpoint::{Answer, DONE, Endpoint, chunk};

const HTML: &str = "<!doctype html><title>Welcome</title>";

fn words(text: &str) -> Answer {
    Answer::Events(
        format!("{}{}{DONE}", chunk(&json!({"content": text}), None), chunk(&json!({}), Some("stop"))).into_bytes(),
        64,
    )
}

fn call_stream() -> Vec<u8> {
    let call = |nth: u64, id: &str, arguments: &str| {
        chunk(
            &json!({"tool_calls": [{"index": nth, "id": id, "function": {"name": "look", "arguments": arguments}}]}),
            None,
        )
    };
    let more = chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"web\"}"}}]}), None);
    let usage = format!("data: {}\n\n", json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}));
    let finish = chunk(&json!({}), Some("tool_calls"));
    [
        chunk(&json!({"content": "Zażółć."}), None),
        call(0, "a", "{\"workload\":"),
        more,
        call(1, "b", "{}"),
        finish,
        usage,
        DONE.to_owned(),
    ]
    .concat()
    .into_bytes()
}

async fn outcome(answer: Answer) -> Result<opsward_ports::model::Reply, Error> {
    let endpoint = Endpoint::start(None, move |_, _| answer.clone()).await;
    endpoint.model().complete(&request(), None).await
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_gives_the_whole_reply_or_none() {
    let stream = call_stream();
    let whole = outcome(Answer::Events(stream.clone(), 64)).await.unwrap();
    assert_eq!(whole.calls.len(), 2);
    let finish_at = String::from_utf8(stream.clone()).unwrap().find("\"finish_reason\":\"tool_calls\"").unwrap();
    // The same endpoint and client for all cuts: the number of the request is the place of the cut. Every
    // cut ends the answer as if it were whole; some break the connection as well.
    let places: Vec<(usize, bool)> =
        (0..stream.len()).map(|at| (at, false)).chain((0..stream.len()).step_by(16).map(|at| (at, true))).collect();
    let cuts = places.clone();
    let endpoint = Endpoint::start(None, move |_, nth| {
        let (at, broken) = cuts[nth];
        let bytes = stream[..at].to_vec();
        if broken { Answer::Broken(bytes) } else { Answer::Events(bytes, 1024) }
    })
    .await;
    let model = OpenAiModel::new(Options { retry_percent_max: 0, ..endpoint.options() }).unwrap();
    let mut whole_ones = 0;
    for (at, _) in places {
        match model.complete(&request(), None).await {
            Ok(reply) => {
                assert_eq!((&reply.calls, &reply.text), (&whole.calls, &whole.text), "cut at {at}");
                assert!(at > finish_at, "cut at {at} of {finish_at}");
                whole_ones += 1;
            }
            Err(Error::Failed(_) | Error::Nonsense(_)) => {}
            Err(other) => panic!("cut at {at}: {other}"),
        }
    }
    assert!(whole_ones > 10, "cuts behind the finish lose nothing: {whole_ones}");
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let json = |text: &str| Answer::Plain(200, "application/json", text.to_owned());
    let events = |text: &str| Answer::Events(text.as_bytes().to_vec(), 8);
    for (answer, expected) in [
        (Answer::Plain(200, "text/html", HTML.to_owned()), "nonsense: an HTML page"),
        (Answer::Plain(200, "text/event-stream", HTML.to_owned()), "nonsense: an HTML page"),
        (Answer::Plain(200, "text/plain", "hello\u{1b}[2J".to_owned()), "hello\\u{1b}[2J"),
        (Answer::Plain(404, "text/html", HTML.to_owned()), "usually ends in /v1"),
        (
            Answer::Plain(401, "application/json", r#"{"error":{"message":"bad key"}}"#.to_owned()),
            "refused the request: 401 bad key",
        ),
        (
            Answer::Plain(404, "application/json", r#"{"error":"model 'x' not found"}"#.to_owned()),
            "refused the request: 404 model 'x' not found",
        ),
        (Answer::Plain(302, "text/plain", String::new()), "redirects are not followed"),
        (Answer::Plain(500, "text/plain", "boom".to_owned()), "failed: 500 boom"),
        (json("{"), "nonsense"),
        (json("[]"), "cut"),
        (json(r#"{"error":{"message":"no memory"}}"#), "failed: no memory"),
        (events("data: {nonsense}\n\n"), "nonsense: an event is not JSON"),
        (events("data: {\"error\":\"overloaded\"}\n\n"), "failed: overloaded"),
        (events(DONE), "nonsense: the answer is empty"),
        (events(""), "cut"),
    ] {
        let error = outcome(answer).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
}

#[tokio::test]
async fn slow_answers_end_in_time() {
    let limits = |endpoint: &Endpoint| Options {
        first_byte_timeout_ms: 150,
        idle_timeout_ms: 150,
        total_timeout_ms: 600,
        ..endpoint.options()
    };
    let first = chunk(&json!({"content": "Well"}), None).into_bytes();
    for (answer, limit_ms) in [(Answer::Hang, 150), (Answer::Silent(first), 150), (Answer::Drip(20), 600)] {
        let endpoint = Endpoint::start(Some("vllm"), move |_, _| answer.clone()).await;
        let begin = Instant::now();
        let error = OpenAiModel::new(limits(&endpoint)).unwrap().complete(&request(), None).await.unwrap_err();
        assert_eq!(error, Error::Timeout(limit_ms));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    let nobody = Options::new("http://127.0.0.1:9/v1", "m");
    let error = OpenAiModel::new(nobody).unwrap().complete(&request(), None).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(words) if words.starts_with("cannot connect")), "{error}");
}

#[tokio::test]
async fn a_finished_answer_does_not_wait_for_the_end_mark() {
    let text = format!("{}{}", chunk(&json!({"content": "Done."}), None), chunk(&json!({}), Some("stop")));
    let endpoint = Endpoint::start(None, move |_, _| Answer::Silent(text.clone().into_bytes())).await;
    let model = OpenAiModel::new(Options { idle_timeout_ms: 15_000, ..endpoint.options() }).unwrap();
    let begin = Instant::now();
    assert_eq!(model.complete(&request(), None).await.unwrap().text, "Done.");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn endless_answers_are_cut_off() {
    let endpoint = Endpoint::start(None, |_, _| Answer::Flood).await;
    let error = endpoint.model().complete(&request(), None).await.unwrap_err();
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
    let long = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", "x".repeat(10_000_000));
    let error = outcome(Answer::Plain(200, "application/json", long)).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn busy_endpoints_are_asked_again_within_the_budget() {
    let endpoint =
        Endpoint::start(None, |_, nth| if nth == 0 { Answer::Later(429, "0.01") } else { words("hi") }).await;
    assert_eq!(endpoint.model().complete(&request(), None).await.unwrap().text, "hi");

    let endpoint = Endpoint::start(None, |_, _| Answer::Later(429, "3600")).await;
    let error = endpoint.model().complete(&request(), None).await.unwrap_err();
    assert!(matches!(error, Error::Busy(_)));
    assert_eq!(endpoint.requests(), 1, "nobody waits an hour");

    let endpoint = Endpoint::start(None, |_, _| Answer::Plain(500, "text/plain", "boom".to_owned())).await;
    let model = endpoint.model();
    for _ in 0..50 {
        assert!(matches!(model.complete(&request(), None).await, Err(Error::Failed(_))));
    }
    assert_eq!(endpoint.requests(), 60, "fifty calls and a fifth more");
}

#[tokio::test]
async fn what_was_shown_is_not_shown_twice() {
    let seen = Arc::new(Mutex::new(String::new()));
    let into = seen.clone();
    let sink: Sink = Arc::new(move |piece: &str| into.lock().unwrap().push_str(piece));
    let start = chunk(&json!({"content": "I will look. "}), None).into_bytes();
    let endpoint =
        Endpoint::start(None, move |_, nth| if nth == 0 { Answer::Events(start.clone(), 64) } else { words("hi") })
            .await;
    let error = endpoint.model().complete(&request(), Some(sink)).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert_eq!((seen.lock().unwrap().as_str(), endpoint.requests()), ("I will look. ", 1));
}

#[tokio::test]
async fn the_key_is_sent_and_never_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-very-secret\n").unwrap();
    let endpoint = Endpoint::start(None, |_, _| {
        Answer::Plain(
            401,
            "application/json",
            json!({"error": {"message": "Incorrect API key: sk-very-secret"}}).to_string(),
        )
    })
    .await;
    let options = Options { key: Key::File(file.path().to_owned()), ..endpoint.options() };
    let model = OpenAiModel::new(options).unwrap();
    let error = model.complete(&request(), None).await.unwrap_err();
    assert_eq!(endpoint.keys.lock().unwrap()[0].as_deref(), Some("Bearer sk-very-secret"));
    for said in [error.to_string(), format!("{error:?}"), format!("{model:?}")] {
        assert!(!said.contains("very-secret"), "{said}");
    }
    assert!(error.to_string().contains("[key]"));
    // Rotated while running; then gone.
    std::fs::write(file.path(), "sk-next").unwrap();
    assert!(model.complete(&request(), None).await.is_err());
    assert_eq!(endpoint.keys.lock().unwrap()[1].as_deref(), Some("Bearer sk-next"));
    std::fs::write(file.path(), "two\nlines").unwrap();
    let error = model.complete(&request(), None).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(words) if words.contains("the key is not in file")), "{error}");
    assert_eq!(endpoint.requests(), 2, "without a key nothing is sent");
}

#[test]
fn wrong_options_are_refused_before_anything_is_sent() {
    for (url, dialect, expected) in [
        ("localhost", "auto", "not a URL"),
        ("file:///etc", "auto", "not an http"),
        ("http://me:secret@host/v1", "auto", "credentials"),
        ("http://host/v1", "klingon", "no dialect"),
    ] {
        let options = Options { dialect: dialect.to_owned(), ..Options::new(url, "m") };
        let fault = OpenAiModel::new(options).unwrap_err();
        assert!(fault.to_string().contains(expected) && !format!("{fault:?}").contains("secret"), "{fault:?}");
    }
    assert_eq!(format!("{:?}", Key::Variable("MODEL_KEY".to_owned())), "variable MODEL_KEY");
    let secure = OpenAiModel::new(Options::new("https://host.example/v1/", "m")).unwrap();
    assert_eq!(opsward_ports::model::Model::name(&secure), "m@host.example");
}

#[tokio::test]
async fn a_dropped_call_ends_the_request() {
    let endpoint = Endpoint::start(Some("vllm"), |_: &Value, _| Answer::Drip(5)).await;
    let model = endpoint.model();
    let gave_up = tokio::time::timeout(Duration::from_millis(100), model.complete(&request(), None)).await;
    assert!(gave_up.is_err());
    assert_eq!(endpoint.requests(), 1);
}
