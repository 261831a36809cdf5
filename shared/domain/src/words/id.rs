//! Identifiers of mailboxes, profiles and emails: opaque, safe in a key, a queue message and a log line.

use serde::{Deserialize, Serialize};

use crate::words::invalid::{Invalid, excerpt};

/// Longest identifier that is accepted from outside, in bytes.
pub const ID_BYTES_MAX: usize = 64;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts ASCII letters, digits and `-`, up to [`ID_BYTES_MAX`]: nothing that could break out of a key.
            pub fn parse(value: impl Into<String>) -> Result<Self, Invalid> {
                let value = value.into();
                let fits = !value.is_empty()
                    && value.len() <= ID_BYTES_MAX
                    && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                if fits {
                    Ok(Self(value))
                } else {
                    Err(Invalid::new(
                        $field,
                        format!("\"{}\" is not an identifier", excerpt(&value)),
                        format!("Use the id that the API returned: letters, digits and -, at most {ID_BYTES_MAX}"),
                    ))
                }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(value: String) -> Result<Self, Invalid> {
                Self::parse(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identifier!(
    /// A mailbox.
    MailboxId,
    "mailbox_id"
);

identifier!(
    /// An email server profile.
    ProfileId,
    "profile_id"
);
identifier!(
    /// An email record; derived from the message itself, see [`crate::email::identity`].
    EmailId,
    "email_id"
);
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_key_is_refused() {
        for bad in ["", "a#b", "a/b", "é", "a b", &"x".repeat(65)] {
            let refusal = MailboxId::parse(bad).unwrap_err();
            assert_eq!(refusal.field, "mailbox_id", "{bad}");
        }
        assert!(ProfileId::parse("0192-abc").is_ok());
    }
}
