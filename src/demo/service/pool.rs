//! Connections to one peer: at most so many in use at a time, reused while they are young.
//! Must never wait past the caller's deadline, and retries only a reused connection that was stale.

use super::lock;
use super::settings::Settings;
use crate::http::{CallError, Connection};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Exchanges on one connection before it is closed, so that load spreads over replicas.
const USES_MAX: u32 = 40;
/// Age at which a connection is closed, for the same reason.
const AGE_MAX: Duration = Duration::from_secs(3);
/// Time a peer gets when the configuration does not say.
const TIMEOUT_MS: u64 = 800;
const SIZE: u64 = 16;

#[derive(Debug, Default)]
struct Lent {
    in_use: usize,
    idle: Vec<Connection>,
}

/// The pool of one peer.
#[derive(Debug)]
pub(super) struct Pool {
    peer: String,
    addr: String,
    size: usize,
    timeout: Duration,
    lent: Mutex<Lent>,
    freed: Condvar,
}

/// Why a call to a peer gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// All connections stayed in use.
    #[error("connection pool for {peer} exhausted: {size} of {size} in use, waited {waited_ms}ms")]
    Exhausted {
        /// Whose pool.
        peer: String,
        /// How many connections it has.
        size: usize,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The exchange failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl PeerError {
    /// The label in metrics.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Exhausted { .. } => "pool_exhausted",
            Self::Call(CallError::Timeout { .. }) => "timeout",
            Self::Call(CallError::Lookup(_) | CallError::Connect { .. }) => "connect_error",
            Self::Call(CallError::Broken { .. }) => "reset",
        }
    }
}

impl Pool {
    pub(super) fn new(peer: &str, settings: &Settings) -> Result<Self, String> {
        let key = format!("UPSTREAM_{}", peer.to_ascii_uppercase());
        let addr = settings.text(&key).ok_or_else(|| format!("missing required variable {key}"))?;
        Ok(Self {
            peer: peer.to_owned(),
            addr: addr.to_owned(),
            size: settings.of_peer(peer, "POOL_SIZE", SIZE)? as usize,
            timeout: Duration::from_millis(settings.of_peer(peer, "TIMEOUT_MS", TIMEOUT_MS)?),
            lent: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    pub(super) fn in_use(&self) -> usize {
        lock(&self.lent).in_use
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn addr(&self) -> &str {
        &self.addr
    }

    fn borrow(&self, deadline: Instant) -> Result<Option<Connection>, PeerError> {
        let started = Instant::now();
        let mut lent = lock(&self.lent);
        while lent.in_use >= self.size {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PeerError::Exhausted {
                    peer: self.peer.clone(),
                    size: self.size,
                    waited_ms: started.elapsed().as_millis() as u64,
                });
            }
            lent = match self.freed.wait_timeout(lent, left) {
                Ok((lent, _)) => lent,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        lent.in_use += 1;
        Ok(lent.idle.pop())
    }

    fn give_back(&self, connection: Option<Connection>) {
        let mut lent = lock(&self.lent);
        lent.in_use -= 1;
        let young = |c: &Connection| c.used < USES_MAX && c.opened.elapsed() < AGE_MAX;
        lent.idle.extend(connection.filter(young));
        self.freed.notify_one();
    }

    /// Runs one exchange within the peer's timeout and the request's `deadline`.
    pub(super) fn exchange<T>(
        &self,
        deadline: Instant,
        exchange: impl Fn(&mut Connection, Instant) -> Result<T, CallError>,
    ) -> Result<T, PeerError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let idle = self.borrow(deadline)?.filter(|c| c.opened.elapsed() < AGE_MAX);
        let reused = idle.is_some();
        let attempt = |connection: Option<Connection>| {
            let mut connection = match connection {
                Some(connection) => connection,
                None => Connection::open(&self.addr, deadline)?,
            };
            exchange(&mut connection, deadline).map(|value| (value, connection))
        };
        let mut outcome = attempt(idle);
        if reused && matches!(outcome, Err(CallError::Broken { .. })) {
            outcome = attempt(None);
        }
        match outcome {
            Ok((value, connection)) => {
                self.give_back(Some(connection));
                Ok(value)
            }
            Err(cause) => {
                self.give_back(None);
                Err(cause.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_pool_says_so() {
        let settings =
            Settings::of(&[("UPSTREAM_PAY", "127.0.0.1:9"), ("PAY_POOL_SIZE", "0"), ("PAY_TIMEOUT_MS", "5")]);
        let pool = Pool::new("pay", &settings).unwrap();
        let outcome = pool.exchange(Instant::now() + Duration::from_secs(1), |_, _| Ok(()));
        assert_eq!(outcome.unwrap_err().code(), "pool_exhausted");
        assert!(Pool::new("other", &settings).unwrap_err().contains("UPSTREAM_OTHER"));
    }
}
