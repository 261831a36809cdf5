//! What is known of profiles' servers, and what is told of a profile rather than of a mailbox.

use aws_sdk_dynamodb::types::TransactWriteItem;
use mailrail_domain::{
    Timestamp,
    rules::hold::ProfileHealth,
    words::{
        alert::{Alert, AlertKind},
        delivery::Delivery,
        id::ProfileId,
        notice::Notice,
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{HealthStore, StoredHealth},
};
use mailrail_table::{Item, decode, encode, listed, number};

use crate::{
    Store, keys,
    rows::{AlertRow, HealthRow, NoticeRow},
};

impl HealthStore for Store {
    async fn health(&self, profile: &ProfileId) -> Result<Option<StoredHealth>, Outage> {
        let item = self.table.get(keys::health(profile), true).await?;
        let row = item.map(decode::<HealthRow>).transpose()?;
        Ok(row.map(|HealthRow { health, version }| StoredHealth { health, version }))
    }

    async fn put_health(
        &self,
        profile: &ProfileId,
        health: &ProfileHealth,
        version: u64,
        told: Option<(&Alert, &Notice)>,
    ) -> Result<bool, Outage> {
        let row = HealthRow { health: health.clone(), version: version + 1 };
        let item = encode(keys::health(profile), &row)?;
        let Some((alert, notice)) = told else {
            let put = self.table.replacing(item);
            let put = match version {
                0 => put.condition_expression("attribute_not_exists(pk)"),
                known => {
                    let put = put.condition_expression("version = :version");
                    put.expression_attribute_values(":version", number(known))
                }
            };
            return self.table.put_if(put, "writing a profile's health").await;
        };
        let mut writes = vec![match version {
            0 => self.table.putting_new(item)?,
            known => self.table.putting_if(item, "version", number(known))?,
        }];
        writes.push(self.table.putting(self.raised(alert).await?)?);
        writes.extend(self.noticing(Some(notice))?);
        Ok(self.table.transact(writes).await?.is_none())
    }

    async fn clear_health(
        &self,
        profile: &ProfileId,
        version: u64,
        over: Option<(&Alert, Timestamp, &Notice)>,
    ) -> Result<bool, Outage> {
        let mut writes = vec![self.table.deleting_where(keys::health(profile), "version", number(version))?];
        if let Some((alert, at, notice)) = over {
            writes.extend(self.ending(alert, at, Some(notice)).await?);
        }
        Ok(self.table.transact(writes).await?.is_none())
    }

    async fn open_alert(
        &self,
        profile: &ProfileId,
        delivery: Delivery,
        kind: AlertKind,
    ) -> Result<Option<Alert>, Outage> {
        let key = keys::open_alert_of_profile(profile, delivery, kind);
        let open = self.table.get(key, true).await?.map(decode::<AlertRow>).transpose()?;
        Ok(open.map(|row| row.alert))
    }

    async fn raise(&self, alert: &Alert, notice: Option<&Notice>) -> Result<(), Outage> {
        let item = self.raised(alert).await?;
        if notice.is_none() {
            // Many mailboxes may raise the same alert at once, and transactions would get in each other's way.
            return self.table.put(item).await;
        }
        let mut writes = vec![self.table.putting(item)?];
        writes.extend(self.noticing(notice)?);
        self.table.transact(writes).await?;
        Ok(())
    }

    async fn close(&self, alert: &Alert, at: Timestamp, notice: Option<&Notice>) -> Result<(), Outage> {
        let writes = self.ending(alert, at, notice).await?;
        if !writes.is_empty() {
            self.table.transact(writes).await?;
        }
        Ok(())
    }
}

impl Store {
    /// The row of an alert that is raised, with the count and the first time of the open one.
    async fn raised(&self, alert: &Alert) -> Result<Item, Outage> {
        let known = HealthStore::open_alert(self, &alert.profile_id, alert.delivery, alert.kind).await?;
        let (count, first_seen) = known.map_or((1, alert.first_seen), |open| (open.count + 1, open.first_seen));
        let alert = Alert { count, first_seen, ..alert.clone() };
        let item = encode(keys::open(&alert), &AlertRow { alert: alert.clone() })?;
        Ok(listed(item, keys::alert_place(&alert)))
    }

    /// The writes that close the open alert of the same profile, delivery and kind, and that tell the notice.
    async fn ending(
        &self,
        alert: &Alert,
        at: Timestamp,
        notice: Option<&Notice>,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let open = HealthStore::open_alert(self, &alert.profile_id, alert.delivery, alert.kind).await?;
        let mut writes = self.noticing(notice)?;
        if let Some(open) = open {
            writes.extend(self.closing(open, at).await?);
        }
        Ok(writes)
    }

    /// The write of a notice, where there is one.
    pub(crate) fn noticing(&self, notice: Option<&Notice>) -> Result<Vec<TransactWriteItem>, Outage> {
        let put = |notice: &Notice| {
            let row = NoticeRow { notice: notice.clone() };
            self.table.putting(listed(encode(keys::notice(&notice.id), &row)?, keys::notice_place(notice)))
        };
        notice.into_iter().map(put).collect()
    }
}
