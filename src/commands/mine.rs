//! `opsward log templates FILE...`. Only turns arguments into options.

use std::io::BufWriter;

use clap::ArgMatches;
use opsward::mining::{self, Options};
use opsward_domain::fault::{Code, Fault};
use opsward_templates::format::Format;

/// Bytes of output kept until they are written.
const BUFFER_BYTES: usize = 1 << 16;

/// Mines the files for templates.
pub(crate) fn run(matches: &ArgMatches) -> Result<u8, Fault> {
    let format = matches.get_one::<String>("format").and_then(|name| Format::parse(name));
    let options = Options {
        files: matches.get_many::<String>("file").into_iter().flatten().cloned().collect(),
        format: format.unwrap_or_default(),
        json: matches.get_flag("json"),
    };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout().lock());
    match mining::run(&options, &mut out) {
        // Whoever read the output has enough.
        Err(fault) if fault.code == Code::Cancelled => Ok(0),
        done => done.map(|_| 0),
    }
}
