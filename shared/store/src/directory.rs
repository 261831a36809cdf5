//! Profiles, mailboxes, settings and alerts.

use aws_sdk_dynamodb::types::TransactWriteItem;
use mailrail_domain::{
    Timestamp,
    settings::mailbox::Mailbox,
    words::{
        alert::Alert,
        audit::AuditEntry,
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{
        AlertFilter, AlertWrite, Directory, MailboxDetails, Page, PageRequest, StoredMailbox, StoredOrganization,
        StoredProfile, Written,
    },
};

use mailrail_table::{Item, Question, Sort, conditional, decode, encode, key_of, listed, number, text, text_of};

use crate::{
    Store,
    keys::{self, SHARDS},
    rows::{AlertRow, AuditRow, MailboxRow, OrganizationRow, ProfileRow, StateRow},
};

/// Rows that one transaction may have (DynamoDB: 100).
const TRANSACTION_ROWS: usize = 100;
/// Pages of alerts of one mailbox or profile that are read, or deleted with it.
pub(crate) const ALERT_PAGES_MAX: usize = 100;
/// Times that a change of a mailbox is tried again when a run of it ends at the same moment.
const WRITE_TRIES: usize = 5;

impl Directory for Store {
    async fn put_profile(&self, profile: &StoredProfile, audit: &AuditEntry) -> Result<Written, Outage> {
        let row = ProfileRow {
            profile: profile.profile.clone(),
            credentials: profile.credentials.clone(),
            revision: profile.revision + 1,
        };
        let put = self.putting_revised(encode(keys::profile(&profile.profile.id), &row)?, profile.revision)?;
        self.write_audited(vec![put], audit).await
    }

    async fn profile(&self, id: &ProfileId) -> Result<Option<StoredProfile>, Outage> {
        let item = self.table.get(keys::profile(id), false).await?;
        item.map(stored_profile).transpose()
    }

    async fn profiles(&self, page: &PageRequest) -> Result<Page<StoredProfile>, Outage> {
        let question = Question {
            limit: Some(page.limit),
            after: page.cursor.clone().map(|sort| key_of((keys::PROFILES.to_owned(), sort))),
            ..Question::of(keys::PROFILES.to_owned())
        };
        let (items, next) = self.table.query(question).await?;
        let items = items.into_iter().map(stored_profile).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor: next.and_then(|key| text_of(&key, "sk").map(str::to_owned)) })
    }

    async fn delete_profile(&self, id: &ProfileId, audit: &AuditEntry) -> Result<(), Outage> {
        self.write_audited(vec![self.table.deleting(keys::profile(id))?], audit).await?;
        Ok(())
    }

    async fn create_mailbox(&self, mailbox: &StoredMailbox, audit: &AuditEntry) -> Result<Written, Outage> {
        let mut writes = Vec::new();
        if let Some(address) = address_item(mailbox) {
            writes.push(self.table.putting_new(address)?);
        }
        writes.push(self.putting_revised(mailbox_item(mailbox)?, mailbox.revision)?);
        writes.extend(self.item_method_writes(None, Some(&mailbox.mailbox))?);
        for delivery in Delivery::ALL {
            writes.extend(self.beginning(mailbox, delivery, None, audit.at).await?);
        }
        let profile = writes.len();
        writes.push(self.table.requiring(keys::profile(&mailbox.mailbox.profile_id))?);
        writes.push(self.auditing(audit).await?);
        match self.table.transact(writes).await? {
            None => Ok(Written::Done),
            Some(n) if n == profile => Ok(Written::ProfileGone),
            Some(_) => self.taken(mailbox).await,
        }
    }

    async fn mailbox(&self, id: &MailboxId) -> Result<Option<MailboxDetails>, Outage> {
        let (mailbox, states) = self.mailbox_rows(id, true).await?;
        Ok(mailbox.map(|row| MailboxDetails {
            stored: stored_mailbox(row),
            deliveries: Delivery::ALL
                .into_iter()
                .filter_map(|d| states.iter().find(|(of, _)| *of == d).map(|(_, row)| (d, row.state.clone())))
                .collect(),
        }))
    }

    async fn mailboxes(&self, profile: Option<&ProfileId>, page: &PageRequest) -> Result<Page<StoredMailbox>, Outage> {
        let (keys, cursor) = match profile {
            Some(profile) => self.mailboxes_of(profile, page.limit, page.cursor.as_deref()).await?,
            None => self.all_mailboxes(page).await?,
        };
        let keys = keys.iter().map(keys::mailbox).collect();
        let rows = self.table.get_all(keys, false).await?.into_iter().map(decode::<MailboxRow>);
        let items = rows.map(|row| row.map(stored_mailbox)).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor })
    }

    async fn details(&self, profile: &ProfileId, page: &PageRequest) -> Result<Page<MailboxDetails>, Outage> {
        let (ids, cursor) = self.mailboxes_of(profile, page.limit, page.cursor.as_deref()).await?;
        let rows = |id| std::iter::once(keys::mailbox(id)).chain(Delivery::ALL.map(|each| keys::delivery(id, each)));
        let mut items: Vec<MailboxDetails> = Vec::new();
        for item in self.table.get_all(ids.iter().flat_map(rows).collect(), false).await? {
            let of_delivery = text_of(&item, "sk").and_then(|sort| sort.strip_prefix(keys::DELIVERY));
            let partition = text_of(&item, "pk").map(str::to_owned);
            let last = items.last_mut();
            let last = last.filter(|last| partition == Some(keys::mailbox_partition(&last.stored.mailbox.id)));
            match (of_delivery.and_then(Delivery::from_name), last) {
                (None, _) => {
                    let stored = stored_mailbox(decode(item)?);
                    items.push(MailboxDetails { stored, deliveries: Vec::new() });
                }
                (Some(delivery), Some(last)) => last.deliveries.push((delivery, decode::<StateRow>(item)?.state)),
                (Some(_), None) => {}
            }
        }
        Ok(Page { items, cursor })
    }

    async fn change_mailbox(
        &self,
        before: &MailboxDetails,
        after: &StoredMailbox,
        audit: &AuditEntry,
    ) -> Result<Written, Outage> {
        let old = &before.stored.mailbox;
        let is_moved = old.normalized_address() != after.mailbox.normalized_address();
        for _ in 0..WRITE_TRIES {
            let mut writes = self.change_writes(old, after, audit).await?;
            let profile = writes.len();
            if old.profile_id != after.mailbox.profile_id {
                writes.push(self.table.requiring(keys::profile(&after.mailbox.profile_id))?);
            }
            match self.table.transact(writes).await? {
                None => return Ok(Written::Done),
                Some(n) if n == profile => return Ok(Written::ProfileGone),
                Some(0) => return Ok(Written::Superseded),
                Some(1) if is_moved && after.mailbox.normalized_address().is_some() => return self.taken(after).await,
                // A run of a delivery ended meanwhile, and nobody changed the mailbox.
                Some(_) => {}
            }
        }
        Err(Outage::new("the mailbox ran at the same moment again and again; change it again"))
    }

    async fn delete_mailbox(&self, details: &MailboxDetails, audit: &AuditEntry) -> Result<(), Outage> {
        let mailbox = &details.stored.mailbox;
        self.delete_rows(&mailbox.id, audit).await?;
        // Closed alerts are left, which expire even if this is cut off.
        for _ in 0..ALERT_PAGES_MAX {
            let question = Question {
                sort: Sort::BeginsWith(keys::ALERT),
                limit: Some(TRANSACTION_ROWS),
                ..Question::of(keys::mailbox_partition(&mailbox.id))
            };
            let (alerts, _) = self.table.query(question).await?;
            if alerts.is_empty() {
                return Ok(());
            }
            let keys =
                alerts.iter().filter_map(|item| Some((text_of(item, "pk")?.into(), text_of(item, "sk")?.into())));
            let deletions = keys.map(|key| self.table.deleting(key)).collect::<Result<_, _>>()?;
            self.table.transact(deletions).await?;
        }
        Ok(())
    }

    async fn enable(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        interval_minutes: u16,
        audit: &AuditEntry,
    ) -> Result<bool, Outage> {
        for _ in 0..WRITE_TRIES {
            let Some(item) = self.table.get(keys::delivery(mailbox, delivery), true).await? else {
                return Ok(false);
            };
            let row: StateRow = decode(item)?;
            let state = row.state.re_enabled(audit.at);
            let interval = state.enabled.then_some(interval_minutes);
            let mut writes = Vec::new();
            for kind in &row.state.open_alerts {
                writes.extend(self.alert_writes(mailbox, delivery, &AlertWrite::Close(*kind, audit.at)).await?);
            }
            writes.extend(
                self.schedule_writes(mailbox, delivery, leaving(row.interval_minutes, interval), interval).await?,
            );
            let version = row.version;
            // The lease stays: a run that is sending goes on until it has ended.
            let next = StateRow { state, interval_minutes: interval, version: version + 1, ..row };
            let item = encode(keys::delivery(mailbox, delivery), &next)?;
            writes.insert(0, self.table.putting_if(item, "version", number(version))?);
            if self.write_audited(writes, audit).await? == Written::Done {
                return Ok(true);
            }
        }
        Err(Outage::new("the mailbox was changed at the same moment again and again; enable it again"))
    }

    async fn moves_items(&self, method: SynchronizationMethod) -> Result<bool, Outage> {
        let question = Question { limit: Some(1), ..Question::of(keys::item_method(method)) };
        Ok(!self.table.query(question).await?.0.is_empty())
    }

    async fn hurry(&self, mailbox: &MailboxId, delivery: Delivery) -> Result<(), Outage> {
        let request = self
            .table
            .updating(keys::delivery(mailbox, delivery))
            .update_expression("REMOVE #state.last_run")
            .condition_expression("attribute_exists(version)")
            .expression_attribute_names("#state", "state");
        conditional(request.send().await, "hurrying a delivery")?;
        Ok(())
    }

    async fn organization(&self) -> Result<StoredOrganization, Outage> {
        let item = self.table.get(keys::organization(), true).await?;
        let row = item.map(decode::<OrganizationRow>).transpose()?;
        Ok(row.map_or_else(StoredOrganization::default, |OrganizationRow { organization, revision }| {
            StoredOrganization { organization, revision }
        }))
    }

    async fn put_organization(&self, stored: &StoredOrganization, audit: &AuditEntry) -> Result<Written, Outage> {
        let row = OrganizationRow { organization: stored.organization.clone(), revision: stored.revision + 1 };
        let put = self.putting_revised(encode(keys::organization(), &row)?, stored.revision)?;
        self.write_audited(vec![put], audit).await
    }

    async fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, Outage> {
        let status = match filter {
            AlertFilter::Mailbox(mailbox) => return self.alerts_of(keys::mailbox_partition(mailbox), page).await,
            AlertFilter::Profile(profile) => return self.alerts_of(keys::profile_partition(profile), page).await,
            AlertFilter::Status(status) => *status,
        };
        let lists = (0..SHARDS).map(|shard| keys::alerts_in(status, shard)).collect();
        let (keys, cursor) = self.merged(lists, page, true).await?;
        let rows = self.table.get_all(keys, false).await?.into_iter().map(decode::<AlertRow>);
        Ok(Page { items: rows.map(|row| row.map(|r| r.alert)).collect::<Result<_, _>>()?, cursor })
    }
}

