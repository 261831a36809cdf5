//! Settings of the whole organization.

use serde::{Deserialize, Serialize};

use crate::{configuration, id::MailboxId, invalid::Invalid, outage::OutageSettings};

/// Most recipients of one mailbox within an hour that a limit may allow: Exchange Online's for a whole day.
pub const RECIPIENTS_PER_HOUR_MAX: u32 = 10_000;
/// Recipients of one mailbox within an hour, where nothing else is set: a busy person's mail, and no campaign.
pub const RECIPIENTS_PER_HOUR: u32 = 500;

/// What holds for every mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// The mailbox whose profile and credentials send notices. Without one, notices wait and are listed as pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_mailbox_id: Option<MailboxId>,
    /// Email of a user's mailbox is processed only once its address is approved.
    pub process_emails_only_for_approved_users: bool,
    /// Email of a queue's mailbox is processed only once its address is approved.
    pub process_emails_only_for_approved_queues: bool,
    /// The tenant that the organization belongs to, where its servers are Exchange Online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Recipients that one mailbox may send to within an hour: this is no system for mass mail (source page).
    pub recipients_per_hour: u32,
    /// How outages of servers are borne, where a profile says nothing else.
    pub outages: OutageSettings,
    /// Whether an owner is told at the eighth failure in a row, two before the last.
    pub warn_before_disabling: bool,
    /// Whether a mailbox's own address is told what the owner of its profile is told.
    pub notify_mailbox_owners: bool,
}

impl Default for Organization {
    fn default() -> Self {
        Self {
            notice_mailbox_id: None,
            process_emails_only_for_approved_users: true,
            process_emails_only_for_approved_queues: true,
            tenant_id: None,
            recipients_per_hour: RECIPIENTS_PER_HOUR,
            outages: OutageSettings::default(),
            warn_before_disabling: true,
            notify_mailbox_owners: false,
        }
    }
}

impl Organization {
    /// Checks every field and names the first that cannot be used.
    pub fn validate(&self) -> Result<(), Invalid> {
        if let Some(tenant) = &self.tenant_id {
            configuration::validate_tenant("tenant_id", tenant)?;
        }
        self.outages.validate().map_err(|invalid| invalid.within("outages"))?;
        if (1..=RECIPIENTS_PER_HOUR_MAX).contains(&self.recipients_per_hour) {
            return Ok(());
        }
        let problem = format!("{} is out of range", self.recipients_per_hour);
        Err(Invalid::new("recipients_per_hour", problem, format!("Give 1 to {RECIPIENTS_PER_HOUR_MAX}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let bad = |change: fn(&mut Organization)| {
            let mut organization = Organization::default();
            change(&mut organization);
            organization.validate().unwrap_err().field
        };
        assert_eq!(Organization::default().validate(), Ok(()));
        assert_eq!(bad(|o| o.tenant_id = Some("x".into())), "tenant_id");
        assert_eq!(bad(|o| o.recipients_per_hour = 0), "recipients_per_hour");
        assert_eq!(bad(|o| o.recipients_per_hour = 10_001), "recipients_per_hour");
    }

    #[test]
    fn a_row_of_before_these_settings_has_their_defaults() {
        let read: Organization = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Organization::default());
    }
}
