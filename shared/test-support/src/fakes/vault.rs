//! Credentials that are only bound to their owner, not encrypted: for tests alone.

use mailrail_engine::{
    outage::Outage,
    ports::{Sealed, Secret, Vault},
};

/// A vault that remembers in the envelope itself whom it was sealed for.
#[derive(Debug, Default)]
pub struct MemoryVault;

impl Vault for MemoryVault {
    async fn seal(&self, owner: &str, key_context: &str, secret: &Secret) -> Result<Sealed, Outage> {
        Ok(Sealed {
            wrapped_key: owner.to_owned(),
            key_context: key_context.to_owned(),
            nonce: String::new(),
            ciphertext: secret.expose().chars().rev().collect(),
        })
    }

    async fn open(&self, owner: &str, sealed: &Sealed) -> Result<Option<Secret>, Outage> {
        let mine = sealed.wrapped_key == owner && sealed.nonce.is_empty();
        Ok(mine.then(|| Secret::new(sealed.ciphertext.chars().rev().collect::<String>())))
    }
}
