//! The command line of the binary: commands of its own (up, doctor, config, audit) and the surface's
//! verbs. The one place that prints a fault and turns it into an exit code.

mod diagnose;
mod eval;
mod flight;
mod mcp;
mod mine;
mod state;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use opsward::config::Config;
use opsward::up::{Server, signal};
use opsward_domain::fault::Fault;
use opsward_surface::{cli, problem};

fn command() -> Command {
    let config = || path("config", "configuration file; `opsward config sample` prints one");
    let listen = || Arg::new("listen").long("listen").help("address and port (127.0.0.1:7700)");
    let observe = Arg::new("observe-only")
        .long("observe-only")
        .action(ArgAction::SetTrue)
        .help("change nothing: plans are made and kept");
    let mut command = Command::new("opsward")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Conversational operations: a script proposes, the gate decides, the executor acts, the journal remembers.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("server")
                .long("server")
                .global(true)
                .env("OPSWARD_SERVER")
                .help("address of the server the command talks to"),
        )
        .arg(Arg::new("json").long("json").global(true).action(ArgAction::SetTrue).help("print data as JSON"))
        .subcommand(Command::new("up").about("Run the service").arg(data()).arg(listen()).arg(config()).arg(observe))
        .subcommand(demo())
        .subcommand(bench())
        .subcommand(
            Command::new("doctor")
                .about("Say what works on this machine, what does not, and the fix")
                .arg(data())
                .arg(listen())
                .arg(config()),
        )
        .subcommand(
            Command::new("config")
                .about("Configuration")
                .subcommand_required(true)
                .subcommand(Command::new("sample").about("Print every key with its default"))
                .subcommand(
                    Command::new("check").about("Check a file").arg(
                        Arg::new("file").required(true).value_parser(clap::value_parser!(PathBuf)).help("the file"),
                    ),
                ),
        )
        .subcommand(diagnose::command())
        .subcommand(eval::command())
        .subcommand(state::command())
        .subcommand(mcp::command())
        .subcommand(audit());
    for verb in flight::commands().into_iter().chain(cli::commands()) {
        command = command.subcommand(verb);
    }
    command
}

/// A flag that takes a path.
fn path(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(clap::value_parser!(PathBuf)).help(about)
}

fn data() -> Arg {
    path("data", "folder for everything it keeps (opsward-data)")
}

fn audit() -> Command {
    let verify = Command::new("verify")
        .about("Verify the chain: of a stopped server's data folder, of an export, or of the running server")
        .arg(data())
        .arg(path("export", "a file that `opsward audit export` wrote").conflicts_with("data"));
    let export = Command::new("export")
        .about("Write a stopped server's journal as lines of JSON that anybody can verify")
        .arg(data().required(true))
        .arg(path("out", "the new file").short('o').required(true));
    let explain = Command::new("explain")
        .about("Who asked, what was proposed, which policy said what, who agreed, what happened")
        .arg(Arg::new("run").required(true).help("KIND/ID, for example incident/i-0011"));
    Command::new("audit")
        .about("The journal's chain and the reasons behind a run")
        .subcommand_required(true)
        .subcommand(verify)
        .subcommand(export)
        .subcommand(explain)
}

