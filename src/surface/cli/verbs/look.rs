//! What the platform itself has to show: events, objects, output read in place. Everything printed here was
//! written by the platform or by workloads, and is shown as text only.

use clap::ArgMatches;
use opsward_domain::fault::Fault;
use serde_json::Value;

use super::super::client::Client;
use super::super::print;
use super::{text, workspace};

pub(super) async fn look(client: &Client, verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let mut query = Vec::new();
    let mut ask = |key: &str, value: Option<String>| query.extend(value.map(|value| (key.to_owned(), value)));
    let path = match verb {
        "events" => {
            ask("workload", matches.get_one::<String>("workload").cloned());
            "platform/events".to_owned()
        }
        "objects" => format!("platform/objects/{}", text(matches, "kind")),
        _ => {
            ask("limit", matches.get_one::<i64>("lines").map(ToString::to_string));
            ask("previous", matches.get_flag("previous").then(|| "true".to_owned()));
            format!("workloads/{}/output", text(matches, "workload"))
        }
    };
    let found = client.get_with(&format!("/workspaces/{space}/{path}"), &query).await?;
    match verb {
        _ if client.json => print::json(&found),
        "objects" => print::json(&found),
        "events" => events(&found),
        _ => output(&found),
    }
    Ok(0)
}

fn events(found: &Value) {
    let list = found.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        print::line("the platform noted nothing");
    }
    for event in list {
        let at = print::at(event["at_ms"].as_i64().unwrap_or(0));
        let times = match event["count"].as_u64() {
            Some(count) if count > 1 => format!(" ({count} times)"),
            _ => String::new(),
        };
        let part = |key: &str| print::field(event, key);
        let mark = if event["warning"] == true { "!" } else { " " };
        let what = format!("{}/{} {}", part("kind"), part("name"), part("reason"));
        print::line(&format!("{at} {mark} {what}: {}{times}", part("message")));
    }
}

fn output(found: &Value) {
    let lines = found["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        print::line("there is no output");
    }
    for line in lines {
        let at = line["at_ms"].as_i64().map(|at| format!("{} ", print::at(at))).unwrap_or_default();
        print::line(&format!("{at}{} {}", print::field(line, "replica"), print::field(line, "text")));
    }
    if found["cut"] == true {
        print::line("(there is more than was read; ask for fewer lines of each with --lines)");
    }
}
