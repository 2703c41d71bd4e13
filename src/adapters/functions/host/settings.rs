//! What the client tells the host on its command line.
//! It must never be anything that weakens the jail.

use crate::Options;

/// The host's part of [`Options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) memory_max_bytes: u64,
}

/// The arguments that say it.
pub(crate) fn arguments(options: &Options) -> Vec<String> {
    vec![format!("--concurrency={}", options.concurrency), format!("--memory={}", options.host_memory_max_bytes)]
}

impl Settings {
    /// Reads what [`arguments`] wrote; other arguments (the role's name) are passed over.
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        let value = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name));
        Some(Self {
            concurrency: value("--concurrency=")?.parse().ok().filter(|count| *count > 0)?,
            memory_max_bytes: value("--memory=")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_read_back() {
        let options = Options { concurrency: 3, host_memory_max_bytes: 77, ..Options::default() };
        let expected = Settings { concurrency: 3, memory_max_bytes: 77 };
        assert_eq!(Settings::parse(&arguments(&options)), Some(expected));
        assert_eq!(Settings::parse(&["--concurrency=0".to_owned(), "--memory=1".to_owned()]), None);
        assert_eq!(Settings::parse(&["--memory=1".to_owned()]), None);
    }
}
