//! Credentials at rest: sealed for one mailbox or profile, opened only where a server wants them.

use serde::{Deserialize, Serialize};

use crate::outage::Outage;

/// An encrypted password or token, as it lies in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The data key, wrapped by the key service; base64.
    pub wrapped_key: String,
    /// Whose context the data key was wrapped under.
    pub key_context: String,
    /// Nonce, base64.
    pub nonce: String,
    /// Ciphertext and tag, base64.
    pub ciphertext: String,
}

/// A secret in the clear: wiped when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// Seals and opens secrets.
pub trait Vault: Send + Sync {
    /// Seals `secret` for `owner` (`mailbox/…` or `profile/…`), with a data key of `key_context`.
    fn seal(
        &self,
        owner: &str,
        key_context: &str,
        secret: &Secret,
    ) -> impl Future<Output = Result<Sealed, Outage>> + Send;

    /// Opens what was sealed for `owner`. `None` if it was sealed for somebody else or is damaged; that is the
    /// mailbox's failure. A key service that is away is an outage.
    fn open(&self, owner: &str, sealed: &Sealed) -> impl Future<Output = Result<Option<Secret>, Outage>> + Send;
}
