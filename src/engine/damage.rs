//! Reading on past damaged entries of the journal, so that what is sound can still be seen. Whoever steps over
//! one has to assume the worst of it. Nothing is ever written to a damaged journal: it refuses.

use opsward_domain::context::CallContext;
use opsward_domain::event::{Event, StreamName};
use opsward_domain::fault::Fault;
use opsward_ports::journal::{BATCH_EVENTS_MAX, DAMAGE_MAX, Error, Journal};

use crate::parts::journal_fault;

/// A page of the feed after `after`, and where the next one begins: there again only at the end. A damaged
/// entry is a page of its own without events.
pub(crate) async fn feed(
    journal: &dyn Journal,
    cx: &CallContext,
    after: u64,
    limit: usize,
) -> Result<(Vec<Event>, u64), Fault> {
    match journal.feed(cx, after, limit).await {
        Ok(events) => {
            let cursor = events.last().map_or(after, |event| event.seq);
            Ok((events, cursor))
        }
        Err(Error::Corrupt { seq, .. }) if seq > after => Ok((Vec::new(), seq)),
        Err(error) => Err(journal_fault(error)),
    }
}

/// What a stream holds next.
pub(crate) enum Page {
    /// These events; none at the end.
    Events(Vec<Event>),
    /// One entry that cannot be read.
    Damaged,
}

/// One reading of a stream to its end, that steps over a bounded number of damaged entries.
pub(crate) struct Reading<'a> {
    journal: &'a dyn Journal,
    cx: &'a CallContext,
    stream: &'a StreamName,
    damaged: usize,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(journal: &'a dyn Journal, cx: &'a CallContext, stream: &'a StreamName) -> Self {
        Self { journal, cx, stream, damaged: 0 }
    }

    /// What comes after `after_stream_seq`. After [`Page::Damaged`], go on one further.
    pub(crate) async fn page(&mut self, after_stream_seq: u64) -> Result<Page, Fault> {
        match self.journal.read(self.cx, self.stream, after_stream_seq, BATCH_EVENTS_MAX).await {
            Ok(events) => Ok(Page::Events(events)),
            Err(Error::Corrupt { seq, .. }) if seq > 0 && self.damaged < DAMAGE_MAX => {
                self.damaged += 1;
                Ok(Page::Damaged)
            }
            Err(error) => Err(journal_fault(error)),
        }
    }
}
