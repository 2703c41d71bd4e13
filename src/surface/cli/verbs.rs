//! The verbs. Each translates flags into one or two requests and the answer into lines.

mod act;
mod ingest;
mod look;
mod schedule;
mod score;
mod talk;

use clap::ArgMatches;
use opsward_domain::action::ActionKind;
use opsward_domain::fault::Fault;
use opsward_domain::name::Workspace;
use serde_json::{Value, json};

use super::client::{Client, token_file};
use super::print;

pub(super) async fn run(client: &Client, name: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    match name {
        "login" => login(client, &text(matches, "link")).await,
        "ask" => talk::ask(client, matches).await,
        "chat" => talk::chat(client, matches).await,
        "approvals" => approvals(client).await,
        "approve" => talk::approve(client, &text(matches, "id")).await,
        "refuse" => refuse(client, matches).await,
        "score" => score::score(client, matches).await,
        "status" => status(client, matches).await,
        "switch" => switch(client, matches).await,
        "recovery-kit" => recovery_kit(client, matches).await,
        "tool" | "action" | "log" | "look" | "incident" | "workspace" | "person" | "schedule" => {
            let Some((verb, matches)) = matches.subcommand() else { return Ok(2) };
            nested(client, name, verb, matches).await
        }
        _ => match ActionKind::ALL.iter().find(|kind| super::kind_verb(**kind) == name) {
            Some(kind) => act::typed(client, *kind, matches).await,
            None => Err(Fault::invalid(format!("there is no command {name:?}"))),
        },
    }
}

async fn nested(client: &Client, group: &str, verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    match (group, verb) {
        ("tool", "list") => tools(client).await,
        ("tool", "show") => show(client, &format!("/tools/{}", text(matches, "name"))).await,
        ("tool", "run") => tool_run(client, matches).await,
        ("action", "list") => actions(client).await,
        ("action", "run") => act::literal(client, matches).await,
        ("look", verb) => look::look(client, verb, matches).await,
        ("log", "ingest") => ingest::run(client, matches).await,
        ("log", verb) => logs(client, verb, matches).await,
        ("incident", "list") => incidents(client).await,
        ("incident", "show") => talk::incident(client, &text(matches, "id")).await,
        ("incident", "report") => talk::report(client, &text(matches, "id")).await,
        ("workspace", "list") => show(client, "/workspaces").await,
        ("schedule", verb) => schedule::run(client, verb, matches).await,
        ("person", verb) => person(client, verb, matches).await,
        _ => Err(Fault::invalid(format!("there is no command {group} {verb}"))),
    }
}

async fn recovery_kit(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let workspace = workspace(client, matches).await?;
    let made = client.post(&format!("/workspaces/{workspace}/recovery-kit"), &json!({})).await?;
    if client.json {
        print::json(&made);
    } else {
        made["page"].as_str().unwrap_or_default().lines().for_each(print::line);
    }
    Ok(0)
}

pub(super) fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// The workspace meant: said, or the only one there is.
pub(super) async fn workspace(client: &Client, matches: &ArgMatches) -> Result<String, Fault> {
    if let Some(name) = matches.get_one::<String>("workspace") {
        return Ok(Workspace::parse(name)?.to_string());
    }
    let list = client.get("/workspaces").await?;
    let names: Vec<String> = list.as_array().into_iter().flatten().map(|space| print::field(space, "name")).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Fault::not_found("you have no workspace")
            .hint("`opsward create-workspace -w NAME --memory-bytes-max N` makes one")),
        several => Err(Fault::invalid("which workspace?").hint(format!("say -w with one of {}", several.join(", ")))),
    }
}

async fn show(client: &Client, path: &str) -> Result<u8, Fault> {
    print::json(&client.get(path).await?);
    Ok(0)
}

