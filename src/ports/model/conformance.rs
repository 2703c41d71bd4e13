//! What every model must do, whoever is behind it. Asserts, so only for tests.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Error, Message, Model, Reply, Request, Sink, ToolSchema};

/// What the model under test is made to say next.
#[derive(Debug, Clone)]
pub enum Turn {
    /// These words.
    Text(&'static str),
    /// These calls, by name and arguments.
    Calls(Vec<(&'static str, Value)>),
    /// "Not now", for as long as anybody asks.
    Busy,
    /// The beginning of an answer with calls, cut off.
    Cut,
}

/// A short transcript with one tool called `look`.
pub fn request() -> Request {
    Request {
        messages: vec![
            Message::System { text: "Be brief.".to_owned() },
            Message::User { text: "What is wrong with web?".to_owned() },
        ],
        tools: vec![ToolSchema {
            name: "look".to_owned(),
            description: "Looks at a workload.".to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {"workload": {"type": "string"}, "lines": {"type": "integer"}},
                "required": ["workload"]
            }),
        }],
        reply_tokens_max: 256,
    }
}

/// Runs every check; `make` gives a model that will say the turns in order.
///
/// # Panics
/// If the model breaks the contract.
pub async fn suite<M: Model, F: Future<Output = M>>(make: impl Fn(Vec<Turn>) -> F) {
    let model = make(Vec::new()).await;
    assert!(!model.name().is_empty() && model.context_tokens() > 0);
    says_words(&make(vec![Turn::Text("Nothing: all is well, zażółć 🦀.")]).await).await;
    makes_calls(&make(vec![calls(), Turn::Text("It ran out of memory.")]).await).await;
    fails_whole(&make(vec![Turn::Busy]).await, |error| matches!(error, Error::Busy(_))).await;
    fails_whole(&make(vec![Turn::Cut]).await, |error| matches!(error, Error::Failed(_) | Error::Nonsense(_))).await;
}

fn calls() -> Turn {
    Turn::Calls(vec![
        ("look", json!({"workload": "web", "lines": 5})),
        ("look", json!({"workload": "zażółć \"🦀\" {}"})),
    ])
}

async fn says_words(model: &impl Model) {
    let seen = Arc::new(Mutex::new(String::new()));
    let into = seen.clone();
    let sink: Sink = Arc::new(move |piece: &str| into.lock().unwrap_or_else(PoisonError::into_inner).push_str(piece));
    let reply = model.complete(&request(), Some(sink)).await;
    let text = reply.as_ref().map(|reply| reply.text.clone());
    assert_eq!(text, Ok("Nothing: all is well, zażółć 🦀.".to_owned()));
    assert!(reply.as_ref().is_ok_and(|reply| reply.calls.is_empty() && reply.usage.completion_tokens > 0), "{reply:?}");
    assert_eq!(*seen.lock().unwrap_or_else(PoisonError::into_inner), "Nothing: all is well, zażółć 🦀.");
}

async fn makes_calls(model: &impl Model) {
    let mut request = request();
    let reply = model.complete(&request, None).await;
    assert!(reply.is_ok(), "{reply:?}");
    let Ok(Reply { text, calls, .. }) = reply else { return };
    let arguments: Vec<_> = calls.iter().map(|call| call.arguments.clone()).collect();
    assert_eq!(
        arguments,
        [Ok(json!({"workload": "web", "lines": 5})), Ok(json!({"workload": "zażółć \"🦀\" {}"}))],
        "in order and unchanged"
    );
    let ids: BTreeSet<&String> = calls.iter().map(|call| &call.id).collect();
    assert_eq!(ids.len(), 2, "ids are distinct: {calls:?}");
    assert!(calls.iter().all(|call| call.name == "look" && !call.id.is_empty()));
    // The calls and their results go back, and the conversation goes on.
    let results: Vec<Message> =
        calls.iter().map(|call| Message::Tool { call: call.id.clone(), text: "exit 137".to_owned() }).collect();
    request.messages.push(Message::Assistant { text, calls });
    request.messages.extend(results);
    let reply = model.complete(&request, None).await;
    assert_eq!(reply.map(|reply| reply.text), Ok("It ran out of memory.".to_owned()));
}

async fn fails_whole(model: &impl Model, expected: impl Fn(&Error) -> bool) {
    let reply = model.complete(&request(), None).await;
    assert!(reply.as_ref().err().is_some_and(expected), "{reply:?}");
}
