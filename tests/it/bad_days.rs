//! Bad days as people meet them, through the real binary: each ends in a message, a detail and a hint, with the
//! exit code that scripts rely on, and nothing is lost.

mod disk;
