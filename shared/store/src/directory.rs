//! Profiles, mailboxes, settings and alerts.

use aws_sdk_dynamodb::types::TransactWriteItem;
use mailrail_domain::{
    Timestamp,
    alert::Alert,
    delivery::Delivery,
    id::{MailboxId, ProfileId},
    organization::Organization,
};
use mailrail_engine::{
    outage::Outage,
    ports::{
        AlertFilter, AlertWrite, Created, Directory, MailboxDetails, Page, PageRequest, StoredMailbox, StoredProfile,
    },
};

use crate::{
    Store,
    call::{Question, Sort, conditional},
    keys::{self, SHARDS},
    rows::{AlertRow, Item, MailboxRow, ProfileRow, StateRow, decode, encode, key_of, listed, number, text, text_of},
};

/// Profiles whose mailboxes are looked at for one page of all mailboxes.
const PROFILES_PER_PAGE: usize = 200;
/// Rows that one transaction may have (DynamoDB: 100).
const TRANSACTION_ROWS: usize = 100;
/// Pages of alerts of one mailbox that are deleted with it.
const ALERT_PAGES_MAX: usize = 100;
/// Times that enabling is tried again when a run ends at the same moment.
const ENABLE_TRIES: usize = 5;

impl Directory for Store {
    async fn put_profile(&self, profile: &StoredProfile) -> Result<(), Outage> {
        let row = ProfileRow { profile: profile.profile.clone(), credentials: profile.credentials.clone() };
        self.put(encode(keys::profile(&profile.profile.id), &row)?).await
    }

    async fn profile(&self, id: &ProfileId) -> Result<Option<StoredProfile>, Outage> {
        let item = self.get(keys::profile(id), false).await?;
        item.map(stored_profile).transpose()
    }

