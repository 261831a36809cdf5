//! Email records: received once whoever received them, sent by revision, found by thread; and the quarantine.

use futures_util::future::join_all;
use mailrail_domain::{
    Timestamp,
    email::{
        identity::{MessageIdentity, received_email_id, sent_email_id},
        quarantine::{Clues, QUARANTINE_DAYS, QuarantineReason, Quarantined},
        record::{
            ADDRESSES_MAX, Attachment, Correspondent, Direction, Email, EmailStatus, HEADERS_BYTES_MAX,
            HTML_PREVIEW_BYTES_MAX, Outgoing, Recipient, RecipientStatus, SUBJECT_CHARS_MAX, TEXT_PREVIEW_BYTES_MAX,
        },
    },
    seconds_after,
    words::{
        address::EmailAddress,
        evidence::{Evidence, Stage},
        id::{EmailId, MailboxId},
    },
};
use mailrail_engine::ports::{Inserted, RecordStore, StoredEmail};

use super::{every_page, this_second};
use crate::build::{address, clock, mailbox_id, moment, received};

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
#[macro_export]
macro_rules! records_suite {
    ($make:expr) => {
        $crate::conformance_tests!(records in records, $make, [
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
            a_draft_comes_back_as_it_was_written,
            a_draft_whose_id_is_taken_is_refused,
            a_draft_is_on_the_list_of_its_mailbox,
            an_update_moves_the_revision_and_every_read_shows_it,
            an_update_after_somebody_else_wrote_changes_nothing,
            an_update_of_an_unknown_email_writes_nothing,
            of_twenty_racing_updates_exactly_one_wins,
            an_email_is_in_the_outbox_from_pending_send_until_it_is_sent,
            a_failed_email_is_not_in_the_outbox,
            an_email_that_is_taken_back_leaves_the_outbox,
            an_email_that_is_put_off_stands_in_the_outbox_once,
            an_update_that_is_refused_leaves_the_outbox,
            an_outbox_comes_in_pages_the_oldest_emails_first,
            recipients_are_counted_hour_by_hour_and_never_beyond_the_limit,
            recipients_that_are_given_back_can_be_counted_again,
            an_outbox_has_the_emails_of_its_own_mailbox,
            an_outbox_shows_revisions_that_an_update_accepts,
            received_and_sent_records_are_found_by_their_message_id,
            a_message_id_nobody_used_finds_nothing,
            replies_are_found_whichever_came_first,
            a_reply_is_found_by_its_references,
            a_reply_received_twice_is_one,
            a_draft_that_answers_is_among_the_replies,
            a_message_in_quarantine_comes_back_as_it_was_put_there,
            the_same_message_put_into_quarantine_twice_is_one_entry,
            messages_in_quarantine_are_each_listed_once_over_all_pages,
            a_quarantine_has_the_messages_of_its_own_mailbox,
            quarantines_of_all_mailboxes_come_newest_first_by_reason_or_together,
            a_message_that_was_tried_again_shows_it_and_one_that_was_released_is_gone,
        ]);
    };
}

/// More than any list of a test, where it is not about pages.
const WHOLE_LIST: usize = 100;
/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;
const SECONDS_PER_DAY: i64 = 86_400;

async fn listed(store: &impl RecordStore, mailbox: &MailboxId) -> Vec<Email> {
    every_page(WHOLE_LIST, async |page| store.emails(mailbox, page).await).await
}

