//! Whether a mailbox may be synchronized at all, asked after the gate and before anything is connected to.

use mailrail_domain::{
    approval,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
    mailbox::Mailbox,
    organization::Organization,
    profile::{EmailServerProfile, ServerType},
};

/// Why `mailbox` may not be synchronized; `None` if it may.
pub(crate) fn refusal(
    mailbox: &Mailbox,
    profile: &EmailServerProfile,
    organization: &Organization,
) -> Option<DeliveryError> {
    let error = |cause, words| DeliveryError::new(cause, Evidence::new(Stage::Prepare, words));
    if let Some(cause) = approval::lacking(mailbox, profile, organization) {
        return Some(error(cause, "the approval is missing"));
    }
    match profile.server_type {
        ServerType::InternetMail | ServerType::ExchangeOnline => None,
        ServerType::ExchangeServer => {
            Some(error(Cause::CapabilityMissing, "this version has no client for Exchange Server"))
        }
    }
}
