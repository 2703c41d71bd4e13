//! Encrypted, deduplicated, verified snapshots of folders.