    async fn profiles(&self, page: &PageRequest) -> Result<Page<StoredProfile>, Outage> {
        let question = Question {
            limit: Some(page.limit),
            after: page.cursor.clone().map(|sort| key_of((keys::PROFILES.to_owned(), sort))),
            ..Question::of(keys::PROFILES.to_owned())
        };
        let (items, next) = self.query(question).await?;
        let items = items.into_iter().map(stored_profile).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor: next.and_then(|key| text_of(&key, "sk").map(str::to_owned)) })
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Outage> {
        self.transact(vec![self.deleting(keys::profile(id))?]).await?;
        Ok(())
    }

    async fn create_mailbox(&self, mailbox: &StoredMailbox, interval_minutes: u16) -> Result<Created, Outage> {
        let mut writes = vec![self.putting_new(address_item(mailbox))?, self.putting_new(mailbox_item(mailbox)?)?];
        for delivery in Delivery::ALL {
            writes.extend(self.beginning(mailbox, delivery, None, interval_minutes).await?);
        }
        match self.transact(writes).await? {
            None => Ok(Created::Created),
            Some(_) => self.taken(mailbox).await,
        }
    }

    async fn mailbox(&self, id: &MailboxId) -> Result<Option<MailboxDetails>, Outage> {
        let (mailbox, states) = self.mailbox_rows(id, true).await?;
        Ok(mailbox.map(|MailboxRow { mailbox, credentials }| MailboxDetails {
            stored: StoredMailbox { mailbox, credentials },
            deliveries: Delivery::ALL
                .into_iter()
                .filter_map(|d| states.iter().find(|(of, _)| *of == d).map(|(_, row)| (d, row.state.clone())))
                .collect(),
        }))
    }

    async fn mailboxes(&self, profile: Option<&ProfileId>, page: &PageRequest) -> Result<Page<StoredMailbox>, Outage> {
        let (keys, cursor) = match profile {
            Some(profile) => {
                let (keys, cursor) = self.mailboxes_of(profile, page.limit, page.cursor.as_deref()).await?;
                (keys, cursor)
            }
            None => self.all_mailboxes(page).await?,
        };
        let keys = keys.iter().map(keys::mailbox).collect();
        let rows = self.get_all(keys).await?.into_iter().map(decode::<MailboxRow>);
        let stored = |row: MailboxRow| StoredMailbox { mailbox: row.mailbox, credentials: row.credentials };
        let items = rows.map(|row| row.map(stored)).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor })
    }

    async fn change_mailbox(
        &self,
        before: &MailboxDetails,
        after: &StoredMailbox,
        interval_minutes: u16,
    ) -> Result<Created, Outage> {
        let (old, new) = (&before.stored.mailbox, &after.mailbox);
        let mut writes = vec![self.putting_existing(mailbox_item(after)?)?];
        let moved = old.address.normalized() != new.address.normalized();
        if moved {
            writes.insert(0, self.putting_new(address_item(after))?);
            let owner = text(old.id.as_str());
            writes.push(self.deleting_if(keys::address(&old.address.normalized()), "mailbox_id", owner)?);
        }
        let (_, states) = self.mailbox_rows(&new.id, true).await?;
        for delivery in Delivery::ALL {
            if old.method(delivery) != new.method(delivery) {
                let row = states.iter().find(|(of, _)| *of == delivery).map(|(_, row)| row);
                writes.extend(self.beginning(after, delivery, row, interval_minutes).await?);
            }
        }
        match self.transact(writes).await? {
            None => Ok(Created::Created),
            Some(0) if moved => self.taken(after).await,
            Some(_) => Err(Outage::new("the mailbox was changed, deleted or run at the same moment; change it again")),
        }
    }

    async fn delete_mailbox(&self, details: &MailboxDetails) -> Result<(), Outage> {
        let mailbox = &details.stored.mailbox;
        let (_, states) = self.mailbox_rows(&mailbox.id, true).await?;
        let mut deletions = vec![
            self.deleting(keys::mailbox(&mailbox.id))?,
            self.deleting(keys::address(&mailbox.address.normalized()))?,
        ];
        for (delivery, row) in states {
            deletions.push(self.deleting(keys::delivery(&mailbox.id, delivery))?);
            deletions.extend(self.schedule_writes(&mailbox.id, delivery, row.interval_minutes, None).await?);
        }
        self.transact(deletions).await?;
        for _ in 0..ALERT_PAGES_MAX {
            let question = Question {
                sort: Sort::BeginsWith(keys::ALERT),
                limit: Some(TRANSACTION_ROWS),
                ..Question::of(keys::mailbox_partition(&mailbox.id))
            };
            let (alerts, _) = self.query(question).await?;
            if alerts.is_empty() {
                return Ok(());
            }
            let keys =
                alerts.iter().filter_map(|item| Some((text_of(item, "pk")?.into(), text_of(item, "sk")?.into())));
            let deletions = keys.map(|key| self.deleting(key)).collect::<Result<_, _>>()?;
            self.transact(deletions).await?;
        }
        Ok(())
    }

    async fn enable(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        interval_minutes: u16,
        now: Timestamp,
    ) -> Result<bool, Outage> {
        for _ in 0..ENABLE_TRIES {
            let Some(item) = self.get(keys::delivery(mailbox, delivery), true).await? else {
                return Ok(false);
            };
            let row: StateRow = decode(item)?;
            let state = row.state.re_enabled();
            let interval = state.enabled.then_some(interval_minutes);
            let mut writes = Vec::new();
            for kind in &row.state.open_alerts {
                writes.extend(self.alert_writes(mailbox, delivery, &AlertWrite::Close(*kind, now)).await?);
            }
            writes.extend(
                self.schedule_writes(mailbox, delivery, leaving(row.interval_minutes, interval), interval).await?,
            );
            let (version, reached) = (row.version, row.reached);
            let next =
                StateRow { state, reached, interval_minutes: interval, leased_until: None, version: version + 1 };
            let item = encode(keys::delivery(mailbox, delivery), &next)?;
            writes.insert(0, self.putting_if(item, "version", number(version))?);
            if self.transact(writes).await?.is_none() {
                return Ok(true);
            }
        }
        Err(Outage::new("the mailbox was changed at the same moment again and again; enable it again"))
    }

    async fn hurry(&self, mailbox: &MailboxId, delivery: Delivery) -> Result<(), Outage> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key_of(keys::delivery(mailbox, delivery))))
            .update_expression("REMOVE #state.last_run")
            .condition_expression("attribute_exists(version)")
            .expression_attribute_names("#state", "state");
        conditional(request.send().await, "hurrying a delivery")?;
        Ok(())
    }

    async fn organization(&self) -> Result<Organization, Outage> {
        let item = self.get(keys::organization(), true).await?;
        Ok(item.map(decode).transpose()?.unwrap_or_default())
    }

    async fn put_organization(&self, organization: &Organization) -> Result<(), Outage> {
        self.put(encode(keys::organization(), organization)?).await
    }

    async fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, Outage> {
        let status = match filter {
            AlertFilter::Mailbox(mailbox) => return self.alerts_of(mailbox, page).await,
            AlertFilter::Status(status) => *status,
        };
        let lists = (0..SHARDS).map(|shard| keys::alerts_in(status, shard)).collect();
        let (keys, cursor) = self.merged(lists, page, true).await?;
        let rows = self.get_all(keys).await?.into_iter().map(decode::<AlertRow>);
        Ok(Page { items: rows.map(|row| row.map(|r| r.alert)).collect::<Result<_, _>>()?, cursor })
    }
}