fn ids(emails: &[Email]) -> Vec<EmailId> {
    emails.iter().map(|email| email.id.clone()).collect()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

async fn insert(store: &impl RecordStore, email: &Email) {
    assert_eq!(store.insert_received(email, &email.mailbox_id).await.unwrap(), Inserted::New);
}

async fn read(store: &impl RecordStore, id: &EmailId) -> StoredEmail {
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

async fn drafted(store: &impl RecordStore, draft: &Email) -> StoredEmail {
    assert!(store.insert_draft(draft).await.unwrap());
    read(store, &draft.id).await
}

/// Writes the email in another status, and answers what is stored then.
async fn moved(store: &impl RecordStore, stored: &StoredEmail, status: EmailStatus) -> StoredEmail {
    let email = Email { status, ..stored.email.clone() };
    store.update_outgoing(&email, stored.revision).await.unwrap().expect("nobody else wrote")
}

/// A draft that was told to be sent.
async fn pending(store: &impl RecordStore, mailbox: &MailboxId, message_id: &str, second: i64) -> StoredEmail {
    let stored = drafted(store, &draft(mailbox, message_id, second)).await;
    moved(store, &stored, EmailStatus::PendingSend).await
}

async fn outbox(store: &impl RecordStore, mailbox: &MailboxId) -> Vec<StoredEmail> {
    every_page(WHOLE_LIST, async |page| store.outbox(mailbox, page).await).await
}

pub async fn an_unknown_email_is_not_there(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    insert(store, &received(&mailbox, "a@example.org", 1)).await;
    assert_eq!(store.email(&sent_email_id("a@example.org")).await.unwrap(), None);
    assert_eq!(store.email(&received(&mailbox, "b@example.org", 1).id).await.unwrap(), None);
}

pub async fn a_received_email_comes_back_as_it_was_written(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let identity = MessageIdentity { message_id: None, date: None, originator_fields: &[b"x"], body: b"" };
    let bare = Email {
        id: received_email_id(&identity),
        message_id: None,
        subject: String::new(),
        text: String::new(),
        size: 0,
        ..received(&mailbox, "unused@example.org", 0)
    };
    for email in [with_everything(&mailbox), bare] {
        insert(store, &email).await;
        assert_eq!(read(store, &email.id).await.email, email);
        assert!(listed(store, &mailbox).await.contains(&email));
    }
}

pub async fn a_received_email_is_new_once(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let email = received(&mailbox, "a@example.org", 1);
    assert_eq!(store.insert_received(&email, &mailbox).await.unwrap(), Inserted::New);
    for _ in 0..2 {
        assert_eq!(store.insert_received(&email, &mailbox).await.unwrap(), Inserted::AlreadyThere);
    }
    assert_eq!(listed(store, &mailbox).await, [email]);
}

pub async fn a_received_email_that_races_with_itself_is_new_once(store: &impl RecordStore) {
    let mailboxes: Vec<MailboxId> = (0..10).map(|n| mailbox_id(&format!("m{n}"))).collect();
    let email = received(&mailboxes[0], "a@example.org", 1);
    let insertions = join_all(mailboxes.iter().map(|mailbox| store.insert_received(&email, mailbox))).await;
    assert_eq!(insertions.iter().filter(|inserted| *inserted.as_ref().unwrap() == Inserted::New).count(), 1);
    for mailbox in &mailboxes {
        assert_eq!(listed(store, mailbox).await, std::slice::from_ref(&email));
    }
}

pub async fn a_received_email_that_is_there_already_stays_as_it_is(store: &impl RecordStore) {
    let (mailbox, other) = (mailbox_id("m1"), mailbox_id("m2"));
    let email = received(&mailbox, "a@example.org", 1);
    insert(store, &email).await;
    let before = read(store, &email.id).await;
    // Read again, or from elsewhere, a message has another time of arrival and may have another form.
    let again = Email {
        mailbox_id: other.clone(),
        received_at: moment(99),
        text: "with a footer".to_owned(),
        in_reply_to: Some("question@example.org".to_owned()),
        ..email.clone()
    };
    for mailbox in [&mailbox, &other] {
        assert_eq!(store.insert_received(&again, mailbox).await.unwrap(), Inserted::AlreadyThere);
        assert_eq!(read(store, &email.id).await, before);
        assert_eq!(listed(store, mailbox).await, std::slice::from_ref(&email));
    }
    assert_eq!(store.replies("question@example.org").await.unwrap(), []);
}

pub async fn a_second_mailbox_lists_the_same_record(store: &impl RecordStore) {
    let (first, second) = (mailbox_id("m1"), mailbox_id("m2"));
    let email = received(&first, "a@example.org", 1);
    insert(store, &email).await;
    assert_eq!(store.insert_received(&email, &second).await.unwrap(), Inserted::AlreadyThere);
    for mailbox in [&first, &second] {
        assert_eq!(listed(store, mailbox).await, std::slice::from_ref(&email));
    }
    assert_eq!(store.with_message_id("a@example.org").await.unwrap(), [email]);
}

pub async fn an_email_of_one_mailbox_is_not_on_the_list_of_another(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    insert(store, &received(&mailbox, "a@example.org", 1)).await;
    assert_eq!(listed(store, &mailbox_id("m11")).await, []);
}

pub async fn emails_come_newest_first(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    for (message_id, second) in [("b@example.org", 20), ("c@example.org", 3), ("a@example.org", 100)] {
        insert(store, &received(&mailbox, message_id, second)).await;
    }
    assert!(store.insert_draft(&draft(&mailbox, "d@example.org", 50)).await.unwrap());
    let emails = listed(store, &mailbox).await;
    let order: Vec<Timestamp> = emails.iter().map(|email| email.received_at).collect();
    assert_eq!(order, [moment(100), moment(50), moment(20), moment(3)]);
}

pub async fn emails_are_each_listed_once_over_all_pages(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let mut expected = Vec::new();
    for n in 0..123 {
        // Some of one moment, where an order by time alone would lose some between two pages.
        let email = received(&mailbox, &format!("n{n}@example.org"), n / 12);
        insert(store, &email).await;
        expected.push(email.id);
    }
    expected.sort();
    // The longest page is more than one batch of the table's reads has room for.
    for limit in [PAGE, 120] {
        let emails = every_page(limit, async |page| store.emails(&mailbox, page).await).await;
        assert!(emails.is_sorted_by_key(|email| std::cmp::Reverse(email.received_at)));
        assert_eq!(sorted(ids(&emails)), expected);
    }
}

pub async fn an_email_with_large_previews_fits(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let many = |field: &str| -> Vec<Correspondent> {
        (0..ADDRESSES_MAX)
            .map(|n| correspondent(&format!("Somebody of {field} {n:030}"), &format!("{n:040}@{field}.example.org")))
            .collect()
    };
    let email = Email {
        to: many("to"),
        cc: many("cc"),
        subject: "ü".repeat(SUBJECT_CHARS_MAX),
        headers: "h".repeat(HEADERS_BYTES_MAX),
        text: "\"".repeat(TEXT_PREVIEW_BYTES_MAX),
        html: "ü".repeat(HTML_PREVIEW_BYTES_MAX / 2),
        ..with_everything(&mailbox)
    };
    insert(store, &email).await;
    assert_eq!(read(store, &email.id).await.email, email);
    assert_eq!(listed(store, &mailbox).await, [email]);
}

pub async fn a_draft_comes_back_as_it_was_written(store: &impl RecordStore) {
    let refused = RecipientStatus::Refused { evidence: Evidence::new(Stage::Envelope, "550 no such user") };
    let put_off = RecipientStatus::Pending { evidence: Some(Evidence::new(Stage::Data, "451 later")) };
    let to = |local: &str, status| Recipient { address: address(&format!("{local}@example.org")), status };
    let mut email = draft(&mailbox_id("m1"), "a@example.org", 1);
    email.bcc = vec![correspondent("", "hidden@example.org")];
    email.outgoing = Some(Outgoing {
        recipients: vec![to("a", RecipientStatus::Sent), to("b", refused), to("c", put_off)],
        attempts: 3,
        next_attempt: Some(clock()),
        outcome_unknown: vec![EmailAddress::parse("a@example.org").unwrap()],
        note: Some("It is not known whether the email was sent.".to_owned()),
    });
    assert_eq!(drafted(store, &email).await.email, email);
}

pub async fn a_draft_whose_id_is_taken_is_refused(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let before = pending(store, &mailbox, "a@example.org", 1).await;
    let in_reply_to = Some("question@example.org".to_owned());
    let second = Email { in_reply_to, ..draft(&mailbox_id("m2"), "a@example.org", 2) };
    assert!(!store.insert_draft(&second).await.unwrap());
    assert_eq!(read(store, &second.id).await, before);
    assert_eq!(outbox(store, &mailbox).await, [before]);
    assert_eq!(listed(store, &second.mailbox_id).await, []);
    assert_eq!(store.replies("question@example.org").await.unwrap(), []);
}

pub async fn a_draft_is_on_the_list_of_its_mailbox(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let email = drafted(store, &draft(&mailbox, "a@example.org", 1)).await.email;
    assert_eq!(listed(store, &mailbox).await, [email]);
}

pub async fn an_update_moves_the_revision_and_every_read_shows_it(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let before = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let mut email = before.email.clone();
    email.subject = "Changed".to_owned();
    email.raw_key = format!("emails/{}/raw", email.id);
    let after = store.update_outgoing(&email, before.revision).await.unwrap().expect("nobody else wrote");
    assert_eq!(after.email, email);
    assert_ne!(after.revision, before.revision);
    assert_eq!(read(store, &email.id).await, after);
    assert_eq!(listed(store, &mailbox).await, std::slice::from_ref(&email));
    assert_eq!(store.with_message_id("a@example.org").await.unwrap(), [email]);
}

pub async fn an_update_after_somebody_else_wrote_changes_nothing(store: &impl RecordStore) {
    let old = drafted(store, &draft(&mailbox_id("m1"), "a@example.org", 1)).await;
    let newer = moved(store, &old, EmailStatus::Draft).await;
    let late = Email { subject: "Late".to_owned(), ..old.email };
    assert_eq!(store.update_outgoing(&late, old.revision).await.unwrap(), None);
    assert_eq!(read(store, &late.id).await, newer);
}

pub async fn an_update_of_an_unknown_email_writes_nothing(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let email = Email { status: EmailStatus::PendingSend, ..draft(&mailbox, "a@example.org", 1) };
    for revision in [0, 1] {
        assert_eq!(store.update_outgoing(&email, revision).await.unwrap(), None);
    }
    assert_eq!(store.email(&email.id).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn of_twenty_racing_updates_exactly_one_wins(store: &impl RecordStore) {
    let stored = pending(store, &mailbox_id("m1"), "a@example.org", 1).await;
    let sending = Email { status: EmailStatus::Sending, ..stored.email.clone() };
    let updates = join_all((0..20).map(|_| store.update_outgoing(&sending, stored.revision))).await;
    let won: Vec<StoredEmail> = updates.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won, [read(store, &sending.id).await]);
}

pub async fn an_email_is_in_the_outbox_from_pending_send_until_it_is_sent(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let mut stored = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    for status in [EmailStatus::PendingSend, EmailStatus::Sending] {
        stored = moved(store, &stored, status).await;
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored), "{status:?}");
    }
    moved(store, &stored, EmailStatus::Sent).await;
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn a_failed_email_is_not_in_the_outbox(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    for (message_id, on_the_way) in
        [("a@example.org", EmailStatus::PendingSend), ("b@example.org", EmailStatus::Sending)]
    {
        let mut stored = pending(store, &mailbox, message_id, 1).await;
        if on_the_way == EmailStatus::Sending {
            stored = moved(store, &stored, on_the_way).await;
        }
        moved(store, &stored, EmailStatus::Failed).await;
        assert_eq!(outbox(store, &mailbox).await, [], "failed from {on_the_way:?}");
    }
}

pub async fn an_email_that_is_taken_back_leaves_the_outbox(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let stored = pending(store, &mailbox, "a@example.org", 1).await;
    let draft = moved(store, &stored, EmailStatus::Draft).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    let again = moved(store, &draft, EmailStatus::PendingSend).await;
    assert_eq!(outbox(store, &mailbox).await, [again]);
}

pub async fn an_email_that_is_put_off_stands_in_the_outbox_once(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let mut stored = pending(store, &mailbox, "a@example.org", 1).await;
    for status in [
        EmailStatus::Sending,
        EmailStatus::PendingSend,
        EmailStatus::PendingSend,
        EmailStatus::Sending,
        EmailStatus::Sending,
        EmailStatus::PendingSend,
    ] {
        stored.email.outgoing.as_mut().expect("an outgoing email").attempts += 1;
        stored = moved(store, &stored, status).await;
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored), "{status:?}");
    }
}

