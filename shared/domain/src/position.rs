//! How far a mailbox has been read, and what the server's answer to "anything new?" means for it.
//!
//! Nothing here ever infers a deletion: a smaller mailbox, another UIDVALIDITY or an empty listing leads to reading
//! again, never to removing records.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{folders::Reached, profile::Endpoint};

/// How far a mailbox has been read, by protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "kebab-case")]
pub enum Position {
    /// Of an IMAP folder.
    Imap(ImapPosition),
    /// Of a POP3 maildrop.
    Pop3(Pop3Position),
    /// Of folders of Exchange Online: each token is the link under which a folder's next changes are, without scheme and
    /// host (Microsoft Graph, "delta query").
    Graph(Reached),
    /// Of folders of Exchange Server: each token is a folder's synchronization state (EWS, "SyncState").
    Ews(Reached),
}

/// The account that a position belongs to: protocol, server and user name, as a short digest.
#[must_use]
pub fn source(endpoint: &Endpoint, username: &str) -> String {
    let account = match endpoint {
        Endpoint::Imap(location) => format!("Imap {} {} {username}", location.host, location.port),
        Endpoint::Pop3(location) => format!("Pop3 {} {} {username}", location.host, location.port),
        Endpoint::Smtp(location) => format!("Smtp {} {} {username}", location.host, location.port),
        Endpoint::Graph(application) => format!("Graph {} {username}", application.tenant_id),
        // Where it was found by autodiscover it may move, and the mailbox with all its identifiers stays the same.
        Endpoint::Ews(services) => format!("Ews {} {username}", services.location.as_deref().unwrap_or_default()),
    };
    hex(&Sha256::digest(account.as_bytes())[..8])
}

/// How far an IMAP folder has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImapPosition {
    /// UIDVALIDITY under which `uid_done` holds (RFC 3501 section 2.3.1.1).
    pub uid_validity: u32,
    /// Every message up to this UID is stored, quarantined or before the start date.
    pub uid_done: u32,
    /// HIGHESTMODSEQ when the folder was last found read to its end (RFC 7162), where the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mod_seq: Option<u64>,
}

/// What STATUS or SELECT says about a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FolderState {
    /// UIDVALIDITY; servers without it cannot be synchronized.
    pub uid_validity: u32,
    /// UIDNEXT, where the server gives it.
    pub uid_next: Option<u32>,
    /// HIGHESTMODSEQ, where the server gives it.
    pub mod_seq: Option<u64>,
}

/// What to read of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImapPlan {
    /// Nothing has come since.
    Nothing,
    /// Messages from this UID on.
    From(u32),
    /// Everything: the UIDs that we know mean nothing any more. Records already stored are recognized.
    Rescan,
}

impl ImapPlan {
    /// First UID to read, unless there is nothing to read.
    #[must_use]
    pub const fn first_uid(self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::From(uid) => Some(uid),
            Self::Rescan => Some(1),
        }
    }
}

/// What to read, given how far we were and what the server says.
#[must_use]
pub fn plan_imap(position: Option<&ImapPosition>, folder: &FolderState) -> ImapPlan {
    let Some(position) = position else {
        return ImapPlan::From(1);
    };
    if position.uid_validity != folder.uid_validity {
        return ImapPlan::Rescan;
    }
    let next = position.uid_done.saturating_add(1);
    match folder.uid_next {
        Some(uid_next) if uid_next == next => ImapPlan::Nothing,
        Some(uid_next) if uid_next > next => ImapPlan::From(next),
        // UIDs never shrink under one UIDVALIDITY (RFC 3501 section 2.3.1.1): the folder was replaced behind it.
        Some(_) => ImapPlan::Rescan,
        None if folder.mod_seq.is_some() && folder.mod_seq == position.mod_seq => ImapPlan::Nothing,
        None => ImapPlan::From(next),
    }
}

/// How far a POP3 maildrop has been read. The set of seen UIDLs itself is an object beside the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pop3Position {
    /// Digest of the listing at which everything in it was done; empty while something is left.
    pub listing: String,
    /// Key of the object that holds the set of seen UIDLs.
    pub seen_key: String,
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
    hex(&hash.finalize()[..16])
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
    let hash = Sha256::digest(uidl.as_bytes());
    std::array::from_fn(|n| hash[n])
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Delivery;

    const DONE_9: ImapPosition = ImapPosition { uid_validity: 7, uid_done: 9, mod_seq: Some(40) };

    fn folder(uid_validity: u32, uid_next: Option<u32>, mod_seq: Option<u64>) -> FolderState {
        FolderState { uid_validity, uid_next, mod_seq }
    }

    #[test]
    fn a_position_belongs_to_one_account_on_one_server() {
        let (profile, _) = crate::profile::sample();
        let here = profile.endpoint(Delivery::IncomingEmail).unwrap();
        let mut there = profile;
        there.incoming.as_mut().unwrap().location.host.push_str(".new");
        let there = there.endpoint(Delivery::IncomingEmail).unwrap();
        assert_eq!(source(&here, "a"), source(&here.clone(), "a"));
        assert_ne!(source(&here, "a"), source(&here, "b"));
        assert_ne!(source(&here, "a"), source(&there, "a"));
    }

    #[test]
    fn a_folder_is_read_from_where_it_was_left() {
        assert_eq!(plan_imap(None, &folder(7, Some(1), None)), ImapPlan::From(1));
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, Some(10), None)), ImapPlan::Nothing);
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, Some(12), None)), ImapPlan::From(10));
    }

    #[test]
    fn another_uidvalidity_or_a_shrunken_uidnext_means_reading_again() {
        assert_eq!(plan_imap(Some(&DONE_9), &folder(8, Some(10), Some(40))), ImapPlan::Rescan);
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, Some(3), Some(40))), ImapPlan::Rescan);
    }

    #[test]
    fn a_server_without_uidnext_is_asked_by_modseq() {
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, None, Some(40))), ImapPlan::Nothing);
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, None, Some(41))), ImapPlan::From(10));
        assert_eq!(plan_imap(Some(&DONE_9), &folder(7, None, None)), ImapPlan::From(10));
    }

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
