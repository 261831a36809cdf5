//! Outgoing email in one request, with its copy in Sent Items.

use end_to_end::{
    on_premises::{OnPremises, PASSWORD, SERVICE, address, impersonating, profile},
    world::{Outbound, pass, pend_raw},
};
use mailrail_domain::{
    email::record::{EmailStatus, RecipientStatus},
    settings::profile::EmailServerProfile,
    words::{
        cause::{Cause, CredentialSource},
        id::{EmailId, MailboxId},
        policy::{GAP_SECONDS, UnknownOutcome},
    },
};
use mailrail_engine::{limits::SENDS_PER_RUN, ports::Directory};
use mailrail_test_support::{
    build,
    ews::{Answer, Fault},
    proxy::{Mischief, Proxy},
};

use super::OUTGOING;

/// A profile whose service account has full access to mailboxes, and does not impersonate.
pub(super) fn delegated() -> EmailServerProfile {
    EmailServerProfile { credentials: CredentialSource::Profile, username: Some(SERVICE.to_owned()), ..profile() }
}

/// A mailbox that sends, and others that are in the organization as well.
async fn sender(there: &OnPremises) -> MailboxId {
    for other in ["bob", "cid", "dan"] {
        there.server.exchange().mailbox(&address(other));
    }
    let mailbox = there.mailbox("ada").await;
    let mut exchange = there.server.exchange();
    let inside = exchange.mailbox(&address("ada"));
    inside.full_access.insert(SERVICE.to_owned());
    inside.send_as.insert(SERVICE.to_owned());
    mailbox
}

fn in_folder(there: &OnPremises, name: &str, folder: &str) -> Vec<String> {
    let mut exchange = there.server.exchange();
    let messages = exchange.mailbox(&address(name)).of_folder(folder);
    messages.into_iter().map(|message| String::from_utf8_lossy(&message.mime).into_owned()).collect()
}

async fn pend(there: &OnPremises, mailbox: &MailboxId, subject: &str) -> EmailId {
    let bob = address("bob");
    there.world.pend(mailbox, &Outbound { to: &[&bob], cc: &[], bcc: &[], subject }).await
}

async fn status(there: &OnPremises, id: &EmailId) -> EmailStatus {
    there.world.email(id).await.status
}

#[tokio::test]
async fn an_email_goes_to_all_of_its_recipients_with_its_message_id_and_into_sent_items() {
    for profile in [profile(), impersonating(), delegated()] {
        let there = OnPremises::with(profile).await;
        let mailbox = sender(&there).await;
        let (bob, cid, dan) = (address("bob"), address("cid"), address("dan"));
        let outbound = Outbound { to: &[&bob], cc: &[&cid], bcc: &[&dan], subject: "Hello" };
        let id = there.world.pend(&mailbox, &outbound).await;
        let before = there.requests();
        there.world.send(&mailbox).await;
        assert_eq!(there.requests() - before, 2, "one request asks whether the server is there, and one sends");
        let email = there.world.email(&id).await;
        assert_eq!(email.status, EmailStatus::Sent);
        let outgoing = email.outgoing.expect("an outgoing email");
        assert!(outgoing.recipients.iter().all(|recipient| recipient.status == RecipientStatus::Sent));
        let message_id = email.message_id.expect("a Message-ID");
        for name in ["bob", "cid", "dan"] {
            let arrived = in_folder(&there, name, "inbox");
            assert_eq!(arrived.len(), 1, "{name}");
            assert!(arrived[0].contains(&format!("Message-ID: <{message_id}>")), "{}", arrived[0]);
            assert!(!arrived[0].contains("dan@"), "a blind copy stays one: {}", arrived[0]);
        }
        assert_eq!(in_folder(&there, "ada", "sentitems").len(), 1);
    }
}