impl Store {
    /// The writes that begin a delivery anew; `row` is what it was.
    async fn beginning(
        &self,
        mailbox: &StoredMailbox,
        delivery: Delivery,
        row: Option<&StateRow>,
        interval_minutes: u16,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let id = &mailbox.mailbox.id;
        let mut state = mailbox.mailbox.initial_state(delivery);
        if let Some(before) = row {
            // Its open alerts are closed by its first success, and each of its disablings has a name of its own.
            state.open_alerts = before.state.open_alerts.clone();
            state.times_disabled = before.state.times_disabled;
        }
        let interval = state.enabled.then_some(interval_minutes);
        let version = row.map_or(0, |row| row.version);
        let before = leaving(row.and_then(|row| row.interval_minutes), interval);
        let next = StateRow { state, interval_minutes: interval, version: version + 1, ..StateRow::default() };
        let item = encode(keys::delivery(id, delivery), &next)?;
        let put = match row {
            Some(_) => self.putting_if(item, "version", number(version))?,
            None => self.putting_new(item)?,
        };
        let mut writes = vec![put];
        writes.extend(self.schedule_writes(id, delivery, before, interval).await?);
        Ok(writes)
    }

    async fn taken(&self, mailbox: &StoredMailbox) -> Result<Created, Outage> {
        let item = self.get(keys::address(&mailbox.mailbox.address.normalized()), true).await?;
        let owner = item.as_ref().and_then(|item| text_of(item, "mailbox_id")).and_then(|id| MailboxId::parse(id).ok());
        owner.map(Created::AddressTaken).ok_or_else(|| Outage::new("the mailbox was written at the same moment"))
    }

