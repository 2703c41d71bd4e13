//! How a worker process ends, as exit codes. Part of the protocol: after the lock-down it is all that a
//! worker can say besides its frames.

/// Reason of an exit, as its code. Any other code, or a signal, is not the worker's own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitReason {
    /// The run ended and its last frame is sent; as a probe: the forbidden thing worked.
    Finished = 0,
    /// As a probe: the kernel refused the thing with an error.
    Refused = 80,
    /// Arguments that are not those of a worker.
    Usage = 81,
    /// The environment was not empty.
    Environment = 82,
    /// Standard input was not a socket, or could not be moved.
    Socket = 83,
    /// A resource limit could not be set.
    Limits = 84,
    /// Privileges could not be given up.
    Privileges = 85,
    /// Landlock is absent or not fully enforced.
    Landlock = 86,
    /// The system call filter could not be built or loaded.
    Filter = 87,
    /// The broker broke the protocol.
    Protocol = 88,
    /// The broker closed the socket.
    BrokerGone = 89,
    /// The interpreter panicked.
    Panic = 90,
}

impl ExitReason {
    const ALL: [Self; 12] = [
        Self::Finished,
        Self::Refused,
        Self::Usage,
        Self::Environment,
        Self::Socket,
        Self::Limits,
        Self::Privileges,
        Self::Landlock,
        Self::Filter,
        Self::Protocol,
        Self::BrokerGone,
        Self::Panic,
    ];

    /// The exit code of this reason.
    #[must_use]
    pub fn code(self) -> i32 {
        i32::from(self as u8)
    }

    /// The reason with this exit code.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_come_back() {
        for reason in ExitReason::ALL {
            assert_eq!(ExitReason::from_code(reason.code()), Some(reason));
        }
        for other in [-1, 1, 79, 91, 101, 255] {
            assert_eq!(ExitReason::from_code(other), None);
        }
    }
}