fn demo() -> Command {
    let number = |name: &'static str, about: &'static str| {
        Arg::new(name).long(name).value_parser(clap::value_parser!(u64)).help(about)
    };
    let switch =
        |name: &'static str, about: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(about);
    let names: Vec<String> =
        opsward::stage::incidents().into_iter().map(|(name, what)| format!("  {name:28} {what}")).collect();
    Command::new("demo")
        .about("Watch it work: a real workspace, real traffic, something breaks, it is found and repaired")
        .after_help(format!("Incidents:\n{}", names.join("\n")))
        .arg(Arg::new("incident").long("incident").default_value("bad-release").help("which incident"))
        .arg(number("seed", "victim, magnitude, onset, traffic and decoys (1)"))
        .arg(switch("twin", "play the incident's noisy healthy twin: nothing may happen"))
        .arg(switch("yes", "approve as the demo's approver without asking").short('y'))
        .arg(switch("all", "play every incident and print the table"))
        .arg(number("seeds", "with --all: how many seeds each (1)"))
        .arg(number("jobs", "with --all: how many worlds at a time, 1 to 8 (1)"))
        .arg(switch("observe-only", "the service changes nothing; the run must fail"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_parser(clap::value_parser!(PathBuf))
                .help("configuration of the service, for example with a model"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_parser(clap::value_parser!(PathBuf))
                .help("keep the service's data here"),
        )
}

fn bench() -> Command {
    let number = |name: &'static str, value: &'static str, about: &'static str| {
        Arg::new(name).long(name).value_parser(clap::value_parser!(u64)).default_value(value).help(about)
    };
    Command::new("bench")
        .about("Measure this binary on this machine: starts, memory, turns, tool runs")
        .arg(number("turns", "200", "turns that count"))
        .arg(number("settle-seconds", "60", "seconds without work before memory is read"))
}

/// Parses the arguments and runs what they say.
pub(crate) fn run() -> ExitCode {
    let matches = command().get_matches();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Fault::unavailable("threads cannot be started").detail(error.to_string())),
    };
    match runtime.block_on(dispatch(&matches)) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => fail(&fault),
    }
}

fn fail(fault: &Fault) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", problem::text(fault));
    ExitCode::from(problem::exit_code(fault.code))
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

async fn dispatch(matches: &ArgMatches) -> Result<u8, Fault> {
    let Some((name, sub)) = matches.subcommand() else { return Ok(2) };
    match (name, sub.subcommand()) {
        ("up", _) => up(sub).await,
        ("demo", _) => demo_command(sub).await,
        ("bench", _) => {
            let number = |name| sub.get_one::<u64>(name).copied().unwrap_or_default();
            let (turns, settle_s, json) = (number("turns"), number("settle-seconds"), sub.get_flag("json"));
            opsward::bench::run(&opsward::bench::Options { exe: this_binary()?, turns, settle_s, json }).await
        }
        ("doctor", _) => doctor(sub).await,
        ("config", Some(("sample", _))) => {
            say(&Config::sample());
            Ok(0)
        }
        ("config", Some((_, check))) => {
            let Some(file) = check.get_one::<PathBuf>("file") else { return Ok(2) };
            Config::read(file)?;
            say(&format!("{} is valid", file.display()));
            Ok(0)
        }
        ("diagnose", _) => diagnose::run(sub),
        ("eval", _) => eval::run(sub),
        ("state", Some((verb, state))) => state::run(verb, state).await,
        ("audit", Some((verb, audit))) => audit_command(verb, audit).await,
        ("mcp", _) => mcp::run(sub).await,
        ("record", _) => flight::record(sub).await,
        ("replay", _) => flight::replay(sub).await,
        ("log", Some(("templates", files))) if files.contains_id("file") => mine::run(files),
        _ => cli::run(name, sub).await,
    }
}

