//! Email records.

pub mod outbox;
pub mod outgoing;
pub mod received;
pub mod threads;

use mailrail_domain::{
    email::{
        identity::sent_email_id,
        record::{Attachment, Correspondent, Direction, Email, EmailStatus, Outgoing, Recipient},
    },
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::ports::{EmailRecords, Inserted, StoredEmail};

use super::every_page;
use crate::build::{address, clock, moment, received};

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
#[macro_export]
macro_rules! records_suite {
    ($make:expr) => {
        $crate::conformance_tests!(received in records::received, $make, [
            an_unknown_email_is_not_there,
            a_received_email_comes_back_as_it_was_written,
            a_received_email_is_new_once,
            a_received_email_that_races_with_itself_is_new_once,
            a_received_email_that_is_there_already_stays_as_it_is,
            a_second_mailbox_lists_the_same_record,
            an_email_of_one_mailbox_is_not_on_the_list_of_another,
            emails_come_newest_first,
            emails_are_each_listed_once_over_all_pages,
            an_email_with_large_previews_fits,
        ]);
        $crate::conformance_tests!(outgoing in records::outgoing, $make, [
            a_draft_comes_back_as_it_was_written,
            a_draft_whose_id_is_taken_is_refused,
            a_draft_is_on_the_list_of_its_mailbox,
            an_update_moves_the_revision_and_every_read_shows_it,
            an_update_after_somebody_else_wrote_changes_nothing,
            an_update_of_an_unknown_email_writes_nothing,
            of_twenty_racing_updates_exactly_one_wins,
            a_draft_that_is_written_again_is_taken_for_the_first,
            several_records_are_read_in_the_order_of_their_ids,
        ]);
        $crate::conformance_tests!(threads in records::threads, $make, [
            received_and_sent_records_are_found_by_their_message_id,
            a_message_id_nobody_used_finds_nothing,
            replies_are_found_whichever_came_first,
            a_reply_is_found_by_its_references,
            a_reply_received_twice_is_one,
            a_draft_that_answers_is_among_the_replies,
        ]);
    };
}

/// Every test of the outbox, each on a fresh `$make`: a store of our state and a store of records.
#[macro_export]
macro_rules! outbox_suite {
    ($make:expr) => {
        $crate::conformance_tests!(outbox in records::outbox, $make, [
            an_email_is_in_the_outbox_from_pending_send_until_it_is_sent,
            a_failed_email_is_not_in_the_outbox,
            an_email_that_is_taken_back_leaves_the_outbox,
            an_email_that_is_put_off_stands_in_the_outbox_once,
            an_update_that_is_refused_leaves_the_outbox,
            an_outbox_comes_in_pages_the_oldest_emails_first,
            an_outbox_has_the_emails_of_its_own_mailbox,
            an_outbox_shows_revisions_that_an_update_accepts,
            a_place_whose_email_did_not_become_pending_send_is_cleared_within_hours,
            an_email_that_is_sent_is_not_sent_again_although_its_place_stayed,
            an_email_that_waits_for_long_keeps_its_place,
        ]);
    };
}

/// More than any list of a test, where it is not about pages.
const WHOLE_LIST: usize = 100;

/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;

async fn listed(store: &impl EmailRecords, mailbox: &MailboxId) -> Vec<Email> {
    every_page(WHOLE_LIST, async |page| store.emails(mailbox, page).await).await
}

fn ids(emails: &[Email]) -> Vec<EmailId> {
    emails.iter().map(|email| email.id.clone()).collect()
}

async fn insert(store: &impl EmailRecords, email: &Email) {
    assert_eq!(store.insert_received(email, &email.mailbox_id).await.unwrap(), Inserted::New);
}

async fn read(store: &impl EmailRecords, id: &EmailId) -> StoredEmail {
    store.email(id).await.unwrap().expect("an email that was written")
}

fn correspondent(name: &str, address: &str) -> Correspondent {
    Correspondent { name: (!name.is_empty()).then(|| name.to_owned()), address: address.to_owned() }
}

/// A received email of which every field says something.
fn with_everything(mailbox: &MailboxId) -> Email {
    let email = received(mailbox, "everything@example.org", 1);
    Email {
        in_reply_to: Some("question@example.org".to_owned()),
        references: vec!["first@example.org".to_owned(), "question@example.org".to_owned()],
        from: vec![correspondent("Jürgen \"J\" Größe", "j@example.org")],
        to: vec![correspondent("", "a@example.org"), correspondent("", "not an address")],
        cc: vec![correspondent("漢字", "c@example.org")],
        bcc: vec![correspondent("", "")],
        subject: "Grüße 🚂\t\"quoted\"".to_owned(),
        date: Some(moment(0)),
        received_at: clock(),
        size: u64::from(u32::MAX) + 1,
        headers: "Subject: x\r\n y\r\n".to_owned(),
        html: "<p>Hi</p>".to_owned(),
        truncated: true,
        attachments: vec![
            Attachment {
                name: Some("Rechnung ü.pdf".to_owned()),
                content_type: "application/pdf".to_owned(),
                content_id: Some("part1@example.org".to_owned()),
                size: 4,
                key: format!("emails/{}/attachments/0", email.id),
            },
            Attachment {
                name: None,
                content_type: "application/octet-stream".to_owned(),
                content_id: None,
                size: 0,
                key: format!("emails/{}/attachments/1", email.id),
            },
        ],
        ..email
    }
}

/// A draft to two recipients.
fn draft(mailbox: &MailboxId, message_id: &str, second: i64) -> Email {
    let recipients = ["a@example.org", "b@example.org"].map(|to| Recipient::new(address(to)));
    Email {
        id: sent_email_id(message_id),
        direction: Direction::Outgoing,
        status: EmailStatus::Draft,
        raw_key: String::new(),
        outgoing: Some(Outgoing { recipients: recipients.to_vec(), ..Outgoing::default() }),
        ..received(mailbox, message_id, second)
    }
}

async fn drafted(store: &impl EmailRecords, draft: &Email) -> StoredEmail {
    assert!(store.insert_draft(draft).await.unwrap());
    read(store, &draft.id).await
}

/// Writes the email in another status, and answers what is stored then.
async fn moved(store: &impl EmailRecords, stored: &StoredEmail, status: EmailStatus) -> StoredEmail {
    let email = Email { status, ..stored.email.clone() };
    store.update_outgoing(&email, &stored.revision).await.unwrap().expect("nobody else wrote")
}
