//! API tokens and the audit.

use mailrail_domain::{
    Timestamp,
    words::{
        audit::{AuditEntry, AuditSubject},
        role::ApiToken,
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{AccessStore, Page, PageRequest, Written},
};

use mailrail_table::{Item, Question, decode, encode, key_of, listed, text_of};

use crate::{
    Store, keys,
    rows::{AuditRow, TokenRow},
};

/// Tokens that are looked through for one to delete.
const TOKENS_MAX: usize = 1_000;
/// Months of the audit that one page looks through.
const MONTHS_MAX: usize = 24;

impl AccessStore for Store {
    async fn put_token(&self, token: &ApiToken, sha256: &str, audit: &AuditEntry) -> Result<(), Outage> {
        let item = encode(keys::token(sha256), &TokenRow { token: token.clone() })?;
        let item = listed(item, (keys::TOKENS.to_owned(), token.id.clone()));
        match self.write_audited(vec![self.table.putting_new(item)?], audit).await? {
            Written::Done => Ok(()),
            Written::AddressTaken(_) | Written::Superseded | Written::ProfileGone => {
                Err(Outage::new("there is such a token already"))
            }
        }
    }

    async fn token(&self, sha256: &str) -> Result<Option<ApiToken>, Outage> {
        let item = self.table.get(keys::token(sha256), true).await?;
        Ok(item.map(decode::<TokenRow>).transpose()?.map(|row| row.token))
    }

    async fn tokens(&self, page: &PageRequest) -> Result<Page<ApiToken>, Outage> {
        let (keys, cursor) = self.merged(vec![keys::TOKENS.to_owned()], page, false).await?;
        let rows = self.table.get_all(keys, false).await?.into_iter().map(decode::<TokenRow>);
        Ok(Page { items: rows.map(|row| row.map(|r| r.token)).collect::<Result<_, _>>()?, cursor })
    }

    async fn delete_token(&self, id: &str, audit: &AuditEntry) -> Result<bool, Outage> {
        let list = Question { of_list: true, limit: Some(TOKENS_MAX), ..Question::of(keys::TOKENS.to_owned()) };
        let (items, _) = self.table.query(list).await?;
        let found = items.iter().find(|item| text_of(item, "list_sk") == Some(id));
        let key = found.and_then(|item| Some((text_of(item, "pk")?.to_owned(), text_of(item, "sk")?.to_owned())));
        let Some(key) = key else {
            return Ok(false);
        };
        Ok(self.write_audited(vec![self.table.deleting_existing(key)?], audit).await? == Written::Done)
    }

    async fn record(&self, entry: &AuditEntry) -> Result<(), Outage> {
        self.write_audited(vec![], entry).await?;
        Ok(())
    }

    async fn audit(
        &self,
        subject: Option<(AuditSubject, &str)>,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, Outage> {
        match subject {
            Some((subject, id)) => {
                let (keys, cursor) = self.merged(vec![keys::audit_of(subject, id)], page, true).await?;
                let rows = self.table.get_all(keys, false).await?.into_iter();
                Ok(Page { items: rows.map(entry).collect::<Result<_, _>>()?, cursor })
            }
            None => self.whole_audit(page).await,
        }
    }
}

impl Store {
    /// One page of everything, month by month from the newest. The cursor is the month and the place where it stopped.
    async fn whole_audit(&self, page: &PageRequest) -> Result<Page<AuditEntry>, Outage> {
        let (mut month, mut place) = match page.cursor.as_deref().and_then(|cursor| cursor.split_once('/')) {
            Some((month, place)) => (month.to_owned(), Some(place.to_owned())),
            None => match self.newest_month().await? {
                Some(month) => (month, None),
                None => return Ok(Page { items: Vec::new(), cursor: None }),
            },
        };
        let mut items: Vec<AuditEntry> = Vec::new();
        for _ in 0..MONTHS_MAX {
            let question = Question {
                newest_first: true,
                limit: Some(page.limit - items.len()),
                after: place.take().filter(|place| !place.is_empty()).map(|sort| key_of((month.clone(), sort))),
                ..Question::of(month.clone())
            };
            let (rows, next) = self.table.query(question).await?;
            items.extend(rows.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?);
            if let Some(next) = next.as_ref().and_then(|key| text_of(key, "sk")) {
                return Ok(Page { items, cursor: Some(format!("{month}/{next}")) });
            }
            let Some(before) = self.month_before(&month).await? else {
                return Ok(Page { items, cursor: None });
            };
            month = before;
            if items.len() >= page.limit {
                break;
            }
        }
        Ok(Page { items, cursor: Some(format!("{month}/")) })
    }

    async fn newest_month(&self) -> Result<Option<String>, Outage> {
        self.months(None).await
    }

    async fn month_before(&self, month: &str) -> Result<Option<String>, Outage> {
        self.months(Some(month)).await
    }

    /// The newest month that has entries, or the newest before another.
    async fn months(&self, before: Option<&str>) -> Result<Option<String>, Outage> {
        let question = Question {
            newest_first: true,
            limit: Some(1),
            after: before.map(|month| key_of((keys::AUDIT_MONTHS.to_owned(), month.to_owned()))),
            ..Question::of(keys::AUDIT_MONTHS.to_owned())
        };
        let (items, _) = self.table.query(question).await?;
        Ok(items.first().and_then(|item| text_of(item, "sk")).map(str::to_owned))
    }

    /// The month of an entry, in the list of months; written once a month and process.
    pub(crate) async fn list_month(&self, at: Timestamp) -> Result<(), Outage> {
        let month = keys::audit_month(at);
        if self.listed_months.lock().is_ok_and(|listed| listed.contains(&month)) {
            return Ok(());
        }
        self.table.put(key_of((keys::AUDIT_MONTHS.to_owned(), month.clone()))).await?;
        if let Ok(mut listed) = self.listed_months.lock() {
            listed.insert(month);
        }
        Ok(())
    }
}

fn entry(item: Item) -> Result<AuditEntry, Outage> {
    decode::<AuditRow>(item).map(|row| row.entry)
}
