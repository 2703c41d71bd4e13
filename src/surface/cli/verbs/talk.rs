//! Conversations, approvals and incidents in the terminal, followed live over the feed.

use clap::ArgMatches;
use futures::StreamExt;
use opsward_domain::event::{Body, Event, TurnEnd};
use opsward_domain::fault::{Code, Fault};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::follow::{Following, follow};
use super::super::print;
use super::workspace;

/// Longest silence while a turn runs.
const SILENCE_S: u64 = 15 * 60;

pub(super) async fn ask(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let words: Vec<String> = matches.get_many::<String>("text").into_iter().flatten().cloned().collect();
    let space = workspace(client, matches).await?;
    let (_, code) = turn(client, &space, None, &words.join(" ")).await?;
    Ok(code)
}

pub(super) async fn chat(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    print::line(&format!("talking about {space}; Ctrl-C cancels a turn, Ctrl-D leaves"));
    let mut conversation = None;
    loop {
        print::piece("> ");
        let Some(line) = read_line().await else {
            print::line("");
            return Ok(0);
        };
        if line.trim().is_empty() {
            continue;
        }
        match turn(client, &space, conversation.clone(), &line).await {
            Ok((id, _)) => conversation = Some(id),
            Err(fault) if matches!(fault.code, Code::Unavailable) => return Err(fault),
            Err(fault) => print::line(&crate::problem::text(&fault)),
        }
    }
}

async fn read_line() -> Option<String> {
    tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        matches!(std::io::stdin().read_line(&mut line), Ok(read) if read > 0).then_some(line)
    })
    .await
    .ok()
    .flatten()
}

/// Says something and shows what happens until the turn ends or waits for somebody else.
async fn turn(client: &Client, space: &str, conversation: Option<String>, said: &str) -> Result<(String, u8), Fault> {
    let head = client.get("/events?limit=1").await?["head"].as_u64().unwrap_or(0);
    let mut feed = follow(client, head).await?;
    let body = json!({"text": said, "conversation": conversation});
    let id = print::field(&client.post(&format!("/workspaces/{space}/messages"), &body).await?, "conversation");
    let mut screen = Screen::default();
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(std::time::Duration::from_secs(SILENCE_S), feed.next()) => next,
            _ = tokio::signal::ctrl_c() => {
                client.post(&format!("/runs/conversation/{id}/cancel"), &json!({})).await?;
                continue;
            }
        };
        let Ok(Some(next)) = next else { return Err(Fault::new(Code::Timeout, "the turn did not end in time")) };
        match next? {
            Following::Piece { run, text } if run == id => screen.piece(&text),
            Following::Event(event) if event.stream.id.as_str() == id => {
                if let Some(code) = shown(client, &event, &mut screen).await? {
                    return Ok((id, code));
                }
            }
            _ => {}
        }
    }
}

/// A reply on the screen. Its pieces and the event that ends it come by two ways, so pieces may be late.
#[derive(Default)]
struct Screen {
    /// Pieces shown of the reply that is arriving.
    arriving: String,
    /// What the last reply's event showed before its pieces came.
    late: String,
    /// The last reply shown whole.
    shown: String,
}

impl Screen {
    fn piece(&mut self, text: &str) {
        if let Some(rest) = self.late.strip_prefix(text) {
            self.late = rest.to_owned();
            return;
        }
        self.arriving.push_str(text);
        print::piece(text);
    }

    /// Completes the reply that was arriving.
    fn reply(&mut self, whole: &str) {
        let arrived = std::mem::take(&mut self.arriving);
        self.late.clear();
        if whole.is_empty() {
            return;
        }
        match whole.strip_prefix(&arrived) {
            Some(rest) => {
                print::line(rest);
                rest.clone_into(&mut self.late);
            }
            // What arrived was of a reply that was tried again.
            None => print::line(&format!("\n{whole}")),
        }
        whole.clone_into(&mut self.shown);
    }

    /// An answer in a model's words was shown when it arrived.
    fn answer(&mut self, text: &str) {
        if self.shown != text {
            print::line(text);
        }
        self.shown.clear();
    }
}

