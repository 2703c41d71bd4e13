//! Time and randomness as ports. Nothing else in the engine reads a clock or draws a number.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use opsward_domain::name::Id;
use opsward_domain::time::AtMs;

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now_ms(&self) -> AtMs;
    /// Waits at least `duration_ms`.
    async fn sleep_ms(&self, duration_ms: u64);
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> AtMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtMs::try_from(since.as_millis()).unwrap_or(AtMs::MAX)
    }
    async fn sleep_ms(&self, duration_ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(duration_ms)).await;
    }
}

/// A clock that moves only when told, or by what is slept.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now_ms`.
    pub fn at(now_ms: AtMs) -> Self {
        Self(AtomicI64::new(now_ms))
    }
    /// Moves forward.
    pub fn advance_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_ms(&self) -> AtMs {
        self.0.load(Ordering::SeqCst)
    }
    async fn sleep_ms(&self, duration_ms: u64) {
        self.advance_ms(i64::try_from(duration_ms).unwrap_or(i64::MAX));
        tokio::task::yield_now().await;
    }
}

/// A source of identities and secrets.
pub trait Entropy: Send + Sync {
    /// A fresh identity, unguessable in production.
    fn id(&self, prefix: &str) -> Id;
    /// `bytes` random bytes as lowercase hex, unguessable in production.
    fn secret_hex(&self, bytes: usize) -> String;
}

/// Counts up; for tests only.
#[derive(Debug, Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn id(&self, prefix: &str) -> Id {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let text = format!("{prefix}{n}");
        Id::parse(&text).unwrap_or_else(|_| self.id("id"))
    }
    fn secret_hex(&self, bytes: usize) -> String {
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        format!("{n:0width$x}", width = bytes * 2)
    }
}
