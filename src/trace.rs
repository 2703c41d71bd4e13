//! Structured logs of the service itself, to standard error. `OPSWARD_LOG` filters, `OPSWARD_LOG_JSON=1`
//! makes lines of JSON. Never called by a client command.

use tracing_subscriber::EnvFilter;

/// Starts logging for this process; a second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("OPSWARD_LOG").unwrap_or_else(|_| EnvFilter::new("warn,opsward=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if std::env::var_os("OPSWARD_LOG_JSON").is_some() { builder.json().try_init() } else { builder.try_init() };
}