/// Shows one event of the conversation; an exit code ends the turn.
async fn shown(client: &Client, event: &Event, screen: &mut Screen) -> Result<Option<u8>, Fault> {
    match event.body.as_ref() {
        Some(Body::ModelReplied { text, .. }) => screen.reply(&text.visible()),
        Some(Body::AnswerGiven { text, .. }) => screen.answer(&text.visible()),
        // An earlier turn made room for this one; its plan still waits.
        Some(Body::TurnEnded { end: TurnEnd::Waiting, .. }) => {}
        Some(Body::TurnEnded { end, .. }) => {
            let answered = *end == TurnEnd::Answered;
            if !answered {
                print::line(&format!("turn ended: {end:?}").to_lowercase());
            }
            return Ok(Some(u8::from(!answered)));
        }
        Some(Body::ApprovalRequested { request }) => {
            return yes_or_later(client, &event.stream.id, request.id.as_str(), request.approvers.not_asker).await;
        }
        Some(Body::MessageReceived { .. } | Body::TurnStarted { .. }) | None => {}
        Some(body) => print::line(&format!("  · {}", opsward_engine::projection::audit::words(body))),
    }
    Ok(None)
}

async fn yes_or_later(
    client: &Client,
    run: &opsward_domain::name::Id,
    id: &str,
    not_asker: bool,
) -> Result<Option<u8>, Fault> {
    let view = client.get(&format!("/runs/conversation/{run}")).await?;
    print::line(&print::field(&view["plan"], "card"));
    if not_asker || !print::person_here() {
        print::line(&format!("waits for approval {id}: `opsward approve {id}`"));
        return Ok(Some(3));
    }
    let yes = tokio::task::spawn_blocking(|| print::ask("Do it?")).await.unwrap_or(false);
    let (verb, body) = if yes { ("approve", json!({})) } else { ("refuse", json!({"note": ""})) };
    client.post(&format!("/approvals/{id}/{verb}"), &body).await?;
    Ok(None)
}

pub(super) async fn approve(client: &Client, id: &str) -> Result<u8, Fault> {
    let answer = client.post(&format!("/approvals/{id}/approve"), &json!({})).await?;
    let path = format!("/runs/{}/{}?wait_ms=120000", print::field(&answer, "kind"), print::field(&answer, "run"));
    print::line(&format!("approved {id}"));
    let run = client.get(&path).await?;
    if client.json {
        print::json(&run);
    } else {
        print::line(&format!("{}: {}", print::field(&run, "status"), print::field(&run, "detail")));
    }
    Ok(u8::from(matches!(run["status"].as_str(), Some("failed" | "undone" | "needs_human" | "denied"))))
}

pub(super) async fn incident(client: &Client, id: &str) -> Result<u8, Fault> {
    let run = client.get(&format!("/incidents/{id}")).await?;
    if client.json {
        print::json(&run);
        return Ok(0);
    }
    let place = print::field(&run, "workspace");
    let opened = print::day_at(run["opened_at_ms"].as_i64().unwrap_or(0));
    print::line(&format!(
        "incident {id} in {place}: {}, opened {opened}",
        print::field(&run, "status").replace('_', " ")
    ));
    for alert in run["alerts"].as_array().into_iter().flatten() {
        let on = alert["workload"].as_str().map_or(String::new(), |name| format!(" on {name}"));
        print::line(&format!("alert {}{on}", print::field(alert, "name")));
    }
    for plan in run["plans"].as_array().into_iter().flatten() {
        print::line(&print::field(plan, "card"));
        print::line(&format!("  {}  {}", print::field(plan, "status"), print::field(plan, "ended")));
    }
    for key in ["answer", "detail"] {
        let said = print::field(&run, key);
        if !said.is_empty() {
            print::line(&said);
        }
    }
    print::line(&format!("timeline and evidence: opsward incident report {id}"));
    Ok(0)
}

pub(super) async fn report(client: &Client, id: &str) -> Result<u8, Fault> {
    let report = client.get(&format!("/incidents/{id}/report")).await?;
    if client.json {
        print::json(&report);
        return Ok(0);
    }
    print::line(&print::field(&report, "text"));
    for line in report["scores"].as_array().into_iter().flatten() {
        print::line(line.as_str().unwrap_or_default());
    }
    print::line("\nTimeline");
    for line in report["timeline"].as_array().into_iter().flatten() {
        print::line(&format!(
            "{}  {}  {}",
            print::at(line["at_ms"].as_i64().unwrap_or(0)),
            print::field(line, "by"),
            print::field(line, "what")
        ));
    }
    print::line("\nEvidence");
    for item in report["evidence"].as_array().into_iter().flatten() {
        print::line(&format!("[{}] {}\n      {}", print::field(item, "id"), print::field(item, "title"), query(item)));
    }
    Ok(0)
}

fn query(item: &Value) -> String {
    format!("query {}", item["query"])
}
