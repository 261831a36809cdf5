//! The audit: who did what, and when. Entries are written with what they tell of, and never changed.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// Something was created.
    Created,
    /// Something was changed.
    Changed,
    /// Something was deleted.
    Deleted,
    /// An address was approved.
    Approved,
    /// An address was approved for the tenant.
    ApprovedForTenant,
    /// An address was rejected.
    Rejected,
    /// Test & Enable was asked for.
    Tested,
    /// A message was taken out of quarantine, because it became a record.
    Replayed,
    /// A delivery was enabled.
    Enabled,
    /// A delivery was disabled.
    Disabled,
    /// Something that another release of Mailrail lets a person do.
    #[serde(other)]
    Other,
}

/// What it was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSubject {
    /// A mailbox.
    Mailbox,
    /// An email server profile.
    Profile,
    /// The organization's settings.
    Organization,
    /// An API token.
    ApiToken,
    /// Something that another release of Mailrail has.
    #[serde(other)]
    Other,
}

impl AuditSubject {
    /// Its name in the API and in keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Profile => "profile",
            Self::Organization => "organization",
            Self::ApiToken => "api-token",
            Self::Other => "other",
        }
    }
}

/// Who did what to what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its identifier, in the order of time.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Name of the API token with which it was done; `mailrail` for what nobody asked for.
    pub by: String,
    /// What was done.
    pub action: AuditAction,
    /// What it was done to.
    pub subject: AuditSubject,
    /// The identifier of that; of a token or the organization, its name.
    pub subject_id: String,
    /// Names of the fields that were changed, or the delivery that was concerned. Never a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}
