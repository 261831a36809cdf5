//! How far a mailbox has been read, in the form in which it is stored and handed back.
//!
//! A position never says that a message is gone: a smaller mailbox, another UIDVALIDITY or an empty listing leads to reading
//! again, never to removing records.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// How far a mailbox has been read. The adapter of the protocol that wrote it is the only one that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    protocol: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Position {
    /// A position of this protocol. `fields` is a struct whose fields are numbers, texts, and lists and maps of them.
    #[must_use]
    pub fn of(protocol: &str, fields: &impl Serialize) -> Self {
        let fields = match serde_json::to_value(fields) {
            Ok(Value::Object(fields)) => fields,
            // Without fields it cannot be read, which leads to reading again.
            Ok(_) | Err(_) => Map::new(),
        };
        Self { protocol: protocol.to_owned(), fields }
    }

    /// The fields, if it is a position of this protocol. `None` leads to reading again, as after a change of the profile;
    /// the records are recognized.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self, protocol: &str) -> Option<T> {
        let fields = (self.protocol == protocol).then(|| Value::Object(self.fields.clone()))?;
        serde_json::from_value(fields).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::{imap::ImapPosition, pop3::Pop3Position};

    #[test]
    fn a_position_is_read_by_its_own_protocol_alone() {
        let imap = ImapPosition { uid_validity: u32::MAX, uid_done: 7, mod_seq: Some(u64::MAX) };
        let position = Position::of("imap", &imap);
        assert_eq!(position.read("imap"), Some(imap));
        assert_eq!(position.read::<ImapPosition>("pop3"), None);
        assert_eq!(position.read::<Pop3Position>("imap"), None, "another protocol's fields");
    }

    #[test]
    fn it_is_stored_with_its_protocol_beside_its_fields() {
        let position = Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 7, mod_seq: None });
        let stored = r#"{"protocol":"imap","uid_done":7,"uid_validity":1}"#;
        assert_eq!(serde_json::to_string(&position).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Position>(stored).unwrap(), position);
    }

    /// The release before named the object of a maildrop's notes in its position.
    #[test]
    fn a_position_of_the_release_before_is_read() {
        let before = r#"{"protocol":"pop3","listing":"0123","seen_key":"positions/m1"}"#;
        let position: Position = serde_json::from_str(before).unwrap();
        assert_eq!(position.read("pop3"), Some(Pop3Position { listing: "0123".to_owned() }));
    }
}
