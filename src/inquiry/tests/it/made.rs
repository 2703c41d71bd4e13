//! A made-up incident: a release that asks the database once an item, a younger innocent release, and a victim. Its
//! names, its date and its order can be chosen.

use std::fmt::Write as _;

/// What can be chosen.
#[derive(Clone)]
pub(crate) struct Choice {
    /// Guilty service, its caller, a bystander.
    pub names: [&'static str; 3],
    /// Milliseconds of the first sample.
    pub start_ms: i64,
    /// Whether rows and files stand in another order.
    pub shuffled: bool,
}

/// Commit that did it.
pub(crate) const GUILTY: &str = "9f1c2ab34d5e6f708192a3b4c5d6e7f8091a2b3c";
/// Commit that came later and changes nothing that matters.
pub(crate) const INNOCENT: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
/// Minute of the onset.
pub(crate) const ONSET: i64 = 60;

/// The files of the incident.
pub(crate) fn files(choice: &Choice) -> Vec<(String, Vec<u8>)> {
    let [guilty, caller, bystander] = choice.names;
    let at = |minute: i64| choice.start_ms + minute * 60_000;
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for minute in 0..75 {
        let bad = minute >= ONSET;
        // Small, repeatable noise.
        let noise = |salt: i64| ((minute * 7 + salt * 13) % 11) as f64;
        let mut row =
            |service: &str, metric: &str, value: f64| rows.push(format!("{},{service},{metric},{value}", at(minute)));
        row(guilty, "http_server_duration_p99_ms", if bad { 3900.0 } else { 200.0 } + noise(1));
        row(guilty, "db_query_count_per_request", if bad { 48.0 } else { 3.0 } + noise(2) / 10.0);
        row(caller, "http_server_duration_p99_ms", if bad { 1800.0 } else { 240.0 } + noise(3));
        row(bystander, "http_server_duration_p99_ms", 90.0 + noise(4));
        row(bystander, "requests_per_sec", 300.0 + noise(5));
        for service in choice.names {
            lines.push(format!(
                "{{\"timestamp\":{},\"service\":\"{service}\",\"severity_text\":\"INFO\",\"msg\":\"handled request\"}}",
                at(minute)
            ));
        }
        if bad {
            lines.push(format!("{{\"timestamp\":{},\"service\":\"{guilty}\",\"severity_text\":\"WARN\",\"msg\":\"slow request: ListBasket exceeded 3000ms\",\"db.statement\":\"SELECT * FROM item WHERE id = $1\"}}", at(minute)));
            lines.push(format!("{{\"timestamp\":{},\"service\":\"{caller}\",\"severity_text\":\"WARN\",\"msg\":\"upstream {guilty} slow, timeout budget exceeded\"}}", at(minute)));
        }
    }
    let commits = format!(
        r#"[{{"sha":"{INNOCENT}","author":"b","timestamp":{},"message":"refactor: rename helper in list handler","files_changed":["services/{guilty}/handler.go"],"diff":"@@ func List @@\n-\twriteErr(w, err)\n+\twriteError(w, err)\n"}},
        {{"sha":"{GUILTY}","author":"a","timestamp":{},"message":"refactor: build rows from the store","files_changed":["services/{guilty}/rows.go"],"diff":"@@ func rows(ctx context.Context, list []Item) @@\n \tfor _, it := range list {{\n-\t\trow := it.Cached\n+\t\trow, err := store.FindItem(ctx, it.ID) // SELECT * FROM item WHERE id = $1\n+\t\tif err != nil {{ return err }}\n \t}}\n"}}]"#,
        at(55),
        at(50)
    );
    let deploys = format!(
        r#"[{{"timestamp":{},"service":"{guilty}","commit_sha":"{GUILTY}","version":"v7"}},{{"timestamp":{},"service":"{guilty}","commit_sha":"{INNOCENT}","version":"v8"}}]"#,
        at(56),
        at(58)
    );
    let mut spans = String::from("trace,span,parent,service,operation,start,duration_ms\n");
    for minute in (0..75).step_by(5) {
        let (slow, quick) = if minute >= ONSET { (3900, 1800) } else { (200, 240) };
        let _ = writeln!(spans, "t{minute},a{minute},,{caller},GET /,{},{}", at(minute), slow + 40);
        let _ =
            writeln!(spans, "t{minute},b{minute},a{minute},{guilty},ListBasket,{},{}", at(minute), slow.min(quick * 3));
    }
    let alert = format!(
        r#"{{"service":"{guilty}","metric":"http_server_duration_p99_ms","threshold":800,"observed":3900,"fired_at":{},"severity":"critical","summary":"{guilty} p99 latency above 800ms"}}"#,
        at(64)
    );
    if choice.shuffled {
        // A fixed riffle: far apart, and the same each time.
        let riffle = |list: &mut Vec<String>| {
            let half = list.len() / 2;
            let back = list.split_off(half);
            *list = back
                .into_iter()
                .rev()
                .zip(list.drain(..).rev().map(Some).chain(std::iter::repeat(None)))
                .flat_map(|(a, b)| [Some(a), b].into_iter().flatten())
                .collect();
        };
        riffle(&mut rows);
        riffle(&mut lines);
    }
    let names = if choice.shuffled {
        ["z.csv", "y.ndjson", "x/commits.json", "w/deploys.json", "v.csv", "u.json"]
    } else {
        ["metrics.csv", "logs.ndjson", "context/commits.json", "context/deploys.json", "traces.csv", "alert.json"]
    };
    let metrics = format!("timestamp,service,metric,value\n{}\n", rows.join("\n"));
    let texts = [metrics, lines.join("\n"), commits, deploys, spans, alert];
    names.into_iter().map(str::to_owned).zip(texts.map(String::into_bytes)).collect()
}

/// The incident as it stands.
pub(crate) fn plain() -> Choice {
    Choice { names: ["basketservice", "webfront", "mailer"], start_ms: 1_781_791_200_000, shuffled: false }
}
