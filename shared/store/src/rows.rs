//! Rows as they lie in the table: the types of `domain` with what only the table needs.

use mailrail_domain::{
    email::{position::Position, quarantine::Quarantined},
    rules::hold::ProfileHealth,
    settings::{mailbox::Mailbox, organization::Organization, profile::EmailServerProfile},
    words::{
        alert::Alert, audit::AuditEntry, notice::Notice, role::ApiToken, state::DeliveryState, trial::MailboxTest,
    },
};
use mailrail_engine::ports::Sealed;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    pub profile: EmailServerProfile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Sealed>,
    pub revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MailboxRow {
    pub mailbox: Mailbox,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Sealed>,
    pub revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrganizationRow {
    #[serde(flatten)]
    pub organization: Organization,
    #[serde(default)]
    pub revision: u64,
}

/// A test of a mailbox; `asked_at` is in seconds since the epoch, so that a condition can compare it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TestRow {
    pub test: MailboxTest,
    pub asked_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HealthRow {
    pub health: ProfileHealth,
    pub version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub token: ApiToken,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AuditRow {
    pub entry: AuditEntry,
}

/// What a delivery remembers. `reached` is its position, which is a reserved word of the table's language;
/// `leased_until` is in seconds since the epoch, so that a condition can compare it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StateRow {
    pub state: DeliveryState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_minutes: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<i64>,
    pub version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertRow {
    pub alert: Alert,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoticeRow {
    pub notice: Notice,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QuarantineRow {
    pub message: Quarantined,
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use mailrail_domain::{
        email::{
            folders::Reached,
            imap::ImapPosition,
            pop3::Pop3Position,
            quarantine::{Clues, QuarantineReason},
        },
        rules::story::{Story, Tidings},
        settings::{
            hold::{HoldSettings, RecoveryProbe},
            profile::{IncomingProtocol, Security},
        },
        texts::{
            alert::{About, alert},
            notice::notice,
        },
        words::{
            alert::{AlertAction, AlertKind},
            audit::{AuditAction, AuditSubject},
            cause::{Cause, DeliveryError},
            delivery::{Delivery, SynchronizationMethod},
            evidence::{Evidence, Stage},
            notice::NoticeKind,
            policy::{RetryPolicy, UnknownOutcome},
            spent::Spent,
            state::DeliveryState,
        },
    };
    use mailrail_engine::outage::Outage;
    use mailrail_table::{Item, decode, encode};
    use mailrail_test_support::build;
    use serde::de::DeserializeOwned;

    use super::*;

    /// Bytes that one write unit covers.
    const WRITE_UNIT_BYTES: usize = 1024;

    fn size(item: &Item) -> usize {
        fn of(value: &AttributeValue) -> usize {
            match value {
                AttributeValue::S(text) => text.len(),
                AttributeValue::N(digits) => digits.len() / 2 + 2,
                AttributeValue::M(map) => 3 + map.iter().map(|(k, v)| 1 + k.len() + of(v)).sum::<usize>(),
                AttributeValue::L(list) => 3 + list.iter().map(|v| 1 + of(v)).sum::<usize>(),
                _ => 1,
            }
        }
        item.iter().map(|(name, value)| name.len() + of(value)).sum()
    }

    fn busy_state() -> StateRow {
        let at = build::moment(0);
        StateRow {
            state: DeliveryState {
                enabled: true,
                transient_failure_count: 9,
                failing_since: Some(at),
                postponed_until: Some(at),
                last_run: Some(at),
                last_success: Some(at),
                open_alerts: vec![AlertKind::ServerNotReachable, AlertKind::SecureConnectionFailed],
                times_disabled: 3,
                ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization)
            },
            reached: Some(Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 2, mod_seq: Some(3) })),
            interval_minutes: Some(5),
            leased_until: Some(at.timestamp()),
            version: 12,
        }
    }

    #[test]
    fn the_row_that_every_sync_writes_costs_one_write_unit() {
        let id = build::mailbox_id("0192f0c1-7a3e-7000-8000-000000000000");
        let key = crate::keys::delivery(&id, mailrail_domain::words::delivery::Delivery::AppointmentsContactsTasks);
        let mut row = busy_state();
        assert!(size(&encode(key.clone(), &row).unwrap()) <= WRITE_UNIT_BYTES);
        row.reached = Some(Position::of("pop3", &Pop3Position { listing: "x".repeat(32) }));
        assert!(size(&encode(key.clone(), &row).unwrap()) <= WRITE_UNIT_BYTES);
        // A link of Graph is longer than any position; while nothing fails there is room for it.
        let tokens = [("inbox".to_owned(), "l".repeat(400))].into();
        row.reached = Some(Position::of("graph", &Reached { tokens, ..Reached::default() }));
        row.state.spent = Some(Spent { since: build::moment(0), amount: 9_000 });
        row.state.open_alerts.clear();
        (row.state.failing_since, row.state.postponed_until) = (None, None);
        assert!(size(&encode(key, &row).unwrap()) <= WRITE_UNIT_BYTES);
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let location = build::location("mail.example.org", 993, Security::Tls);
        let profile = build::profile("p1", Some((IncomingProtocol::Imap, location.clone())), Some(location));
        let row = ProfileRow { profile: profile.clone(), credentials: None, revision: 1 };
        let item = encode(crate::keys::profile(&profile.id), &row).unwrap();
        assert_eq!(decode::<ProfileRow>(item).unwrap().profile, profile);
        let row = busy_state();
        let item = encode(("a".into(), "b".into()), &row).unwrap();
        let again: StateRow = decode(item).unwrap();
        assert_eq!((again.state, again.reached), (row.state, row.reached));
    }

    /// The rows of [`the_stored_form_of_rows`], read from a file.
    fn rows(text: &str) -> (ProfileRow, MailboxRow, StateRow) {
        let rows: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        fn row<T: DeserializeOwned>(row: &serde_json::Value) -> T {
            decode(encode(("pk".into(), "sk".into()), row).unwrap()).unwrap()
        }
        let [profile, mailbox, state] = &rows[..] else { panic!("{} rows", rows.len()) };
        (row(profile), row(mailbox), row(state))
    }

    #[test]
    fn rows_of_the_release_before_are_read() {
        let (_, mailbox, state) = rows(include_str!("releases/before.json"));
        assert_eq!((mailbox.mailbox.id.as_str(), state.state), ("m1", busy_state().state));
    }

    /// While a release is rolled out its rows are read by functions of the one before.
    #[test]
    fn rows_of_the_next_release_are_read_as_far_as_they_are_understood() {
        let (profile, _, state) = rows(include_str!("releases/next.json"));
        let hold = HoldSettings { hold_after_mailboxes: 10, recovery_probe: RecoveryProbe::Resume };
        assert_eq!(profile.profile.hold, Some(hold));
        assert_eq!(state.state.open_alerts, [AlertKind::ServerNotReachable, AlertKind::UnknownError]);
        let state = DeliveryState { open_alerts: busy_state().state.open_alerts, ..state.state };
        assert_eq!(state, busy_state().state);
    }

    #[test]
    fn an_alert_of_the_next_release_is_read_as_an_unknown_error() {
        let row = serde_json::json!({"alert": {
            "kind": "server-in-maintenance", "cause": "server-in-maintenance", "level": "error", "status": "open",
            "profile_id": "p1", "delivery": "incoming-email", "text": "The server is being maintained.",
            "resolution": [], "count": 1, "first_seen": build::moment(0), "last_seen": build::moment(0),
        }});
        let read: AlertRow = decode(encode(("pk".into(), "sk".into()), &row).unwrap()).unwrap();
        assert_eq!((read.alert.kind, read.alert.cause), (AlertKind::UnknownError, Some(Cause::Unknown)));
    }

    /// A row with one value in another's place, as the next release may write it.
    fn of_next<T: DeserializeOwned>(row: &impl Serialize, pointer: &str) -> Result<T, Outage> {
        let mut row = serde_json::to_value(row).unwrap();
        *row.pointer_mut(pointer).unwrap() = "of-the-next-release".into();
        decode(encode(("pk".into(), "sk".into()), &row).unwrap())
    }

    #[test]
    fn alerts_notices_and_audit_entries_of_the_next_release_are_read_with_what_is_known_of_them() {
        let profile = build::profile("p1", None, None);
        let mailbox = build::mailbox("m1", "sales@example.org", &profile);
        let (now, policy) = (build::moment(0), RetryPolicy::default());
        let delivery = Delivery::IncomingEmail;
        let about = About { profile: &profile, mailbox: Some(&mailbox), delivery, policy, now };
        let error = DeliveryError::new(Cause::TimedOut, Evidence::new(Stage::Connect, "words"));
        let health = ProfileHealth { since: now, failing: vec!["m1".into()], delivery, error, probe_at: None };
        let row = NoticeRow { notice: notice(&Tidings::Held(Box::new(health.clone())), &about) };
        assert_eq!(of_next::<NoticeRow>(&row, "/notice/kind").unwrap().notice.kind, NoticeKind::Other);
        let read: HealthRow = of_next(&HealthRow { health, version: 1 }, "/health/error/evidence/stage").unwrap();
        assert_eq!(read.health.error.evidence.stage, Stage::Other);
        let row = AuditRow { entry: build::audit() };
        assert_eq!(of_next::<AuditRow>(&row, "/entry/action").unwrap().entry.action, AuditAction::Other);
        assert_eq!(of_next::<AuditRow>(&row, "/entry/subject").unwrap().entry.subject, AuditSubject::Other);
        let alert = alert(&Story::PendingSend { why: "its delivery is disabled" }, &about);
        let read: AlertRow = of_next(&AlertRow { alert }, "/alert/action").unwrap();
        assert_eq!(read.alert.action, Some(AlertAction::TestAgain));
        let message = Quarantined {
            mailbox_id: mailbox.id,
            remote_id: "1".into(),
            reason: QuarantineReason::TooLarge,
            detail: String::new(),
            received_at: None,
            raw_key: String::new(),
            size: 1,
            at: now,
            attempts: 1,
            last_attempt: None,
            clues: Clues::default(),
        };
        let read: QuarantineRow = of_next(&QuarantineRow { message }, "/message/reason").unwrap();
        assert_eq!(read.message.reason, QuarantineReason::Other);
    }

    #[test]
    fn a_choice_of_the_next_release_is_read_as_the_careful_one_and_a_server_of_it_is_refused_by_name() {
        let row = ProfileRow { profile: build::profile("p1", None, None), credentials: None, revision: 1 };
        let read: ProfileRow = of_next(&row, "/profile/unknown_outcome").unwrap();
        assert_eq!(read.profile.unknown_outcome, UnknownOutcome::Hold);
        for field in ["server_type", "authentication", "credentials"] {
            let refusal = of_next::<ProfileRow>(&row, &format!("/profile/{field}")).unwrap_err().to_string();
            assert!(refusal.contains("pk / sk"), "{refusal}");
        }
        let hold = HoldSettings { hold_after_mailboxes: 10, recovery_probe: RecoveryProbe::Resume };
        let row = OrganizationRow { organization: Organization { hold, ..Organization::default() }, revision: 1 };
        let read: OrganizationRow = of_next(&row, "/outages/recovery_probe").unwrap();
        assert_eq!(read.organization.hold.recovery_probe, RecoveryProbe::Off);
    }

    /// The stored form of rows. A change here is a change of the table: raise the schema of `table` and write a
    /// migration.
    #[test]
    fn the_stored_form_of_rows() {
        let location = build::location("mail.example.org", 993, Security::Tls);
        let profile = build::profile("p1", Some((IncomingProtocol::Imap, location.clone())), Some(location));
        let mailbox = build::mailbox("m1", "sales@example.org", &profile);
        insta::assert_json_snapshot!((
            ProfileRow { profile, credentials: None, revision: 1 },
            MailboxRow { mailbox, credentials: None, revision: 1 },
            busy_state(),
        ));
    }
}
