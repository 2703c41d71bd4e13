//! Validated names. Never accepts a path, a control character, a homoglyph or an unbounded string.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes (a DNS label).
pub const NAME_BYTES_MAX: usize = 63;

/// Why a name was refused. Quotes at most the first 40 characters, escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not a valid name: {reason}")]
pub struct NameError {
    shown: String,
    reason: &'static str,
}

fn check(text: &str) -> Result<(), NameError> {
    let refuse = |reason| Err(NameError { shown: text.chars().take(40).collect(), reason });
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > NAME_BYTES_MAX {
        return refuse("it is longer than 63 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return refuse("use only a-z, 0-9 and '-'");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return refuse("it starts or ends with '-'");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Validates `text`: a DNS label, 1 to 63 of a-z, 0-9 and inner '-'.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.into()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name_type!(/// A customer of the platform; every stored thing belongs to exactly one.
    Tenant);
name_type!(/// A workspace inside its tenant.
    Workspace);
name_type!(/// A long-running program inside its workspace.
    Workload);
name_type!(/// A function inside its workspace.
    Function);
name_type!(/// A volume inside its workspace.
    Volume);
name_type!(/// A backup inside its workspace.
    Backup);
name_type!(/// A person or a service principal inside its tenant.
    Subject);
name_type!(/// The identity of a stream, run, approval, alert or conversation.
    Id);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_could_escape_or_deceive() {
        let long = "a".repeat(10_240);
        for bad in ["", "..", "a/b", "a\0b", "pаyments", "A", "-a", "a-", "a b", "a\u{202e}b", &long] {
            let error = Workspace::parse(bad).unwrap_err().to_string();
            assert!(error.len() < 400, "{error}");
        }
    }

    proptest! {
        #[test]
        fn accepted_names_are_plain(text in "\\PC{0,80}") {
            if let Ok(name) = Workload::parse(&text) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
                prop_assert!(name.as_str().len() <= NAME_BYTES_MAX);
            }
        }
    }
}
