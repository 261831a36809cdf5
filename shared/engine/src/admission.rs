//! Whether a mailbox may be synchronized at all, asked after the gate and before anything is connected to.

use mailrail_domain::{
    rules::admission,
    settings::{mailbox::Mailbox, organization::Organization, profile::EmailServerProfile},
    words::{
        cause::DeliveryError,
        evidence::{Evidence, Stage},
    },
};

/// Why `mailbox` may not be synchronized; `None` if it may.
pub(crate) fn refusal(
    mailbox: &Mailbox,
    profile: &EmailServerProfile,
    organization: &Organization,
) -> Option<DeliveryError> {
    let lacking = admission::lacking(mailbox, profile, organization);
    lacking.map(|cause| DeliveryError::new(cause, Evidence::new(Stage::Prepare, "the approval is missing")))
}
