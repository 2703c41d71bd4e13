//! Points and spans of time as plain numbers. Never reads a clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
pub type AtMs = i64;

/// A half-open span `[from_ms, to_ms)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    pub from_ms: AtMs,
    /// First instant after.
    pub to_ms: AtMs,
}

impl Window {
    /// The `length_ms` before `to_ms`.
    pub fn before(to_ms: AtMs, length_ms: i64) -> Self {
        Self { from_ms: to_ms.saturating_sub(length_ms), to_ms }
    }
    /// True if `at_ms` is inside.
    pub fn contains(&self, at_ms: AtMs) -> bool {
        self.from_ms <= at_ms && at_ms < self.to_ms
    }
    /// Length in milliseconds, never negative.
    pub fn length_ms(&self) -> i64 {
        self.to_ms.saturating_sub(self.from_ms).max(0)
    }
}
