//! `opsward diagnose BUNDLE`: looks at files for what went wrong, with no server and no model. Reads what it is
//! given and nothing else; changes nothing.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command};
use opsward_domain::fault::Fault;
use opsward_inquiry::{Inquiry, Options, SCHEMA_JSON, explain, text};

/// Exit code when something was found.
const FOUND: u8 = 1;
/// Exit code when nothing could be looked at.
const BLIND: u8 = 2;

/// The command's arguments.
pub(crate) fn command() -> Command {
    let value = |name: &'static str, shown: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(shown).help(help)
    };
    Command::new("diagnose")
        .about("Find what went wrong in files: a support bundle, a `kubectl cluster-info dump`, manifests")
        .long_about(
            "Reads alerts, logs, metrics, traces, changes, events and Kubernetes objects from files and\n\
             says what happened: verdict, onset, causes with the change that did it, evidence, who\n\
             suffers, what would help, and what was not looked at. Needs no server and no model.\n\n\
             BUNDLE is a folder, an archive (.tar.gz, .tar.zst, .tar, .zip) or a file. Files are\n\
             recognised by what their fields mean, whatever they are called; among them:\n\
             \x20 alerts      Alertmanager webhooks, {service, metric, threshold, fired_at, summary}\n\
             \x20 logs        .ndjson, .log, .csv, logs/NAMESPACE/POD/CONTAINER.log\n\
             \x20             (CRI, Docker, JSON, logfmt, plain)\n\
             \x20 metrics     CSV (timestamp, service, metric, value; or SERVICE_METRIC columns),\n\
             \x20             Prometheus range queries, OTLP\n\
             \x20 traces      OTLP, Jaeger, Zipkin, flat JSON or CSV\n\
             \x20 changes     commits, deploys, flags, configuration, scaling, as JSON or CSV\n\
             \x20 Kubernetes  YAML or JSON objects, dumps, and the lists that tools print\n\
             \x20 topology    caller and callee, or a square table\n\
             bundle.toml in it names and maps what does not explain itself (src/bundle/README.md).",
        )
        .after_help("Exit codes: 0 nothing found, 1 something found, 2 nothing could be looked at.")
        .arg(
            Arg::new("bundle")
                .value_name("BUNDLE")
                .required_unless_present("schema")
                .value_parser(clap::value_parser!(PathBuf))
                .help("folder, archive or file"),
        )
        .arg(value(
            "at",
            "TIME",
            "the moment in question (2026-06-18T15:06:00Z, or seconds of the epoch); else the alert's",
        ))
        .arg(value("window", "DURATION", "how far around it symptoms are looked for (90s, 12m, 2h); else 12m"))
        .arg(value("explain", "ID", "run one claim again (c1, f2, e3): what it rests on, read anew"))
        .arg(value("namespace", "NAMESPACE", "only this namespace, and what belongs to the whole cluster").short('n'))
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .help("also what is merely worth knowing, and security"),
        )
        .arg(
            Arg::new("schema")
                .long("schema")
                .action(ArgAction::SetTrue)
                .help("print the JSON Schema of what --json prints"),
        )
}

/// `90s`, `12m`, `2h`, `1d` in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit).filter(|ms| *ms > 0)
}

fn options(matches: &ArgMatches) -> Result<Options, Fault> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let at_ms = text("at").map(|at| {
        opsward_bundle::parse_time(at)
            .ok_or_else(|| Fault::invalid(format!("{at:?} is no time")).hint("such as 2026-06-18T15:06:00Z"))
    });
    let window_ms = text("window").map(|window| {
        duration_ms(window)
            .ok_or_else(|| Fault::invalid(format!("{window:?} is no duration")).hint("such as 90s, 12m or 2h"))
    });
    Ok(Options {
        at_ms: at_ms.transpose()?,
        window_ms: window_ms.transpose()?,
        not_after_ms: now_ms(),
        namespace: text("namespace").map(str::to_owned),
        all: matches.get_flag("all"),
        ..Options::default()
    })
}

/// Looks, prints the report, and returns the exit code.
pub(crate) fn run(matches: &ArgMatches) -> Result<u8, Fault> {
    if matches.get_flag("schema") {
        say(SCHEMA_JSON.trim_end());
        return Ok(0);
    }
    let Some(path) = matches.get_one::<PathBuf>("bundle") else { return Ok(BLIND) };
    let options = options(matches)?;
    let inquiry = opsward_inquiry::inquire(path, &options)
        .map_err(|error| Fault::invalid(error.to_string()).hint("give a folder, an archive or a file"))?;
    let json = matches.get_flag("json");
    if let Some(id) = matches.get_one::<String>("explain") {
        let Some(found) = explain::explain(path, &inquiry, id, &options) else {
            let known = explain::ids(&inquiry.report).join(", ");
            let hint = if known.is_empty() { "nothing is claimed".to_owned() } else { format!("there are {known}") };
            return Err(Fault::not_found(format!("no claim is called {id:?}")).hint(hint));
        };
        let shown =
            if json { serde_json::to_string_pretty(&found).unwrap_or_default() } else { explain::render(&found) };
        say(shown.trim_end());
        return Ok(0);
    }
    let shown = if json {
        serde_json::to_string_pretty(&inquiry.report).unwrap_or_default()
    } else {
        text::render(&inquiry, &path.display().to_string())
    };
    say(shown.trim_end());
    Ok(exit_code(&inquiry))
}

/// Prints; a closed pipe is the reader's choice, and there is nobody left to tell.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn exit_code(inquiry: &Inquiry) -> u8 {
    use opsward_causes::diagnosis::Verdict;
    match inquiry.report.verdict {
        _ if inquiry.report.is_blind() => BLIND,
        Verdict::Incident | Verdict::Degraded => FOUND,
        Verdict::Healthy | Verdict::Unknown => 0,
    }
}

fn now_ms() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations() {
        assert_eq!(duration_ms("90s"), Some(90_000));
        assert_eq!(duration_ms("12m"), Some(720_000));
        for bad in ["", "m", "0s", "-1h", "1w", "5é", "99999999999999999999d"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }
}
