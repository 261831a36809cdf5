//! Credentials under envelopes: AES-256-GCM with a data key that KMS wraps.
//!
//! A data key is made for a context (the email server profile) and used for the credentials of that profile and its
//! mailboxes; each ciphertext is bound to its owner, mailbox or profile, as additional data. A data key per mailbox
//! would cost a call to KMS per mailbox and sync, which is more than everything else together; a profile's key is
//! unwrapped once per process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_sdk_kms::{error::ProvideErrorMetadata, primitives::Blob, types::DataKeySpec};
use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_engine::{
    outage::Outage,
    ports::{Sealed, Secret, Vault},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use mailrail_table::outage;

/// Unwrapped data keys that a process keeps. When there are more, it begins again.
const KEYS_MAX: usize = 1_000;
/// What the key service says to a wrapped key that is none, or not of this context.
const DAMAGED: [&str; 3] = ["InvalidCiphertextException", "IncorrectKeyException", "ValidationException"];
/// Name of the context's entry, which also stands in the key's policy and in the trail of its uses.
const CONTEXT: &str = "mailrail:profile";

/// The vault whose data keys a KMS key wraps.
pub struct KmsVault {
    client: aws_sdk_kms::Client,
    key_id: String,
    /// By context and wrapped key.
    opened: Mutex<HashMap<String, Arc<LessSafeKey>>>,
    /// By context: the key that new secrets of it are sealed with.
    sealing: Mutex<HashMap<String, (String, Arc<LessSafeKey>)>>,
}

impl std::fmt::Debug for KmsVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KmsVault").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl KmsVault {
    /// The vault under this key.
    #[must_use]
    pub fn new(client: aws_sdk_kms::Client, key_id: String) -> Self {
        Self { client, key_id, opened: Mutex::default(), sealing: Mutex::default() }
    }

    async fn sealing_key(&self, context: &str) -> Result<(String, Arc<LessSafeKey>), Outage> {
        if let Some(found) = self.sealing.lock().ok().and_then(|keys| keys.get(context).cloned()) {
            return Ok(found);
        }
        let request = self.client.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        let reply = request.encryption_context(CONTEXT, context).send().await;
        let reply = reply.map_err(outage("asking for a data key"))?;
        let (Some(plain), Some(wrapped)) = (reply.plaintext, reply.ciphertext_blob) else {
            return Err(Outage::new("the key service gave no data key"));
        };
        let found = (STANDARD.encode(wrapped.as_ref()), usable(plain.into_inner())?);
        if let Ok(mut keys) = self.sealing.lock() {
            keep(&mut keys, context, found.clone());
        }
        Ok(found)
    }

    /// The data key of an envelope; `None` if the key service says that it is not one of its own for this context.
    async fn opening_key(&self, sealed: &Sealed) -> Result<Option<Arc<LessSafeKey>>, Outage> {
        // The context is part of the name: a key that was opened for one context must not open for another.
        let name = format!("{} {}", sealed.key_context, sealed.wrapped_key);
        if let Some(found) = self.opened.lock().ok().and_then(|keys| keys.get(&name).cloned()) {
            return Ok(Some(found));
        }
        let Ok(wrapped) = STANDARD.decode(&sealed.wrapped_key) else {
            return Ok(None);
        };
        let request = self.client.decrypt().key_id(&self.key_id).ciphertext_blob(Blob::new(wrapped));
        let reply = match request.encryption_context(CONTEXT, &sealed.key_context).send().await {
            Ok(reply) => reply,
            Err(error) if error.code().is_some_and(|code| DAMAGED.contains(&code)) => return Ok(None),
            Err(error) => return Err(outage("opening a data key")(error)),
        };
        let Some(plain) = reply.plaintext else {
            return Err(Outage::new("the key service opened a data key and did not give it"));
        };
        let key = usable(plain.into_inner())?;
        if let Ok(mut keys) = self.opened.lock() {
            keep(&mut keys, &name, Arc::clone(&key));
        }
        Ok(Some(key))
    }
}

impl Vault for KmsVault {
    async fn seal(&self, owner: &str, key_context: &str, secret: &Secret) -> Result<Sealed, Outage> {
        let (wrapped_key, key) = self.sealing_key(key_context).await?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Outage::new("the system gave no random bytes"))?;
        let mut bytes = secret.expose().as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut bytes)
            .map_err(|_| Outage::new("a secret could not be sealed"))?;
        Ok(Sealed {
            wrapped_key,
            key_context: key_context.to_owned(),
            nonce: STANDARD.encode(nonce),
            ciphertext: STANDARD.encode(bytes),
        })
    }

    async fn open(&self, owner: &str, sealed: &Sealed) -> Result<Option<Secret>, Outage> {
        let Some(key) = self.opening_key(sealed).await? else {
            return Ok(None);
        };
        let nonce = STANDARD.decode(&sealed.nonce).ok().and_then(|bytes| <[u8; NONCE_LEN]>::try_from(bytes).ok());
        let (Some(nonce), Ok(mut bytes)) = (nonce, STANDARD.decode(&sealed.ciphertext)) else {
            return Ok(None);
        };
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut bytes);
        let secret = opened.ok().and_then(|plain| std::str::from_utf8(plain).ok()).map(Secret::new);
        zeroize::Zeroize::zeroize(&mut bytes);
        Ok(secret)
    }
}

fn usable(mut plain: Vec<u8>) -> Result<Arc<LessSafeKey>, Outage> {
    let key = UnboundKey::new(&AES_256_GCM, &plain).map_err(|_| Outage::new("a data key is not 256 bits"));
    zeroize::Zeroize::zeroize(&mut plain);
    Ok(Arc::new(LessSafeKey::new(key?)))
}

fn keep<V>(keys: &mut HashMap<String, V>, name: &str, value: V) {
    if keys.len() >= KEYS_MAX {
        keys.clear();
    }
    keys.insert(name.to_owned(), value);
}
