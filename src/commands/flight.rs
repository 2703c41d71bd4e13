//! The flight recorder at the terminal: `record` turns a run into a file, `replay` plays files again and says
//! where the two differ.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use opsward::app::Replayer;
use opsward_domain::fault::{Code, Fault};
use opsward_engine::replay::Replayed;
use opsward_engine::transcript::Transcript;
use opsward_surface::cli::Client;

use super::{say, this_binary};

const KINDS: [&str; 3] = ["incident", "conversation", "command"];

pub(super) fn commands() -> [Command; 2] {
    let file = |name: &'static str| Arg::new(name).value_parser(clap::value_parser!(PathBuf));
    let record = Command::new("record")
        .about("Turn a run into a file that can be played again without the world")
        .after_help("The file holds what people, workloads and the model said. It holds no token, key or salt.")
        .arg(Arg::new("run").required(true).help("an incident's, conversation's or command's id, or KIND/ID"))
        .arg(file("out").long("out").short('o').help("write here instead of to the screen"))
        .arg(Arg::new("about").long("about").help("what it shows, kept in the file"))
        .arg(file("data").long("data").help("read a stopped server's data folder instead of asking the server"));
    let replay = Command::new("replay")
        .about("Play recorded runs again and say where this program does something else")
        .after_help("Exit code 0 if every event is the same, 1 at the first difference.")
        .arg(file("file").required(true).num_args(1..).help("files that `opsward record` wrote"));
    [record, replay]
}

pub(super) async fn record(matches: &ArgMatches) -> Result<u8, Fault> {
    let run = matches.get_one::<String>("run").cloned().unwrap_or_default();
    let mut transcript = match matches.get_one::<PathBuf>("data") {
        Some(dir) => opsward::audit::record(dir, &run).await?,
        None => fetch(&Client::from_matches(matches)?, &run).await?,
    };
    if let Some(about) = matches.get_one::<String>("about") {
        transcript.about.clone_from(about);
    }
    let text = transcript.write()?;
    match matches.get_one::<PathBuf>("out") {
        None => say(text.trim_end()),
        Some(path) => {
            std::fs::write(path, text).map_err(|error| {
                Fault::unavailable(format!("{} cannot be written", path.display())).detail(error.to_string())
            })?;
            say(&format!("{} events of {} kept in {}", transcript.events.len(), transcript.stream, path.display()));
        }
    }
    Ok(0)
}

/// Asks the server; an id alone is looked for among the kinds of runs.
async fn fetch(client: &Client, run: &str) -> Result<Transcript, Fault> {
    let paths: Vec<String> = match run.contains('/') {
        true => vec![run.to_owned()],
        false => KINDS.iter().map(|kind| format!("{kind}/{run}")).collect(),
    };
    let mut missing = Fault::not_found(format!("there is no run {run}"));
    for path in paths {
        match client.get(&format!("/runs/{path}/transcript")).await {
            Ok(value) => return Transcript::read(&value.to_string()),
            Err(fault) if fault.code == Code::NotFound => missing = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(missing)
}

pub(super) async fn replay(matches: &ArgMatches) -> Result<u8, Fault> {
    let replayer = Replayer::start(this_binary()?).await?;
    let mut code = 0;
    for path in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        let played = replayer.play(&read(path)?).await?;
        code |= u8::from(!played.differences.is_empty());
        if matches.get_flag("json") {
            say(&serde_json::json!({"file": path, "differences": played.differences, "made": played.made, "given": played.given}).to_string());
        } else {
            tell(path, &played);
        }
    }
    Ok(code)
}

fn read(path: &Path) -> Result<Transcript, Fault> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fault::invalid(format!("{} cannot be read", path.display())).detail(error.to_string()))?;
    Transcript::read(&text)
        .map_err(|fault| Fault { message: format!("{}: {}", path.display(), fault.message), ..fault })
}

fn tell(path: &Path, played: &Replayed) {
    match played.differences.first() {
        None => say(&format!(
            "{}: the same {} events ({} given from outside, {} made again)",
            path.display(),
            played.given + played.made,
            played.given,
            played.made
        )),
        Some(first) => {
            say(&format!("{}: {first}", path.display()));
            let more = played.differences.len() - 1;
            if more > 0 {
                say(&format!("and {more} more; --json lists them"));
            }
        }
    }
}
