//! Floor 0: the nouns and pure rules of opsward, in reading order.
//!
//! Never here: async, I/O, clocks, randomness, or the name of any product we run on.

pub mod action;
pub mod alert;
pub mod approval;
pub mod canonical;
pub mod cause;
pub mod chain;
pub mod context;
pub mod decision;
pub mod effect;
pub mod event;
pub mod evidence;
pub mod fault;
pub mod incident;
pub mod label;
pub mod name;
pub mod plan;
pub mod principal;
pub mod resource;
pub mod schedule;
pub mod seal;
pub mod spec;
pub mod telemetry;
pub mod time;
