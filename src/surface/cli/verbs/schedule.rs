//! Schedules in the terminal: made, listed, paused and removed. Times are shown in UTC.

use clap::ArgMatches;
use opsward_domain::fault::Fault;
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::print;
use super::act::json_argument;
use super::{text, workspace};

pub(super) async fn run(client: &Client, verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let space = workspace(client, matches).await?;
    let path = format!("/workspaces/{space}/schedules");
    let one = || format!("{path}/{}", text(matches, "name"));
    let answer = match verb {
        "list" => return list(client, &space, &path).await,
        "add" => client.post(&path, &body(matches)?).await?,
        "remove" => client.delete(&one()).await?,
        verb => client.post(&one(), &json!({"paused": verb == "pause"})).await?,
    };
    if client.json {
        print::json(&answer);
        return Ok(0);
    }
    let name = text(matches, "name");
    print::line(&match verb {
        "add" => format!(
            "{name}: {}, {}; next {}, with the rights of {}",
            print::field(&answer, "work_words"),
            print::field(&answer, "when_words"),
            next(&answer),
            print::field(&answer, "owner")
        ),
        "remove" => format!("{name} is removed; a run that it started goes on"),
        "pause" => format!("{name} is paused; `opsward schedule resume {name}` lets it go on"),
        _ => format!("{name} goes on; next {}", next(&answer)),
    });
    if verb == "add" && answer["work"]["kind"] == "act" {
        print::line("each time it is due, the plan waits for whoever has to say yes: `opsward approvals`");
    }
    Ok(0)
}

fn body(matches: &ArgMatches) -> Result<Value, Fault> {
    let mut body = Map::from_iter([("name".to_owned(), json!(text(matches, "name")))]);
    for key in ["cron", "zone", "tool", "ask"] {
        body.extend(matches.get_one::<String>(key).map(|value| (key.to_owned(), json!(value))));
    }
    for (flag, key) in [("every", "every_minutes"), ("late", "late_minutes")] {
        body.extend(matches.get_one::<u32>(flag).map(|value| (key.to_owned(), json!(value))));
    }
    for key in ["action", "input"] {
        if let Some(value) = matches.get_one::<String>(key) {
            body.insert(key.to_owned(), json_argument(value)?);
        }
    }
    Ok(Value::Object(body))
}

fn next(schedule: &Value) -> String {
    if schedule["paused"] == true {
        return "paused".to_owned();
    }
    schedule["next_ms"].as_i64().map_or_else(|| "never".to_owned(), print::day_at)
}

fn last(schedule: &Value) -> String {
    let last = &schedule["last"];
    let ran = last["due_ms"].as_i64().map(|at_ms| {
        let run = format!("{}/{}", print::field(last, "kind"), print::field(last, "run"));
        format!("{} {run} {}", print::day_at(at_ms), print::field(last, "status"))
    });
    let missed = &schedule["missed"];
    match missed["due_ms"].as_i64() {
        Some(at_ms) if last["due_ms"].as_i64().is_none_or(|ran_ms| ran_ms < at_ms) => {
            let count = print::field(missed, "count");
            format!("{} missed {count}: {}", print::day_at(at_ms), print::field(missed, "reason"))
        }
        _ => ran.unwrap_or_else(|| "-".to_owned()),
    }
}

async fn list(client: &Client, space: &str, path: &str) -> Result<u8, Fault> {
    let list = client.get(path).await?;
    if client.json {
        print::json(&list);
        return Ok(0);
    }
    let row = |line: &Value| {
        let mut row: Vec<String> =
            ["name", "when_words", "work_words", "owner"].iter().map(|key| print::field(line, key)).collect();
        row.extend([next(line), last(line)]);
        row
    };
    let rows: Vec<Vec<String>> = list.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        print::line(&format!("{space} has no schedules; `opsward schedule add --help` shows how to make one"));
    } else {
        print::table(&["NAME", "WHEN", "WHAT", "BY", "NEXT", "LAST"], &rows);
    }
    Ok(0)
}
