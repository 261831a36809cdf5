//! Outgoing email as a draft and its sending.

use end_to_end::{
    online::{Online, address},
    world::{Outbound, pass, pend_raw},
};
use mail_parser::{MessageParser, MimeHeaders};
use mailrail_domain::{
    email::record::{EmailStatus, RecipientStatus},
    settings::hold::RecoveryProbe,
    words::{
        id::{EmailId, MailboxId},
        policy::{FAILURES_MAX, GAP_SECONDS},
    },
};
use mailrail_engine::{limits::SENDS_PER_RUN, ports::Directory};
use mailrail_test_support::{build, graph::Fault};

use super::OUTGOING;

/// A mailbox that sends, and others that are in the tenant as well.
async fn sender(online: &Online) -> MailboxId {
    for other in ["bob", "cid", "dan"] {
        online.server.tenant().mailbox(&address(other));
    }
    online.mailbox("ada").await
}

fn in_folder(online: &Online, name: &str, folder: &str) -> Vec<Vec<u8>> {
    let mut tenant = online.server.tenant();
    tenant.mailbox(&address(name)).of_folder(folder).into_iter().map(|message| message.mime.clone()).collect()
}

async fn status(online: &Online, id: &EmailId) -> EmailStatus {
    online.world.email(id).await.status
}

/// An email with an attachment of so many bytes, Pending Send.
pub(super) async fn pend_large(online: &Online, mailbox: &MailboxId, sizes: &[usize]) -> EmailId {
    let message_id = format!("large-{}@online.test", sizes.len());
    let mut raw = format!(
        "From: ada@online.test\r\nTo: bob@online.test\r\nSubject: Large\r\nMessage-ID: <{message_id}>\r\n\
         In-Reply-To: <asked@online.test>\r\nReferences: <asked@online.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
    );
    for (n, size) in sizes.iter().enumerate() {
        let line = format!("{n} is what this line has, again and again.\r\n");
        raw.push_str(&format!(
            "--b\r\nContent-Type: text/csv; name=\"{n}.csv\"\r\nContent-Disposition: attachment; filename=\"{n}.csv\"\r\n\r\n{}",
            line.repeat(size / line.len())
        ));
    }
    raw.push_str("--b--\r\n");
    let recipients = ["bob", "dan"].map(|name| build::address(&address(name))).to_vec();
    pend_raw(&online.world.engine, mailbox, &message_id, "Large", recipients, raw.into_bytes()).await
}

#[tokio::test]
async fn an_email_goes_to_all_of_its_recipients_with_its_message_id_and_into_sent_items() {
    let online = Online::new().await;
    let mailbox = sender(&online).await;
    let (bob, cid, dan) = (address("bob"), address("cid"), address("dan"));
    let outbound = Outbound { to: &[&bob], cc: &[&cid], bcc: &[&dan], subject: "Hello" };
    let id = online.world.pend(&mailbox, &outbound).await;
    online.world.send(&mailbox).await;
    let email = online.world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Sent);
    let outgoing = email.outgoing.expect("an outgoing email");
    assert!(outgoing.recipients.iter().all(|recipient| recipient.status == RecipientStatus::Sent));
    let message_id = email.message_id.expect("a Message-ID");
    for name in ["bob", "cid", "dan"] {
        let arrived = in_folder(&online, name, "inbox");
        assert_eq!(arrived.len(), 1, "{name}");
        let text = String::from_utf8_lossy(&arrived[0]);
        assert!(text.contains(&format!("Message-ID: <{message_id}>")), "{text}");
        assert!(!text.contains("dan@"), "a blind copy stays one: {text}");
    }
    assert_eq!(in_folder(&online, "ada", "sentitems").len(), 1);
    assert_eq!(in_folder(&online, "ada", "drafts").len(), 0);
}

