//! Keys of the table: which rows stand together, and in which order.
//!
//! A partition is a mailbox, a mailbox's list, a slot of the schedule, or a Message-ID; never a status or anything else
//! that many mailboxes share and change. The lists that do span mailboxes are spread over [`SHARDS`].

use mailrail_domain::{
    Timestamp,
    email::quarantine::{QuarantineReason, Quarantined},
    rules::schedule::Slot,
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        audit::{AuditEntry, AuditSubject},
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        notice::{Notice, NoticeStatus},
    },
};
use mailrail_engine::ports::OutboxPlace;
use mailrail_table::{Key, moment};

/// Partitions that a list over all mailboxes is spread over: an outage of a large profile opens alerts and writes
/// notices for all its mailboxes within minutes.
pub(crate) const SHARDS: u8 = 8;

/// Partition of all profiles: they are few, and read once per batch.
pub(crate) const PROFILES: &str = "PROFILES";
/// Partition and sort key of the organization's settings.
pub(crate) const ORGANIZATION: &str = "ORGANIZATION";
/// Partition of the list of intervals.
pub(crate) const SCHEDULE: &str = "SCHEDULE";
/// Sort key of the list of intervals.
pub(crate) const INTERVALS: &str = "INTERVALS";
/// Sort key of the moment up to which everything due was enqueued.
pub(crate) const TICK: &str = "TICK";
/// Sort key of a mailbox in its partition; the deliveries stand just before it, so that one query reads them all.
pub(crate) const MAILBOX: &str = "MAILBOX";
/// Beginning of the sort keys of deliveries.
pub(crate) const DELIVERY: &str = "DELIVERY#";
/// Beginning of the sort keys of alerts.
pub(crate) const ALERT: &str = "ALERT#";

pub(crate) fn profile(id: &ProfileId) -> Key {
    (PROFILES.to_owned(), id.to_string())
}

pub(crate) fn organization() -> Key {
    (ORGANIZATION.to_owned(), ORGANIZATION.to_owned())
}

/// The API token of this SHA-256, and the list of all tokens.
pub(crate) fn token(sha256: &str) -> Key {
    (format!("API-TOKEN#{sha256}"), "API-TOKEN".to_owned())
}

/// List of API tokens.
pub(crate) const TOKENS: &str = "API-TOKENS";

/// An audit entry stands with those of its month, and in the list of its subject.
pub(crate) fn audit(entry: &AuditEntry) -> Key {
    (audit_month(entry.at), audit_place(entry))
}

/// List of the months that have audit entries.
pub(crate) const AUDIT_MONTHS: &str = "AUDIT-MONTHS";

/// Partition of the audit entries of a month.
pub(crate) fn audit_month(at: Timestamp) -> String {
    format!("AUDIT#{}", at.format("%Y-%m"))
}

/// List of the audit entries of a subject.
pub(crate) fn audit_of(subject: AuditSubject, id: &str) -> String {
    format!("AUDIT#{}#{id}", subject.as_str())
}

/// An audit entry's place in a list by time.
pub(crate) fn audit_place(entry: &AuditEntry) -> String {
    format!("{}#{}", moment(entry.at), entry.id)
}

pub(crate) fn mailbox_partition(id: &MailboxId) -> String {
    format!("MAILBOX#{id}")
}

pub(crate) fn mailbox(id: &MailboxId) -> Key {
    (mailbox_partition(id), MAILBOX.to_owned())
}

/// The last test of a mailbox, which stands behind it, where no synchronization reads.
pub(crate) fn test(id: &MailboxId) -> Key {
    (mailbox_partition(id), "TEST".to_owned())
}

pub(crate) fn delivery(id: &MailboxId, delivery: Delivery) -> Key {
    (mailbox_partition(id), format!("{DELIVERY}{}", delivery.as_str()))
}

pub(crate) fn address(normalized: &str) -> Key {
    (format!("ADDRESS#{normalized}"), "ADDRESS".to_owned())
}

/// List of the mailboxes of a profile.
pub(crate) fn mailboxes_of(profile: &ProfileId) -> String {
    format!("PROFILE#{profile}#MAILBOXES")
}

/// Partition of the mailboxes whose items are moved by a method.
pub(crate) fn item_method(method: SynchronizationMethod) -> String {
    format!("ITEMS-BY#{method:?}")
}

/// One of a profile's permits to connect, for a profile with fewer connections than there may be invocations.
pub(crate) fn permit(profile: &ProfileId, number: u16) -> Key {
    (format!("PROFILE#{profile}#PLACES"), number.to_string())
}

pub(crate) fn slot(slot: Slot) -> String {
    format!("{SCHEDULE}#{}#{}", slot.interval_minutes, slot.phase)
}

pub(crate) fn scheduled(mailbox: &MailboxId, delivery: Delivery, interval_minutes: u16) -> Key {
    (slot(Slot::of(mailbox, delivery, interval_minutes)), format!("{mailbox}#{}", delivery.as_str()))
}

