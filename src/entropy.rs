//! Randomness from the operating system. Never seeded, never repeated.

use opsward_domain::name::Id;
use opsward_ports::clock::Entropy;

/// Identities and secrets from the operating system.
#[derive(Debug, Default)]
pub struct SystemEntropy;

const ID_BYTES: usize = 8;

impl Entropy for SystemEntropy {
    fn id(&self, prefix: &str) -> Id {
        let text = format!("{prefix}-{}", self.secret_hex(ID_BYTES));
        // Prefixes are ours and short, so the text is always a name; `id` stands in for a wrong one.
        Id::parse(&text).unwrap_or_else(|_| self.id("id"))
    }

    #[expect(clippy::panic, reason = "without randomness no secret is safe; there is nothing to go on with")]
    fn secret_hex(&self, bytes: usize) -> String {
        let mut buffer = vec![0u8; bytes];
        if let Err(error) = getrandom::fill(&mut buffer) {
            panic!("the operating system gives no randomness: {error}");
        }
        hex::encode(buffer)
    }
}
