//! What can go wrong before and around a function, sorted by what the caller can do.
//! A function's own failure must never be an error here: that is an outcome.

use serde::{Deserialize, Serialize};

/// Result of the client's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// A call to the function host failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host could not be started or did not lock itself down.
    #[error("function host did not start: {detail}")]
    Start {
        /// What happened.
        detail: String,
    },
    /// The host died or was killed while this call was in it; whether the function did its work is unknown.
    #[error("function host was lost: {detail}")]
    Lost {
        /// How it ended.
        detail: String,
    },
    /// The source cannot be a function.
    #[error("function cannot be loaded: {0}")]
    Source(#[from] SourceError),
    /// Compiling took too long; the host was killed.
    #[error("compiling took longer than {limit_ms} ms")]
    LoadTimedOut {
        /// The time it had.
        limit_ms: u64,
    },
    /// No such function and version is loaded.
    #[error("no function {key} version {version} is loaded")]
    Unknown {
        /// The function.
        key: String,
        /// The version.
        version: String,
    },
    /// Too many calls wait already.
    #[error("{waiting} invocations are waiting already")]
    Overloaded {
        /// How many.
        waiting: usize,
    },
    /// Too many functions are loaded.
    #[error("{loaded} functions are loaded already")]
    Full {
        /// How many.
        loaded: usize,
    },
    /// An argument is outside its bounds.
    #[error("invalid {field}: {detail}")]
    Invalid {
        /// Which argument.
        field: &'static str,
        /// Why.
        detail: String,
    },
}

impl Error {
    /// What a person can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Start { .. } => "run the doctor command: it says which layer of isolation this machine lacks",
            Self::Lost { .. } => "look at what ran at the time; call again only if the function may run twice",
            Self::Source(error) => error.hint(),
            Self::LoadTimedOut { .. } => "make the module smaller or raise the load timeout",
            Self::Unknown { .. } => "load that version first",
            Self::Overloaded { .. } => "call again later, or raise the concurrency",
            Self::Full { .. } => "unload versions that are not active",
            Self::Invalid { .. } => "correct the argument",
        }
    }
}

/// Why a source cannot be a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceError {
    /// It is larger than what is taken.
    #[error("source has {bytes} bytes, {limit_bytes} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// Not a valid WebAssembly module.
    #[error("invalid webassembly: {detail}")]
    InvalidModule {
        /// What the validator said, with the offset.
        detail: String,
    },
    /// The module does not export what a function must.
    #[error("module does not export {name}")]
    MissingExport {
        /// The export that is missing.
        name: String,
    },
    /// An export has another type than a function's interface has.
    #[error("export {name} must be {expected}")]
    WrongExport {
        /// The export.
        name: String,
        /// Its type in the interface.
        expected: String,
    },
    /// The module wants something that the host does not give.
    #[error("module imports {module}.{name}, which does not exist here")]
    UnknownImport {
        /// Module part of the import.
        module: String,
        /// Name part of the import.
        name: String,
    },
    /// JavaScript that does not parse.
    #[error("syntax error in line {line}: {message}")]
    Syntax {
        /// Line, counted from 1; 0 when unknown.
        line: u32,
        /// What the parser said.
        message: String,
    },
    /// JavaScript that fails or does not end while it is loaded, before any request.
    #[error("script fails while loading: {message}")]
    LoadFailed {
        /// The exception, with its line when known.
        message: String,
    },
    /// JavaScript without a function to call.
    #[error("script has neither a default export nor a function named handle")]
    NoHandler,
}

impl SourceError {
    /// What the author can do about it, one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "strip debug information and unused code",
            Self::InvalidModule { .. } => {
                "build for wasm32 (WASI preview 1 or no system) and upload the .wasm file itself"
            }
            Self::MissingExport { .. } | Self::WrongExport { .. } => {
                "export _start (WASI command), or memory, alloc(i32)->i32 and handle(i32,i32)->i64"
            }
            Self::UnknownImport { .. } => "only wasi_snapshot_preview1 can be imported",
            Self::Syntax { .. } => "correct the line",
            Self::LoadFailed { .. } => {
                "move work into the function; imports and endless top-level code are not possible"
            }
            Self::NoHandler => "write export default function (request) { ... }",
        }
    }
}