    /// One page of the mailboxes of a profile, in the order of their ids.
    async fn mailboxes_of(
        &self,
        profile: &ProfileId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<(Vec<MailboxId>, Option<String>), Outage> {
        let list = keys::mailboxes_of(profile);
        let after = match cursor {
            Some(id) => Some(list_key(
                &list,
                id,
                keys::mailbox(&MailboxId::parse(id).map_err(|e| Outage::because("a cursor of this list", e))?),
            )),
            None => None,
        };
        let question = Question { of_list: true, limit: Some(limit), after, ..Question::of(list) };
        let (items, next) = self.query(question).await?;
        let ids = items.iter().filter_map(|item| MailboxId::parse(text_of(item, "list_sk")?).ok()).collect();
        Ok((ids, next.and_then(|key| text_of(&key, "list_sk").map(str::to_owned))))
    }

    /// One page of all mailboxes, profile by profile. The cursor is the profile and the mailbox where it stopped.
    async fn all_mailboxes(&self, page: &PageRequest) -> Result<(Vec<MailboxId>, Option<String>), Outage> {
        let (mut profile, mut mailbox) = match page.cursor.as_deref().and_then(|cursor| cursor.split_once('.')) {
            Some((profile, "")) => (Some(profile.to_owned()), None),
            Some((profile, mailbox)) => (Some(profile.to_owned()), Some(mailbox.to_owned())),
            None => (None, None),
        };
        let mut ids = Vec::new();
        // The profile in which the last page ended is looked at again from there, then those after it.
        let mut resumed = mailbox.is_some();
        for _ in 0..PROFILES_PER_PAGE {
            let current = if resumed { profile.clone() } else { self.profile_after(profile.as_deref()).await? };
            resumed = false;
            let Some(current) = current else {
                return Ok((ids, None));
            };
            let id =
                ProfileId::parse(current.clone()).map_err(|error| Outage::because("a cursor of this list", error))?;
            let left = page.limit - ids.len();
            let (found, next) = self.mailboxes_of(&id, left, mailbox.take().as_deref()).await?;
            ids.extend(found);
            if let Some(next) = next {
                return Ok((ids, Some(format!("{current}.{next}"))));
            }
            if ids.len() >= page.limit {
                return Ok((ids, Some(format!("{current}."))));
            }
            profile = Some(current);
        }
        Ok((ids, profile.map(|profile| format!("{profile}."))))
    }

    async fn profile_after(&self, profile: Option<&str>) -> Result<Option<String>, Outage> {
        let page = PageRequest { limit: 1, cursor: profile.map(str::to_owned) };
        let next = self.profiles(&page).await?.items;
        Ok(next.into_iter().next().map(|stored| stored.profile.id.to_string()))
    }

    /// One page of a mailbox's alerts, the newest first. They stand in the table by kind, and are few: all are read.
    async fn alerts_of(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<Alert>, Outage> {
        let mut alerts = Vec::new();
        let mut after = None;
        for _ in 0..ALERT_PAGES_MAX {
            let question = Question {
                sort: Sort::BeginsWith(keys::ALERT),
                consistent: true,
                after,
                ..Question::of(keys::mailbox_partition(mailbox))
            };
            let (items, next) = self.query(question).await?;
            for item in items {
                let alert = decode::<AlertRow>(item)?.alert;
                alerts.push((keys::alert_place(&alert).1, alert));
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        alerts.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let mut left = alerts.into_iter().filter(|(place, _)| page.cursor.as_ref().is_none_or(|c| place < c));
        let taken: Vec<_> = left.by_ref().take(page.limit).collect();
        let cursor = taken.last().filter(|_| left.next().is_some()).map(|(place, _)| place.clone());
        Ok(Page { items: taken.into_iter().map(|(_, alert)| alert).collect(), cursor })
    }

    /// One page of several lists that are one by their order. The cursor is the place of the last entry, which all of
    /// them are continued after.
    pub(crate) async fn merged(
        &self,
        lists: Vec<String>,
        page: &PageRequest,
        newest_first: bool,
    ) -> Result<(Vec<keys::Key>, Option<String>), Outage> {
        let queries = lists.into_iter().map(|list| async move {
            // Any key serves as the one after which to go on: the index compares places first.
            let after = page.cursor.as_deref().map(|place| list_key(&list, place, ("~".into(), "~".into())));
            let limit = Some(page.limit + 1);
            self.query(Question { of_list: true, newest_first, limit, after, ..Question::of(list) }).await
        });
        let found = futures_util::future::try_join_all(queries).await?;
        let mut entries: Vec<(String, keys::Key)> = found
            .iter()
            .flat_map(|(items, _)| items)
            .filter_map(|item: &Item| {
                let key = (text_of(item, "pk")?.to_owned(), text_of(item, "sk")?.to_owned());
                Some((text_of(item, "list_sk")?.to_owned(), key))
            })
            .filter(|(place, _)| page.cursor.as_ref().is_none_or(|c| if newest_first { place < c } else { place > c }))
            .collect();
        entries.sort_unstable();
        if newest_first {
            entries.reverse();
        }
        let more = entries.len() > page.limit;
        entries.truncate(page.limit);
        let cursor = entries.last().filter(|_| more).map(|(place, _)| place.clone());
        Ok((entries.into_iter().map(|(_, key)| key).collect(), cursor))
    }
}

/// The slot to leave: none if the delivery stays where it is.
fn leaving(before: Option<u16>, after: Option<u16>) -> Option<u16> {
    before.filter(|_| before != after)
}

fn list_key(list: &str, place: &str, key: keys::Key) -> Item {
    let mut item = key_of(key);
    item.insert("list_pk".to_owned(), text(list));
    item.insert("list_sk".to_owned(), text(place));
    item
}

fn stored_profile(item: Item) -> Result<StoredProfile, Outage> {
    let ProfileRow { profile, credentials } = decode(item)?;
    Ok(StoredProfile { profile, credentials })
}

fn mailbox_item(mailbox: &StoredMailbox) -> Result<Item, Outage> {
    let StoredMailbox { mailbox, credentials } = mailbox.clone();
    let (id, list) = (mailbox.id.clone(), keys::mailboxes_of(&mailbox.profile_id));
    let item = encode(keys::mailbox(&id), &MailboxRow { mailbox, credentials })?;
    Ok(listed(item, (list, id.to_string())))
}

fn address_item(mailbox: &StoredMailbox) -> Item {
    let mut item = key_of(keys::address(&mailbox.mailbox.address.normalized()));
    item.insert("mailbox_id".to_owned(), text(mailbox.mailbox.id.as_str()));
    item
}