async fn login(client: &Client, link: &str) -> Result<u8, Fault> {
    let secret = link.split_once("#link=").map_or(link, |(_, secret)| secret);
    let answer = client.post("/login", &json!({"link": secret})).await?;
    let path = token_file()
        .ok_or_else(|| Fault::unavailable("there is no home directory to keep the session in").hint("set HOME"))?;
    keep_private(&path, &print::field(&answer, "token")).map_err(|error| {
        Fault::unavailable(format!("the session cannot be kept in {}", path.display())).detail(error.to_string())
    })?;
    print::line(&format!(
        "signed in as {}; the session is kept in {}",
        print::field(&answer, "subject"),
        path.display()
    ));
    Ok(0)
}

/// Writes a file that only its owner can read.
fn keep_private(path: &std::path::Path, secret: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{secret}")?;
    std::fs::rename(fresh, path)
}

async fn approvals(client: &Client) -> Result<u8, Fault> {
    let list = client.get("/approvals").await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| ["id", "workspace", "asker", "headline"].iter().map(|key| print::field(line, key)).collect())
        .collect();
    if rows.is_empty() {
        print::line("nothing waits for approval");
    } else {
        print::table(&["ID", "WORKSPACE", "ASKED BY", "WHAT"], &rows);
    }
    Ok(0)
}

async fn refuse(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let id = text(matches, "id");
    client.post(&format!("/approvals/{id}/refuse"), &json!({"note": text(matches, "note")})).await?;
    print::line(&format!("refused {id}"));
    Ok(0)
}

async fn status(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let workloads = client.get(&format!("/workspaces/{space}/workloads")).await?;
    let incidents = client.get("/incidents").await?;
    if client.json {
        print::json(&json!({"workloads": workloads, "incidents": incidents}));
        return Ok(0);
    }
    let row = |workload: &Value| {
        let replicas = workload["replicas"].as_array();
        let ready = replicas.into_iter().flatten().filter(|r| r["state"] == "ready").count();
        let restarts: u64 = replicas.into_iter().flatten().filter_map(|r| r["restarts"].as_u64()).sum();
        vec![
            print::field(workload, "name"),
            print::field(&workload["spec"], "version"),
            print::field(workload, "revision"),
            format!("{ready}/{}", print::field(&workload["spec"], "replicas")),
            restarts.to_string(),
            print::field(workload, "address"),
        ]
    };
    let rows: Vec<Vec<String>> = workloads.as_array().into_iter().flatten().map(row).collect();
    print::table(&["WORKLOAD", "VERSION", "REVISION", "READY", "RESTARTS", "ADDRESS"], &rows);
    for incident in incidents.as_array().into_iter().flatten().filter(|i| i["workspace"] == space.as_str()).take(10) {
        print::line(&format!(
            "incident {}  {}  {}",
            print::field(incident, "id"),
            print::field(incident, "status"),
            print::field(incident, "title")
        ));
    }
    Ok(0)
}

async fn switch(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let on = text(matches, "to") == "on";
    let body =
        json!({"on": on, "workspace": matches.get_one::<String>("workspace"), "reason": text(matches, "reason")});
    client.post("/switches", &body).await?;
    print::line(if on { "every effect is stopped" } else { "effects are allowed again" });
    Ok(0)
}

async fn tools(client: &Client) -> Result<u8, Fault> {
    let list = client.get("/tools").await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    let row = |tool: &Value| vec![print::field(tool, "name"), print::field(tool, "summary")];
    let rows: Vec<Vec<String>> = list.as_array().into_iter().flatten().map(row).collect();
    print::table(&["TOOL", "WHAT"], &rows);
    Ok(0)
}

async fn tool_run(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let input = act::json_argument(&text(matches, "input"))?;
    let value = client.post(&format!("/workspaces/{space}/tools/{}", text(matches, "name")), &input).await?;
    if client.json {
        print::json(&value);
        return Ok(0);
    }
    let answer = print::field(&value, "answer");
    if !answer.trim().is_empty() {
        print::line(answer.trim_end());
    }
    for action in value["actions"].as_array().into_iter().flatten() {
        print::line(&format!("proposes {action}"));
        print::line(&format!("nothing is done yet; to ask for it: opsward action run -w {space} '{action}'"));
    }
    Ok(0)
}

