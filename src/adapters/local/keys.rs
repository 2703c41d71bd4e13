//! One turn per key: two calls with one key never run at the same time. Never grows: a key nobody uses
//! is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opsward_domain::name::Tenant;
use tokio::sync::OwnedMutexGuard;

use crate::place::lock;

type Turns = BTreeMap<(Tenant, String), Arc<tokio::sync::Mutex<()>>>;

/// The keys in use.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<Turns>);

/// Held while a key is worked on.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held for its drop")] OwnedMutexGuard<()>);

impl Keys {
    /// Waits until nobody else works on `key`.
    pub(crate) async fn turn(&self, tenant: &Tenant, key: &str) -> Turn {
        Turn(self.mutex(tenant, key).lock_owned().await)
    }

    /// The turn of a key that nobody can be working on yet; `None` if somebody is.
    pub(crate) fn first_turn(&self, tenant: &Tenant, key: &str) -> Option<Turn> {
        self.mutex(tenant, key).try_lock_owned().ok().map(Turn)
    }

    fn mutex(&self, tenant: &Tenant, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.0);
        turns.retain(|_, mutex| Arc::strong_count(mutex) > 1);
        turns.entry((tenant.clone(), key.to_owned())).or_default().clone()
    }
}
