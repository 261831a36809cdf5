//! Credentials that are only bound to their owner, not encrypted: for tests alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use mailrail_engine::{
    outage::Outage,
    ports::{Sealed, Secret, Vault},
};

/// A vault that remembers in the envelope itself whom it was sealed for.
#[derive(Debug, Default)]
pub struct MemoryVault;

/// What shows damage, in the place of a cipher's tag.
fn tag(owner: &str, key_context: &str, ciphertext: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (owner, key_context, ciphertext).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Vault for MemoryVault {
    async fn seal(&self, owner: &str, key_context: &str, secret: &Secret) -> Result<Sealed, Outage> {
        let ciphertext: String = secret.expose().chars().rev().collect();
        Ok(Sealed {
            wrapped_key: owner.to_owned(),
            key_context: key_context.to_owned(),
            nonce: tag(owner, key_context, &ciphertext),
            ciphertext,
        })
    }

    async fn open(&self, owner: &str, sealed: &Sealed) -> Result<Option<Secret>, Outage> {
        let whole = sealed.wrapped_key == owner && sealed.nonce == tag(owner, &sealed.key_context, &sealed.ciphertext);
        Ok(whole.then(|| Secret::new(sealed.ciphertext.chars().rev().collect::<String>())))
    }
}
