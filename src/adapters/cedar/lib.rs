//! The policy port on Cedar.
