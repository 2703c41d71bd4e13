//! Where every outgoing HTTP client begins, so that the program links and uses one TLS provider. It sets no
//! address, credential or time limit: those are the caller's.

use std::sync::Once;

static PROVIDER: Once = Once::new();

/// A client to be configured further. Certificates are checked against what the machine trusts.
pub fn client() -> reqwest::ClientBuilder {
    PROVIDER.call_once(|| {
        // Refused only if somebody installed one before, which is then the one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_client_can_be_made_at_any_time_and_again() {
        for _ in 0..2 {
            assert!(super::client().build().is_ok());
        }
    }
}
