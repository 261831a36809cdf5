//! What an administrator sets about failures of servers: when a profile is held, and whether a disabled delivery is
//! tried again.
//!
//! Both are off by default: the rule is then the ten tries, and nothing else.

use serde::{Deserialize, Serialize};

use crate::words::invalid::Invalid;

/// Most mailboxes that a profile hold may wait for.
pub const HOLD_MAILBOXES_MAX: u16 = 100;

/// What is done when the servers of a profile fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HoldSettings {
    /// Distinct mailboxes of a profile that must fail because of its server before the profile is held: looked into no
    /// more, but for one probe every five minutes, and no tries spent. 0 for never.
    pub hold_after_mailboxes: u16,
    /// What is done about a delivery that a passing fault has disabled.
    pub recovery_probe: RecoveryProbe,
}

/// What is done about a delivery that a passing fault has disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryProbe {
    /// It is tried now and then, and the owner is told when it works.
    Tell,
    /// It is tried now and then, and goes on by itself when it works.
    Resume,
    /// Nothing until a person enables it (source page). A choice that only another release knows is read as this one.
    #[default]
    #[serde(other)]
    Off,
}

impl HoldSettings {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.hold_after_mailboxes <= HOLD_MAILBOXES_MAX {
            return Ok(());
        }
        let problem = format!("{} is out of range", self.hold_after_mailboxes);
        Err(Invalid::new("hold_after_mailboxes", problem, format!("Give 0 to {HOLD_MAILBOXES_MAX}")))
    }
}
