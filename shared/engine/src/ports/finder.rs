//! Looking for one message in a folder of a mailbox, to find out whether it was sent.

use mailrail_domain::words::cause::DeliveryError;

use super::access::Access;

/// A folder in which a message is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// Where mail comes in.
    Inbox,
    /// Where copies of sent mail are.
    Sent,
    /// Where drafts are, which have not been sent. Only servers that are handed a message as a draft have it.
    Drafts,
    /// Where messages wait that the server has taken and not sent yet. Only servers that keep them with the mailbox have it.
    Outbox,
}

/// Servers whose folders can be asked for a message.
pub trait Finder: Send + Sync {
    /// Whether a folder has a message with this Message-ID; `None` where there is no such folder, or no way to look. A
    /// server that cannot search is asked about its newest messages only.
    fn has(
        &self,
        access: &Access,
        folder: Folder,
        message_id: &str,
    ) -> impl Future<Output = Result<Option<bool>, DeliveryError>> + Send;
}
