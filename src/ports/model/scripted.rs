//! A model that says what it was told to: from a list, or from a function of the request. For tests,
//! replays and drills; it keeps every request it saw.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{Error, Model, Reply, Request, Sink};

/// Answers a request, given how many came before.
type Script = Box<dyn Fn(&Request, usize) -> Result<Reply, Error> + Send + Sync>;

/// A scripted model.
pub struct ScriptedModel {
    script: Script,
    requests: Mutex<Vec<Request>>,
}

impl ScriptedModel {
    /// Gives `answers` in order; after the last one it fails.
    pub fn new(answers: impl IntoIterator<Item = Result<Reply, Error>>) -> Self {
        let answers: Mutex<VecDeque<_>> = Mutex::new(answers.into_iter().collect());
        Self::by(move |_, _| {
            let mut left = answers.lock().unwrap_or_else(PoisonError::into_inner);
            left.pop_front().unwrap_or_else(|| Err(Error::Failed("the script is over".to_owned())))
        })
    }

    /// Answers by a function of the request and the number of requests before it.
    pub fn by(script: impl Fn(&Request, usize) -> Result<Reply, Error> + Send + Sync + 'static) -> Self {
        Self { script: Box::new(script), requests: Mutex::new(Vec::new()) }
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Model for ScriptedModel {
    fn name(&self) -> String {
        "scripted@here".to_owned()
    }
    fn context_tokens(&self) -> u32 {
        32_768
    }
    async fn complete(&self, request: &Request, sink: Option<Sink>) -> Result<Reply, Error> {
        let before = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(request.clone());
            requests.len() - 1
        };
        let reply = (self.script)(request, before)?;
        if let Some(sink) = sink.filter(|_| !reply.text.is_empty()) {
            for piece in reply.text.split_inclusive(' ') {
                sink(piece);
            }
        }
        Ok(reply)
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use opsward_domain::event::Usage;

    use super::super::Call;
    use super::super::conformance::{Turn, suite};
    use super::*;

    fn answer(turn: Turn) -> Result<Reply, Error> {
        let usage = Usage { prompt_tokens: 1, completion_tokens: 1, estimated: true, duration_ms: 0 };
        match turn {
            Turn::Text(text) => Ok(Reply { text: text.to_owned(), calls: Vec::new(), usage }),
            Turn::Calls(calls) => {
                let made = |(nth, (name, arguments)): (usize, (&str, _))| Call {
                    id: format!("call-{nth}"),
                    name: name.to_owned(),
                    arguments: Ok(arguments),
                };
                Ok(Reply { text: String::new(), calls: calls.into_iter().enumerate().map(made).collect(), usage })
            }
            Turn::Busy => Err(Error::Busy("come back later".to_owned())),
            Turn::Cut => Err(Error::Failed("cut".to_owned())),
        }
    }

    #[tokio::test]
    async fn passes_the_suite() {
        suite(|turns: Vec<Turn>| async move { ScriptedModel::new(turns.into_iter().map(answer)) }).await;
    }

    #[tokio::test]
    async fn remembers_what_it_was_asked() {
        let model = ScriptedModel::by(|request, before| {
            assert_eq!(before, request.messages.len());
            answer(Turn::Text("yes"))
        });
        let request = Request { messages: Vec::new(), tools: Vec::new(), reply_tokens_max: 1 };
        assert!(model.complete(&request, None).await.is_ok());
        assert_eq!(model.requests(), [request]);
    }
}
