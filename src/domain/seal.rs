//! Permission as a type: only the holder of the seal can make an `Authorized` value, only `app.rs`
//! makes a seal, and only the gate is given one. `tests/it/tidy.rs` checks who mentions it.

/// Held by the gate alone.
#[derive(Debug)]
pub struct GateSeal(());

impl GateSeal {
    /// Makes the seal. Called where the gate is composed, nowhere else.
    pub fn forge() -> Self {
        Self(())
    }
}

/// A value that the gate has allowed, once. Not `Clone`, not deserialisable.
#[derive(Debug)]
pub struct Authorized<T>(T);

impl<T> Authorized<T> {
    /// Wraps what the gate has allowed.
    pub fn new(_seal: &GateSeal, value: T) -> Self {
        Self(value)
    }
    /// What was allowed.
    pub fn get(&self) -> &T {
        &self.0
    }
}
