//! Email addresses: parsed once, compared without regard to case, masked wherever a person might read a log.

use serde::{Deserialize, Serialize};

use crate::words::invalid::{Invalid, excerpt};

/// Longest address, in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
pub const ADDRESS_BYTES_MAX: usize = 254;

/// Longest local part, in bytes (RFC 5321 section 4.5.3.1.1).
const LOCAL_PART_BYTES_MAX: usize = 64;

/// An address that a message can be sent to: one `@`, no white space, no control characters.
///
/// Deliberately narrower than RFC 5322 (no quoted local parts, no comments): what is refused here could not be typed
/// into the mailbox settings of the systems we synchronize with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Checks `value`; the error names the field `address` (use [`Invalid::within`] for a path).
    pub fn parse(value: impl Into<String>) -> Result<Self, Invalid> {
        let value = value.into();
        match problem(&value) {
            None => Ok(Self(value)),
            Some(problem) => Err(Invalid::new(
                "address",
                format!("\"{}\" {problem}", excerpt(&value)),
                "Give an address such as name@example.com",
            )),
        }
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain part.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The form under which two spellings of an address are one mailbox.
    #[must_use]
    pub fn normalized(&self) -> String {
        self.0.to_lowercase()
    }

    /// First letter and domain: enough to recognize one's own address, not enough to harvest it.
    #[must_use]
    pub fn masked(&self) -> String {
        mask(&self.0)
    }
}

/// Masks anything that looks like an address; text without `@` is masked whole.
#[must_use]
pub fn mask(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}***@{domain}", local.chars().next().map_or(String::new(), String::from)),
        None => "***".to_owned(),
    }
}

fn problem(value: &str) -> Option<&'static str> {
    let Some((local, domain)) = value.rsplit_once('@') else {
        return Some("has no @");
    };
    if value.len() > ADDRESS_BYTES_MAX || local.len() > LOCAL_PART_BYTES_MAX {
        return Some("is longer than an address may be");
    }
    if local.is_empty() || local.contains('@') {
        return Some("has no single name before the @");
    }
    let foreign = |c: char| c.is_whitespace() || c.is_control() || "()<>[]:;,\\\"".contains(c);
    if value.contains(foreign) {
        return Some("contains a character that an address may not have");
    }
    let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-');
    if !domain.split('.').all(label) {
        return Some("has no domain after the @");
    }
    None
}

impl std::fmt::Debug for EmailAddress {
    /// Masked, because `Debug` is what ends up in logs and panics.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = Invalid;
    fn try_from(value: String) -> Result<Self, Invalid> {
        Self::parse(value)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_are_taken_and_bad_ones_named() {
        for good in ["a@b", "first.last+tag@sub.example.org", "ü@münchen.de"] {
            assert!(EmailAddress::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.de", "x".repeat(65));
        for bad in ["", "a", "@b", "a@", "a b@c", "a@b\r\nBCC: x@y", "a@b..c", "<a@b>", "a@@b", "a@-b", &long] {
            assert_eq!(EmailAddress::parse(bad).unwrap_err().field, "address", "{bad}");
        }
    }

    #[test]
    fn debug_output_never_shows_the_whole_address() {
        let address = EmailAddress::parse("someone@example.org").unwrap();
        assert_eq!(format!("{address:?}"), "s***@example.org");
    }
}
