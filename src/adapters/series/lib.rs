//! The embedded metrics store: a small time series database.
