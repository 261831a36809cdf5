//! Pages of lists that are made from several queries: mailboxes profile by profile, alerts by time, lists in shards.

use mailrail_domain::words::{
    alert::Alert,
    id::{MailboxId, ProfileId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{Directory, Page, PageRequest},
};
use mailrail_table::{Item, Key, Question, Sort, decode, key_of, text, text_of};

use crate::{Store, directory::ALERT_PAGES_MAX, keys, rows::AlertRow};

/// Profiles whose mailboxes are looked at for one page of all mailboxes.
const PROFILES_PER_PAGE: usize = 200;

impl Store {
    /// One page of the mailboxes of a profile, in the order of their ids.
    pub(crate) async fn mailboxes_of(
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
        let (items, next) = self.table.query(question).await?;
        let ids = items.iter().filter_map(|item| MailboxId::parse(text_of(item, "list_sk")?).ok()).collect();
        Ok((ids, next.and_then(|key| text_of(&key, "list_sk").map(str::to_owned))))
    }

    /// One page of all mailboxes, profile by profile. The cursor is the profile and the mailbox where it stopped.
    pub(crate) async fn all_mailboxes(&self, page: &PageRequest) -> Result<(Vec<MailboxId>, Option<String>), Outage> {
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

    /// One page of the alerts of a mailbox or profile, the newest first. They stand in the table by kind, and are few: all
    /// are read.
    pub(crate) async fn alerts_of(&self, partition: String, page: &PageRequest) -> Result<Page<Alert>, Outage> {
        let mut alerts = Vec::new();
        let mut after = None;
        for _ in 0..ALERT_PAGES_MAX {
            let question = Question {
                sort: Sort::BeginsWith(keys::ALERT),
                consistent: true,
                after,
                ..Question::of(partition.clone())
            };
            let (items, next) = self.table.query(question).await?;
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
    ) -> Result<(Vec<Key>, Option<String>), Outage> {
        let queries = lists.into_iter().map(|list| async move {
            // Any key serves as the one after which to go on: the index compares places first. Read backwards, the
            // entry at that place comes once more, and is left out below.
            let after = page.cursor.as_deref().map(|place| list_key(&list, place, ("~".into(), "~".into())));
            let limit = Some(page.limit + 2);
            self.table.query(Question { of_list: true, newest_first, limit, after, ..Question::of(list) }).await
        });
        let found = futures_util::future::try_join_all(queries).await?;
        let mut entries: Vec<(String, Key)> = found
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

fn list_key(list: &str, place: &str, key: Key) -> Item {
    let mut item = key_of(key);
    item.insert("list_pk".to_owned(), text(list));
    item.insert("list_sk".to_owned(), text(place));
    item
}
