//! Settings of the whole organization.

use serde::{Deserialize, Serialize};

use crate::{
    settings::hold::HoldSettings,
    words::{
        alert::Level,
        guid::validate_guid,
        id::MailboxId,
        invalid::{Invalid, excerpt},
    },
};

/// Most recipients of one mailbox within an hour that a limit may allow: Exchange Online's for a whole day.
pub const RECIPIENTS_PER_HOUR_MAX: u32 = 10_000;

/// Recipients of one mailbox within an hour, where nothing else is set: a busy person's mail, and no campaign.
pub const RECIPIENTS_PER_HOUR: u32 = 500;

/// Longest time that closed alerts are kept, in days (source system: 3650).
pub const CLOSED_ALERT_DAYS_MAX: u16 = 3_650;

/// Time that closed alerts are kept, in days (source system: 30).
pub const CLOSED_ALERT_DAYS: u16 = 30;

/// Longest time without a success before a delivery counts as stalled, in minutes: a week.
pub const STALL_MINUTES_MAX: u16 = 10_080;

/// Time without a success, though nothing failed, after which a delivery counts as stalled, in minutes.
pub const STALL_MINUTES: u16 = 60;

/// Longest address of the console, in bytes.
const CONSOLE_URL_BYTES_MAX: usize = 500;

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
    /// The application that may be granted mailboxes of other tenants (source system: cross-tenant OAuth).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_tenant_client_id: Option<String>,
    /// Recipients that one mailbox may send to within an hour: this is no system for mass mail (source page).
    pub recipients_per_hour: u32,
    /// What is done when the servers of a profile fail, where the profile says nothing else.
    #[serde(rename = "outages")]
    pub hold: HoldSettings,
    /// Whether an owner is told at the eighth failure in a row, two before the last.
    pub warn_before_disabling: bool,
    /// Whether a mailbox's own address is told what the owner of its profile is told.
    pub notify_mailbox_owners: bool,
    /// Levels of alerts that are recorded.
    pub recorded_alert_levels: Vec<Level>,
    /// Days for which closed alerts are kept; 0 deletes them when they are closed (source system: 30, 0 to 3650).
    pub closed_alert_days: u16,
    /// Minutes without a success after which a delivery that does not fail is reported; 0 for never.
    pub stall_minutes: u16,
    /// Where the console is, for links in notices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_url: Option<String>,
}

impl Default for Organization {
    fn default() -> Self {
        Self {
            notice_mailbox_id: None,
            process_emails_only_for_approved_users: true,
            process_emails_only_for_approved_queues: true,
            tenant_id: None,
            cross_tenant_client_id: None,
            recipients_per_hour: RECIPIENTS_PER_HOUR,
            hold: HoldSettings::default(),
            warn_before_disabling: true,
            notify_mailbox_owners: false,
            recorded_alert_levels: Level::ALL.to_vec(),
            closed_alert_days: CLOSED_ALERT_DAYS,
            stall_minutes: STALL_MINUTES,
            console_url: None,
        }
    }
}

impl Organization {
    /// Checks every field and names the first that cannot be used.
    pub fn validate(&self) -> Result<(), Invalid> {
        if let Some(tenant) = &self.tenant_id {
            validate_guid("tenant_id", tenant)?;
        }
        if let Some(client) = &self.cross_tenant_client_id {
            validate_guid("cross_tenant_client_id", client)?;
        }
        if let Some(url) = &self.console_url
            && (!url.starts_with("https://") || url.len() > CONSOLE_URL_BYTES_MAX || url.contains(char::is_whitespace))
        {
            let problem = format!("\"{}\" is not the address of a console", excerpt(url));
            return Err(Invalid::new("console_url", problem, "Give an address that begins with https://"));
        }
        self.hold.validate().map_err(|invalid| invalid.within("outages"))?;
        let range = |field: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Invalid::new(field, format!("{value} is out of range"), format!("Give {least} to {most}")))
        };
        range("recipients_per_hour", self.recipients_per_hour, 1, RECIPIENTS_PER_HOUR_MAX)?;
        range("closed_alert_days", self.closed_alert_days.into(), 0, CLOSED_ALERT_DAYS_MAX.into())?;
        range("stall_minutes", self.stall_minutes.into(), 0, STALL_MINUTES_MAX.into())
    }

    /// Whether alerts of this level are recorded.
    #[must_use]
    pub fn records(&self, level: Level) -> bool {
        self.recorded_alert_levels.contains(&level)
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
        assert_eq!(bad(|o| o.cross_tenant_client_id = Some("x".into())), "cross_tenant_client_id");
        assert_eq!(bad(|o| o.recipients_per_hour = 0), "recipients_per_hour");
        assert_eq!(bad(|o| o.recipients_per_hour = 10_001), "recipients_per_hour");
        assert_eq!(bad(|o| o.closed_alert_days = 3_651), "closed_alert_days");
        assert_eq!(bad(|o| o.console_url = Some("http://console".into())), "console_url");
        assert_eq!(bad(|o| o.stall_minutes = 10_081), "stall_minutes");
    }

    #[test]
    fn a_row_of_before_these_settings_has_their_defaults() {
        let read: Organization = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Organization::default());
    }
}
