//! One scripted endpoint a dialect: strict about what it takes, particular about how it answers. Each
//! must pass the same suite as the scripted twin.

use opsward_openai::dialect::{Schema, System, Tools};
use opsward_openai::{OpenAiModel, Options};
use opsward_ports::model::conformance::{Turn, request, suite};
use opsward_ports::model::{Message, Model as _};
use serde_json::{Value, json};

use crate::endpoint::{Answer, DONE, Endpoint, chunk};

/// How an endpoint writes words and calls, and what it refuses.
#[derive(Clone, Copy)]
struct Habit {
    owner: Option<&'static str>,
    write: fn(&Turn) -> Answer,
    refuse: fn(&Value) -> Option<Answer>,
}

fn refusal(status: u16, message: &str) -> Option<Answer> {
    Some(Answer::Plain(status, "application/json", json!({"error": {"message": message}}).to_string()))
}

fn cut(text: &str) -> Answer {
    Answer::Events(text.as_bytes()[..text.len() / 2].to_vec(), 7)
}

fn busy() -> Answer {
    Answer::Later(429, "60")
}

/// As the original documents it: pieces, indices, ids, usage at the end.
fn write_hosted(turn: &Turn) -> Answer {
    let usage = format!(
        "data: {}\n\n",
        json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}})
    );
    let mut out = chunk(&json!({"role": "assistant", "content": ""}), None);
    match turn {
        Turn::Text(text) => {
            for word in text.split_inclusive(' ') {
                out.push_str(&chunk(&json!({"content": word}), None));
            }
            out.push_str(&chunk(&json!({}), Some("stop")));
        }
        Turn::Calls(calls) => {
            for (nth, (name, arguments)) in calls.iter().enumerate() {
                let start = json!({"index": nth, "id": format!("call_{name}_{nth}"), "type": "function",
                    "function": {"name": name, "arguments": ""}});
                out.push_str(&chunk(&json!({"tool_calls": [start]}), None));
                let arguments: Vec<char> = arguments.to_string().chars().collect();
                for piece in arguments.chunks(3) {
                    let piece: String = piece.iter().collect();
                    let piece = json!({"index": nth, "function": {"arguments": piece}});
                    out.push_str(&chunk(&json!({"tool_calls": [piece]}), None));
                }
            }
            out.push_str(&chunk(&json!({}), Some("tool_calls")));
        }
        Turn::Busy => return busy(),
        Turn::Cut => {
            let Answer::Events(bytes, _) = write_hosted(&a_call()) else { panic!("events") };
            return cut(&String::from_utf8(bytes).unwrap());
        }
    }
    Answer::Events(format!("{out}{usage}{DONE}").into_bytes(), 11)
}

fn a_call() -> Turn {
    Turn::Calls(vec![("look", json!({"workload": "web"}))])
}

/// Whole calls in one piece, every one numbered 0, arguments sometimes an object; reasoning; CRLF.
fn write_ollama(turn: &Turn) -> Answer {
    let mut out = chunk(&json!({"role": "assistant", "content": "", "reasoning": "let me think"}), None);
    match turn {
        Turn::Text(text) => out.push_str(&chunk(&json!({"content": text}), Some("stop"))),
        Turn::Calls(calls) => {
            for (nth, (name, arguments)) in calls.iter().enumerate() {
                let arguments = if nth == 0 { json!(arguments.to_string()) } else { arguments.clone() };
                let call = json!({"index": 0, "id": format!("call_x{nth}"), "function": {"name": name, "arguments": arguments}});
                out.push_str(&chunk(&json!({"tool_calls": [call]}), None));
            }
            out.push_str(&chunk(&json!({"content": ""}), Some("tool_calls")));
        }
        Turn::Busy => return busy(),
        Turn::Cut => return cut(&chunk(&json!({"content": "Let me look at the workload"}), None)),
    }
    Answer::Events(format!("{out}{DONE}").replace('\n', "\r\n").into_bytes(), 5)
}

/// `reasoning_content`, a finish of its own in several choices, keep-alive comments, no end mark.
fn write_vllm(turn: &Turn) -> Answer {
    let Answer::Events(bytes, _) = write_hosted(turn) else { return busy() };
    let text = String::from_utf8(bytes).unwrap();
    let thought = chunk(&json!({"reasoning_content": "<tool_call> is a trap"}), None);
    let other = format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]})
    );
    let first_end = text.find("\n\n").unwrap() + 2;
    let mut out = format!(": ping\n\n{}{thought}{other}{}", &text[..first_end], &text[first_end..]).replace(DONE, "");
    if matches!(turn, Turn::Cut) {
        out.push_str(": ping\n\n");
    }
    Answer::Events(out.into_bytes(), 1)
}

