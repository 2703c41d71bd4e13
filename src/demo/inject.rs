//! The injector: plays a scenario with nothing but the operating system and the public interface,
//! as a developer, an administrator or bad luck would.
//! Must never tell anything to opsward that those would not; the truth goes to its own output only.

mod api;
mod faults;
mod play;
mod processes;
mod scenario;
mod versions;

use crate::driver::lines::InjectorLine;
use crate::service::option;
use crate::world::World;
use api::Api;
use play::Player;
use std::process::ExitCode;

/// Names of the incidents, with what each is in a few words.
pub(crate) fn incidents() -> impl Iterator<Item = (&'static str, &'static str)> {
    faults::INCIDENTS.iter().map(|incident| (incident.name, incident.summary))
}

#[cfg(test)]
pub(crate) use faults::script;

/// A token from a file or from an open descriptor; never from the command line.
fn token(args: &[String]) -> Result<String, String> {
    let path = match (option(args, "--token-file"), option(args, "--token-fd")) {
        (Some(path), None) => path.to_owned(),
        (None, Some(number)) => match number.parse::<u32>() {
            Ok(number) => format!("/proc/self/fd/{number}"),
            Err(_) => return Err(format!("not a descriptor: {number}")),
        },
        _ => return Err("give one of --token-file and --token-fd".to_owned()),
    };
    let read = std::fs::read_to_string(&path).map_err(|cause| format!("cannot read token: {cause}"))?;
    Ok(read.trim().to_owned())
}

/// `--api URL --token-file F --workspace W --incident NAME --seed N --external-control H:P
/// [--world-seed N] [--twin] [--pace F]`. Standard input closed: it lets go of what it holds and ends.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            crate::tell(&InjectorLine::Error { text });
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let need = |name: &str| option(args, name).ok_or_else(|| format!("missing {name}"));
    let whole = |name: &str, text: &str| text.parse().map_err(|_| format!("{name}: not a number: {text}"));
    let seed: u64 = whole("--seed", need("--seed")?)?;
    let world_seed = option(args, "--world-seed").map_or(Ok(seed), |text| whole("--world-seed", text))?;
    let pace: f64 = option(args, "--pace").map_or(Ok(1.0), |text| {
        text.parse().ok().filter(|pace| (0.01..=10.0).contains(pace)).ok_or("--pace: 0.01 to 10".to_owned())
    })?;
    let incident = need("--incident")?;
    let twin = args.iter().any(|arg| arg == "--twin");
    let world = World::new(world_seed);
    let script = faults::script(&world, incident, twin, seed, pace)
        .ok_or_else(|| format!("no incident {incident}; there are: {}", names()))?;
    let api = Api::new(need("--api")?, token(args)?, need("--workspace")?)?;
    let control = need("--external-control")?.to_owned();
    Player::new(api, control, script.truth).play(script.moves)
}

fn names() -> String {
    incidents().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}
