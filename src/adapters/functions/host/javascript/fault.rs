//! What went wrong in a script, in words with a line.
//! It must never be the place where a script's own text grows without bound: its users cut it.

use rquickjs::{Coerced, Ctx, Error, Exception, Value};

use super::FILE;
use crate::{SourceError, Status};

/// Why a script gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("its time is up")]
    TimedOut,
    #[error("out of memory")]
    OutOfMemory,
    #[error("syntax error in line {line}: {message}")]
    Syntax { line: u32, message: String },
    #[error("{0}")]
    Script(String),
}

impl Fault {
    /// The fault behind an error of the engine.
    pub(super) fn of(ctx: &Ctx<'_>, error: &Error) -> Self {
        if matches!(error, Error::Allocation) {
            return Self::OutOfMemory;
        }
        if !error.is_exception() {
            return Self::Script(error.to_string());
        }
        Self::thrown(&ctx.catch())
    }

    fn thrown(value: &Value<'_>) -> Self {
        let Some(exception) = value.clone().into_object().and_then(Exception::from_object) else {
            // Out of memory even for the exception that would say so.
            if value.is_null() {
                return Self::OutOfMemory;
            }
            let text = value.get::<Coerced<String>>().map_or_else(|_| "something".to_owned(), |text| text.0);
            return Self::Script(format!("it threw {text}"));
        };
        let name = exception.get::<_, Coerced<String>>("name").map_or_else(|_| "Error".to_owned(), |name| name.0);
        let message = exception.message().unwrap_or_default();
        let line = exception.stack().as_deref().and_then(line_in);
        if name == "InternalError" && message == "out of memory" {
            return Self::OutOfMemory;
        }
        if name == "SyntaxError" {
            return Self::Syntax { line: line.unwrap_or(0), message };
        }
        let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
        Self::Script(format!("{name}: {message}{place}"))
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::TimedOut => Status::TimedOut,
            Self::OutOfMemory => Status::OutOfMemory,
            Self::Syntax { .. } | Self::Script(_) => Status::Failed,
        }
    }

    pub(super) fn into_source_error(self) -> SourceError {
        match self {
            Self::Syntax { line, message } => SourceError::Syntax { line, message },
            other => SourceError::LoadFailed { message: other.to_string() },
        }
    }
}

/// The line of the first place in the function's own file that a stack names.
fn line_in(stack: &str) -> Option<u32> {
    let rest = stack.split_once(&format!("{FILE}:"))?.1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_stacks() {
        assert_eq!(line_in("    at handle (function.js:12:5)\n    at function.js:1:1\n"), Some(12));
        assert_eq!(line_in("    at <anonymous> (native)\n"), None);
        assert_eq!(line_in("function.js:"), None);
    }
}
