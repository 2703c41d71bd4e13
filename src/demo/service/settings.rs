//! The settings of a service: its environment, read once at the start.
//! Must never print values wholesale; some are secrets in real life.

use std::collections::BTreeMap;

/// Names and values of the environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn from_env() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A whole number, or `otherwise` when it is not set.
    pub(super) fn number(&self, key: &str, otherwise: u64) -> Result<u64, String> {
        match self.text(key) {
            None | Some("") => Ok(otherwise),
            Some(text) => text.trim().parse().map_err(|_| format!("{key}: not a whole number: {text:?}")),
        }
    }

    /// A setting of one peer, for example `PAYMENTS_TIMEOUT_MS`.
    pub(super) fn of_peer(&self, peer: &str, what: &str, otherwise: u64) -> Result<u64, String> {
        self.number(&format!("{}_{what}", peer.to_ascii_uppercase()), otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn numbers_are_read_or_refused() {
        let settings = Settings::of(&[("A", "5"), ("B", "five"), ("PAY_POOL_SIZE", "3")]);
        assert_eq!(settings.number("A", 1), Ok(5));
        assert_eq!(settings.number("C", 1), Ok(1));
        assert!(settings.number("B", 1).unwrap_err().contains("not a whole number"));
        assert_eq!(settings.of_peer("pay", "POOL_SIZE", 9), Ok(3));
    }
}
