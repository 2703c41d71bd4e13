//! `opsward diagnose DIR`: looks at files for what is wrong, with no server and no model. Reads the folder it
//! is given and nothing else; changes nothing.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command};
use opsward_analyzers::load::{self, Limits};
use opsward_analyzers::{Options, Report, Severity, analyze, text};
use opsward_domain::fault::Fault;

/// Exit code when something was found.
const FOUND: u8 = 1;
/// Exit code when nothing could be looked at.
const BLIND: u8 = 2;

/// The command's arguments.
pub(crate) fn command() -> Command {
    Command::new("diagnose")
        .about("Find what is wrong in files: a `kubectl cluster-info dump`, or YAML and JSON of Kubernetes objects")
        .long_about(
            "Reads Kubernetes objects and logs from files and names the roots of what is wrong: object, field,\n\
             evidence, what follows from it, what would fix it. Needs no server, no cluster and no model.\n\n\
             DIR is a folder of `kubectl cluster-info dump --all-namespaces --output-directory DIR`, any tree of\n\
             .yaml, .yml and .json files (also .gz), or one such file. The more kinds are given, the more can be\n\
             told; what was not given is listed at the end.",
        )
        .after_help("Exit codes: 0 nothing found, 1 something found, 2 nothing could be looked at.")
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("folder or file"),
        )
        .arg(
            Arg::new("namespace")
                .long("namespace")
                .short('n')
                .help("only this namespace, and what belongs to the whole cluster"),
        )
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .help("also what is merely worth knowing, and security"),
        )
}

/// Looks, prints the report, and returns the exit code.
pub(crate) fn run(matches: &ArgMatches) -> Result<u8, Fault> {
    let Some(dir) = matches.get_one::<PathBuf>("dir") else { return Ok(BLIND) };
    let collection = load::folder(dir, &Limits::default())
        .map_err(|error| Fault::invalid(error.to_string()).hint("give a folder or file of Kubernetes objects"))?;
    let namespace = matches.get_one::<String>("namespace").map(String::as_str);
    let options = Options { not_after_ms: now_ms(), all: matches.get_flag("all"), ..Options::default() };
    let report = analyze(&collection.index(namespace), &options);
    let shown = if matches.get_flag("json") {
        serde_json::to_string_pretty(&report).unwrap_or_default()
    } else {
        text::render(&report).trim_end().to_owned()
    };
    // A closed pipe is the reader's choice; there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{shown}");
    Ok(exit_code(&report))
}

fn exit_code(report: &Report) -> u8 {
    if report.objects == 0 {
        BLIND
    } else if report.worst() >= Some(Severity::Warning) {
        FOUND
    } else {
        0
    }
}

fn now_ms() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