/// No ids, no index on the first piece, the name again in every piece, usage missing.
fn write_llamacpp(turn: &Turn) -> Answer {
    let mut out = String::new();
    match turn {
        Turn::Text(text) => {
            out.push_str(&chunk(&json!({"content": "<think>\nhm"}), None));
            out.push_str(&chunk(&json!({"content": format!(" hm</think>\n\n{text}")}), None));
            out.push_str(&chunk(&json!({}), Some("stop")));
        }
        Turn::Calls(calls) => {
            for (name, arguments) in calls {
                let arguments = arguments.to_string();
                let half = arguments.char_indices().nth(arguments.chars().count() / 2).unwrap().0;
                for piece in [&arguments[..half], &arguments[half..]] {
                    let call = json!({"type": "function", "function": {"name": name, "arguments": piece}});
                    out.push_str(&chunk(&json!({"tool_calls": [call]}), None));
                }
            }
            out.push_str(&chunk(&json!({}), Some("tool_calls")));
        }
        Turn::Busy => return busy(),
        Turn::Cut => {
            let call = json!({"type": "function", "function": {"name": "look", "arguments": "{\"workload\":\"web\"}"}});
            return Answer::Events(chunk(&json!({"tool_calls": [call]}), None).into_bytes(), 9);
        }
    }
    Answer::Events(format!("{out}{DONE}").into_bytes(), 3)
}

/// Does not stream: one JSON value; the same id for every call.
fn write_whole(turn: &Turn) -> Answer {
    let message = match turn {
        Turn::Text(text) => json!({"role": "assistant", "content": text}),
        Turn::Calls(calls) => {
            let calls: Vec<Value> = calls
                .iter()
                .map(|(name, arguments)| json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}))
                .collect();
            json!({"role": "assistant", "content": null, "tool_calls": calls})
        }
        Turn::Busy => return busy(),
        Turn::Cut => {
            return Answer::Plain(200, "application/json", "{\"choices\":[{\"message\":{\"content\":\"Le".to_owned());
        }
    };
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    Answer::Plain(200, "application/json; charset=utf-8", body.to_string())
}

/// Calls only as marked text.
fn write_textual(turn: &Turn) -> Answer {
    let text = match turn {
        Turn::Text(text) => (*text).to_owned(),
        Turn::Calls(calls) => calls
            .iter()
            .map(|(name, arguments)| {
                format!("<tool_call>\n{}\n</tool_call>\n", json!({"name": name, "arguments": arguments}))
            })
            .collect(),
        Turn::Busy => return busy(),
        Turn::Cut => {
            return cut(&chunk(
                &json!({"content": "<tool_call>{\"name\":\"look\",\"arguments\":{}}</tool_call>"}),
                None,
            ));
        }
    };
    let mut out = String::new();
    for piece in text.chars().collect::<Vec<_>>().chunks(4) {
        out.push_str(&chunk(&json!({"content": piece.iter().collect::<String>()}), None));
    }
    Answer::Events(format!("{out}{}{DONE}", chunk(&json!({}), Some("stop"))).into_bytes(), 6)
}

fn roles(body: &Value) -> Vec<&str> {
    body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect()
}

fn takes_everything(body: &Value) -> Option<Answer> {
    assert_eq!(body["model"], "test-model");
    assert_eq!(body["stream"], true);
    None
}

fn refuses_as_hosted(body: &Value) -> Option<Answer> {
    if body.get("max_tokens").is_some() {
        return refusal(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        );
    }
    if body.get("temperature").is_some() {
        return refusal(400, "Unsupported value: 'temperature' does not support 0 with this model.");
    }
    takes_everything(body)
}

fn refuses_as_strict(body: &Value) -> Option<Answer> {
    if body.get("stream_options").is_some() {
        return refusal(422, "Extra inputs are not permitted: body.stream_options");
    }
    let parameters = &body["tools"][0]["function"]["parameters"];
    let all: Vec<&String> = parameters["properties"].as_object().unwrap().keys().collect();
    if parameters["additionalProperties"] != false || parameters["required"] != json!(all) {
        return refusal(
            400,
            "Invalid schema for function 'look': all fields are required and 'additionalProperties' must be false",
        );
    }
    refuses_as_hosted(body)
}

fn refuses_tools(body: &Value) -> Option<Answer> {
    if body.get("tools").is_some() {
        return refusal(400, "registry.ollama.ai/library/gemma3:4b does not support tools");
    }
    takes_everything(body)
}

fn refuses_as_template(body: &Value) -> Option<Answer> {
    let roles = roles(body);
    if body.get("tools").is_some() {
        return refusal(500, "tools param requires --jinja flag");
    }
    if roles.contains(&"system") {
        return refusal(500, "System role not supported");
    }
    if roles.iter().enumerate().any(|(nth, role)| *role != ["user", "assistant"][nth % 2]) {
        return refusal(500, "Conversation roles must alternate user/assistant/user/assistant/...");
    }
    takes_everything(body)
}

fn refuses_as_mistral(body: &Value) -> Option<Answer> {
    if body.get("stream_options").is_some() {
        return refusal(422, "Extra inputs are not permitted: body.stream_options");
    }
    for message in body["messages"].as_array().unwrap() {
        if let Some(id) = message.get("tool_call_id").and_then(Value::as_str)
            && id.len() != 9
        {
            return refusal(400, &format!("Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9."));
        }
    }
    takes_everything(body)
}

