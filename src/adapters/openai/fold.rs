//! Folds the events of one answer into a reply. A reply is complete and well-formed, or an error: no
//! call ever comes out of an answer that was cut.

use opsward_domain::event::Usage;
use opsward_ports::model::{Error, Reply, Request};
use serde_json::Value;

use crate::calls::{self, Slots};
use crate::display::without_reasoning;

/// Bytes that one token is taken for where the endpoint does not count.
const BYTES_PER_TOKEN: u64 = 4;

/// An answer under construction.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    text: String,
    slots: Slots,
    choice: Option<u64>,
    finish: Option<String>,
    /// Words or calls came after the finish, so the finish does not prove the end.
    more_after_finish: bool,
    done: bool,
    usage: Option<(u64, u64)>,
    reply_bytes: u64,
}

impl Fold {
    /// Takes one event's data; returns the piece of text in it.
    pub(crate) fn event(&mut self, data: &str) -> Result<String, Error> {
        let data = data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(String::new());
        }
        let mut words = String::new();
        for value in serde_json::Deserializer::from_str(data).into_iter::<Value>() {
            let value = value.map_err(|error| Error::Nonsense(format!("an event is not JSON: {error}")))?;
            words.push_str(&self.value(&value)?);
        }
        Ok(words)
    }

    /// Takes one JSON value: a chunk of a stream, or a whole answer.
    pub(crate) fn value(&mut self, value: &Value) -> Result<String, Error> {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(Error::Failed(error_words(error)));
        }
        if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
            let count = |key: &str| usage.get(key).and_then(Value::as_u64);
            if let (Some(prompt), Some(completion)) = (count("prompt_tokens"), count("completion_tokens")) {
                self.usage = Some((prompt, completion));
            }
        }
        let Some(choices) = value.get("choices").and_then(Value::as_array) else { return Ok(String::new()) };
        let mut words = String::new();
        for choice in choices {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            // Of several choices the first to speak is the reply.
            if *self.choice.get_or_insert(index) == index {
                words.push_str(&self.choice(choice)?);
            }
        }
        Ok(words)
    }

    fn choice(&mut self, choice: &Value) -> Result<String, Error> {
        let delta = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
        let words = content(delta.get("content").or_else(|| choice.get("text")));
        let pieces = delta.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let legacy = delta.get("function_call").filter(|call| call.is_object());
        self.more_after_finish |=
            self.finish.is_some() && (!words.is_empty() || !pieces.is_empty() || legacy.is_some());
        for piece in pieces.iter().chain(legacy) {
            self.reply_bytes += piece.to_string().len() as u64;
            self.slots.push(piece).map_err(Error::Nonsense)?;
        }
        self.reply_bytes += words.len() as u64;
        self.text.push_str(&words);
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str).filter(|word| !word.is_empty()) {
            self.finish = Some(finish.to_owned());
        }
        Ok(words)
    }

    /// True if the end mark came.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// True if the endpoint gave a reason for ending.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish.is_some() && !self.more_after_finish
    }

    /// The reply, if the answer was whole.
    pub(crate) fn finish(self, request: &Request, sent_bytes: usize, drop_nulls: bool) -> Result<Reply, Error> {
        if !self.done && (self.finish.is_none() || self.more_after_finish) {
            return Err(Error::Failed("the answer was cut before its end".to_owned()));
        }
        let reason = self.finish.as_deref().unwrap_or("stop");
        if reason == "content_filter" {
            return Err(Error::Refused("the endpoint's content filter ended the answer".to_owned()));
        }
        let usage = self.usage(sent_bytes);
        let text = without_reasoning(&self.text);
        let (text, calls) = if !self.slots.is_empty() {
            (text, self.slots.finish(drop_nulls, &request.messages))
        } else if request.tools.is_empty() {
            (text, Vec::new())
        } else {
            calls::from_text(&text, &request.tools, &request.messages)
        };
        if reason == "length" && !calls.is_empty() {
            return Err(Error::Nonsense("the answer reached its longest length inside its calls".to_owned()));
        }
        if calls.iter().any(|call| call.name.is_empty()) {
            return Err(Error::Nonsense("a call has no name".to_owned()));
        }
        if text.is_empty() && calls.is_empty() {
            return Err(Error::Nonsense("the answer is empty".to_owned()));
        }
        Ok(Reply { text, calls, usage })
    }

    fn usage(&self, sent_bytes: usize) -> Usage {
        let estimate = (sent_bytes as u64 / BYTES_PER_TOKEN, self.reply_bytes.div_ceil(BYTES_PER_TOKEN));
        let (prompt_tokens, completion_tokens) = self.usage.unwrap_or(estimate);
        Usage { prompt_tokens, completion_tokens, estimated: self.usage.is_none(), duration_ms: 0 }
    }
}

/// Text content: a string, or a list of parts.
fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect(),
        _ => String::new(),
    }
}

/// The words of an error in any of its shapes.
pub(crate) fn error_words(error: &Value) -> String {
    let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    message.as_str().map_or_else(|| message.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request { messages: Vec::new(), tools: Vec::new(), reply_tokens_max: 10 };

    fn fold(events: &[&str]) -> Result<Reply, Error> {
        let mut fold = Fold::default();
        for event in events {
            fold.event(event)?;
        }
        fold.finish(&REQUEST, 100, false)
    }

    #[test]
    fn whole_answers_are_replies() {
        let reply = fold(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{"content":"On"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning":"hm","content":[{"type":"text","text":"e."}]},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#,
            "[DONE]",
        ])
        .unwrap();
        assert_eq!((reply.text.as_str(), reply.usage.prompt_tokens, reply.usage.estimated), ("One.", 7, false));
        let unmarked = fold(&[r#"{"choices":[{"delta":{"content":"Two."}}]}"#, "[DONE]"]).unwrap();
        assert_eq!(
            (unmarked.text.as_str(), unmarked.usage.prompt_tokens, unmarked.usage.estimated),
            ("Two.", 25, true)
        );
        let glued = fold(&[
            "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n{\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}",
        ]);
        assert_eq!(glued.unwrap().text, "ab");
    }

    #[test]
    fn anything_else_is_an_error() {
        let call =
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}]}}]}"#;
        let stop = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        let cases: [(&[&str], &str); 9] = [
            (&[], "cut"),
            (&[call], "cut"),
            (&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#], "cut"),
            (&[stop, r#"{"choices":[{"delta":{"content":"a"}}]}"#], "cut"),
            (&[call, r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#], "longest"),
            (&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"content_filter"}]}"#], "filter"),
            (&[r#"{"error":{"message":"out of memory"}}"#], "out of memory"),
            (&["{\"choices\":[{"], "not JSON"),
            (&[stop], "empty"),
        ];
        for (events, expected) in cases {
            let error = fold(events).unwrap_err().to_string();
            assert!(error.contains(expected), "{events:?}: {error}");
        }
    }
}