async fn actions(client: &Client) -> Result<u8, Fault> {
    let list = client.get("/actions").await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    let keys = ["name", "effect", "risk", "undo", "summary"];
    let row = |action: &Value| keys.iter().map(|key| print::field(action, key)).collect();
    let rows: Vec<Vec<String>> = list.as_array().into_iter().flatten().map(row).collect();
    print::table(&["ACTION", "EFFECT", "RISK", "UNDO", "WHAT"], &rows);
    Ok(0)
}

async fn logs(client: &Client, verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let mut query = Vec::new();
    let words: Vec<String> = matches.get_many::<String>("text").into_iter().flatten().cloned().collect();
    query.push(("text".to_owned(), words.join(" ")));
    for key in ["workload", "level"] {
        query.extend(matches.get_one::<String>(key).map(|value| (key.to_owned(), value.clone())));
    }
    for key in ["minutes", "limit"] {
        query.extend(matches.get_one::<i64>(key).map(|value| (key.to_owned(), value.to_string())));
    }
    let path = if verb == "search" { "logs" } else { "logs/templates" };
    let list = client.get_with(&format!("/workspaces/{space}/{path}"), &query).await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    if list.as_array().is_none_or(Vec::is_empty) {
        print::line("no lines match; look further back with --minutes (15), or with fewer words");
    }
    for item in list.as_array().into_iter().flatten() {
        if verb == "search" {
            let at = print::when(item["at_ms"].as_i64().unwrap_or(0));
            print::line(&format!(
                "{at} {}/{} {}",
                print::field(item, "workload"),
                print::field(item, "replica"),
                print::field(item, "text")
            ));
        } else {
            print::line(&format!(
                "{:>8}  {}  {}",
                print::field(item, "count"),
                print::field(item, "workload"),
                print::field(item, "text")
            ));
        }
    }
    Ok(0)
}

pub(super) fn read_input(file: &str) -> Result<String, Fault> {
    let read = if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    read.map_err(|error| Fault::invalid(format!("{file} cannot be read")).detail(error.to_string()))
}

async fn incidents(client: &Client) -> Result<u8, Fault> {
    let list = client.get("/incidents").await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    let row = |line: &Value| {
        vec![
            print::field(line, "id"),
            print::field(line, "status"),
            print::when(line["opened_at_ms"].as_i64().unwrap_or(0)),
            print::field(line, "title"),
        ]
    };
    let rows: Vec<Vec<String>> = list.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        print::line("no incidents");
    } else {
        print::table(&["ID", "STATUS", "OPENED", "WHAT"], &rows);
    }
    Ok(0)
}

async fn person(client: &Client, verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let name = if verb == "list" { String::new() } else { text(matches, "name") };
    match verb {
        "list" => return show(client, "/people").await,
        "add" => {
            client.post("/people", &json!({"subject": name})).await?;
            print::line(&format!(
                "added {name}; give a role with `opsward person role {name} ROLE` and a token with `opsward person token {name}`"
            ));
        }
        "role" => {
            let role = Some(text(matches, "role")).filter(|role| role != "none");
            let body = json!({"role": role, "workspace": matches.get_one::<String>("workspace")});
            client.post(&format!("/people/{name}/roles"), &body).await?;
            print::line(&format!("{name} is now {}", role.as_deref().unwrap_or("without a role")));
        }
        _ => {
            let body = json!({"days": matches.get_one::<i64>("days"), "assistant": matches.get_flag("assistant")});
            let answer = client.post(&format!("/people/{name}/tokens"), &body).await?;
            print::line(&print::field(&answer, "token"));
        }
    }
    Ok(0)
}
