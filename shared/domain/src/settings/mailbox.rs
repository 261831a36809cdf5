//! Mailboxes: an address, the profile that says where it lives, and a method for each delivery.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    settings::{
        approval::Approval,
        profile::{EmailServerProfile, Servers, validate_name},
    },
    words::{
        address::EmailAddress,
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        invalid::Invalid,
        state::DeliveryState,
    },
};

/// Whose mailbox it is. The two differ in what the organization's settings ask for, and in what a profile may do to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailboxKind {
    /// A person's.
    #[default]
    User,
    /// A queue's, which many work on.
    Queue,
}

/// A mailbox as an administrator configures it. What happens to it is in [`DeliveryState`], one per delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Its identifier.
    pub id: MailboxId,
    /// Its name, as alerts and notices give it.
    pub name: String,
    /// Whose it is.
    #[serde(default)]
    pub kind: MailboxKind,
    /// Its address; one mailbox of the organization per address. Without one, nothing is synchronized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<EmailAddress>,
    /// Whether its address is approved.
    #[serde(default)]
    pub approval: Approval,
    /// The profile that says where it lives.
    pub profile_id: ProfileId,
    /// User name, where it is not the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Earlier messages are left alone; the later of this and the profile's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_emails_received_after: Option<Timestamp>,
    /// Who moves incoming email.
    pub incoming_email: SynchronizationMethod,
    /// Who moves outgoing email.
    pub outgoing_email: SynchronizationMethod,
    /// Who moves appointments, contacts and tasks.
    #[serde(default)]
    pub appointments_contacts_tasks: SynchronizationMethod,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Mailbox {
    /// Checks the mailbox alone and against the servers of its profile, and names the first field that cannot be used.
    /// What is right and not supported is refused by [`crate::rules::support`].
    pub fn validate(&self, profile: &EmailServerProfile) -> Result<(), Invalid> {
        validate_name(&self.name)?;
        let synchronized = SynchronizationMethod::ServerSideSynchronization;
        let lacks =
            |delivery| matches!(profile.servers, Servers::InternetMail(_)) && profile.endpoint(delivery).is_none();
        if self.address.is_none() && Delivery::ALL.into_iter().any(|delivery| self.method(delivery) == synchronized) {
            return Err(Invalid::new(
                "address",
                "the mailbox has no address and is to be synchronized",
                "Give it an address, or set its synchronization methods to none",
            ));
        }
        if self.incoming_email == synchronized && lacks(Delivery::IncomingEmail) {
            return Err(Invalid::new(
                "incoming_email",
                format!("the email server profile {} has no incoming server", profile.name),
                "Give the profile an incoming server, or set incoming_email to none",
            ));
        }
        if self.outgoing_email == synchronized && lacks(Delivery::OutgoingEmail) {
            return Err(Invalid::new(
                "outgoing_email",
                format!("the email server profile {} has no outgoing server", profile.name),
                "Give the profile an outgoing server, or set outgoing_email to none",
            ));
        }
        Ok(())
    }

    /// The method of a delivery.
    #[must_use]
    pub const fn method(&self, delivery: Delivery) -> SynchronizationMethod {
        match delivery {
            Delivery::IncomingEmail => self.incoming_email,
            Delivery::OutgoingEmail => self.outgoing_email,
            Delivery::AppointmentsContactsTasks => self.appointments_contacts_tasks,
        }
    }

    /// The state in which a delivery begins: not enabled, for it is not tested.
    #[must_use]
    pub fn initial_state(&self, delivery: Delivery) -> DeliveryState {
        DeliveryState::configured(self.method(delivery))
    }

    /// The state of a delivery that begins anew after `before`. How often it was disabled is kept, because that names the
    /// notice of each disabling.
    #[must_use]
    pub fn state_begun_anew(&self, delivery: Delivery, before: &DeliveryState) -> DeliveryState {
        DeliveryState { times_disabled: before.times_disabled, ..self.initial_state(delivery) }
    }

    /// Whether a delivery begins anew when the mailbox becomes `after`: its method changes, or the mailbox gets another
    /// address, so that what is remembered is of another mailbox.
    #[must_use]
    pub fn begins_anew(&self, after: &Self, delivery: Delivery) -> bool {
        self.method(delivery) != after.method(delivery) || !self.has_same_address(after)
    }

    /// Whether mail to the one is mail to the other.
    #[must_use]
    pub fn has_same_address(&self, other: &Self) -> bool {
        self.normalized_address() == other.normalized_address()
    }

    /// Its address in the form in which it is compared.
    #[must_use]
    pub fn normalized_address(&self) -> Option<String> {
        self.address.as_ref().map(EmailAddress::normalized)
    }

    /// The user name to sign in with, where the mailbox's own credentials are used.
    #[must_use]
    pub fn sign_in_name(&self) -> &str {
        self.username.as_deref().or(self.address.as_ref().map(EmailAddress::as_str)).unwrap_or_default()
    }

    /// Its address as text, for a sentence; empty if it has none.
    #[must_use]
    pub fn address_text(&self) -> &str {
        self.address.as_ref().map(EmailAddress::as_str).unwrap_or_default()
    }

    /// Messages received before this are left alone: the later of the profile's date and the mailbox's.
    #[must_use]
    pub fn start_date(&self, profile: &EmailServerProfile) -> Option<Timestamp> {
        self.process_emails_received_after.max(profile.process_emails_received_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_start_date_counts() {
        let (mut profile, mut mailbox) = crate::sample::sample();
        let early = Timestamp::from_timestamp(1_000, 0);
        let late = Timestamp::from_timestamp(2_000, 0);
        assert_eq!(mailbox.start_date(&profile), None);
        profile.process_emails_received_after = late;
        assert_eq!(mailbox.start_date(&profile), late);
        mailbox.process_emails_received_after = early;
        assert_eq!(mailbox.start_date(&profile), late);
        profile.process_emails_received_after = None;
        assert_eq!(mailbox.start_date(&profile), early);
    }

    #[test]
    fn a_delivery_begins_anew_with_another_method_or_another_address() {
        let (_, before) = crate::sample::sample();
        let delivery = Delivery::IncomingEmail;
        let shouted = before.address_text().to_uppercase();
        let same = Mailbox { address: EmailAddress::parse(&shouted).ok(), name: "Another".into(), ..before.clone() };
        assert!(same.address.is_some() && !before.begins_anew(&same, delivery), "another spelling is the same address");
        let moved = Mailbox { address: EmailAddress::parse("other@example.org").ok(), ..before.clone() };
        let idle = Mailbox { incoming_email: SynchronizationMethod::None, ..before.clone() };
        assert!(before.begins_anew(&moved, delivery) && before.begins_anew(&idle, delivery));
        assert!(!before.begins_anew(&idle, Delivery::OutgoingEmail), "the other deliveries go on");
        let state = DeliveryState { times_disabled: 3, transient_failure_count: 9, ..before.initial_state(delivery) };
        let anew = before.state_begun_anew(delivery, &state);
        assert_eq!((anew.times_disabled, anew.transient_failure_count), (3, 0));
    }

    #[test]
    fn a_method_without_its_server_is_refused() {
        let (mut profile, mailbox) = crate::sample::sample();
        if let Servers::InternetMail(servers) = &mut profile.servers {
            servers.outgoing = None;
        }
        assert_eq!(mailbox.validate(&profile).unwrap_err().field, "outgoing_email");
    }
}
