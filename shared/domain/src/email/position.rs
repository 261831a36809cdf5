//! How far a mailbox has been read, and what the server's answer to "anything new?" means for it.
//!
//! Nothing here ever infers a deletion: a smaller mailbox, another UIDVALIDITY or an empty listing leads to reading
//! again, never to removing records.

use serde::{Deserialize, Serialize};

use crate::email::{folders::Reached, imap::ImapPosition, pop3::Pop3Position};

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
