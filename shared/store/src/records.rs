//! Email records.

use mailrail_domain::{
    Timestamp,
    email::{
        identity::message_key,
        record::{Email, EmailStatus},
    },
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{EmailRecords, Inserted, Page, PageRequest, Revision, StoredEmail},
};

use crate::{
    Store,
    call::{Question, Sort},
    keys,
    rows::{EmailRow, Item, decode, encode, key_of, number, text, text_of},
};

/// Records with one Message-ID that are looked at: the email itself, its copy in Sent, and senders' mistakes.
const SAME_MESSAGE_ID_MAX: usize = 20;
/// Replies of one email that are listed.
const REPLIES_MAX: usize = 1_000;

impl EmailRecords for Store {
    async fn insert_received(&self, email: &Email, mailbox: &MailboxId) -> Result<Inserted, Outage> {
        let item = encode(keys::email(&email.id), &EmailRow { email: email.clone(), revision: 1 })?;
        let (inserted, stored) = match self.put_new(item).await? {
            None => (Inserted::New, email.clone()),
            // Its places are by the record that is there, so that seeing it again does not list it twice.
            Some(there) => (Inserted::AlreadyThere, decode::<EmailRow>(there)?.email),
        };
        // These follow the record, and a run that is cut off here finds the record and writes them again.
        tokio::try_join!(
            self.put(place(keys::emails_of(mailbox), stored.received_at, &stored.id)),
            self.put_reply(&stored)
        )?;
        Ok(inserted)
    }

    async fn insert_draft(&self, email: &Email) -> Result<bool, Outage> {
        let item = encode(keys::email(&email.id), &EmailRow { email: email.clone(), revision: 1 })?;
        if self.put_new(item).await?.is_some() {
            return Ok(false);
        }
        tokio::try_join!(
            self.put(place(keys::emails_of(&email.mailbox_id), email.received_at, &email.id)),
            self.put_reply(email)
        )?;
        Ok(true)
    }

    async fn update_outgoing(&self, email: &Email, revision: &Revision) -> Result<Option<StoredEmail>, Outage> {
        let Ok(revision) = revision.as_str().parse::<u64>() else {
            return Ok(None);
        };
        let row = EmailRow { email: email.clone(), revision: revision + 1 };
        let outbox = keys::outbox_of(&email.mailbox_id);
        let waiting = match email.status {
            EmailStatus::PendingSend | EmailStatus::Sending => {
                self.putting(place(outbox, email.received_at, &email.id))?
            }
            EmailStatus::Draft | EmailStatus::Sent | EmailStatus::Failed | EmailStatus::Received => {
                self.deleting((outbox, keys::by_time(email.received_at, &email.id)))?
            }
        };
        let writes =
            vec![self.putting_if(encode(keys::email(&email.id), &row)?, "revision", number(revision))?, waiting];
        Ok(self.transact(writes).await?.is_none().then(|| row.into()))
    }

    async fn outbox(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<StoredEmail>, Outage> {
        let partition = keys::outbox_of(mailbox);
        let question = Question {
            // What was just put here is about to be sent.
            consistent: true,
            limit: Some(page.limit),
            after: page.cursor.clone().map(|sort| key_of((partition.clone(), sort))),
            ..Question::of(partition)
        };
        let (items, next) = self.query(question).await?;
        let rows = self.get_all(email_keys(&items)).await?.into_iter().map(decode::<EmailRow>);
        let stored = rows.map(|row| row.map(StoredEmail::from));
        let cursor = next.and_then(|key| text_of(&key, "sk").map(str::to_owned));
        Ok(Page { items: stored.collect::<Result<_, _>>()?, cursor })
    }

    async fn email(&self, id: &EmailId) -> Result<Option<StoredEmail>, Outage> {
        let item = self.get(keys::email(id), true).await?;
        Ok(item.map(decode::<EmailRow>).transpose()?.map(StoredEmail::from))
    }

    async fn emails(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<Email>, Outage> {
        let partition = keys::emails_of(mailbox);
        let question = Question {
            newest_first: true,
            limit: Some(page.limit),
            after: page.cursor.clone().map(|sort| key_of((partition.clone(), sort))),
            ..Question::of(partition)
        };
        let (items, next) = self.query(question).await?;
        let rows = self.get_all(email_keys(&items)).await?.into_iter().map(decode::<EmailRow>);
        let items = rows.map(|row| row.map(|row| row.email)).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor: next.and_then(|key| text_of(&key, "sk").map(str::to_owned)) })
    }

    async fn with_message_id(&self, message_id: &str) -> Result<Vec<Email>, Outage> {
        let question = Question {
            sort: Sort::BeginsWith(keys::RECORD),
            limit: Some(SAME_MESSAGE_ID_MAX),
            ..Question::of(keys::message(&message_key(message_id)))
        };
        let (items, _) = self.query(question).await?;
        items.into_iter().map(|item| decode::<EmailRow>(item).map(|row| row.email)).collect()
    }

    async fn replies(&self, message_id: &str) -> Result<Vec<EmailId>, Outage> {
        let question = Question {
            sort: Sort::BeginsWith(keys::REPLY),
            limit: Some(REPLIES_MAX),
            ..Question::of(keys::message(&message_key(message_id)))
        };
        let (items, _) = self.query(question).await?;
        let id = |item: &Item| EmailId::parse(text_of(item, "sk")?.strip_prefix(keys::REPLY)?).ok();
        Ok(items.iter().filter_map(id).collect())
    }
}

impl Store {
    /// Ties a reply to the Message-ID that it answers, whether that email is here yet or not.
    async fn put_reply(&self, email: &Email) -> Result<(), Outage> {
        match email.answers() {
            Some(answered) => self.put(key_of(keys::reply(&message_key(answered), &email.id))).await,
            None => Ok(()),
        }
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

fn email_keys(places: &[Item]) -> Vec<keys::Key> {
    let id = |item: &Item| EmailId::parse(text_of(item, "email_id")?).ok();
    places.iter().filter_map(id).map(|id| keys::email(&id)).collect()
}
