//! What can be chosen about an embedded journal. Never read from the environment here.

/// Choices at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most bytes the journal's files may take. Past 95 % of it only events that must survive a power loss
    /// are appended; past all of it, nothing.
    pub bytes_max: u64,
}

impl Default for Options {
    /// 4 GiB: some millions of events.
    fn default() -> Self {
        Self { bytes_max: 4 * 1024 * 1024 * 1024 }
    }
}