impl Store {
    /// The writes of a change of a mailbox. The first is conditional on its revision, and the second, if the mailbox takes
    /// an address, on that address being free.
    async fn change_writes(
        &self,
        old: &Mailbox,
        after: &StoredMailbox,
        audit: &AuditEntry,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let new = &after.mailbox;
        let mut writes = vec![self.putting_revised(mailbox_item(after)?, after.revision)?];
        let (was, is) = (old.normalized_address(), new.normalized_address());
        if was != is {
            if let Some(address) = address_item(after) {
                writes.push(self.table.putting_new(address)?);
            }
            if let Some(was) = &was {
                writes.push(self.table.deleting_if(keys::address(was), "mailbox_id", text(old.id.as_str()))?);
            }
        }
        writes.extend(self.item_method_writes(Some(old), Some(new))?);
        let (_, states) = self.mailbox_rows(&new.id, true).await?;
        for delivery in Delivery::ALL {
            if old.begins_anew(new, delivery) {
                let row = states.iter().find(|(of, _)| *of == delivery).map(|(_, row)| row);
                writes.extend(self.beginning(after, delivery, row, audit.at).await?);
            }
        }
        writes.push(self.auditing(audit).await?);
        Ok(writes)
    }

    /// Deletes the rows of a mailbox, its places in lists and its open alerts, as they stand at the moment of the deletion:
    /// a run that ends or a change that is made between the reading and the deletion leads to another reading.
    async fn delete_rows(&self, id: &MailboxId, audit: &AuditEntry) -> Result<(), Outage> {
        for _ in 0..WRITE_TRIES {
            let (row, states) = self.mailbox_rows(id, true).await?;
            let Some(MailboxRow { mailbox, revision, .. }) = row else {
                return Ok(());
            };
            let mut deletions = vec![
                self.table.deleting_where(keys::mailbox(id), "revision", number(revision))?,
                self.table.deleting(keys::test(id))?,
            ];
            if let Some(address) = mailbox.normalized_address() {
                deletions.push(self.table.deleting_if(keys::address(&address), "mailbox_id", text(id.as_str()))?);
            }
            deletions.extend(self.item_method_writes(Some(&mailbox), None)?);
            for (delivery, row) in states {
                let key = keys::delivery(id, delivery);
                deletions.push(self.table.deleting_where(key, "version", number(row.version))?);
                deletions.extend(self.schedule_writes(id, delivery, row.interval_minutes, None).await?);
                for kind in row.state.open_alerts {
                    deletions.push(self.table.deleting(keys::open_alert(id, delivery, kind))?);
                }
            }
            if self.write_audited(deletions, audit).await? == Written::Done {
                return Ok(());
            }
        }
        Err(Outage::new("the mailbox was changed at the same moment again and again; delete it again"))
    }