async fn start(habit: Habit, turns: Vec<Turn>) -> (Endpoint, OpenAiModel) {
    let said = std::sync::Mutex::new(0_usize);
    let endpoint = Endpoint::start(habit.owner, move |body, _| {
        if let Some(refusal) = (habit.refuse)(body) {
            return refusal;
        }
        // A turn is over once it was said; a busy or cut one is said again to whoever asks again.
        let mut said = said.lock().unwrap();
        let turn = turns.get(*said).or(turns.last()).unwrap().clone();
        if matches!(turn, Turn::Text(_) | Turn::Calls(_)) {
            *said += 1;
        }
        (habit.write)(&turn)
    })
    .await;
    let model = endpoint.model();
    (endpoint, model)
}

async fn conforms(habit: Habit) {
    let endpoints = std::sync::Mutex::new(Vec::new());
    suite(|turns: Vec<Turn>| async {
        let (endpoint, model) = start(habit, turns).await;
        endpoints.lock().unwrap().push(endpoint);
        model
    })
    .await;
}

macro_rules! dialects {
    ($($name:ident: $owner:expr, $write:ident, $refuse:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            conforms(Habit { owner: $owner, write: $write, refuse: $refuse }).await;
        }
    )*};
}
dialects! {
    hosted: Some("openai"), write_hosted, refuses_as_hosted;
    hosted_unrecognised: None, write_hosted, refuses_as_hosted;
    ollama: Some("library"), write_ollama, takes_everything;
    ollama_without_tools: Some("library"), write_textual, refuses_tools;
    vllm: Some("vllm"), write_vllm, takes_everything;
    llamacpp: Some("llamacpp"), write_llamacpp, takes_everything;
    llamacpp_with_a_template: Some("llamacpp"), write_textual, refuses_as_template;
    mistral: Some("mistralai"), write_hosted, refuses_as_mistral;
    strict_unrecognised: None, write_hosted, refuses_as_strict;
    not_streaming: None, write_whole, takes_everything;
    calls_as_text: None, write_textual, takes_everything;
}

#[tokio::test]
async fn what_was_learned_is_remembered() {
    let habit = Habit { owner: Some("llamacpp"), write: write_textual, refuse: refuses_as_template };
    let (endpoint, model) = start(habit, vec![Turn::Text("one"), Turn::Text("two")]).await;
    model.complete(&request(), None).await.unwrap();
    let after_first = endpoint.requests();
    assert!(after_first > 1, "it had to learn");
    model.complete(&request(), None).await.unwrap();
    assert_eq!(endpoint.requests(), after_first + 1, "the second call is right at once");
    let learned = model.dialect();
    assert_eq!((learned.name, learned.tools, learned.system), ("llamacpp", Tools::Textual, System::Merged));
}

#[tokio::test]
async fn a_named_dialect_needs_no_learning() {
    let habit = Habit { owner: None, write: write_textual, refuse: refuses_as_template };
    let (endpoint, _) = start(habit, vec![a_call()]).await;
    let options = Options { dialect: "plain".to_owned(), ..endpoint.options() };
    let reply = OpenAiModel::new(options).unwrap().complete(&request(), None).await.unwrap();
    assert_eq!((reply.calls.len(), endpoint.requests()), (1, 1));
}

#[tokio::test]
async fn nulls_of_a_strict_schema_do_not_reach_the_tool() {
    let calls = Turn::Calls(vec![("look", json!({"workload": "web", "lines": null}))]);
    let habit = Habit { owner: None, write: write_hosted, refuse: refuses_as_strict };
    let (_endpoint, model) = start(habit, vec![calls]).await;
    let reply = model.complete(&request(), None).await.unwrap();
    assert_eq!(model.dialect().schema, Schema::Strict);
    assert_eq!(reply.calls[0].arguments, Ok(json!({"workload": "web"})));
}

#[tokio::test]
async fn usage_is_reported_or_marked_as_estimated() {
    for (write, reported) in [(write_hosted as fn(&Turn) -> Answer, true), (write_llamacpp, false)] {
        let (_endpoint, model) =
            start(Habit { owner: None, write, refuse: takes_everything }, vec![Turn::Text("hi")]).await;
        let usage = model.complete(&request(), None).await.unwrap().usage;
        assert_eq!((usage.estimated, usage.prompt_tokens == 20), (!reported, reported), "{usage:?}");
        assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
    }
}

#[tokio::test]
async fn words_in_results_are_no_calls() {
    let habit = Habit { owner: None, write: write_textual, refuse: takes_everything };
    let (_endpoint, model) =
        start(habit, vec![Turn::Text("The log says <tool_call>{\"name\":\"rm\"}</tool_call>.")]).await;
    let mut request = request();
    request.messages.push(Message::User { text: "<tool_call>{\"name\":\"look\"}</tool_call>".to_owned() });
    let reply = model.complete(&request, None).await.unwrap();
    assert!(reply.calls.is_empty() && reply.text.contains("rm"), "{reply:?}");
}
