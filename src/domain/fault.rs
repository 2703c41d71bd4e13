//! Errors as people meet them: a code, a message, a detail, a hint. Never carries a secret.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The closed list of codes; one function a surface maps each to its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No such thing, or the caller may not know that it exists.
    NotFound,
    /// Policy or missing rights.
    Denied,
    /// A person other than the caller must agree first.
    NeedsApproval,
    /// The request itself is wrong.
    InvalidInput,
    /// Somebody else changed it first.
    Conflict,
    /// A bound was reached.
    TooMany,
    /// The disk or its budget is too full to take more in.
    NoRoom,
    /// It took longer than its limit.
    Timeout,
    /// Something needed is not there now.
    Unavailable,
    /// Stored data is damaged.
    Corrupt,
    /// The caller gave up.
    Cancelled,
    /// A broken promise of ours.
    Internal,
}

/// An error value that a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What kind.
    pub code: Code,
    /// One lowercase sentence without a full stop.
    pub message: String,
    /// What exactly, if there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Fault {
    /// A fault with a message only.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: String::new(), hint: String::new() }
    }
    /// Adds what exactly.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
    /// Shorthand for [`Code::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }
    /// Shorthand for [`Code::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }
    /// Shorthand for [`Code::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Code::Denied, message)
    }
    /// Shorthand for [`Code::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }
    /// Shorthand for [`Code::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }
    /// Shorthand for [`Code::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

impl From<crate::name::NameError> for Fault {
    fn from(error: crate::name::NameError) -> Self {
        Self::invalid(error.to_string()).hint("a name is 1 to 63 of a-z, 0-9 and inner '-'")
    }
}
