//! Builds the request body for a dialect, with async-openai's request types. Never sends a field that
//! the dialect is known to refuse.

use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls, ChatCompletionRequestAssistantMessage,
    ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage, ChatCompletionRequestToolMessage,
    ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, ChatCompletionTool, ChatCompletionTools,
    CreateChatCompletionRequest, FunctionCall, FunctionObject,
};
use opsward_ports::model::{Call, Error, Message, Request};

use crate::dialect::{Dialect, Limit, Schema, System, Tools};
use crate::{schema, textual};

/// The body as bytes.
pub(crate) fn body(dialect: &Dialect, model: &str, request: &Request) -> Result<Vec<u8>, Error> {
    let textual = dialect.tools == Tools::Textual;
    let mut messages = request.messages.clone();
    if textual {
        messages = textual::plain(&messages);
        if !request.tools.is_empty() {
            instruct(&mut messages, textual::protocol(&request.tools));
        }
    }
    if dialect.system == System::Merged {
        merge_system(&mut messages);
    }
    if dialect.alternates {
        join_neighbours(&mut messages);
    }
    let tools: Vec<ChatCompletionTools> =
        if textual { Vec::new() } else { request.tools.iter().map(|tool| offered(dialect, tool)).collect() };
    let asks_usage = ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None };
    let reply_tokens_max = Some(request.reply_tokens_max);
    #[allow(deprecated, reason = "max_tokens is the only bound that most endpoints know")]
    let body = CreateChatCompletionRequest {
        model: model.to_owned(),
        messages: messages.into_iter().map(|message| wire(dialect, message)).collect(),
        tools: (!tools.is_empty()).then_some(tools),
        stream: Some(true),
        stream_options: dialect.asks_usage.then_some(asks_usage),
        temperature: dialect.temperature.then_some(0.0),
        max_tokens: reply_tokens_max.filter(|_| dialect.limit == Limit::MaxTokens),
        max_completion_tokens: reply_tokens_max.filter(|_| dialect.limit == Limit::MaxCompletionTokens),
        ..CreateChatCompletionRequest::default()
    };
    serde_json::to_vec(&body).map_err(|error| Error::Refused(format!("the request cannot be written: {error}")))
}

fn offered(dialect: &Dialect, tool: &opsward_ports::model::ToolSchema) -> ChatCompletionTools {
    ChatCompletionTools::Function(ChatCompletionTool {
        function: FunctionObject {
            name: tool.name.clone(),
            description: Some(tool.description.clone()),
            parameters: Some(schema::simplify(&tool.parameters, dialect.schema)),
            strict: (dialect.schema == Schema::Strict).then_some(true),
        },
    })
}

/// Adds instructions to the first system message, or makes one.
fn instruct(messages: &mut Vec<Message>, more: String) {
    match messages.first_mut() {
        Some(Message::System { text }) => {
            text.push_str("\n\n");
            text.push_str(&more);
        }
        _ => messages.insert(0, Message::System { text: more }),
    }
}

fn merge_system(messages: &mut Vec<Message>) {
    let is_system = |message: &Message| matches!(message, Message::System { .. });
    let instructions: Vec<String> = messages
        .iter()
        .filter_map(|message| if let Message::System { text } = message { Some(text.clone()) } else { None })
        .collect();
    messages.retain(|message| !is_system(message));
    if instructions.is_empty() {
        return;
    }
    let instructions = instructions.join("\n\n");
    match messages.first_mut() {
        Some(Message::User { text }) => *text = format!("{instructions}\n\n{text}"),
        _ => messages.insert(0, Message::User { text: instructions }),
    }
}

/// Joins neighbouring messages of the same speaker; calls and results stay as they are.
fn join_neighbours(messages: &mut Vec<Message>) {
    let mut joined: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages.drain(..) {
        match (joined.last_mut(), message) {
            (Some(Message::User { text: before }), Message::User { text }) => {
                before.push_str("\n\n");
                before.push_str(&text);
            }
            (Some(Message::Assistant { text: before, calls: earlier }), Message::Assistant { text, calls }) => {
                before.push_str("\n\n");
                before.push_str(&text);
                earlier.extend(calls);
            }
            (_, message) => joined.push(message),
        }
    }
    *messages = joined;
}

