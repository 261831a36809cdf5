//! What a person does: each use case checks the role, does it on condition of what was read, and writes the audit.
//!
//! Nothing here knows of HTTP. A change begins with a read (`profile_to_change` and the like), which is handed to the
//! change with what it is to become, so that a row is read once and a lost race is seen.

pub mod access;
mod approval;
mod audit;
pub mod bulk;
pub mod emails;
mod enabling;
pub mod mailboxes;
pub mod profiles;
pub mod quarantine;
pub mod settings;
mod test_and_enable;
pub mod trouble;

use mailrail_domain::words::{
    invalid::{Invalid, excerpt},
    role::Role,
};

use crate::{
    Engine,
    outage::Outage,
    ports::{Ports, Sealed, Secret, Vault, Written},
};

/// Longest user name and password (source system: 250), with room for tokens.
pub const CREDENTIAL_BYTES_MAX: usize = 4_096;

/// Who does something.
#[derive(Debug, Clone)]
pub struct By {
    /// Name of the API token, which stands in the audit.
    pub name: String,
    /// What the token opens.
    pub role: Role,
    /// Makes an identifier that nothing else has. A function, like the clock, so that tests can turn it.
    pub new_id: fn() -> String,
}

impl By {
    /// Refuses what needs more than the role; `action` is what was wanted, as the beginning of a sentence.
    pub fn needs(&self, needed: Role, action: &str) -> Result<(), Refusal> {
        if self.role.may(needed) {
            return Ok(());
        }
        let (name, has) = (&self.name, self.role.as_str());
        let detail =
            format!("{action} needs the role {}; the API token \"{name}\" has the role {has}.", needed.as_str());
        Err(Refusal::Forbidden { detail, remedy: format!("Use an API token with the role {}.", needed.as_str()) })
    }
}

/// Why something was not done. Nothing was written, except that an outage leaves it open.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A value cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such thing.
    #[error("There is no {what} {id}.")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its identifier, shortened.
        id: String,
        /// The field that named it, where a field of a command did.
        field: Option<&'static str>,
    },
    /// Its state does not allow it.
    #[error("{detail} {remedy}")]
    Conflict {
        /// What stands against it.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// It has another revision than the one that was asked for.
    #[error("It has the revision {revision}.")]
    Outdated {
        /// The revision that it has.
        revision: u64,
    },
    /// Somebody else changed or deleted it since it was read.
    #[error("Somebody else changed or deleted it since it was read.")]
    Superseded,
    /// The role does not allow it.
    #[error("{detail} {remedy}")]
    Forbidden {
        /// What it needs.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// It would be more than is allowed.
    #[error("{detail} {remedy}")]
    TooMany {
        /// What would be too much.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// A part of ours is not available.
    #[error(transparent)]
    Outage(#[from] Outage),
}

impl Refusal {
    /// Something that is not there.
    #[must_use]
    pub fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: excerpt(id), field: None }
    }

    /// Something that its state does not allow.
    pub fn conflict(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Conflict { detail: detail.into(), remedy: remedy.into() }
    }

    /// The same refusal of what a field of a command named.
    #[must_use]
    fn named_by(self, name: &'static str) -> Self {
        match self {
            Self::NotFound { what, id, .. } => Self::NotFound { what, id, field: Some(name) },
            other => other,
        }
    }
}

/// What becomes of the secret of a profile or a mailbox that is changed.
#[derive(Debug, Clone)]
pub enum SecretChange<T> {
    /// It stays.
    Keep,
    /// It is removed.
    Remove,
    /// Another takes its place.
    Set(T),
}

impl<T> SecretChange<T> {
    /// The change as the request has it: another secret, if one is given, and otherwise its removal or nothing.
    #[must_use]
    pub fn requested(given: Option<T>, removed: bool) -> Self {
        match given {
            Some(secret) => Self::Set(secret),
            None if removed => Self::Remove,
            None => Self::Keep,
        }
    }

    fn map<U>(self, to: impl FnOnce(T) -> U) -> SecretChange<U> {
        match self {
            Self::Keep => SecretChange::Keep,
            Self::Remove => SecretChange::Remove,
            Self::Set(secret) => SecretChange::Set(to(secret)),
        }
    }
}

/// The revision that something must have for a change of it to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

/// Refuses a change that is made on condition of another revision than the present one.
fn require_revision(expected: &Expected, revision: u64) -> Result<(), Refusal> {
    match expected {
        Expected::OneOf(revisions) if !revisions.contains(&revision) => Err(Refusal::Outdated { revision }),
        Expected::Any | Expected::OneOf(_) => Ok(()),
    }
}

/// What a conditional write came to.
fn require_written(written: Written) -> Result<(), Refusal> {
    match written {
        Written::Done => Ok(()),
        Written::AddressTaken(owner) => {
            let problem = format!("the address belongs to the mailbox {owner}");
            Err(Invalid::new("address", problem, "Give another address, or change that mailbox").into())
        }
        Written::Superseded => Err(Refusal::Superseded),
        Written::ProfileGone => Err(mailboxes::no_such_profile().into()),
    }
}

/// Checks a user name or password: present if it is given, bounded, on one line. The value is never repeated.
fn check_credential(field: &str, value: Option<&str>) -> Result<(), Invalid> {
    let fits = |v: &str| !v.is_empty() && v.len() <= CREDENTIAL_BYTES_MAX && !v.contains(['\r', '\n', '\0']);
    if value.is_none_or(fits) {
        return Ok(());
    }
    let remedy = format!("Give 1 to {CREDENTIAL_BYTES_MAX} bytes on one line");
    Err(Invalid::new(field, "the value cannot be used", remedy))
}

impl<P: Ports> Engine<P> {
    /// The sealed credentials after a change: those that are there, none, or another secret sealed for `owner`.
    async fn sealed(
        &self,
        owner: &str,
        key_context: &str,
        before: Option<Sealed>,
        change: SecretChange<Secret>,
    ) -> Result<Option<Sealed>, Outage> {
        match change {
            SecretChange::Keep => Ok(before),
            SecretChange::Remove => Ok(None),
            SecretChange::Set(secret) => self.ports.vault().seal(owner, key_context, &secret).await.map(Some),
        }
    }
}
