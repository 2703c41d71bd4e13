//! `opsward mcp`: serves one assistant over standard input and output. Nothing but protocol may be written to
//! standard output here.

use clap::{Arg, ArgMatches, Command};
use opsward_domain::fault::Fault;

pub(super) fn command() -> Command {
    Command::new("mcp")
        .about("Serve an assistant over the Model Context Protocol, on standard input and output")
        .after_help(
            "The assistant looks and proposes with the rights of the token; a person approves in opsward.\n\
             `opsward person token NAME --assistant` makes a token that cannot approve by any way.\n\
             Reads OPSWARD_SERVER and OPSWARD_TOKEN, as every command does.",
        )
        .arg(
            Arg::new("workspace")
                .long("workspace")
                .short('w')
                .env("OPSWARD_WORKSPACE")
                .help("where calls go that name no workspace; not needed if you have one only"),
        )
}

#[cfg(feature = "connect")]
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, Fault> {
    let name = matches.get_one::<String>("workspace");
    let workspace = name.map(|name| opsward_domain::name::Workspace::parse(name)).transpose()?;
    let client = opsward_surface::cli::Client::from_matches(matches)?.for_assistant();
    opsward::mcp::serve(client, workspace).await?;
    Ok(0)
}

#[cfg(not(feature = "connect"))]
pub(super) async fn run(_matches: &ArgMatches) -> Result<u8, Fault> {
    Err(Fault::unavailable("this build has no Model Context Protocol")
        .hint("build with --features connect (or full), or take a release archive"))
}
