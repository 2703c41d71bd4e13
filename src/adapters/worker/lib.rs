//! The script runner: a pool of jailed workers reached over one socket each.
