//! What can be wrong with bytes or with the order of frames. Never carries a frame's content.

/// A frame that cannot be accepted. After any of these the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed or timed out.
    #[error("worker socket failed: {0}")]
    Socket(#[from] std::io::Error),
    /// The other end closed in the middle of a frame.
    #[error("connection closed inside a frame")]
    Truncated,
    /// A frame longer than [`crate::MAX_FRAME_BYTES`], in either direction.
    #[error("frame of {bytes} bytes is over the bound")]
    Oversized {
        /// Length that was announced or encoded, in bytes.
        bytes: usize,
    },
    /// Not UTF-8, not JSON, nested too deeply, or not a frame of this protocol.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// A well-formed frame that the state of the run does not allow.
    #[error("{frame} is out of order: {expected} was due")]
    OutOfOrder {
        /// Kind of the frame that came.
        frame: &'static str,
        /// What the state allowed.
        expected: &'static str,
    },
    /// A call or reply with another sequence number than the one that was due.
    #[error("sequence number {got} where {expected} was due")]
    Sequence {
        /// The number that came.
        got: u64,
        /// The number that was due.
        expected: u64,
    },
    /// More calls than the run's limit allows.
    #[error("more than {limit} calls in one run")]
    TooManyCalls {
        /// The limit of the run.
        limit: u32,
    },
}
