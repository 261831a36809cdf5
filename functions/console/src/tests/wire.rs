//! Answers field for field, as their readers know them.

use mailrail_domain::{
    email::{
        identity::sent_email_id,
        quarantine::{Clues, QuarantineReason, Quarantined},
        record::{Attachment, Correspondent, Direction, EmailStatus, Outgoing, Recipient, RecipientStatus},
    },
    settings::{
        approval::{Approval, ApprovalState, Decision},
        hold::{HoldSettings, RecoveryProbe},
    },
    words::{
        alert::{Alert, AlertAction, AlertKind, AlertScope, AlertStatus, Level},
        audit::{AuditAction, AuditEntry, AuditSubject},
        cause::Cause,
        delivery::{Delivery, TestStatus},
        evidence::{Evidence, Stage},
        id::ProfileId,
        notice::{Notice, NoticeKind, NoticeStatus},
        role::{ApiToken, Role},
        trial::{DeliveryTest, MailboxTest, StageReport, TestPhase},
    },
};
use mailrail_engine::{
    administration::{
        emails::InThread,
        quarantine::{Replays, Tried},
    },
    quarantine::{Finding, Replayed},
};
use mailrail_test_support::build::{address, mailbox_id, moment, received};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{
    alerts::AlertView,
    approval::ApprovalView,
    audit::AuditEntryView,
    emails::EmailView,
    notices::NoticeView,
    quarantine::{FindingView, QuarantinedView, ReplayResult},
    test_and_enable::MailboxTestView,
    tokens::ApiTokenView,
    words::HoldInput,
};

/// The moment that everything happens at.
const AT: &str = "2025-06-15T15:06:40Z";

