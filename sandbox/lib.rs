//! The jailed worker: lock-down, Rhai engine, one run per process. Cannot cause an effect.
