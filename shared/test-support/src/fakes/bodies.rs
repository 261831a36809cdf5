//! Objects in memory.

use std::{collections::BTreeMap, sync::Mutex};

use bytes::{Bytes, BytesMut};
use mailrail_engine::{outage::Outage, ports::BodyStore};

use super::lock;

/// Objects by key.
#[derive(Debug, Default)]
pub struct MemoryBodies(Mutex<BTreeMap<String, Bytes>>);

impl MemoryBodies {
    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }
}

impl BodyStore for MemoryBodies {
    type Upload = (String, BytesMut);

    async fn put(&self, key: &str, content: Bytes, _: &str) -> Result<(), Outage> {
        lock(&self.0).insert(key.to_owned(), content);
        Ok(())
    }

    async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Outage> {
        match lock(&self.0).get(key) {
            Some(content) if content.len() as u64 > bytes_max => Err(Outage::new("the object is too large")),
            found => Ok(found.cloned()),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Outage> {
        lock(&self.0).remove(key);
        Ok(())
    }

    async fn begin(&self, key: &str, _: &str) -> Result<Self::Upload, Outage> {
        Ok((key.to_owned(), BytesMut::new()))
    }

    async fn append(&self, upload: &mut Self::Upload, piece: Bytes) -> Result<(), Outage> {
        upload.1.extend_from_slice(&piece);
        Ok(())
    }

    async fn finish(&self, (key, content): Self::Upload) -> Result<(), Outage> {
        lock(&self.0).insert(key, content.freeze());
        Ok(())
    }
}
