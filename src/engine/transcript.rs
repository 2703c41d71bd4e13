//! A run as a file: its events, everything the outside world said to it, and who had which rights. Enough to
//! play the run again without the world. Never holds a credential, a key or a salt.

use std::collections::BTreeMap;

use opsward_domain::context::CallContext;
use opsward_domain::event::{BODY_VERSION, Body, Event, StreamKind, StreamName};
use opsward_domain::fault::{Code, Fault};
use opsward_domain::name::Id;
use opsward_ports::journal::{BATCH_EVENTS_MAX, Journal, upcast};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parts::{journal_fault, system_context};

/// Version that new transcripts are written in.
pub const TRANSCRIPT_VERSION: u16 = 1;
/// Most events of one transcript.
pub const EVENTS_MAX: usize = 20_000;
/// Most streams that are searched for a run by its name.
const STREAMS_MAX: usize = 100_000;

/// A recorded run.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// What it shows, for people; may be empty.
    pub about: String,
    /// The run's stream.
    pub stream: StreamName,
    /// People and roles of its tenant when it was recorded, in order.
    pub rights: Vec<Body>,
    /// Its events, in order.
    pub events: Vec<Event>,
    /// Texts that the events name by digest.
    pub kept: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    opsward_transcript: u16,
    about: String,
    stream: StreamName,
    rights: Vec<Value>,
    events: Vec<Value>,
    kept: BTreeMap<String, String>,
}

fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::invalid("this is not a transcript").detail(error.to_string()).hint("`opsward record RUN -o FILE` makes one")
}

impl Transcript {
    /// Reads a transcript; events written by older programs are read as the newest version.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let file: File = serde_json::from_str(text).map_err(unreadable)?;
        if file.opsward_transcript != TRANSCRIPT_VERSION {
            let (found, known) = (file.opsward_transcript, TRANSCRIPT_VERSION);
            return Err(Fault::invalid(format!("the transcript is of version {found}, this program reads {known}")));
        }
        if file.events.len() > EVENTS_MAX {
            return Err(Fault::invalid(format!("a transcript has at most {EVENTS_MAX} events")));
        }
        let events: Vec<Event> = file.events.into_iter().map(event).collect::<Result<_, _>>()?;
        let wrong =
            events.iter().zip(1u64..).find(|(event, at)| event.stream != file.stream || event.stream_seq != *at);
        if let Some((event, at)) = wrong {
            return Err(unreadable(format!(
                "event {at} says that it is event {} of {}",
                event.stream_seq, event.stream
            )));
        }
        let rights = file.rights.into_iter().map(|body| serde_json::from_value(body).map_err(unreadable));
        Ok(Self {
            about: file.about,
            stream: file.stream,
            rights: rights.collect::<Result<_, _>>()?,
            events,
            kept: file.kept,
        })
    }

    /// The transcript as text, one event a line.
    pub fn write(&self) -> Result<String, Fault> {
        let line = |value: Result<String, serde_json::Error>| value.map_err(|error| Fault::internal(error.to_string()));
        let lines = |values: Vec<Result<String, serde_json::Error>>| -> Result<String, Fault> {
            let all: Vec<String> = values.into_iter().map(line).collect::<Result<_, _>>()?;
            Ok(all.join(",\n  "))
        };
        let pair = |(digest, text): (&String, &String)| Ok(format!("{}: {}", json(digest)?, json(text)?));
        Ok(format!(
            "{{\n\"opsward_transcript\": {TRANSCRIPT_VERSION},\n\"about\": {},\n\"stream\": {},\n\"rights\": [\n  {}\n],\n\"events\": [\n  {}\n],\n\"kept\": {{\n  {}\n}}\n}}\n",
            line(json(&self.about))?,
            line(json(&self.stream))?,
            lines(self.rights.iter().map(json).collect())?,
            lines(self.events.iter().map(json).collect())?,
            lines(self.kept.iter().map(pair).collect())?,
        ))
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn event(mut value: Value) -> Result<Event, Fault> {
    let version = value.get("version").and_then(Value::as_u64).and_then(|version| u16::try_from(version).ok());
    let body = value.get_mut("body").map(Value::take).unwrap_or_default();
    let bytes = serde_json::to_vec(&body).map_err(unreadable)?;
    let body = upcast::body(version.unwrap_or(0), &bytes).map_err(unreadable)?;
    let mut event: Event = serde_json::from_value(value).map_err(unreadable)?;
    event.body = Some(body);
    event.version = BODY_VERSION;
    Ok(event)
}

/// Every event of a stream.
pub(crate) async fn events(journal: &dyn Journal, cx: &CallContext, stream: &StreamName) -> Result<Vec<Event>, Fault> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.stream_seq);
        let page = journal.read(cx, stream, after, BATCH_EVENTS_MAX).await.map_err(journal_fault)?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
        if events.len() > EVENTS_MAX {
            return Err(Fault::new(Code::TooMany, format!("{stream} has more than {EVENTS_MAX} events")));
        }
    }
}

