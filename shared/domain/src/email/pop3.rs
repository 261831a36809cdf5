//! How far a POP3 maildrop has been read: the messages of it that are done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::words::hex::hex_of_first;

/// How far a POP3 maildrop has been read. The set of seen UIDLs is an object beside the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pop3Position {
    /// Digest of the last listing whose messages were all done; empty while something is left.
    pub listing: String,
}

/// A message of a POP3 maildrop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Message number in this session.
    pub number: u32,
    /// Unique id, RFC 1939 section 7.
    pub uidl: String,
}

/// Digest of a whole listing: equal digests mean that nothing came and nothing went.
#[must_use]
pub fn listing_digest(listing: &[Listed]) -> String {
    let mut hash = Sha256::new();
    for listed in listing {
        hash.update(listed.uidl.as_bytes());
        hash.update([0]);
    }
    hex_of_first(16, &hash.finalize())
}

/// Bytes of a UIDL's fingerprint: long enough that two messages of a maildrop never share one.
const FINGERPRINT_BYTES: usize = 16;

/// The UIDLs whose messages are done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenUidls(BTreeSet<[u8; FINGERPRINT_BYTES]>);

impl SeenUidls {
    /// Reads the object's bytes; a length that does not fit is an object of somebody else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fingerprints, rest) = bytes.as_chunks::<FINGERPRINT_BYTES>();
        rest.is_empty().then(|| Self(fingerprints.iter().copied().collect()))
    }

    /// The object's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().copied().collect()
    }

    /// Whether the message of `uidl` is done.
    #[must_use]
    pub fn contains(&self, uidl: &str) -> bool {
        self.0.contains(&fingerprint(uidl))
    }

    /// Marks the message of `uidl` as done.
    pub fn insert(&mut self, uidl: &str) {
        self.0.insert(fingerprint(uidl));
    }

    /// Messages of `listing` that are not done, in the order in which they came.
    #[must_use]
    pub fn unseen(&self, listing: &[Listed]) -> Vec<Listed> {
        listing.iter().filter(|listed| !self.contains(&listed.uidl)).cloned().collect()
    }

    /// Forgets what `listing` no longer has. An empty listing forgets nothing: it is more often a server's mishap than
    /// an empty maildrop, and remembering costs little.
    pub fn prune(&mut self, listing: &[Listed]) {
        if !listing.is_empty() {
            let present: BTreeSet<_> = listing.iter().map(|listed| fingerprint(&listed.uidl)).collect();
            self.0.retain(|fingerprint| present.contains(fingerprint));
        }
    }
}

fn fingerprint(uidl: &str) -> [u8; FINGERPRINT_BYTES] {
    let mut hash = Sha256::digest(uidl.as_bytes()).into_iter();
    std::array::from_fn(|_| hash.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(uidls: &[&str]) -> Vec<Listed> {
        (1..).zip(uidls).map(|(number, uidl)| Listed { number, uidl: (*uidl).to_owned() }).collect()
    }

    #[test]
    fn seen_uidls_survive_a_round_trip_and_an_empty_listing() {
        let mut seen = SeenUidls::default();
        seen.insert("a");
        seen.insert("b");
        let mut again = SeenUidls::from_bytes(&seen.to_bytes()).unwrap();
        assert_eq!(again.unseen(&listing(&["a", "c", "b"])).len(), 1);
        again.prune(&listing(&[]));
        assert!(again.contains("a"));
        again.prune(&listing(&["b"]));
        assert!(!again.contains("a") && again.contains("b"));
        assert_eq!(SeenUidls::from_bytes(b"short"), None);
    }

    #[test]
    fn a_listing_digest_changes_with_every_change() {
        let digests =
            [listing(&["a", "b"]), listing(&["b", "a"]), listing(&["ab"]), listing(&[])].map(|l| listing_digest(&l));
        let distinct: BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
