//! How far an IMAP folder has been read, and what the server's answer to "anything new?" means for it.

use serde::{Deserialize, Serialize};

/// How far an IMAP folder has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImapPosition {
    /// The UIDVALIDITY that `uid_done` holds for (RFC 3501 section 2.3.1.1).
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

#[cfg(test)]
mod tests {
    use super::*;

    const DONE_9: ImapPosition = ImapPosition { uid_validity: 7, uid_done: 9, mod_seq: Some(40) };

    fn folder(uid_validity: u32, uid_next: Option<u32>, mod_seq: Option<u64>) -> FolderState {
        FolderState { uid_validity, uid_next, mod_seq }
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
}