/// The configuration that a command's `--config`, `--data` and `--listen` make.
fn config(matches: &ArgMatches) -> Result<Config, Fault> {
    let mut config = match matches.get_one::<PathBuf>("config") {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    if let Some(dir) = matches.get_one::<PathBuf>("data") {
        config.data.dir.clone_from(dir);
    }
    if let Some(listen) = matches.try_get_one::<String>("listen").ok().flatten() {
        config.server.listen.clone_from(listen);
    }
    Ok(config)
}

fn this_binary() -> Result<PathBuf, Fault> {
    std::env::current_exe()
        .map_err(|error| Fault::unavailable("this binary cannot find itself").detail(error.to_string()))
}

async fn up(matches: &ArgMatches) -> Result<u8, Fault> {
    opsward::trace::start();
    let mut config = config(matches)?;
    config.server.observe_only |= matches.get_flag("observe-only");
    let server = Server::open(&config, this_binary()?).await?;
    let address = server.address;
    match server.app.engine.read_only() {
        None => {
            server.app.found(&config).await?;
            let link = server.app.owner_link(&config).await?;
            say(&format!("opsward listens on http://{address}"));
            say(&format!("owner link (once, 24 h): http://{address}/#link={link}"));
        }
        Some(fault) => {
            say(&format!("opsward listens on http://{address}"));
            say(&format!("READ-ONLY: {}; {}", fault.message, fault.hint));
            say("sign in with a token you have: a new one could not be recorded");
        }
    }
    if config.server.observe_only {
        say("observe-only: plans are made and kept, nothing is changed");
    }
    let app = server.serve(signal()).await?;
    app.close(true).await?;
    say("stopped; workloads go on, `opsward up` finds them again");
    Ok(0)
}

async fn demo_command(matches: &ArgMatches) -> Result<u8, Fault> {
    let options = opsward::stage::Options {
        exe: this_binary()?,
        data: matches.get_one::<PathBuf>("data").cloned(),
        incident: matches.get_one::<String>("incident").cloned().unwrap_or_default(),
        twin: matches.get_flag("twin"),
        seed: matches.get_one::<u64>("seed").copied().unwrap_or(1),
        yes: matches.get_flag("yes"),
        json: matches.get_flag("json"),
        observe_only: matches.get_flag("observe-only"),
        quiet: false,
        config: matches.get_one::<PathBuf>("config").cloned(),
    };
    if matches.get_flag("all") {
        let number = |name| matches.get_one::<u64>(name).copied().unwrap_or(1);
        return opsward::stage::all(&options, number("seeds"), number("jobs")).await;
    }
    opsward::stage::run(&options).await
}

async fn doctor(matches: &ArgMatches) -> Result<u8, Fault> {
    let findings = opsward::doctor::examine(&config(matches)?, this_binary()?).await;
    if matches.get_flag("json") {
        say(&serde_json::to_string_pretty(&findings).unwrap_or_default());
    } else {
        for finding in &findings {
            say(&format!("{}  {:32}  {}", if finding.works { "ok  " } else { "FAIL" }, finding.what, finding.detail));
        }
    }
    Ok(u8::from(findings.iter().any(|finding| !finding.works)))
}

async fn audit_command(verb: &str, matches: &ArgMatches) -> Result<u8, Fault> {
    let file = |name| matches.try_get_one::<PathBuf>(name).ok().flatten();
    if let ("export", Some(dir), Some(out)) = (verb, file("data"), file("out")) {
        let entries = opsward::audit::export(dir, out).await?;
        say(&format!("{entries} entries in {}", out.display()));
        return Ok(0);
    }
    let at_rest = match (file("data"), file("export")) {
        (Some(dir), _) => Some(opsward::audit::verify(dir).await?),
        (None, Some(export)) => Some(opsward::audit::verify_export(export)?),
        (None, None) => None,
    };
    if let Some(verified) = at_rest {
        say(&serde_json::to_string_pretty(&verified).unwrap_or_default());
        return Ok(u8::from(!verified.damage.is_empty()));
    }
    let client = cli::Client::from_matches(matches)?;
    if verb == "verify" {
        let verified = client.get("/audit/verify").await?;
        say(&serde_json::to_string_pretty(&verified).unwrap_or_default());
        return Ok(u8::from(verified["damage"].as_array().is_none_or(|damage| !damage.is_empty())));
    }
    let run = matches.get_one::<String>("run").cloned().unwrap_or_default();
    let trail = client.get(&format!("/runs/{run}/trail")).await?;
    for line in trail.as_array().into_iter().flatten() {
        say(&opsward_domain::label::visible(&format!(
            "{:>6}  {}  {}",
            line["seq"],
            line["by"].as_str().unwrap_or_default(),
            line["what"].as_str().unwrap_or_default()
        )));
    }
    Ok(0)
}