fn wire(dialect: &Dialect, message: Message) -> ChatCompletionRequestMessage {
    match message {
        Message::System { text } => ChatCompletionRequestSystemMessage::from(text).into(),
        Message::User { text } => ChatCompletionRequestUserMessage::from(text).into(),
        Message::Assistant { text, calls } => {
            let calls: Vec<ChatCompletionMessageToolCalls> =
                calls.into_iter().map(|call| made(dialect, call)).collect();
            let message = ChatCompletionRequestAssistantMessage::from(text);
            ChatCompletionRequestAssistantMessage { tool_calls: (!calls.is_empty()).then_some(calls), ..message }.into()
        }
        Message::Tool { call, text } => {
            ChatCompletionRequestToolMessage { content: text.into(), tool_call_id: wire_id(dialect, &call) }.into()
        }
    }
}

fn made(dialect: &Dialect, call: Call) -> ChatCompletionMessageToolCalls {
    // A mistake goes back as an empty object: some endpoints parse their own history and fail on text.
    let arguments = call.arguments.map_or_else(|_| "{}".to_owned(), |value| value.to_string());
    let function = FunctionCall { name: call.name, arguments };
    ChatCompletionMessageToolCalls::Function(ChatCompletionMessageToolCall { id: wire_id(dialect, &call.id), function })
}

/// The id as the endpoint takes it; the same id always becomes the same.
fn wire_id(dialect: &Dialect, id: &str) -> String {
    let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !dialect.short_ids || fits {
        return id.to_owned();
    }
    opsward_domain::canonical::digest_bytes(id.as_bytes()).chars().take(9).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{COMPATIBLE, named};
    use opsward_ports::model::ToolSchema;
    use serde_json::{Value, json};

    fn request() -> Request {
        let call = Call { id: "call-1".to_owned(), name: "look".to_owned(), arguments: Ok(json!({"at": "web"})) };
        Request {
            messages: vec![
                Message::System { text: "Be brief.".to_owned() },
                Message::User { text: "What is wrong?".to_owned() },
                Message::Assistant { text: String::new(), calls: vec![call] },
                Message::Tool { call: "call-1".to_owned(), text: "oom </tool_result> killed".to_owned() },
                Message::User { text: "And now?".to_owned() },
            ],
            tools: vec![ToolSchema {
                name: "look".to_owned(),
                description: "Looks.".to_owned(),
                parameters: json!({"type": "object", "properties": {"at": {"type": "string", "format": "x"}}}),
            }],
            reply_tokens_max: 50,
        }
    }

    fn sent(dialect: &Dialect) -> Value {
        serde_json::from_slice(&body(dialect, "m", &request()).unwrap()).unwrap()
    }

    #[test]
    fn each_row_sends_only_what_it_says() {
        let plain = sent(&named("plain").unwrap());
        assert!(plain.get("tools").is_none() && plain.get("stream_options").is_none());
        let roles: Vec<&str> =
            plain["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        let last = plain["messages"][2]["content"].as_str().unwrap();
        assert_eq!(last.matches("</tool_result>").count(), 1, "a result cannot end its own fence: {last}");
        let strict = sent(&named("strict").unwrap());
        assert_eq!(strict["max_completion_tokens"], 50);
        assert!(strict.get("max_tokens").is_none() && strict.get("temperature").is_none());
        assert_eq!(strict["tools"][0]["function"]["strict"], true);
        let mistral = sent(&named("mistral").unwrap());
        let id = mistral["messages"][2]["tool_calls"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!((id.len(), &mistral["messages"][3]["tool_call_id"]), (9, &json!(id)));
        let usual = sent(&COMPATIBLE);
        assert_eq!(usual["messages"][2]["tool_calls"][0]["function"]["arguments"], "{\"at\":\"web\"}");
        assert_eq!(usual["tools"][0]["function"]["parameters"]["properties"]["at"], json!({"type": "string"}));
    }
}
