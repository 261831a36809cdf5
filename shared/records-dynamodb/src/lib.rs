//! The customer's records in DynamoDB: email.
//!
//! A record stands in the partition of its Message-ID with the replies to it, so that an email and its answers find each
//! other whichever comes first. A mailbox's list names the records that it has.

use mailrail_domain::{
    Timestamp,
    email::{identity::message_key, record::Email},
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{EmailRecords, Inserted, Page, PageRequest, Revision, StoredEmail},
};

use mailrail_table::{Item, Key, Question, Sort, Table, decode, encode, key_of, number, text, text_of};
use serde::{Deserialize, Serialize};

mod keys;

/// Records with one Message-ID that are looked at: the email itself, its copy in Sent, and senders' mistakes.
const SAME_MESSAGE_ID_MAX: usize = 20;
/// Replies of one email that are listed.
const REPLIES_MAX: usize = 1_000;

/// The customer's records in a table.
#[derive(Debug)]
pub struct DynamoRecords(Table);

impl DynamoRecords {
    /// The records that are kept in a table.
    #[must_use]
    pub const fn new(table: Table) -> Self {
        Self(table)
    }
}

/// An email as it lies in the table.
#[derive(Debug, Serialize, Deserialize)]
struct EmailRow {
    email: Email,
    revision: u64,
}

impl EmailRecords for DynamoRecords {
    async fn insert_received(&self, email: &Email, mailbox: &MailboxId) -> Result<Inserted, Outage> {
        let item = encode(keys::email(&email.id), &EmailRow { email: email.clone(), revision: 1 })?;
        let (inserted, stored) = match self.0.put_new(item).await? {
            None => (Inserted::New, email.clone()),
            // Its places are by the record that is there, so that seeing it again does not list it twice.
            Some(there) => (Inserted::AlreadyThere, decode::<EmailRow>(there)?.email),
        };
        // These follow the record, and a run that is cut off here finds the record and writes them again.
        tokio::try_join!(
            self.0.put(place(keys::emails_of(mailbox), stored.received_at, &stored.id)),
            self.put_reply(&stored)
        )?;
        Ok(inserted)
    }

    async fn insert_draft(&self, email: &Email) -> Result<bool, Outage> {
        let item = encode(keys::email(&email.id), &EmailRow { email: email.clone(), revision: 1 })?;
        if let Some(there) = self.0.put_new(item).await?
            && decode::<EmailRow>(there)?.email != *email
        {
            return Ok(false);
        }
        tokio::try_join!(
            self.0.put(place(keys::emails_of(&email.mailbox_id), email.received_at, &email.id)),
            self.put_reply(email)
        )?;
        Ok(true)
    }

    async fn update_outgoing(&self, email: &Email, revision: &Revision) -> Result<Option<StoredEmail>, Outage> {
        let Ok(revision) = revision.as_str().parse::<u64>() else {
            return Ok(None);
        };
        let row = EmailRow { email: email.clone(), revision: revision + 1 };
        let item = encode(keys::email(&email.id), &row)?;
        // A transaction has a token, by which a write whose answer was lost is known as done when it is tried again.
        let write = self.0.putting_if(item, "revision", number(revision))?;
        Ok(self.0.transact(vec![write]).await?.is_none().then(|| row.into()))
    }

    async fn emails_with(&self, ids: &[EmailId]) -> Result<Vec<StoredEmail>, Outage> {
        let rows = self.0.get_all(ids.iter().map(keys::email).collect(), true).await?;
        rows.into_iter().map(|item| decode::<EmailRow>(item).map(StoredEmail::from)).collect()
    }

    async fn email(&self, id: &EmailId) -> Result<Option<StoredEmail>, Outage> {
        let item = self.0.get(keys::email(id), true).await?;
        Ok(item.map(decode::<EmailRow>).transpose()?.map(StoredEmail::from))
    }

    async fn emails(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<Email>, Outage> {
        let question = Question { newest_first: true, ..Question::of(keys::emails_of(mailbox)) };
        let (places, cursor) = self.0.page(question, page).await?;
        let rows = self.0.get_all(email_keys(&places), false).await?.into_iter().map(decode::<EmailRow>);
        Ok(Page { items: rows.map(|row| row.map(|row| row.email)).collect::<Result<_, _>>()?, cursor })
    }

    async fn with_message_id(&self, message_id: &str) -> Result<Vec<Email>, Outage> {
        let question = Question {
            sort: Sort::BeginsWith(keys::RECORD),
            limit: Some(SAME_MESSAGE_ID_MAX),
            ..Question::of(keys::message(&message_key(message_id)))
        };
        let (items, _) = self.0.query(question).await?;
        items.into_iter().map(|item| decode::<EmailRow>(item).map(|row| row.email)).collect()
    }

    async fn replies(&self, message_id: &str) -> Result<Vec<EmailId>, Outage> {
        let question = Question {
            sort: Sort::BeginsWith(keys::REPLY),
            limit: Some(REPLIES_MAX),
            ..Question::of(keys::message(&message_key(message_id)))
        };
        let (items, _) = self.0.query(question).await?;
        let id = |item: &Item| EmailId::parse(text_of(item, "sk")?.strip_prefix(keys::REPLY)?).ok();
        Ok(items.iter().filter_map(id).collect())
    }
}

impl DynamoRecords {
    /// Ties a reply to the Message-IDs that it may answer, whether those emails are here yet or not.
    async fn put_reply(&self, email: &Email) -> Result<(), Outage> {
        for answered in email.answered() {
            self.0.put(key_of(keys::reply(&message_key(answered), &email.id))).await?;
        }
        Ok(())
    }
}

impl From<EmailRow> for StoredEmail {
    fn from(row: EmailRow) -> Self {
        Self { email: row.email, revision: Revision::new(row.revision) }
    }
}

/// An email's place in a list of its mailbox.
fn place(partition: String, at: Timestamp, id: &EmailId) -> Item {
    let mut item = key_of((partition, keys::by_time(at, id)));
    item.insert("email_id".to_owned(), text(id.as_str()));
    item
}

fn email_keys(places: &[Item]) -> Vec<Key> {
    let id = |item: &Item| EmailId::parse(text_of(item, "email_id")?).ok();
    places.iter().filter_map(id).map(|id| keys::email(&id)).collect()
}

#[cfg(test)]
mod tests {
    use mailrail_test_support::build;

    use super::*;

    fn email() -> Email {
        build::received(&build::mailbox_id("m1"), "one@example.org", 1)
    }

    /// The stored form of the row. A change here is a change of the table: raise the schema of `table` and write a
    /// migration.
    #[test]
    fn the_stored_form_of_a_row() {
        insta::assert_json_snapshot!(EmailRow { email: email(), revision: 1 });
    }

    /// While a release is rolled out its rows are read by functions of the one before.
    #[test]
    fn rows_of_the_release_before_and_of_the_next_one_are_read() {
        for text in [include_str!("releases/before.json"), include_str!("releases/next.json")] {
            let row: serde_json::Value = serde_json::from_str(text).unwrap();
            let row: EmailRow = decode(encode(("pk".into(), "sk".into()), &row).unwrap()).unwrap();
            assert_eq!(row.email, email());
        }
    }
}