    /// The writes that begin a delivery anew; `row` is what it was.
    async fn beginning(
        &self,
        mailbox: &StoredMailbox,
        delivery: Delivery,
        row: Option<&StateRow>,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let id = &mailbox.mailbox.id;
        let new = &mailbox.mailbox;
        let state =
            row.map_or_else(|| new.initial_state(delivery), |before| new.state_begun_anew(delivery, &before.state));
        let version = row.map_or(0, |row| row.version);
        let mut writes = Vec::new();
        if let Some(before) = row {
            for kind in &before.state.open_alerts {
                writes.extend(self.alert_writes(id, delivery, &AlertWrite::Close(*kind, now)).await?);
            }
            writes.extend(self.schedule_writes(id, delivery, before.interval_minutes, None).await?);
        }
        // The lease stays: what a run hands over under the old settings is not handed over again under the new ones.
        let leased_until = row.and_then(|row| row.leased_until);
        let next = StateRow { state, version: version + 1, leased_until, ..StateRow::default() };
        let item = encode(keys::delivery(id, delivery), &next)?;
        writes.push(match row {
            Some(_) => self.table.putting_if(item, "version", number(version))?,
            None => self.table.putting_new(item)?,
        });
        Ok(writes)
    }

    /// The writes that keep the list of mailboxes whose items are moved by a method.
    fn item_method_writes(
        &self,
        before: Option<&Mailbox>,
        after: Option<&Mailbox>,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let place = |mailbox: &Mailbox| match mailbox.appointments_contacts_tasks {
            SynchronizationMethod::None => None,
            method => Some((keys::item_method(method), mailbox.id.to_string())),
        };
        let (was, is) = (before.and_then(place), after.and_then(place));
        let mut writes = Vec::new();
        if was != is {
            writes.extend(was.map(|key| self.table.deleting(key)).transpose()?);
            writes.extend(is.map(|key| self.table.putting(key_of(key))).transpose()?);
        }
        Ok(writes)
    }