fn shown<T: Serialize>(view: T) -> Value {
    serde_json::to_value(view).unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn evidence() -> Evidence {
    Evidence::new(Stage::SignIn, "denied").with_code("535").with_detail(Some("5.7.8"))
}

fn profile_id() -> ProfileId {
    ProfileId::parse("p1").unwrap()
}

#[test]
fn alerts() {
    let alert = Alert {
        kind: AlertKind::MailboxCredentialsIncorrect,
        level: Level::Error,
        status: AlertStatus::Open,
        mailbox_id: Some(mailbox_id("m1")),
        profile_id: profile_id(),
        delivery: Delivery::IncomingEmail,
        scope: AlertScope::Mailbox,
        text: "It happened.".into(),
        why: "Because.".into(),
        action: Some(AlertAction::ReenterCredentials),
        resolution: vec!["Do it.".into()],
        cause: Some(Cause::CredentialsRefused),
        evidence: Some(evidence()),
        count: 2,
        first_seen: moment(0),
        last_seen: moment(0),
    };
    let expected = json!({
        "kind": "mailbox-credentials-incorrect",
        "level": "error",
        "status": "open",
        "mailbox_id": "m1",
        "profile_id": "p1",
        "delivery": "incoming-email",
        "scope": "mailbox",
        "text": "It happened.",
        "why": "Because.",
        "action": "reenter-credentials",
        "resolution": ["Do it."],
        "cause": "credentials-refused",
        "evidence": { "stage": "sign-in", "code": "535", "detail": "5.7.8", "words": "denied" },
        "count": 2,
        "first_seen": AT,
        "last_seen": AT,
    });
    assert_eq!(shown(AlertView::from(alert.clone())), expected);
    let evidence = Some(Evidence::new(Stage::Tls, "no"));
    let bare = Alert { mailbox_id: None, why: String::new(), action: None, cause: None, evidence, ..alert };
    let mut expected = expected;
    for field in ["mailbox_id", "why", "action", "cause"] {
        expected.as_object_mut().unwrap().remove(field);
    }
    expected["evidence"] = json!({ "stage": "tls", "words": "no" });
    assert_eq!(shown(AlertView::from(bare)), expected);
}

#[test]
fn notices() {
    let notice = Notice {
        id: "n1".into(),
        kind: NoticeKind::Disabled,
        to: address("o@example.test"),
        copy_to: Some(address("m@example.test")),
        mailbox_id: Some(mailbox_id("m1")),
        about: "Sales".into(),
        profile_id: profile_id(),
        delivery: Delivery::OutgoingEmail,
        subject: "Subject".into(),
        text: "Text".into(),
        status: NoticeStatus::Pending,
        attempts: 1,
        next_attempt: moment(0),
        last_error: text("It failed."),
        created_at: moment(0),
        sent_at: Some(moment(0)),
    };
    let expected = json!({
        "id": "n1",
        "kind": "disabled",
        "to": "o@example.test",
        "copy_to": "m@example.test",
        "mailbox_id": "m1",
        "about": "Sales",
        "profile_id": "p1",
        "delivery": "outgoing-email",
        "subject": "Subject",
        "text": "Text",
        "status": "pending",
        "attempts": 1,
        "next_attempt": AT,
        "last_error": "It failed.",
        "created_at": AT,
        "sent_at": AT,
    });
    assert_eq!(shown(NoticeView::from(notice.clone())), expected);
    let bare = Notice { copy_to: None, mailbox_id: None, last_error: None, sent_at: None, ..notice };
    let mut expected = expected;
    for field in ["copy_to", "mailbox_id", "last_error", "sent_at"] {
        expected.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(shown(NoticeView::from(bare)), expected);
}

#[test]
fn emails() {
    let recipient = |name: &str, status| Recipient { address: address(&format!("{name}@x.test")), status };
    let mut email = received(&mailbox_id("m1"), "1@x.test", 0);
    email.id = sent_email_id("1@x.test");
    email.raw_key = "raw".into();
    email.direction = Direction::Outgoing;
    email.status = EmailStatus::PendingSend;
    email.in_reply_to = text("0@x.test");
    email.references = vec!["0@x.test".into()];
    email.from = vec![Correspondent { name: text("Sales"), address: "m@x.test".into() }];
    email.to = vec![Correspondent { name: None, address: "a@x.test".into() }];
    (email.cc, email.bcc) = (email.to.clone(), email.to.clone());
    email.date = Some(moment(0));
    (email.headers, email.html, email.truncated) = ("From: x".into(), "<p>text</p>".into(), true);
    email.attachments = vec![Attachment {
        name: text("a.pdf"),
        content_type: "application/pdf".into(),
        content_id: text("c1"),
        size: 3,
        key: "attachment".into(),
    }];
    email.outgoing = Some(Outgoing {
        recipients: vec![
            recipient("a", RecipientStatus::Pending { evidence: None }),
            recipient("b", RecipientStatus::Pending { evidence: Some(evidence()) }),
            recipient("c", RecipientStatus::Sent),
            recipient("d", RecipientStatus::Refused { evidence: evidence() }),
        ],
        attempts: 2,
        next_attempt: Some(moment(0)),
        outcome_unknown: vec![address("a@x.test")],
        note: text("It is so."),
        ..Outgoing::default()
    });
    let words = json!({ "stage": "sign-in", "code": "535", "detail": "5.7.8", "words": "denied" });
    let mut expected = json!({
        "id": email.id.as_str(),
        "mailbox_id": "m1",
        "direction": "outgoing",
        "status": "pending-send",
        "message_id": "1@x.test",
        "in_reply_to": "0@x.test",
        "references": ["0@x.test"],
        "from": [{ "name": "Sales", "address": "m@x.test" }],
        "to": [{ "address": "a@x.test" }],
        "cc": [{ "address": "a@x.test" }],
        "bcc": [{ "address": "a@x.test" }],
        "subject": "Message 1@x.test",
        "date": AT,
        "received_at": AT,
        "size": 10,
        "headers": "From: x",
        "text": "text",
        "html": "<p>text</p>",
        "truncated": true,
        "raw_key": "raw",
        "attachments": [{
            "name": "a.pdf",
            "content_type": "application/pdf",
            "content_id": "c1",
            "size": 3,
            "key": "attachment",
        }],
        "outgoing": {
            "recipients": [
                { "address": "a@x.test", "status": "pending" },
                { "address": "b@x.test", "status": "pending", "evidence": words },
                { "address": "c@x.test", "status": "sent" },
                { "address": "d@x.test", "status": "refused", "evidence": words },
            ],
            "attempts": 2,
            "next_attempt": AT,
            "outcome_unknown": ["a@x.test"],
            "note": "It is so.",
        },
    });
    (expected["answers"], expected["replies"]) = (json!(email.id.as_str()), json!([email.id.as_str()]));
    let thread = InThread { answers: Some(email.id.clone()), replies: vec![email.id.clone()], email };
    assert_eq!(shown(EmailView::from(thread)), expected);
}

#[test]
fn what_is_empty_in_an_email_is_absent() {
    let mut email = received(&mailbox_id("m1"), "1@x.test", 0);
    (email.message_id, email.text, email.raw_key) = (None, String::new(), String::new());
    let mut expected = json!({
        "id": email.id.as_str(),
        "mailbox_id": "m1",
        "direction": "incoming",
        "status": "received",
        "subject": "Message 1@x.test",
        "received_at": AT,
        "size": 10,
        "truncated": false,
    });
    (expected["answers"], expected["replies"]) = (Value::Null, json!([]));
    assert_eq!(shown(EmailView::from(InThread { email, answers: None, replies: vec![] })), expected);
}

fn quarantined() -> Quarantined {
    Quarantined {
        mailbox_id: mailbox_id("m1"),
        remote_id: "imap-1-2".into(),
        reason: QuarantineReason::NotAMessage,
        detail: "no header".into(),
        received_at: None,
        raw_key: "raw".into(),
        size: 3,
        at: moment(0),
        attempts: 2,
        last_attempt: Some(moment(0)),
        clues: Clues { message_id: text("1@x.test"), subject: text("Offer"), sender: text("a@x.test") },
    }
}

fn quarantined_shown() -> Value {
    json!({
        "mailbox_id": "m1",
        "remote_id": "imap-1-2",
        "reason": "not-a-message",
        "detail": "no header",
        "raw_key": "raw",
        "size": 3,
        "at": AT,
        "attempts": 2,
        "last_attempt": AT,
        "clues": { "message_id": "1@x.test", "subject": "Offer", "sender": "a@x.test" },
        "explanation": "It is not an email message: no header could be found.",
    })
}

#[test]
fn messages_in_quarantine() {
    let mut expected = quarantined_shown();
    assert_eq!(shown(QuarantinedView::from(quarantined())), expected);
    let bare = Quarantined { last_attempt: None, clues: Clues::default(), ..quarantined() };
    expected.as_object_mut().unwrap().remove("last_attempt");
    expected["clues"] = json!({});
    assert_eq!(shown(QuarantinedView::from(bare)), expected);
}

#[test]
fn what_came_of_trying_again() {
    let id = sent_email_id("1@x.test");
    let tried = |remote_id: &str, came_to| Tried { mailbox_id: mailbox_id("m1"), remote_id: remote_id.into(), came_to };
    let tried = vec![
        tried("r1", Replayed::Recorded(id.clone())),
        tried("r2", Replayed::Refused("It is too large.".into())),
        tried("r3", Replayed::Gone),
        tried("r4", Replayed::Asked),
    ];
    let expected = json!({
        "recorded": [{ "mailbox_id": "m1", "remote_id": "r1", "email_id": id.as_str() }],
        "asked": [{ "mailbox_id": "m1", "remote_id": "r4" }],
        "refused": [
            { "mailbox_id": "m1", "remote_id": "r2", "detail": "It is too large." },
            { "mailbox_id": "m1", "remote_id": "r3", "detail": "It is in no quarantine any more." },
        ],
        "more": true,
    });
    assert_eq!(shown(ReplayResult::from(Replays { tried, more: true })), expected);
}

#[test]
fn why_a_message_is_missed() {
    let email = received(&mailbox_id("m1"), "1@x.test", 0);
    let expected = json!({
        "finding": "recorded",
        "email_id": email.id.as_str(),
        "subject": "Message 1@x.test",
        "received_at": AT,
    });
    assert_eq!(shown(FindingView::from(Finding::Recorded(Box::new(email)))), expected);
    let mut expected = quarantined_shown();
    expected["finding"] = "quarantined".into();
    assert_eq!(shown(FindingView::from(Finding::Quarantined(Box::new(quarantined())))), expected);
    let expected = json!({ "finding": "not-here", "explanation": "It works." });
    assert_eq!(shown(FindingView::from(Finding::NotHere("It works.".into()))), expected);
}

#[test]
fn tests_of_mailboxes() {
    let stage = |stage, status, evidence| StageReport { stage, status, milliseconds: 5, evidence };
    let test = MailboxTest {
        id: "t1".into(),
        mailbox_id: mailbox_id("m1"),
        phase: TestPhase::Finished,
        requested_by: "ann".into(),
        requested_at: moment(0),
        finished_at: Some(moment(0)),
        items_with_this_organization_only: true,
        deliveries: vec![DeliveryTest {
            delivery: Delivery::IncomingEmail,
            status: TestStatus::Failure,
            stages: vec![
                stage(Stage::Connect, TestStatus::Success, None),
                stage(Stage::SignIn, TestStatus::Failure, Some(evidence())),
            ],
            cause: Some(Cause::CredentialsRefused),
        }],
    };
    let expected = json!({
        "id": "t1",
        "mailbox_id": "m1",
        "phase": "finished",
        "requested_by": "ann",
        "requested_at": AT,
        "finished_at": AT,
        "items_with_this_organization_only": true,
        "deliveries": [{
            "delivery": "incoming-email",
            "status": "failure",
            "stages": [
                { "stage": "connect", "status": "success", "milliseconds": 5 },
                {
                    "stage": "sign-in",
                    "status": "failure",
                    "milliseconds": 5,
                    "evidence": { "stage": "sign-in", "code": "535", "detail": "5.7.8", "words": "denied" },
                },
            ],
            "cause": "credentials-refused",
        }],
    });
    assert_eq!(shown(MailboxTestView::from(test.clone())), expected);
    let waiting = MailboxTest { phase: TestPhase::Waiting, finished_at: None, deliveries: vec![], ..test };
    let expected = json!({
        "id": "t1",
        "mailbox_id": "m1",
        "phase": "waiting",
        "requested_by": "ann",
        "requested_at": AT,
        "items_with_this_organization_only": true,
        "deliveries": [],
    });
    assert_eq!(shown(MailboxTestView::from(waiting)), expected);
}

#[test]
fn entries_of_the_audit() {
    let entry = AuditEntry {
        id: "a1".into(),
        at: moment(0),
        by: "ann".into(),
        action: AuditAction::ApprovedForTenant,
        subject: AuditSubject::ApiToken,
        subject_id: "k1".into(),
        fields: vec!["name".into()],
    };
    let mut expected = json!({
        "id": "a1",
        "at": AT,
        "by": "ann",
        "action": "approved-for-tenant",
        "subject": "api-token",
        "subject_id": "k1",
        "fields": ["name"],
    });
    assert_eq!(shown(AuditEntryView::from(entry.clone())), expected);
    expected.as_object_mut().unwrap().remove("fields");
    assert_eq!(shown(AuditEntryView::from(AuditEntry { fields: vec![], ..entry })), expected);
}

#[test]
fn tokens() {
    let (role, created_by) = (Role::TenantAdministrator, "ann".to_owned());
    let token = ApiToken { id: "k1".into(), name: "desk".into(), role, created_by, created_at: moment(0) };
    let expected = json!({
        "id": "k1",
        "name": "desk",
        "role": "tenant-administrator",
        "created_by": "ann",
        "created_at": AT,
    });
    assert_eq!(shown(ApiTokenView::from(token)), expected);
}

#[test]
fn approvals() {
    let decision = |by: &str| Some(Decision { by: by.into(), at: moment(0) });
    let approval = Approval { state: ApprovalState::Approved, decided: decision("ann"), tenant: decision("tess") };
    let expected = json!({
        "state": "approved",
        "decided": { "by": "ann", "at": AT },
        "tenant": { "by": "tess", "at": AT },
    });
    assert_eq!(shown(ApprovalView::from(approval)), expected);
    assert_eq!(shown(ApprovalView::from(Approval::undecided(false))), json!({ "state": "empty" }));
}

#[test]
fn settings_of_holds() {
    let settings = HoldSettings { hold_after_mailboxes: 10, recovery_probe: RecoveryProbe::Resume };
    let expected = json!({ "hold_after_mailboxes": 10, "recovery_probe": "resume" });
    assert_eq!(shown(HoldInput::from(settings)), expected);
    let read: HoldInput = serde_json::from_value(json!({ "recovery_probe": "tell" })).unwrap();
    assert_eq!(HoldSettings::from(read).recovery_probe, RecoveryProbe::Tell);
    assert!(serde_json::from_value::<HoldInput>(json!({ "colour": "blue" })).is_err());
}