pub async fn an_update_that_is_refused_leaves_the_outbox(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let old = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let newer = moved(store, &old, EmailStatus::PendingSend).await;
    let sent = Email { status: EmailStatus::Sent, ..old.email };
    assert_eq!(store.update_outgoing(&sent, old.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&newer));
    let gone = moved(store, &newer, EmailStatus::Sent).await;
    let pending = Email { status: EmailStatus::PendingSend, ..gone.email };
    assert_eq!(store.update_outgoing(&pending, newer.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn an_outbox_comes_in_pages_the_oldest_emails_first(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let mut expected = Vec::new();
    for (n, name) in (0..).zip(["e", "b", "d", "a", "c"]) {
        expected.push(pending(store, &mailbox, &format!("{name}@example.org"), n).await);
    }
    assert_eq!(outbox(store, &mailbox).await, expected);
    assert_eq!(every_page(2, async |page| store.outbox(&mailbox, page).await).await, expected);
}

pub async fn recipients_are_counted_hour_by_hour_and_never_beyond_the_limit(store: &impl RecordStore) {
    let (mailbox, at) = (mailbox_id("m1"), moment(0));
    let count = async |mailbox: &MailboxId, second: i64, n: u32| {
        store.count_recipients(mailbox, mailrail_domain::seconds_after(at, second), n, 10).await.unwrap()
    };
    assert!(count(&mailbox, 0, 6).await);
    assert!(!count(&mailbox, 1, 5).await, "11 of 10");
    assert!(count(&mailbox, 2, 4).await, "what was refused was not counted");
    assert!(!count(&mailbox, 3, 1).await);
    assert!(count(&mailbox_id("m11"), 3, 10).await, "each mailbox has its own");
    assert!(count(&mailbox, 3_600, 10).await, "so has each hour");
    assert!(!count(&mailbox_id("m2"), 0, 11).await);
    let racing = join_all((0..20).map(|_| count(&mailbox, 7_200, 3))).await;
    assert_eq!(racing.into_iter().filter(|counted| *counted).count(), 3);
}

pub async fn recipients_that_are_given_back_can_be_counted_again(store: &impl RecordStore) {
    let (mailbox, at) = (mailbox_id("m1"), moment(0));
    let later = mailrail_domain::seconds_after(at, 3_600);
    let count = async |at, n| store.count_recipients(&mailbox, at, n, 10).await.unwrap();
    let give_back = async |at, n| store.uncount_recipients(&mailbox, at, n).await.unwrap();
    assert!(count(at, 8).await);
    give_back(later, 8).await;
    assert!(!count(at, 3).await, "another hour's recipients are not given back");
    give_back(at, 5).await;
    assert!(count(at, 7).await && !count(at, 1).await);
    give_back(at, 11).await;
    assert!(!count(at, 1).await, "more than was counted is not given back");
    assert!(count(later, 10).await && !count(later, 1).await);
}

pub async fn an_outbox_has_the_emails_of_its_own_mailbox(store: &impl RecordStore) {
    let stored = pending(store, &mailbox_id("m1"), "a@example.org", 1).await;
    let other = pending(store, &mailbox_id("m11"), "b@example.org", 1).await;
    assert_eq!(outbox(store, &mailbox_id("m1")).await, [stored]);
    assert_eq!(outbox(store, &mailbox_id("m11")).await, [other]);
    assert_eq!(outbox(store, &mailbox_id("m2")).await, []);
}

pub async fn an_outbox_shows_revisions_that_an_update_accepts(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    pending(store, &mailbox, "a@example.org", 1).await;
    for status in [EmailStatus::Sending, EmailStatus::PendingSend, EmailStatus::Sending, EmailStatus::Sent] {
        let stored = outbox(store, &mailbox).await.remove(0);
        moved(store, &stored, status).await;
    }
}

pub async fn received_and_sent_records_are_found_by_their_message_id(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let first = received(&mailbox, "a@example.org", 1);
    // A sender that uses one Message-ID for all its mail.
    let second = received(&mailbox, "a@example.org", 2);
    let sent = draft(&mailbox, "a@example.org", 3);
    for email in [&first, &second, &received(&mailbox, "b@example.org", 1)] {
        insert(store, email).await;
    }
    drafted(store, &sent).await;
    let expected = sorted(vec![first.id, second.id, sent.id]);
    for spelling in ["a@example.org", "<a@example.org>"] {
        let found = store.with_message_id(spelling).await.unwrap();
        assert_eq!(sorted(ids(&found)), expected, "{spelling}");
    }
}

pub async fn a_message_id_nobody_used_finds_nothing(store: &impl RecordStore) {
    insert(store, &received(&mailbox_id("m1"), "a@example.org", 1)).await;
    assert_eq!(store.with_message_id("b@example.org").await.unwrap(), []);
    assert_eq!(store.replies("a@example.org").await.unwrap(), []);
}

pub async fn replies_are_found_whichever_came_first(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let question = received(&mailbox, "question@example.org", 2);
    let answer = |message_id: &str, second| Email {
        in_reply_to: Some("question@example.org".to_owned()),
        ..received(&mailbox, message_id, second)
    };
    let (early, late) = (answer("early@example.org", 1), answer("late@example.org", 3));
    insert(store, &early).await;
    assert_eq!(store.replies("question@example.org").await.unwrap(), std::slice::from_ref(&early.id));
    insert(store, &question).await;
    insert(store, &late).await;
    let expected = sorted(vec![early.id, late.id]);
    for spelling in ["question@example.org", "<question@example.org>"] {
        assert_eq!(sorted(store.replies(spelling).await.unwrap()), expected, "{spelling}");
    }
    assert_eq!(ids(&store.with_message_id("question@example.org").await.unwrap()), [question.id]);
}

pub async fn a_reply_is_found_by_its_references(store: &impl RecordStore) {
    let references = vec!["first@example.org".to_owned(), "last@example.org".to_owned()];
    let reply = Email { references, ..received(&mailbox_id("m1"), "a@example.org", 1) };
    insert(store, &reply).await;
    assert_eq!(store.replies("last@example.org").await.unwrap(), [reply.id]);
    assert_eq!(store.replies("first@example.org").await.unwrap(), []);
}

pub async fn a_reply_received_twice_is_one(store: &impl RecordStore) {
    let in_reply_to = Some("question@example.org".to_owned());
    let reply = Email { in_reply_to, ..received(&mailbox_id("m1"), "a@example.org", 1) };
    insert(store, &reply).await;
    for mailbox in ["m1", "m2"] {
        store.insert_received(&reply, &mailbox_id(mailbox)).await.unwrap();
    }
    assert_eq!(store.replies("question@example.org").await.unwrap(), [reply.id]);
}

pub async fn a_draft_that_answers_is_among_the_replies(store: &impl RecordStore) {
    let in_reply_to = Some("question@example.org".to_owned());
    let reply = drafted(store, &Email { in_reply_to, ..draft(&mailbox_id("m1"), "a@example.org", 1) }).await;
    let reply = moved(store, &reply, EmailStatus::PendingSend).await;
    assert_eq!(store.replies("question@example.org").await.unwrap(), [reply.email.id]);
}

fn message(mailbox: &MailboxId, remote_id: &str, at: Timestamp) -> Quarantined {
    Quarantined {
        mailbox_id: mailbox.clone(),
        remote_id: remote_id.to_owned(),
        reason: QuarantineReason::Unreadable,
        detail: "the MIME reader gave up".to_owned(),
        raw_key: format!("quarantine/{mailbox}/0"),
        size: 7,
        at,
        attempts: 1,
        last_attempt: None,
        clues: Clues { subject: Some("Offer".to_owned()), ..Clues::default() },
    }
}

async fn put(store: &impl RecordStore, message: &Quarantined) {
    let until = seconds_after(message.at, i64::from(QUARANTINE_DAYS) * SECONDS_PER_DAY);
    store.quarantine(message, until).await.unwrap();
}

async fn quarantined(store: &impl RecordStore, mailbox: &MailboxId, limit: usize) -> Vec<Quarantined> {
    every_page(limit, async |page| store.quarantined(mailbox, page).await).await
}

pub async fn a_message_in_quarantine_comes_back_as_it_was_put_there(store: &impl RecordStore) {
    let mailbox = mailbox_id("m1");
    let whole = message(&mailbox, "imap-1-2", clock());
    // A UIDL may be any printable ASCII (RFC 1939 section 7).
    let nothing = Quarantined {
        reason: QuarantineReason::NotHandedOut,
        detail: String::new(),
        raw_key: String::new(),
        size: 0,
        ..message(&mailbox, "pop3-!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", clock())
    };
    for message in [whole, nothing] {
        put(store, &message).await;
        assert!(quarantined(store, &mailbox, WHOLE_LIST).await.contains(&message));
    }
}

pub async fn the_same_message_put_into_quarantine_twice_is_one_entry(store: &impl RecordStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    for n in 0..2 {
        put(store, &message(&mailbox, "imap-1-2", seconds_after(now, n * 300))).await;
    }
    let entries = quarantined(store, &mailbox, WHOLE_LIST).await;
    assert_eq!(entries.iter().map(|entry| entry.remote_id.as_str()).collect::<Vec<_>>(), ["imap-1-2"]);
}

pub async fn messages_in_quarantine_are_each_listed_once_over_all_pages(store: &impl RecordStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    let expected: Vec<String> = (0..23).map(|n| format!("imap-1-{n}")).collect();
    for remote_id in &expected {
        put(store, &message(&mailbox, remote_id, now)).await;
    }
    let entries = quarantined(store, &mailbox, PAGE).await;
    assert_eq!(sorted(entries.into_iter().map(|entry| entry.remote_id).collect()), sorted(expected));
}

pub async fn a_quarantine_has_the_messages_of_its_own_mailbox(store: &impl RecordStore) {
    let now = this_second();
    let (mine, theirs) = (message(&mailbox_id("m1"), "imap-1-2", now), message(&mailbox_id("m11"), "imap-1-2", now));
    for message in [&mine, &theirs] {
        put(store, message).await;
        assert_eq!(quarantined(store, &message.mailbox_id, WHOLE_LIST).await, std::slice::from_ref(message));
    }
}

pub async fn quarantines_of_all_mailboxes_come_newest_first_by_reason_or_together(store: &impl RecordStore) {
    let now = this_second();
    let mut expected = Vec::new();
    for n in 0..12 {
        let reason = if n % 3 == 0 { QuarantineReason::TooLarge } else { QuarantineReason::Unreadable };
        let mailbox = mailbox_id(&format!("m{}", n % 4));
        let entry = Quarantined { reason, ..message(&mailbox, &format!("imap-1-{n}"), seconds_after(now, n)) };
        put(store, &entry).await;
        expected.insert(0, entry);
    }
    for reason in [None, Some(QuarantineReason::TooLarge), Some(QuarantineReason::NotAMessage)] {
        let wanted: Vec<Quarantined> =
            expected.iter().filter(|entry| reason.is_none_or(|reason| entry.reason == reason)).cloned().collect();
        for limit in [PAGE, WHOLE_LIST] {
            let listed = every_page(limit, async |page| store.quarantined_anywhere(reason, page).await).await;
            assert_eq!(listed, wanted, "{reason:?} in pages of {limit}");
        }
    }
}

pub async fn a_message_that_was_tried_again_shows_it_and_one_that_was_released_is_gone(store: &impl RecordStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    let first = message(&mailbox, "imap-1-2", now);
    put(store, &first).await;
    assert_eq!(store.quarantined_message(&mailbox, "imap-1-2").await.unwrap().as_ref(), Some(&first));
    let again = Quarantined { attempts: 2, last_attempt: Some(now), ..first.clone() };
    store.retried(&again).await.unwrap();
    assert_eq!(quarantined(store, &mailbox, WHOLE_LIST).await, std::slice::from_ref(&again));
    for _ in 0..2 {
        store.release(&again).await.unwrap();
    }
    assert_eq!(store.quarantined_message(&mailbox, "imap-1-2").await.unwrap(), None);
    store.retried(&again).await.unwrap();
    assert_eq!(quarantined(store, &mailbox, WHOLE_LIST).await, [], "what is gone is not brought back");
    let anywhere = every_page(WHOLE_LIST, async |page| store.quarantined_anywhere(None, page).await).await;
    assert_eq!(anywhere, []);
}