pub(crate) fn open_alert(mailbox: &MailboxId, delivery: Delivery, kind: AlertKind) -> Key {
    (mailbox_partition(mailbox), format!("{ALERT}{}#{kind:?}#open", delivery.as_str()))
}

pub(crate) fn open_alert_of_profile(profile: &ProfileId, delivery: Delivery, kind: AlertKind) -> Key {
    (profile_partition(profile), format!("{ALERT}{}#{kind:?}#open", delivery.as_str()))
}

/// The partition of an alert: its mailbox's, or its profile's.
fn alert_partition(alert: &Alert) -> String {
    alert.mailbox_id.as_ref().map_or_else(|| profile_partition(&alert.profile_id), mailbox_partition)
}

/// The open alert of the same kind and delivery, of the same mailbox or profile.
pub(crate) fn open(alert: &Alert) -> Key {
    (alert_partition(alert), format!("{ALERT}{}#{:?}#open", alert.delivery.as_str(), alert.kind))
}

pub(crate) fn closed_alert(alert: &Alert) -> Key {
    let sort = format!("{ALERT}{}#{:?}#{}", alert.delivery.as_str(), alert.kind, moment(alert.first_seen));
    (alert_partition(alert), sort)
}

/// List of alerts in a status, and an alert's place in it.
pub(crate) fn alerts_in(status: AlertStatus, shard: u8) -> String {
    format!("ALERTS#{status:?}#{shard}")
}

pub(crate) fn alert_place(alert: &Alert) -> Key {
    let owner = alert.mailbox_id.as_ref().map_or(alert.profile_id.as_str(), MailboxId::as_str);
    let list = alerts_in(alert.status, shard(owner));
    let place = format!("{}#{owner}#{}#{:?}", moment(alert.first_seen), alert.delivery.as_str(), alert.kind);
    (list, place)
}

/// Partition of what is known of a profile besides its settings.
pub(crate) fn profile_partition(id: &ProfileId) -> String {
    format!("PROFILE#{id}")
}

/// What is known of a profile's servers.
pub(crate) fn health(id: &ProfileId) -> Key {
    (profile_partition(id), "HEALTH".to_owned())
}

pub(crate) fn notice(id: &str) -> Key {
    (format!("NOTICE#{id}"), "NOTICE".to_owned())
}

/// List of notices in a status, and a notice's place in it.
pub(crate) fn notices_in(status: NoticeStatus, shard: u8) -> String {
    format!("NOTICES#{status:?}#{shard}")
}

pub(crate) fn notice_place(notice: &Notice) -> Key {
    let list = notices_in(notice.status, shard(&notice.id));
    (list, format!("{}#{}", moment(notice.next_attempt), notice.id))
}

/// List of the emails of a mailbox that wait to be sent.
pub(crate) fn outbox_of(mailbox: &MailboxId) -> String {
    format!("{}#OUTBOX", mailbox_partition(mailbox))
}

/// An email's place in the outbox of its mailbox, by age.
pub(crate) fn outbox_place(mailbox: &MailboxId, place: &OutboxPlace) -> Key {
    (outbox_of(mailbox), format!("{}#{}", moment(place.received_at), place.email))
}

/// The count of a mailbox's recipients in an hour.
pub(crate) fn recipients(mailbox: &MailboxId, at: Timestamp) -> Key {
    (format!("{}#RECIPIENTS", mailbox_partition(mailbox)), at.format("%Y-%m-%dT%H").to_string())
}

pub(crate) fn quarantine_of(mailbox: &MailboxId) -> String {
    format!("{}#QUARANTINE", mailbox_partition(mailbox))
}

pub(crate) fn quarantined(mailbox: &MailboxId, remote_id: &str) -> Key {
    (quarantine_of(mailbox), remote_id.to_owned())
}

/// List of messages in quarantine for a reason, and a message's place in it.
pub(crate) fn quarantine_in(reason: QuarantineReason, shard: u8) -> String {
    format!("QUARANTINE#{reason:?}#{shard}")
}

pub(crate) fn quarantine_place(message: &Quarantined) -> Key {
    let list = quarantine_in(message.reason, shard(message.mailbox_id.as_str()));
    (list, format!("{}#{}#{}", moment(message.at), message.mailbox_id, message.remote_id))
}

fn shard(text: &str) -> u8 {
    text.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_stand_just_before_their_mailbox() {
        let id = MailboxId::parse("m").unwrap();
        for each in Delivery::ALL {
            let (_, sort) = delivery(&id, each);
            assert!(*DELIVERY <= *sort && *sort < *MAILBOX && *ALERT < *DELIVERY);
        }
    }

    #[test]
    fn lists_over_all_mailboxes_are_spread() {
        let used: std::collections::BTreeSet<u8> = (0..200).map(|n| shard(&format!("mailbox-{n}"))).collect();
        assert_eq!(used.len(), usize::from(SHARDS));
    }
}
