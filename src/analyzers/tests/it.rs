//! The one integration-test binary: the fault catalogue with its healthy twins, folders as people have them,
//! and bad input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/folders.rs"]
mod folders;
#[path = "it/made.rs"]
mod made;
#[path = "it/text.rs"]
mod text;
