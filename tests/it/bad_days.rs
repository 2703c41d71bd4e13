//! Bad days as people meet them, through the real binary: each ends in a message, a detail and a hint, with the
//! exit code that scripts rely on, and nothing is lost.

mod damage;
mod disk;
mod names;
mod start;
mod work;

use std::process::Output;

use crate::service::text;

/// A refusal that a stranger understands: the exit code, the words, a hint, and nothing that plays with the
/// terminal.
#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains("error: ") && said.contains("hint: ") && said.contains(says), "{says:?} not in: {said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}', '\0']) && said.len() < 4_000, "{said:?}");
}
