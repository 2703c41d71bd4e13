//! The order of one run as the broker enforces it. A pure state machine: no socket, no clock.

use crate::{FromWorker, WireError};

/// State of one worker's only run: start, ready, running, in a call, ended.
///
/// Every frame of the worker goes through [`Session::accept`], every reply through
/// [`Session::reply`]; the first error means that the worker is to be killed.
#[derive(Debug, Default)]
pub struct Session {
    state: State,
    calls: u32,
    call_limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Starting,
    Ready,
    Running,
    InCall,
    Ended,
}

impl State {
    fn expected(self) -> &'static str {
        match self {
            Self::Starting => "ready",
            Self::Ready => "the start of the run",
            Self::Running => "call, done or fail",
            Self::InCall => "a reply to the call in flight",
            Self::Ended => "nothing",
        }
    }
}

impl Session {
    /// A worker that has not said anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the run is sent; it may make up to `call_limit` calls.
    ///
    /// # Errors
    /// [`WireError::OutOfOrder`] unless the worker is ready and has no run yet.
    pub fn run(&mut self, call_limit: u32) -> Result<(), WireError> {
        if self.state != State::Ready {
            return Err(self.out_of_order("run"));
        }
        self.call_limit = call_limit;
        self.state = State::Running;
        Ok(())
    }

    /// Checks a frame of the worker against the state and moves on.
    ///
    /// # Errors
    /// [`WireError::OutOfOrder`], [`WireError::Sequence`] or [`WireError::TooManyCalls`]; the state is ended then.
    pub fn accept(&mut self, frame: &FromWorker) -> Result<(), WireError> {
        let next = match (self.state, frame) {
            (State::Starting, FromWorker::Ready { .. }) => Ok(State::Ready),
            (State::Running, FromWorker::Call { seq, .. }) => self.next_call(*seq),
            (State::Running, FromWorker::Done { .. } | FromWorker::Fail { .. }) => Ok(State::Ended),
            _ => Err(self.out_of_order(frame.kind())),
        };
        self.state = *next.as_ref().unwrap_or(&State::Ended);
        next.map(|_| ())
    }

    /// Notes that the call in flight is answered; the answer's sequence number.
    ///
    /// # Errors
    /// [`WireError::OutOfOrder`] when no call is in flight.
    pub fn reply(&mut self) -> Result<u64, WireError> {
        if self.state != State::InCall {
            return Err(self.out_of_order("reply"));
        }
        self.state = State::Running;
        Ok(u64::from(self.calls))
    }

    fn next_call(&mut self, seq: u64) -> Result<State, WireError> {
        let expected = u64::from(self.calls) + 1;
        if seq != expected {
            return Err(WireError::Sequence { got: seq, expected });
        }
        if self.calls == self.call_limit {
            return Err(WireError::TooManyCalls { limit: self.call_limit });
        }
        self.calls += 1;
        Ok(State::InCall)
    }

    fn out_of_order(&self, frame: &'static str) -> WireError {
        WireError::OutOfOrder { frame, expected: self.state.expected() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Attestation, FailKind, PROTOCOL_VERSION};

    fn ready() -> FromWorker {
        let attestation =
            Attestation { protocol: PROTOCOL_VERSION, landlock_abi: 1, syscalls: 8, heap_bytes: 1, cpu_s: 5 };
        FromWorker::Ready { attestation }
    }

    fn call(seq: u64) -> FromWorker {
        FromWorker::Call { seq, query: "q".to_owned(), args: json!({}) }
    }

    fn done() -> FromWorker {
        FromWorker::Done { value: json!("x") }
    }

    fn running() -> Session {
        let mut session = Session::new();
        session.accept(&ready()).unwrap();
        session.run(2).unwrap();
        session
    }

    #[test]
    fn a_run_in_order_is_accepted() {
        let mut session = running();
        session.accept(&call(1)).unwrap();
        assert_eq!(session.reply().unwrap(), 1);
        session.accept(&call(2)).unwrap();
        assert_eq!(session.reply().unwrap(), 2);
        session.accept(&done()).unwrap();
        assert_eq!(session.state, State::Ended);
        assert_eq!(session.calls, 2);
    }

    #[test]
    fn sequence_numbers_are_strict() {
        for seq in [0, 2, 7, u64::MAX] {
            let error = running().accept(&call(seq)).unwrap_err();
            assert!(matches!(error, WireError::Sequence { expected: 1, .. }), "{seq}");
        }
        let mut session = running();
        session.accept(&call(1)).unwrap();
        session.reply().unwrap();
        assert!(matches!(session.accept(&call(1)), Err(WireError::Sequence { got: 1, expected: 2 })));
    }

    #[test]
    fn one_call_in_flight() {
        let mut session = running();
        session.accept(&call(1)).unwrap();
        assert!(matches!(session.accept(&call(2)), Err(WireError::OutOfOrder { .. })));
        assert_eq!(session.state, State::Ended, "an error ends the session");
    }

    #[test]
    fn the_call_limit_holds() {
        let mut session = running();
        for seq in 1..=2 {
            session.accept(&call(seq)).unwrap();
            session.reply().unwrap();
        }
        assert!(matches!(session.accept(&call(3)), Err(WireError::TooManyCalls { limit: 2 })));
    }

    #[test]
    fn frames_out_of_order_are_refused() {
        let fail = FromWorker::Fail { kind: FailKind::Runtime, message: String::new(), line: None };
        for frame in [call(1), done(), fail] {
            assert!(Session::new().accept(&frame).is_err(), "{} before ready", frame.kind());
        }
        assert!(running().accept(&ready()).is_err(), "two readies");
        assert!(running().run(1).is_err(), "two runs");
        assert!(Session::new().run(1).is_err(), "a run before ready");
        assert!(running().reply().is_err(), "a reply without a call");
        let mut session = running();
        session.accept(&done()).unwrap();
        assert!(session.accept(&done()).is_err(), "two dones");
    }
}
