//! `opsward eval DIR --format FORMAT`: scores folders of cases with ground truth. Only turns arguments into options
//! and prints the table.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Arg, ArgMatches, Command};
use opsward_domain::fault::Fault;
use opsward_inquiry::eval::{self, Format};

/// The command's arguments.
pub(crate) fn command() -> Command {
    let names: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
    Command::new("eval")
        .about("Score the diagnosis over folders of cases whose truth is known")
        .long_about(
            "Gives every case below DIR to the diagnosis without its truth, compares, and prints how\n\
             many were met with 95 % intervals (Wilson), a simple rule beside it, and every failure\n\
             by name. No model is asked, and the same files give the same table.",
        )
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("folder of cases"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(names))
                .help("how the folder is laid out"),
        )
}

/// Scores and prints.
pub(crate) fn run(matches: &ArgMatches) -> Result<u8, Fault> {
    let (Some(dir), Some(name)) = (matches.get_one::<PathBuf>("dir"), matches.get_one::<String>("format")) else {
        return Ok(2);
    };
    let format = Format::parse(name).ok_or_else(|| Fault::invalid(format!("no format is called {name:?}")))?;
    let began = Instant::now();
    let table = eval::evaluate(dir, format, &|| began.elapsed().as_secs_f64() * 1e3)
        .map_err(|error| Fault::invalid(error.to_string()).hint("give a folder that holds cases of that format"))?;
    let shown = if matches.get_flag("json") {
        serde_json::to_string_pretty(&table).unwrap_or_default()
    } else {
        table.render()
    };
    let _ = writeln!(std::io::stdout(), "{}", shown.trim_end());
    Ok(0)
}