/// Finds a run by `KIND/ID` or, where that is enough, by its id alone, in a journal of any tenant.
pub async fn find(journal: &dyn Journal, run: &str) -> Result<StreamName, Fault> {
    let (kind, id) = run.rsplit_once('/').map_or((None, run), |(kind, id)| (Some(kind), id));
    let id = Id::parse(id)?;
    let system = system_context(&opsward_domain::name::Tenant::parse("system")?)?;
    for known in [StreamKind::Incident, StreamKind::Conversation, StreamKind::Command] {
        if kind.is_some_and(|kind| kind != known.word()) {
            continue;
        }
        let streams = journal.streams(&system, known, STREAMS_MAX).await.map_err(journal_fault)?;
        if let Some((name, _)) = streams.into_iter().find(|(name, _)| name.id == id) {
            return Ok(name);
        }
    }
    Err(Fault::not_found(format!("there is no run {run}")).hint("KIND/ID, for example incident/i-0011"))
}

/// Records a run from the journal that holds it.
pub async fn record(journal: &dyn Journal, stream: &StreamName) -> Result<Transcript, Fault> {
    let cx = system_context(&stream.tenant)?;
    let events = events(journal, &cx, stream).await?;
    if events.is_empty() {
        return Err(Fault::not_found(format!("there is no run {}/{}", stream.kind.word(), stream.id)));
    }
    if let Some(erased) = events.iter().find(|event| event.body.is_none()) {
        return Err(Fault::conflict(format!("event {} of the run was erased", erased.stream_seq))
            .hint("a run that was forgotten in part cannot be played again"));
    }
    let people = StreamName { tenant: stream.tenant.clone(), kind: StreamKind::People, id: Id::parse("all")? };
    let rights = self::events(journal, &cx, &people).await?.into_iter().filter_map(|event| event.body);
    let rights = rights.filter(|body| matches!(body, Body::PersonAdded { .. } | Body::RoleSet { .. })).collect();
    let mut kept = BTreeMap::new();
    for digest in events.iter().filter_map(|event| named(event.body.as_ref()?)) {
        if let Some(bytes) = journal.get_blob(&cx, digest).await.map_err(journal_fault)? {
            kept.insert(digest.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(Transcript { about: String::new(), stream: stream.clone(), rights, events, kept })
}

/// The text that a body names by digest.
fn named(body: &Body) -> Option<&str> {
    match body {
        Body::Looked { digest, .. } | Body::ToolReturned { digest, .. } => digest.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        json!({
            "opsward_transcript": 1, "about": "a test", "rights": [],
            "stream": {"tenant": "acme", "kind": "conversation", "id": "c1"}, "kept": {"00": "[]"},
            "events": [{"seq": 7, "stream": {"tenant": "acme", "kind": "conversation", "id": "c1"}, "stream_seq": 1,
                "at_ms": 5, "by": "ada", "origin": "api", "cause": null, "version": 1,
                "body": {"type": "turn_started", "turn": "t1"}}],
        })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let read = Transcript::read(&sample().to_string()).unwrap();
        assert_eq!(read.events[0].body, Some(Body::TurnStarted { turn: Id::parse("t1").unwrap() }));
        assert_eq!(Transcript::read(&read.write().unwrap()).unwrap(), read);
    }

    #[test]
    fn what_is_no_transcript_is_refused_with_a_reason() {
        let changed = |path: &str, value: Value| {
            let mut file = sample();
            *file.pointer_mut(path).unwrap() = value;
            Transcript::read(&file.to_string()).unwrap_err().to_string()
        };
        assert!(Transcript::read("{").unwrap_err().to_string().contains("not a transcript"));
        assert!(changed("/opsward_transcript", json!(9)).contains("version 9"));
        assert!(changed("/events/0/version", json!(99)).contains("newer than this program"));
        assert!(changed("/events/0/stream_seq", json!(3)).contains("event 1 says that it is event 3"));
        assert!(changed("/events/0/body", json!({"type": "no_such"})).contains("not a transcript"));
    }
}
