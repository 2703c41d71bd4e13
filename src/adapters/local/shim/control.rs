//! The shim's socket: asked by the provider, one JSON line each way. Never answers whoever does not
//! know the workspace's token, because replicas can reach the socket too.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::core::Core;
use crate::wire::{Ask, FORMAT, LINE_BYTES_MAX, Reply, Signed};

/// Answers one connection until it ends.
pub(super) async fn answer(core: Rc<RefCell<Core>>, token: Rc<str>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(count) if count > 0 && line.last() == Some(&b'\n') => {}
            _ => return,
        }
        let reply = match serde_json::from_slice::<Signed>(&line) {
            Ok(signed) if signed.token == *token => reply(&core, &signed.ask),
            Ok(_) => return,
            Err(error) => Reply::Refused { why: error.to_string() },
        };
        let Ok(mut bytes) = serde_json::to_vec(&reply) else { return };
        bytes.push(b'\n');
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn reply(core: &RefCell<Core>, ask: &Ask) -> Reply {
    let mut core = core.borrow_mut();
    match ask {
        Ask::Hello => Reply::Hello { pid: std::process::id(), format: FORMAT },
        Ask::Report => Reply::Report(core.report()),
        Ask::Reload => match core.reload() {
            Ok(()) => Reply::Done,
            Err(why) => Reply::Refused { why },
        },
        Ask::Stop => {
            core.stopping = true;
            core.wake.notify_one();
            Reply::Done
        }
    }
}
