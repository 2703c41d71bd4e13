//! Withheld plans against what people did, as a table and counts.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::ArgMatches;
use opsward_domain::fault::Fault;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::print;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn score(client: &Client, matches: &ArgMatches) -> Result<u8, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now_ms = i64::try_from(now).unwrap_or(i64::MAX);
    let since_ms = matches.get_one::<i64>("since").map_or(0, |days| now_ms.saturating_sub(days.saturating_mul(DAY_MS)));
    let mut found = client.get(&format!("/score?since_ms={since_ms}")).await?;
    if let Some(name) = matches.get_one::<String>("workspace") {
        keep(&mut found, name);
    }
    if client.json {
        print::json(&found);
        return Ok(0);
    }
    let list = found["scores"].as_array().cloned().unwrap_or_default();
    if list.is_empty() {
        print::line("no plan was withheld: observe-only or a switch keeps plans to be compared");
        return Ok(0);
    }
    let row = |score: &Value| {
        let act = &score["act"];
        let did = if act.is_null() {
            String::new()
        } else {
            format!("{}: {}", print::field(act, "by"), print::field(act, "what"))
        };
        let run = format!("{}/{}", print::field(score, "kind"), print::field(score, "run"));
        vec![
            print::when(score["at_ms"].as_i64().unwrap_or(0)),
            run,
            print::field(score, "what"),
            print::field(score, "verdict"),
            did,
        ]
    };
    let rows: Vec<Vec<String>> = list.iter().map(row).collect();
    print::table(&["WHEN", "RUN", "WITHHELD", "VERDICT", "WHAT PEOPLE DID"], &rows);
    print::line(&summary(&found["counts"]));
    Ok(0)
}

/// Keeps one workspace's scores and counts them again.
fn keep(found: &mut Value, workspace: &str) {
    let mut list = found["scores"].as_array().cloned().unwrap_or_default();
    list.retain(|score| score["workspace"] == workspace);
    if let Some(counts) = found["counts"].as_object_mut() {
        for (verdict, count) in counts.iter_mut() {
            *count = json!(list.iter().filter(|score| score["verdict"] == verdict.as_str()).count());
        }
    }
    found["scores"] = json!(list);
}

fn summary(counts: &Value) -> String {
    let of = |verdict: &str| counts[verdict].as_u64().unwrap_or(0);
    let acted = of("agreed") + of("differed") + of("elsewhere");
    let rest: Vec<String> = ["unneeded", "missed", "unknown", "open"]
        .iter()
        .filter(|verdict| of(verdict) > 0)
        .map(|verdict| format!("{} {verdict}", of(verdict)))
        .collect();
    let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
    format!("people acted on {acted} of the withheld plans and agreed with {}{rest}", of("agreed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_workspace_is_counted_by_itself() {
        let mut found = json!({
            "counts": {"agreed": 1, "differed": 1, "open": 1},
            "scores": [
                {"workspace": "shop", "verdict": "agreed"}, {"workspace": "bank", "verdict": "differed"},
                {"workspace": "shop", "verdict": "open"},
            ],
        });
        keep(&mut found, "shop");
        assert_eq!(found["counts"], json!({"agreed": 1, "differed": 0, "open": 1}));
        assert_eq!(summary(&found["counts"]), "people acted on 1 of the withheld plans and agreed with 1; 1 open");
    }
}
