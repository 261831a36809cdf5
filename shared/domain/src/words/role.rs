//! Who may do what: three roles. Each role may also do what the role before it may.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What the holder of an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads everything and changes nothing.
    Reader,
    /// Changes profiles, mailboxes and settings, approves addresses, tests and enables.
    Administrator,
    /// Approves addresses for the tenant besides, and hands out this role.
    TenantAdministrator,
}

impl Role {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Administrator => "administrator",
            Self::TenantAdministrator => "tenant-administrator",
        }
    }

    /// Whether somebody of this role may do what needs `needed`.
    #[must_use]
    pub fn may(self, needed: Self) -> bool {
        self >= needed
    }
}

/// A token for the API, without the token itself, which only its holder has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its identifier.
    pub id: String,
    /// Its name, which stands in the audit for whoever holds it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_one_before_it_may() {
        let roles = [Role::Reader, Role::Administrator, Role::TenantAdministrator];
        for (has, role) in (0..).zip(roles) {
            for (needs, needed) in (0..).zip(roles) {
                assert_eq!(role.may(needed), has >= needs, "{role:?} {needed:?}");
            }
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
    }
}
