//! The function host process: locks itself down, then loads and runs functions for the client at its socket.
//! It must never read a frame before every layer of the jail is up, nor outlive its client.

mod jail;
mod javascript;
mod logs;
mod settings;
mod table;
mod ticker;
mod wasm;
mod workers;

use std::convert::Infallible;
use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use crate::wire;
use jail::Fault;
use settings::Settings;
pub(crate) use settings::arguments;
use table::Table;
use ticker::Ticker;
use workers::{Port, Workers};

/// Enters the function host: called first thing for `opsward __functions ARGS...`, with the client's socket as
/// standard input. Ends the process when the client went away.
///
/// It returns only when the host could not be locked down; the exit code says which layer failed, and the client
/// puts it into words.
#[must_use]
pub fn role_main(args: &[String]) -> ExitCode {
    let Err(fault) = serve(args);
    ExitCode::from(fault as u8)
}

/// What an exit code of a host means.
pub(crate) fn meaning(code: i32) -> &'static str {
    jail::meaning(code)
}

fn serve(args: &[String]) -> Result<Infallible, Fault> {
    // A panic must not print: there is nobody to read it, and a write elsewhere than the socket would kill.
    std::panic::set_hook(Box::new(|_| {}));
    let settings = Settings::parse(args).ok_or(Fault::Arguments)?;
    let socket = jail::take_socket()?;
    let landlock_abi = jail::confine(&settings)?;
    let wasm = wasm::Engine::new().map_err(|_| Fault::Engine)?;
    // All threads there will ever be; they have come up fully when `start` returns.
    let (ticker, epochs) = (Ticker::default(), wasm.epochs());
    let table = Arc::new(Table::new(wasm, ticker.clone()));
    let port = Port::new(socket.try_clone().map_err(|_| Fault::Socket)?);
    let started = Workers::start(&settings, &table, &port, Box::new(move || ticker.tick(&epochs)));
    let workers = started.map_err(|_| Fault::Threads)?;
    let isolation = jail::close(landlock_abi)?;
    port.send(0, wire::Reply::Ready(isolation), &[]);
    answer_all(&mut &socket, &table, &port, &workers);
    // At once: functions may still be running, and even closing the socket properly is more than the filter allows.
    std::process::exit(0)
}

/// Hands out the work until the client closes or talks nonsense.
fn answer_all(socket: &mut &File, table: &Table, port: &Port, workers: &Workers) {
    while let Ok(Some((request, body))) = wire::read::<wire::Request>(socket) {
        let wire::Request { ticket, name, ask } = request;
        match ask {
            wire::Ask::Unload => port.send(ticket, wire::Reply::Unloaded { known: table.remove(&name) }, &[]),
            wire::Ask::Load { language } => workers.load(ticket, name, language, body),
            wire::Ask::Invoke(bounds) => workers.invoke(ticket, name, bounds, body),
        }
    }
}