    /// A row on condition that it was written `revision` times so far.
    fn putting_revised(&self, item: Item, revision: u64) -> Result<TransactWriteItem, Outage> {
        match revision {
            0 => self.table.putting_new(item),
            written => self.table.putting_if(item, "revision", number(written)),
        }
    }

    pub(crate) async fn auditing(&self, entry: &AuditEntry) -> Result<TransactWriteItem, Outage> {
        self.list_month(entry.at).await?;
        let item = encode(keys::audit(entry), &AuditRow { entry: entry.clone() })?;
        let list = keys::audit_of(entry.subject, &entry.subject_id);
        self.table.putting_new(listed(item, (list, keys::audit_place(entry))))
    }

    /// Writes all, and who did it, or nothing.
    pub(crate) async fn write_audited(
        &self,
        mut writes: Vec<TransactWriteItem>,
        audit: &AuditEntry,
    ) -> Result<Written, Outage> {
        writes.push(self.auditing(audit).await?);
        Ok(self.table.transact(writes).await?.map_or(Written::Done, |_| Written::Superseded))
    }

    async fn taken(&self, mailbox: &StoredMailbox) -> Result<Written, Outage> {
        let Some(address) = mailbox.mailbox.normalized_address() else {
            return Ok(Written::Superseded);
        };
        let item = self.table.get(keys::address(&address), true).await?;
        let owner = item.as_ref().and_then(|item| text_of(item, "mailbox_id")).and_then(|id| MailboxId::parse(id).ok());
        Ok(owner.map_or(Written::Superseded, Written::AddressTaken))
    }
}

/// The slot to leave: none if the delivery stays where it is.
fn leaving(before: Option<u16>, after: Option<u16>) -> Option<u16> {
    before.filter(|_| before != after)
}

fn stored_profile(item: Item) -> Result<StoredProfile, Outage> {
    let ProfileRow { profile, credentials, revision } = decode(item)?;
    Ok(StoredProfile { profile, credentials, revision })
}

fn stored_mailbox(MailboxRow { mailbox, credentials, revision }: MailboxRow) -> StoredMailbox {
    StoredMailbox { mailbox, credentials, revision }
}

fn mailbox_item(mailbox: &StoredMailbox) -> Result<Item, Outage> {
    let StoredMailbox { mailbox, credentials, revision } = mailbox.clone();
    let (id, list) = (mailbox.id.clone(), keys::mailboxes_of(&mailbox.profile_id));
    let item = encode(keys::mailbox(&id), &MailboxRow { mailbox, credentials, revision: revision + 1 })?;
    Ok(listed(item, (list, id.to_string())))
}

fn address_item(mailbox: &StoredMailbox) -> Option<Item> {
    let mut item = key_of(keys::address(&mailbox.mailbox.normalized_address()?));
    item.insert("mailbox_id".to_owned(), text(mailbox.mailbox.id.as_str()));
    Some(item)
}
