//! Email records of messages that arrived: received once whoever received them.

use futures_util::future::join_all;
use mailrail_domain::{
    Timestamp,
    email::{
        identity::{MessageIdentity, received_email_id, sent_email_id},
        record::{
            ADDRESSES_MAX, Correspondent, Email, HEADERS_BYTES_MAX, HTML_PREVIEW_BYTES_MAX, SUBJECT_CHARS_MAX,
            TEXT_PREVIEW_BYTES_MAX,
        },
    },
    words::id::MailboxId,
};
use mailrail_engine::ports::{EmailRecords, Inserted};

use super::{PAGE, correspondent, draft, ids, insert, listed, read, with_everything};
use crate::{
    build::{mailbox_id, moment, received},
    conformance::{every_page, sorted},
};

pub async fn an_unknown_email_is_not_there(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    insert(store, &received(&mailbox, "a@example.org", 1)).await;
    assert_eq!(store.email(&sent_email_id("a@example.org")).await.unwrap(), None);
    assert_eq!(store.email(&received(&mailbox, "b@example.org", 1).id).await.unwrap(), None);
}

pub async fn a_received_email_comes_back_as_it_was_written(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let identity = MessageIdentity { originator_fields: &["x".to_owned()], ..MessageIdentity::default() };
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

pub async fn a_received_email_is_new_once(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let email = received(&mailbox, "a@example.org", 1);
    assert_eq!(store.insert_received(&email, &mailbox).await.unwrap(), Inserted::New);
    for _ in 0..2 {
        assert_eq!(store.insert_received(&email, &mailbox).await.unwrap(), Inserted::AlreadyThere);
    }
    assert_eq!(listed(store, &mailbox).await, [email]);
}

pub async fn a_received_email_that_races_with_itself_is_new_once(store: &impl EmailRecords) {
    let mailboxes: Vec<MailboxId> = (0..10).map(|n| mailbox_id(&format!("m{n}"))).collect();
    let email = received(&mailboxes[0], "a@example.org", 1);
    let insertions = join_all(mailboxes.iter().map(|mailbox| store.insert_received(&email, mailbox))).await;
    assert_eq!(insertions.iter().filter(|inserted| *inserted.as_ref().unwrap() == Inserted::New).count(), 1);
    for mailbox in &mailboxes {
        assert_eq!(listed(store, mailbox).await, std::slice::from_ref(&email));
    }
}

pub async fn a_received_email_that_is_there_already_stays_as_it_is(store: &impl EmailRecords) {
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

pub async fn a_second_mailbox_lists_the_same_record(store: &impl EmailRecords) {
    let (first, second) = (mailbox_id("m1"), mailbox_id("m2"));
    let email = received(&first, "a@example.org", 1);
    insert(store, &email).await;
    assert_eq!(store.insert_received(&email, &second).await.unwrap(), Inserted::AlreadyThere);
    for mailbox in [&first, &second] {
        assert_eq!(listed(store, mailbox).await, std::slice::from_ref(&email));
    }
    assert_eq!(store.with_message_id("a@example.org").await.unwrap(), [email]);
}

pub async fn an_email_of_one_mailbox_is_not_on_the_list_of_another(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    insert(store, &received(&mailbox, "a@example.org", 1)).await;
    assert_eq!(listed(store, &mailbox_id("m11")).await, []);
}

pub async fn emails_come_newest_first(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    for (message_id, second) in [("b@example.org", 20), ("c@example.org", 3), ("a@example.org", 100)] {
        insert(store, &received(&mailbox, message_id, second)).await;
    }
    assert!(store.insert_draft(&draft(&mailbox, "d@example.org", 50)).await.unwrap());
    let emails = listed(store, &mailbox).await;
    let order: Vec<Timestamp> = emails.iter().map(|email| email.received_at).collect();
    assert_eq!(order, [moment(100), moment(50), moment(20), moment(3)]);
}

pub async fn emails_are_each_listed_once_over_all_pages(store: &impl EmailRecords) {
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

pub async fn an_email_with_large_previews_fits(store: &impl EmailRecords) {
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
