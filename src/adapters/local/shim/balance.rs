//! A workload's stable address: each connection goes to the ready replica with the fewest, the next
//! one if that refuses. Never looks into what flows, never holds a connection without a bound.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use opsward_domain::name::Workload;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::core::Core;
use super::replica::Phase;
use crate::http;

/// Longest wait for one replica to take a connection.
const CONNECT_TIMEOUT_MS: u64 = 500;
/// Time between attempts to get the address when somebody else sits on it, or descriptors are short.
const RETRY_MS: u64 = 200;
const BACKLOG: u32 = 1_024;

/// The listening end of a workload's address; closes when dropped.
pub(super) struct Gate {
    port: u16,
    deaf: Rc<RefCell<Option<String>>>,
    task: JoinHandle<()>,
}

impl Gate {
    pub(super) fn open(core: Weak<RefCell<Core>>, name: Workload, port: u16, connections_max: usize) -> Self {
        let deaf = Rc::new(RefCell::new(Some("not listening yet".to_owned())));
        let task = tokio::task::spawn_local(serve(core, name, port, connections_max, deaf.clone()));
        Self { port, deaf, task }
    }
    pub(super) fn port(&self) -> u16 {
        self.port
    }
    /// Why it does not listen, if so.
    pub(super) fn deaf(&self) -> Option<String> {
        self.deaf.borrow().clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

async fn serve(
    core: Weak<RefCell<Core>>,
    name: Workload,
    port: u16,
    connections_max: usize,
    deaf: Rc<RefCell<Option<String>>>,
) {
    let retry = Duration::from_millis(RETRY_MS);
    let listener = loop {
        match listen(port) {
            Ok(listener) => break listener,
            Err(error) => *deaf.borrow_mut() = Some(format!("port {port}: {error}")),
        }
        tokio::time::sleep(retry).await;
    };
    *deaf.borrow_mut() = None;
    let room = Arc::new(Semaphore::new(connections_max));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let (core, name) = (core.clone(), name.clone());
                tokio::task::spawn_local(async move {
                    carry(&core, &name, client).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(retry).await,
        }
    }
}

/// Counts a connection of a replica while it lives.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

async fn carry(core: &Weak<RefCell<Core>>, name: &Workload, mut client: TcpStream) {
    let Some(candidates) = core.upgrade().map(|core| candidates(&mut core.borrow_mut(), name)) else { return };
    for (port, count) in candidates {
        let counted = Counted::new(count);
        let wait = Duration::from_millis(CONNECT_TIMEOUT_MS);
        if let Ok(Ok(mut replica)) = tokio::time::timeout(wait, http::connect(port)).await {
            let _ = client.set_nodelay(true);
            let _ = replica.set_nodelay(true);
            // Either side may fail at any time; both ends are closed then, which is all there is to do.
            let _ = copy_bidirectional(&mut client, &mut replica).await;
            drop(counted);
            return;
        }
    }
}

/// Ready replicas: fewest connections first, taking turns among equals.
fn candidates(core: &mut Core, name: &Workload) -> Vec<(u16, Rc<Cell<usize>>)> {
    let Some(supervised) = core.workloads.get_mut(name) else { return Vec::new() };
    supervised.turn = supervised.turn.wrapping_add(1);
    let ready = supervised.replicas.iter().filter(|replica| replica.phase == Phase::Ready);
    let mut found: Vec<(u16, Rc<Cell<usize>>)> =
        ready.filter_map(|replica| Some((replica.port?, replica.connections.clone()))).collect();
    if !found.is_empty() {
        let turn = supervised.turn % found.len();
        found.rotate_left(turn);
    }
    found.sort_by_key(|(_, count)| count.get());
    found
}
