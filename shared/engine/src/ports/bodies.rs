//! Objects that are too large for a row: raw messages, attachments, sets of seen UIDLs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{limits, outage::Outage};

/// Where objects are kept. Writing the same key twice leaves the second content.
pub trait BodyStore: Send + Sync {
    /// A large object that is being written piece by piece.
    type Upload: Send;

    /// Writes a whole object.
    fn put(&self, key: &str, content: Bytes, media_type: &str) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Reads a whole object of at most `bytes_max`; `None` if there is none. A larger one is an outage.
    fn get(&self, key: &str, bytes_max: u64) -> impl Future<Output = Result<Option<Bytes>, Outage>> + Send;

    /// Deletes an object; one that is not there is no error.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Begins a large object. Nothing is visible under `key` until [`BodyStore::finish`].
    fn begin(&self, key: &str, media_type: &str) -> impl Future<Output = Result<Self::Upload, Outage>> + Send;

    /// Adds a piece; all but the last must be at least [`limits::CHUNK_BYTES`].
    fn append(&self, upload: &mut Self::Upload, piece: Bytes) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Makes the object visible.
    fn finish(&self, upload: Self::Upload) -> impl Future<Output = Result<(), Outage>> + Send;
}

/// The bytes of message content that a function may hold, shared by all mailboxes of its batch.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Semaphore>);

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub struct Reserved(#[expect(dead_code, reason = "it is held for its drop")] Option<OwnedSemaphorePermit>);

/// The budget is counted in these, because a semaphore counts in 32 bits.
const UNIT_BYTES: u64 = 1024;

impl MemoryBudget {
    /// The whole budget.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(limits::MEMORY_BUDGET_BYTES / UNIT_BYTES).unwrap_or(usize::MAX))))
    }

    /// The most bytes that a message can have as MIME, given its size in a server's own store. MIME has attachments as lines
    /// of base64, and encodes texts. The result is never more than is held whole.
    #[must_use]
    pub fn needed(size: Option<u64>) -> u64 {
        let size = size.unwrap_or(limits::UNKNOWN_SIZE_BYTES);
        size.saturating_mul(2).saturating_add(limits::UNCOUNTED_BYTES).min(limits::WHOLE_MESSAGE_BYTES_MAX)
    }

    /// Waits until `bytes` may be held. Small contents pass at once; none may exceed the largest whole message.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        if bytes <= limits::UNCOUNTED_BYTES {
            return Reserved(None);
        }
        let units = bytes.min(limits::WHOLE_MESSAGE_BYTES_MAX).div_ceil(UNIT_BYTES);
        let permit = Arc::clone(&self.0).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await;
        Reserved(permit.ok())
    }

    /// The same if nobody has to wait for it. Whoever holds a share must not wait for another, because two that wait for each
    /// other's share would wait for ever.
    #[must_use]
    pub fn try_reserve(&self, bytes: u64) -> Option<Reserved> {
        if bytes <= limits::UNCOUNTED_BYTES {
            return Some(Reserved(None));
        }
        let units = bytes.min(limits::WHOLE_MESSAGE_BYTES_MAX).div_ceil(UNIT_BYTES);
        let permit = Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).ok()?;
        Some(Reserved(Some(permit)))
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_more_in_memory_than_in_the_store() {
        assert!(MemoryBudget::needed(Some(10_000_000)) > 10_000_000 * 4 / 3);
        assert_eq!(MemoryBudget::needed(Some(u64::MAX)), limits::WHOLE_MESSAGE_BYTES_MAX);
    }
}