#[tokio::test]
async fn a_lost_reply_is_settled_in_sent_items_and_nothing_is_sent_twice() {
    for answer in [
        Answer::Http(504, "text/html", "<html>Gateway Timeout</html>".to_owned(), vec![]),
        Answer::Http(200, "text/xml", "<s:Envelope".to_owned(), vec![]),
        Answer::Fault("ErrorInternalServerError", None),
        Answer::Fault("ErrorTimeoutExpired", None),
        Answer::Fault("ErrorMailboxStoreUnavailable", None),
    ] {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let id = pend(&there, &mailbox, "Once").await;
        there.fault(Fault { takes_effect: true, ..Fault::of("CreateItem", answer.clone()) });
        there.world.run(&mailbox, OUTGOING).await;
        assert_eq!(status(&there, &id).await, EmailStatus::Sending, "{answer:?}");
        pass(GAP_SECONDS.into());
        there.world.send(&mailbox).await;
        assert_eq!(status(&there, &id).await, EmailStatus::Sent, "{answer:?}");
        assert_eq!(there.server.exchange().sent.len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn an_email_that_the_server_has_yet_to_send_is_waited_for() {
    let there = OnPremises::with(EmailServerProfile { unknown_outcome: UnknownOutcome::SendAgain, ..profile() }).await;
    let mailbox = sender(&there).await;
    let id = pend(&there, &mailbox, "Once").await;
    there.server.exchange().holds_sent = true;
    there.fault(Fault {
        takes_effect: true,
        ..Fault::of("CreateItem", Answer::Http(504, "text/html", String::new(), vec![]))
    });
    for _ in 0..3 {
        there.world.run(&mailbox, OUTGOING).await;
        pass(GAP_SECONDS.into());
        assert_eq!(status(&there, &id).await, EmailStatus::Sending);
    }
    // Transport is back: the server sends it, and its copy is in Sent Items.
    {
        let mut exchange = there.server.exchange();
        exchange.holds_sent = false;
        let inside = exchange.mailbox(&address("ada"));
        let held = inside.of_folder("drafts")[0].number;
        inside.move_to(held, "sentitems");
    }
    there.world.send(&mailbox).await;
    assert_eq!(status(&there, &id).await, EmailStatus::Sent);
    assert_eq!(there.server.exchange().count("CreateItem"), 1);
}

#[tokio::test]
async fn a_server_that_falls_silent_before_the_sending_leaves_the_email_pending() {
    let profile = EmailServerProfile { connection_timeout_seconds: 2, ..profile() };
    let there = OnPremises::with(profile).await;
    let proxy = Proxy::start(there.server.port(), Mischief::Stall).await;
    let there = there.moved_to(proxy.port()).await;
    let mailbox = sender(&there).await;
    let id = pend(&there, &mailbox, "Pending").await;
    there.world.run(&mailbox, OUTGOING).await;
    assert_eq!(status(&there, &id).await, EmailStatus::PendingSend);
    proxy.turn_to(Mischief::Delay(std::time::Duration::ZERO));
    pass(GAP_SECONDS.into());
    there.world.send(&mailbox).await;
    assert_eq!(status(&there, &id).await, EmailStatus::Sent);
}

#[tokio::test]
async fn a_reply_that_is_corrupted_anywhere_sends_once() {
    for place in (1..=16).map(|n| n * 150) {
        let there = OnPremises::new().await;
        let proxy = Proxy::start(there.server.port(), Mischief::CorruptAt(place)).await;
        let there = there.moved_to(proxy.port()).await;
        let mailbox = sender(&there).await;
        let id = pend(&there, &mailbox, "Once").await;
        for _ in 0..3 {
            there.world.run(&mailbox, OUTGOING).await;
            pass(GAP_SECONDS.into());
        }
        proxy.turn_to(Mischief::Delay(std::time::Duration::ZERO));
        let state = &there.world.engine.ports.state;
        if !there.world.state(&mailbox, OUTGOING).await.enabled {
            assert!(state.enable(&mailbox, OUTGOING, 5, &build::audit()).await.expect("a store that works"));
        }
        for _ in 0..3 {
            there.world.run(&mailbox, OUTGOING).await;
            pass(GAP_SECONDS.into());
        }
        assert_eq!(status(&there, &id).await, EmailStatus::Sent, "corrupted at {place}");
        assert_eq!(there.server.exchange().sent.len(), 1, "corrupted at {place}");
    }
}

#[tokio::test]
async fn an_email_that_is_not_in_sent_items_is_left_to_a_person() {
    let there = OnPremises::new().await;
    let mailbox = sender(&there).await;
    let id = pend(&there, &mailbox, "Perhaps").await;
    there.fault(Fault::of("CreateItem", Answer::Http(502, "text/html", String::new(), vec![])));
    there.world.run(&mailbox, OUTGOING).await;
    pass(GAP_SECONDS.into());
    there.world.send(&mailbox).await;
    assert_eq!(status(&there, &id).await, EmailStatus::Failed, "the profile holds what nobody knows of");
    assert_eq!(there.server.exchange().sent.len(), 0);
}

#[tokio::test]
async fn a_server_that_did_not_take_the_request_gets_it_again() {
    for (answer, cause) in [
        (Answer::Fault("ErrorServerBusy", Some(400_000)), Cause::ServerBusy),
        (Answer::Fault("ErrorADUnavailable", None), Cause::ServerUnavailable),
        (Answer::Fault("ErrorQuotaExceeded", None), Cause::OverQuota),
        (
            Answer::Http(503, "text/html", String::new(), vec![("retry-after", "350".to_owned())]),
            Cause::ServerUnavailable,
        ),
    ] {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let id = pend(&there, &mailbox, "Later").await;
        there.fault(Fault::of("CreateItem", answer.clone()));
        there.world.run(&mailbox, OUTGOING).await;
        assert_eq!(status(&there, &id).await, EmailStatus::PendingSend, "{answer:?}");
        assert_eq!(
            there.open_alerts(&mailbox).await.iter().filter_map(|alert| alert.cause).collect::<Vec<_>>(),
            [cause]
        );
        pass(700);
        there.world.send(&mailbox).await;
        assert_eq!(status(&there, &id).await, EmailStatus::Sent, "{answer:?}");
        assert_eq!(there.server.exchange().sent.len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn what_the_server_has_against_a_message_fails_that_email_alone() {
    for code in ["ErrorInvalidRecipients", "ErrorMessageSizeExceeded", "ErrorMimeContentInvalid"] {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let first = pend(&there, &mailbox, "First").await;
        let second = pend(&there, &mailbox, "Second").await;
        there.fault(Fault::of("CreateItem", Answer::Fault(code, None)));
        there.world.send(&mailbox).await;
        let mut statuses = [status(&there, &first).await, status(&there, &second).await];
        statuses.sort_by_key(|status| *status == EmailStatus::Failed);
        assert_eq!(statuses, [EmailStatus::Sent, EmailStatus::Failed], "{code}");
        assert_eq!(there.open_alerts(&mailbox).await, [], "{code}");
    }
}

/// What a front or a server may answer after the server has carried out the request, or before.
fn answers_in_no_table() -> Vec<Answer> {
    let page = |status| Answer::Http(status, "text/html", "<html>No.</html>".to_owned(), vec![]);
    let mut answers: Vec<Answer> = [400, 403, 404, 408, 440, 502].into_iter().map(page).collect();
    answers.push(Answer::Fault("ErrorOfTomorrow", None));
    answers.push(Answer::Fault("ErrorConnectionFailedTransientError", None));
    answers
}

#[tokio::test]
async fn an_answer_in_no_table_is_an_unknown_outcome_which_sent_items_settle() {
    for answer in answers_in_no_table() {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let first = pend(&there, &mailbox, "First").await;
        let second = pend(&there, &mailbox, "Second").await;
        there.fault(Fault { takes_effect: true, ..Fault::of("CreateItem", answer.clone()) });
        there.world.send(&mailbox).await;
        pass(GAP_SECONDS.into());
        there.world.send(&mailbox).await;
        let statuses = (status(&there, &first).await, status(&there, &second).await);
        assert_eq!(statuses, (EmailStatus::Sent, EmailStatus::Sent), "{answer:?}");
        assert_eq!(there.server.exchange().sent.len(), 2, "{answer:?}: each once");
        assert_eq!(there.open_alerts(&mailbox).await, [], "{answer:?}: one email's failure is not its mailbox's");
    }
}

#[tokio::test]
async fn an_answer_in_no_table_to_what_was_not_sent_leaves_the_email_to_a_person_in_the_servers_words() {
    for answer in answers_in_no_table() {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let first = pend(&there, &mailbox, "First").await;
        let second = pend(&there, &mailbox, "Second").await;
        there.fault(Fault::of("CreateItem", answer.clone()));
        there.world.send(&mailbox).await;
        pass(GAP_SECONDS.into());
        there.world.send(&mailbox).await;
        let mut statuses = [status(&there, &first).await, status(&there, &second).await];
        statuses.sort_by_key(|status| *status == EmailStatus::Failed);
        assert_eq!(statuses, [EmailStatus::Sent, EmailStatus::Failed], "{answer:?}");
        assert_eq!(there.server.exchange().sent.len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_copy_that_the_server_filed_before_it_failed_to_send_makes_no_email_sent() {
    let there = OnPremises::new().await;
    let mailbox = sender(&there).await;
    let id = pend(&there, &mailbox, "Never").await;
    let fault = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
                 <faultcode>s:Server</faultcode><faultstring>failed to send mail</faultstring>\
                 </s:Fault></s:Body></s:Envelope>";
    there.fault(Fault {
        takes_effect: true,
        ..Fault::of("CreateItem", Answer::Http(500, "text/xml", fault.to_owned(), vec![]))
    });
    for _ in 0..2 {
        there.world.run(&mailbox, OUTGOING).await;
        pass(GAP_SECONDS.into());
    }
    assert_eq!(in_folder(&there, "ada", "sentitems").len(), 1, "the copy is there");
    let email = there.world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Failed);
    let note = email.outgoing.and_then(|outgoing| outgoing.note).expect("a note");
    assert!(note.contains("failed to send mail"), "{note}");
}

#[tokio::test]
async fn a_shared_account_sends_as_the_mailbox_or_on_its_behalf_and_a_lack_of_the_right_is_told_apart() {
    for (right, cause) in [("send as", None), ("on behalf", None), ("none", Some(Cause::SenderRefused))] {
        let there = OnPremises::with(delegated()).await;
        let mailbox = sender(&there).await;
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            if right != "send as" {
                inside.send_as.clear();
            }
            if right == "on behalf" {
                inside.send_on_behalf.insert(SERVICE.to_owned());
            }
        }
        let id = pend(&there, &mailbox, "Hello").await;
        there.world.run(&mailbox, OUTGOING).await;
        let alerts = there.open_alerts(&mailbox).await;
        assert_eq!(alerts.first().and_then(|alert| alert.cause), cause, "{right}");
        assert_eq!(status(&there, &id).await == EmailStatus::Sent, cause.is_none(), "{right}");
        assert_eq!(there.world.state(&mailbox, OUTGOING).await.enabled, cause.is_none(), "{right}");
        if let Some(alert) = alerts.first() {
            assert_eq!(alert.evidence.as_ref().and_then(|seen| seen.detail.as_deref()), Some("ErrorSendAsDenied"));
        }
        let arrived = in_folder(&there, "bob", "inbox");
        let is_seen = arrived.iter().any(|message| message.contains(&format!("Sender: {SERVICE}")));
        assert_eq!(is_seen, right == "on behalf");
    }
    // A lack of access to the mailbox is another thing.
    let there = OnPremises::with(delegated()).await;
    let mailbox = there.mailbox("eve").await;
    pend(&there, &mailbox, "No access").await;
    there.world.run(&mailbox, OUTGOING).await;
    assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::AccessDenied));
}

#[tokio::test]
async fn sending_as_another_address_takes_the_right_too() {
    for is_allowed in [true, false] {
        let there = OnPremises::new().await;
        let mailbox = sender(&there).await;
        let raw = format!(
            "From: team@exchange.test\r\nTo: {}\r\nSubject: For the team\r\nMessage-ID: <team@exchange.test>\r\n\r\nHi\r\n",
            address("bob")
        );
        if is_allowed {
            let mut exchange = there.server.exchange();
            exchange.mailbox(&address("ada")).may_send_as.insert("team@exchange.test".to_owned());
        }
        let to = vec![build::address(&address("bob"))];
        let id =
            pend_raw(&there.world.engine, &mailbox, "team@exchange.test", "For the team", to, raw.into_bytes()).await;
        there.world.run(&mailbox, OUTGOING).await;
        assert_eq!(status(&there, &id).await == EmailStatus::Sent, is_allowed);
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_after_a_large_request_is_made_anew() {
    let there = OnPremises::new().await;
    there.server.exchange().closes_after_bytes = 64 * 1024;
    let mailbox = sender(&there).await;
    let line = "what this line has, again and again, makes the message large.\r\n";
    let to = vec![build::address(&address("bob"))];
    for n in 0..3 {
        let message_id = format!("large-{n}@exchange.test");
        let raw = format!(
            "From: {}\r\nTo: {}\r\nSubject: Large {n}\r\nMessage-ID: <{message_id}>\r\n\r\n{}",
            address("ada"),
            address("bob"),
            line.repeat(20_000)
        );
        pend_raw(&there.world.engine, &mailbox, &message_id, "Large", to.clone(), raw.into_bytes()).await;
    }
    there.world.send(&mailbox).await;
    assert_eq!(there.server.exchange().sent.len(), 3);
    assert!(in_folder(&there, "bob", "inbox").iter().all(|message| message.len() > 1_000_000));
}

#[tokio::test]
async fn a_run_sends_so_many_and_the_next_goes_on() {
    let there = OnPremises::new().await;
    let mailbox = sender(&there).await;
    for n in 0..SENDS_PER_RUN + 3 {
        pend(&there, &mailbox, &format!("{n}")).await;
    }
    there.world.send(&mailbox).await;
    assert_eq!(there.server.exchange().sent.len(), SENDS_PER_RUN);
    there.world.send(&mailbox).await;
    assert_eq!(there.server.exchange().sent.len(), SENDS_PER_RUN + 3);
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_around_the_sending_sends_once() {
    for turn in 1..=6 {
        let there = OnPremises::new().await;
        let proxy = Proxy::start(there.server.port(), Mischief::LoseReply(turn)).await;
        let there = there.moved_to(proxy.port()).await;
        let mailbox = sender(&there).await;
        there.put_profile(PASSWORD).await;
        let id = pend(&there, &mailbox, "Once").await;
        for _ in 0..3 {
            there.world.run(&mailbox, OUTGOING).await;
            pass(GAP_SECONDS.into());
        }
        proxy.turn_to(Mischief::Delay(std::time::Duration::ZERO));
        for _ in 0..3 {
            there.world.run(&mailbox, OUTGOING).await;
            pass(GAP_SECONDS.into());
        }
        assert_eq!(status(&there, &id).await, EmailStatus::Sent, "turn {turn}");
        assert_eq!(there.server.exchange().sent.len(), 1, "turn {turn}");
    }
}
