//! Whether a mailbox may be synchronized at all, asked after the gate and before anything is connected to.

use mailrail_domain::{
    approval,
    cause::DeliveryError,
    evidence::{Evidence, Stage},
    mailbox::Mailbox,
    organization::Organization,
    profile::EmailServerProfile,
};

/// Why `mailbox` may not be synchronized; `None` if it may.
pub(crate) fn refusal(
    mailbox: &Mailbox,
    profile: &EmailServerProfile,
    organization: &Organization,
) -> Option<DeliveryError> {
    let lacking = approval::lacking(mailbox, profile, organization);
    lacking.map(|cause| DeliveryError::new(cause, Evidence::new(Stage::Prepare, "the approval is missing")))
}