#[tokio::test]
async fn an_email_too_large_for_one_request_goes_with_its_attachments_in_pieces() {
    let online = Online::new().await;
    let mailbox = sender(&online).await;
    let id = pend_large(&online, &mailbox, &[7_000_000, 10_000]).await;
    online.world.send(&mailbox).await;
    assert_eq!(status(&online, &id).await, EmailStatus::Sent);
    let pieces = online.server.tenant().calls.iter().filter(|(method, _)| method == "PUT").count();
    assert_eq!(pieces, 3);
    for name in ["bob", "dan"] {
        let arrived = in_folder(&online, name, "inbox");
        let message = MessageParser::default().parse(&arrived[0]).expect("a message");
        assert_eq!((message.subject(), message.in_reply_to().as_text()), (Some("Large"), Some("asked@online.test")));
        assert!(message.body_text(0).is_some_and(|text| text.contains("See below.")));
        let attachments: Vec<_> =
            message.attachments().map(|part| (part.attachment_name(), part.contents().len())).collect();
        assert_eq!(attachments.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [Some("0.csv"), Some("1.csv")]);
        assert!(attachments[0].1 > 6_990_000 && attachments[1].1 > 9_900, "{attachments:?}");
    }
}

#[tokio::test]
async fn what_a_run_left_as_a_draft_the_next_finishes() {
    for path in ["/messages", "/upload/", "/createUploadSession", "/attachments"] {
        let online = Online::new().await;
        let mailbox = sender(&online).await;
        let id = pend_large(&online, &mailbox, &[10_000, 4_000_000, 4_000_000]).await;
        let after = if path == "/upload/" { 3 } else { 1 };
        online.server.tenant().faults.push_back(Fault { after, ..Fault::of(path, 503, "serviceNotAvailable") });
        online.world.run(&mailbox, OUTGOING).await;
        assert_eq!(status(&online, &id).await, EmailStatus::PendingSend, "{path}");
        assert_eq!(in_folder(&online, "bob", "inbox").len(), 0, "{path}");
        pass(GAP_SECONDS.into());
        online.world.send(&mailbox).await;
        assert_eq!(status(&online, &id).await, EmailStatus::Sent, "{path}");
        let arrived = in_folder(&online, "bob", "inbox");
        assert_eq!(arrived.len(), 1, "{path}");
        let message = MessageParser::default().parse(&arrived[0]).expect("a message");
        assert_eq!(message.attachment_count(), 3, "{path}: each once");
        assert_eq!(in_folder(&online, "ada", "drafts").len(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_sending_whose_reply_was_lost_is_found_in_sent_items_and_not_repeated() {
    let online = Online::new().await;
    let mailbox = sender(&online).await;
    let bob = address("bob");
    let id = online.world.pend(&mailbox, &Outbound { to: &[&bob], subject: "Once", ..Outbound::default() }).await;
    // A reply that is none: the connection ends within it, as far as the client can tell.
    let fault = Fault { takes_effect: true, ..Fault::of("/send", 504, "gatewayTimeout") };
    online.server.tenant().faults.push_back(fault);
    online.world.run(&mailbox, OUTGOING).await;
    for _ in 0..3 {
        pass(GAP_SECONDS.into());
        online.world.run(&mailbox, OUTGOING).await;
    }
    assert_eq!(in_folder(&online, "bob", "inbox").len(), 1);
    assert_eq!(status(&online, &id).await, EmailStatus::Sent);
}

#[tokio::test]
async fn what_exchange_has_against_one_message_is_that_emails_and_what_it_has_against_the_mailbox_is_not() {
    for (path, status_code, code, expected) in [
        ("/send", 400, "ErrorInvalidRecipients", EmailStatus::Failed),
        ("/messages", 413, "ErrorMessageSizeExceeded", EmailStatus::Failed),
        ("/messages", 400, "ErrorMimeContentInvalid", EmailStatus::Failed),
        ("/send", 403, "ErrorSendAsDenied", EmailStatus::PendingSend),
        ("/send", 403, "ErrorQuotaExceeded", EmailStatus::PendingSend),
        ("/send", 429, "ErrorSubmissionQuotaExceeded", EmailStatus::PendingSend),
    ] {
        let online = Online::new().await;
        let mailbox = sender(&online).await;
        let bob = address("bob");
        let id = online.world.pend(&mailbox, &Outbound { to: &[&bob], subject: "S", ..Outbound::default() }).await;
        // The first request with "/messages" looks for a draft.
        let after = usize::from(path == "/messages");
        online.server.tenant().faults.push_back(Fault { after, ..Fault::of(path, status_code, code) });
        online.world.run(&mailbox, OUTGOING).await;
        assert_eq!(status(&online, &id).await, expected, "{code}");
        let state = online.world.state(&mailbox, OUTGOING).await;
        let alerts = online.open_alerts(&mailbox).await;
        assert_eq!(alerts.len(), usize::from(expected == EmailStatus::PendingSend), "{code}: {alerts:#?}");
        assert_eq!(state.enabled, code != "ErrorSendAsDenied", "{code}");
        assert_eq!(in_folder(&online, "bob", "inbox").len(), 0, "{code}");
        let drafts = in_folder(&online, "ada", "drafts").len();
        assert_eq!(
            drafts,
            usize::from(expected == EmailStatus::PendingSend),
            "{code}: what is refused leaves no draft"
        );
    }
}

#[tokio::test]
async fn no_more_than_thirty_messages_go_out_in_a_minute() {
    let online = Online::new().await;
    let mailbox = sender(&online).await;
    let bob = address("bob");
    for n in 0..45 {
        let subject = format!("{n:02}");
        online.world.pend(&mailbox, &Outbound { to: &[&bob], subject: &subject, ..Outbound::default() }).await;
    }
    // Runs one after another, as quickly as the queue brings them.
    for _ in 0..6 {
        online.world.send(&mailbox).await;
        pass(-end_to_end::world::BETWEEN_RUNS_SECONDS);
    }
    assert_eq!(in_folder(&online, "bob", "inbox").len(), 30, "three runs of {SENDS_PER_RUN}");
    let state = online.world.state(&mailbox, OUTGOING).await;
    assert!(state.postponed_until.is_some() && state.enabled, "{state:?}");
    assert_eq!(online.open_alerts(&mailbox).await, [], "our own pacing is no alert");
    pass(61);
    online.world.send(&mailbox).await;
    online.world.send(&mailbox).await;
    assert_eq!(in_folder(&online, "bob", "inbox").len(), 45);
}

#[tokio::test]
async fn a_delivery_that_an_outage_disabled_is_let_in_by_the_server_and_not_by_a_token_that_is_kept() {
    let online = Online::new().await;
    let mailbox = sender(&online).await;
    let state = &online.world.engine.ports.state;
    let mut stored = state.organization().await.expect("a store that works");
    stored.organization.hold.recovery_probe = RecoveryProbe::Resume;
    state.put_organization(&stored, &build::audit()).await.expect("a store that works");
    let bob = address("bob");
    online.world.pend(&mailbox, &Outbound { to: &[&bob], subject: "After", ..Outbound::default() }).await;
    for _ in 0..100 {
        online.server.tenant().faults.push_back(Fault::of("/v1.0/", 503, "serviceNotAvailable"));
    }
    for _ in 0..FAILURES_MAX {
        online.world.run(&mailbox, OUTGOING).await;
    }
    assert!(!online.world.state(&mailbox, OUTGOING).await.enabled);
    pass(3_600);
    online.world.run(&mailbox, OUTGOING).await;
    assert!(!online.world.state(&mailbox, OUTGOING).await.enabled, "its server is away still");
    online.server.tenant().faults.clear();
    pass(7_200);
    online.world.run(&mailbox, OUTGOING).await;
    online.world.send(&mailbox).await;
    assert_eq!(in_folder(&online, "bob", "inbox").len(), 1);
}
