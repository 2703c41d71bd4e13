//! Who is calling. The only maker of principals.
//!
//! Contract: a credential that is unknown, expired, used up or revoked is refused with one and the same
//! fault; comparison takes the same time whatever is wrong; nothing of a credential is ever returned.

use async_trait::async_trait;
use opsward_domain::fault::Fault;
use opsward_domain::principal::Principal;

/// A bearer credential. Debug shows nothing of it.
#[derive(Clone)]
pub struct Credential(String);

impl Credential {
    /// Takes a bearer token as received.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self(token.into())
    }
    /// The secret itself, for the identity adapter alone.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Whose hands a credential was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The person, or a program that does exactly what they type.
    Person,
    /// Software that looks and proposes for the person; its word is never the person's yes.
    Assistant,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose rights it has.
    pub principal: Principal,
    /// Who holds the credential.
    pub holder: Holder,
}

/// Turns credentials into principals.
#[async_trait]
pub trait Identity: Send + Sync {
    /// The session of a credential.
    async fn authenticate(&self, credential: &Credential) -> Result<Session, Fault>;
}
