//! From signals to causes: a pure function over what was gathered. It reads no file, asks no clock, and never looks
//! at which set of data it was given: names of components and metrics carry meaning by the words operators use, not by identity.

pub mod case;
