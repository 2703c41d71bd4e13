//! The embedded journal and blobs: SQLite in WAL mode.
