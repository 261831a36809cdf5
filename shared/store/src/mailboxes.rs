//! Deliveries and the schedule.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::schedule::Slot,
    seconds_after,
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        delivery::Delivery,
        id::{MailboxId, ProfileId},
        passed_over::PassedOver,
    },
};
use mailrail_engine::{
    limits::DUE_PAGE,
    outage::Outage,
    ports::{AlertWrite, Claim, Closing, DeliveryRow, Directory, DuePage, MailboxStore, Wake},
};
use mailrail_table::{
    Item, Key, Question, Sort, conditional, decode, encode, expiring, key_of, listed, number, outage, text, text_of,
};

use crate::{
    Store, keys,
    rows::{AlertRow, MailboxRow, StateRow},
};

const SECONDS_PER_DAY: i64 = 86_400;

impl MailboxStore for Store {
    /// One eventually consistent query over the mailbox and its deliveries, half a read unit: a stale row costs a
    /// refused write, never a wrong one.
    async fn load(&self, mailbox: &MailboxId, delivery: Delivery) -> Result<Option<DeliveryRow>, Outage> {
        let (mailbox_row, states) = self.mailbox_rows(mailbox, false).await?;
        let state = states.into_iter().find(|(of, _)| *of == delivery);
        let (Some(MailboxRow { mailbox, credentials, .. }), Some((_, row))) = (mailbox_row, state) else {
            return Ok(None);
        };
        let claim = Claim { mailbox: mailbox.id.clone(), delivery, version: row.version };
        Ok(Some(DeliveryRow {
            mailbox,
            credentials,
            state: row.state,
            position: row.reached,
            interval_minutes: row.interval_minutes,
            leased_until: row.leased_until.and_then(|second| Timestamp::from_timestamp(second, 0)),
            claim,
        }))
    }

    async fn lease(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<Option<Claim>, Outage> {
        let request = self
            .table
            .updating(keys::delivery(&claim.mailbox, claim.delivery))
            .update_expression("SET leased_until = :until, version = :next")
            .condition_expression("version = :version AND (attribute_not_exists(leased_until) OR leased_until <= :now)")
            .expression_attribute_values(":until", number(until.timestamp()))
            .expression_attribute_values(":now", number(now.timestamp()))
            .expression_attribute_values(":version", number(claim.version))
            .expression_attribute_values(":next", number(claim.version + 1));
        self.claimed(claim, request).await
    }

    async fn advance(&self, claim: &Claim, position: &Position, source: &str) -> Result<Option<Claim>, Outage> {
        let request = self
            .table
            .updating(keys::delivery(&claim.mailbox, claim.delivery))
            // A page is stored, so that the row of failures is broken, even if the end of the run is never written.
            .update_expression(
                "SET reached = :reached, #state.#source = :source, version = :next \
                 REMOVE #state.transient_failure_count, #state.failing_since",
            )
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":reached", attribute(position)?)
            .expression_attribute_values(":source", text(source))
            .expression_attribute_values(":version", number(claim.version))
            .expression_attribute_values(":next", number(claim.version + 1));
        self.claimed(claim, request).await
    }

    async fn mark_passed_over(&self, claim: &Claim, passed_over: PassedOver) -> Result<Option<Claim>, Outage> {
        let request = self
            .table
            .updating(keys::delivery(&claim.mailbox, claim.delivery))
            .update_expression("SET #state.passed_over = :passed_over, version = :next")
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":passed_over", attribute(&passed_over)?)
            .expression_attribute_values(":version", number(claim.version))
            .expression_attribute_values(":next", number(claim.version + 1));
        self.claimed(claim, request).await
    }

    async fn commit(&self, claim: &Claim, closing: &Closing) -> Result<bool, Outage> {
        let interval = closing.state.scheduled(closing.interval_minutes);
        let change = Change::of(claim, closing, interval)?;
        let moved = closing.previous_interval_minutes != interval;
        if closing.alerts.is_empty() && closing.notice.is_none() && closing.audit.is_none() && !moved {
            // The idle mailbox: one write unit, where a transaction would cost two.
            let request = self.table.updating(change.key);
            let request = request
                .update_expression(change.expression)
                .condition_expression(UNCHANGED)
                .expression_attribute_names("#state", "state")
                .set_expression_attribute_values(Some(change.values));
            return Ok(self.claimed(claim, request).await?.is_some());
        }
        let update = self
            .table
            .update(change.key)
            .update_expression(change.expression)
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#state", "state")
            .set_expression_attribute_values(Some(change.values))
            .build()
            .map_err(|error| Outage::because("asking for a write", error))?;
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];
        for alert in &closing.alerts {
            writes.extend(self.alert_writes(&claim.mailbox, claim.delivery, alert).await?);
        }
        writes.extend(self.noticing(closing.notice.as_ref())?);
        if let Some(entry) = &closing.audit {
            writes.push(self.auditing(entry).await?);
        }
        if moved {
            let before = closing.previous_interval_minutes;
            writes.extend(self.schedule_writes(&claim.mailbox, claim.delivery, before, interval).await?);
        }
        Ok(self.table.transact(writes).await?.is_none())
    }

    async fn take_permit(
        &self,
        profile: &ProfileId,
        permits: u16,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u16>, Outage> {
        for permit in 0..permits {
            let request = self
                .table
                .updating(keys::permit(profile, permit))
                .update_expression("SET leased_until = :until")
                .condition_expression("attribute_not_exists(leased_until) OR leased_until <= :now")
                .expression_attribute_values(":until", number(until.timestamp()))
                .expression_attribute_values(":now", number(now.timestamp()));
            if self.table.update_if(request, "taking a permit to connect").await? {
                return Ok(Some(permit));
            }
        }
        Ok(None)
    }

    async fn return_permit(&self, profile: &ProfileId, permit: u16, until: Timestamp) -> Result<(), Outage> {
        let request = self
            .table
            .removing(keys::permit(profile, permit))
            .condition_expression("leased_until = :until")
            .expression_attribute_values(":until", number(until.timestamp()));
        conditional(request.send().await, "returning a permit to connect")?;
        Ok(())
    }

    async fn intervals(&self) -> Result<Vec<u16>, Outage> {
        let key = (keys::SCHEDULE.to_owned(), keys::INTERVALS.to_owned());
        let item = self.table.get(key, false).await?.unwrap_or_default();
        let listed = item.get("intervals").and_then(|value| value.as_ns().ok());
        let mut intervals: Vec<u16> = listed.into_iter().flatten().filter_map(|n| n.parse().ok()).collect();
        intervals.sort_unstable();
        Ok(intervals)
    }

    async fn enqueued_until(&self) -> Result<Option<Timestamp>, Outage> {
        let key = (keys::SCHEDULE.to_owned(), keys::TICK.to_owned());
        let item = self.table.get(key, true).await?.unwrap_or_default();
        let second = item.get("at").and_then(|value| value.as_n().ok()).and_then(|second| second.parse().ok());
        Ok(second.and_then(|second| Timestamp::from_timestamp(second, 0)))
    }

    async fn set_enqueued_until(&self, at: Timestamp) -> Result<(), Outage> {
        let mut item = key_of((keys::SCHEDULE.to_owned(), keys::TICK.to_owned()));
        item.insert("at".to_owned(), number(at.timestamp()));
        self.table.put(item).await
    }

    async fn due(&self, slot: Slot, cursor: Option<String>) -> Result<DuePage, Outage> {
        let partition = keys::slot(slot);
        let question = Question {
            limit: Some(DUE_PAGE),
            after: cursor.map(|sort| key_of((partition.clone(), sort))),
            ..Question::of(partition)
        };
        let (items, next) = self.table.query(question).await?;
        let wake = |item: &Item| {
            let (mailbox, delivery) = text_of(item, "sk")?.rsplit_once('#')?;
            Some(Wake { mailbox: MailboxId::parse(mailbox).ok()?, delivery: Delivery::from_name(delivery)? })
        };
        let cursor = next.and_then(|key| text_of(&key, "sk").map(str::to_owned));
        Ok(DuePage { wakes: items.iter().filter_map(wake).collect(), cursor })
    }
}

/// The condition of every write of a delivery: nobody else wrote since.
const UNCHANGED: &str = "version = :version";

/// The write that ends a run. What it does not name, such as the position of a run that read nothing, stays.
struct Change {
    key: Key,
    expression: String,
    values: Item,
}

impl Change {
    fn of(claim: &Claim, closing: &Closing, interval: Option<u16>) -> Result<Self, Outage> {
        let mut set = "SET #state = :state, version = :next".to_owned();
        let mut remove = " REMOVE leased_until".to_owned();
        let mut values = Item::from([
            (":state".to_owned(), attribute(&closing.state)?),
            (":version".to_owned(), number(claim.version)),
            (":next".to_owned(), number(claim.version + 1)),
        ]);
        match interval {
            Some(minutes) => {
                set.push_str(", interval_minutes = :interval");
                values.insert(":interval".to_owned(), number(minutes));
            }
            None => remove.push_str(", interval_minutes"),
        }
        if let Some(position) = &closing.position {
            set.push_str(", reached = :reached");
            values.insert(":reached".to_owned(), attribute(position)?);
        }
        let key = keys::delivery(&claim.mailbox, claim.delivery);
        Ok(Self { key, expression: set + &remove, values })
    }
}

/// A value as an attribute of a row.
fn attribute(value: &impl serde::Serialize) -> Result<AttributeValue, Outage> {
    serde_dynamo::to_attribute_value(value).map_err(|error| Outage::because("a value cannot be written", error))
}

impl Store {
    /// A mailbox and its deliveries, by one query.
    pub(crate) async fn mailbox_rows(
        &self,
        mailbox: &MailboxId,
        consistent: bool,
    ) -> Result<(Option<MailboxRow>, Vec<(Delivery, StateRow)>), Outage> {
        let question = Question {
            sort: Sort::Between(keys::DELIVERY, keys::MAILBOX),
            consistent,
            ..Question::of(keys::mailbox_partition(mailbox))
        };
        let mut mailbox = None;
        let mut states = Vec::new();
        for item in self.table.query(question).await?.0 {
            match text_of(&item, "sk").and_then(|sort| sort.strip_prefix(keys::DELIVERY)) {
                Some(name) => {
                    if let Some(delivery) = Delivery::from_name(name) {
                        states.push((delivery, decode(item)?));
                    }
                }
                None => mailbox = Some(decode(item)?),
            }
        }
        Ok((mailbox, states))
    }

    async fn claimed(
        &self,
        claim: &Claim,
        request: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder,
    ) -> Result<Option<Claim>, Outage> {
        let done = self.table.update_if(request, "writing a delivery").await?;
        Ok(done.then(|| Claim { version: claim.version + 1, ..claim.clone() }))
    }

    /// The writes of one change of an alert. Alerts of a delivery change only together with its row, whose version is
    /// the condition of the same transaction, so what is read here is still true when it is written.
    pub(crate) async fn alert_writes(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        write: &AlertWrite,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let kind = match write {
            AlertWrite::Raise(alert) => alert.kind,
            AlertWrite::Close(kind, _) => *kind,
        };
        let open = self.open_alert(mailbox, delivery, kind).await?;
        match (write, open) {
            (AlertWrite::Raise(alert), open) => {
                let (count, first_seen) = open.map_or((1, alert.first_seen), |o| (o.count + 1, o.first_seen));
                let alert = Alert { count, first_seen, ..(**alert).clone() };
                let item = encode(keys::open_alert(mailbox, delivery, kind), &AlertRow { alert: alert.clone() })?;
                Ok(vec![self.table.putting(listed(item, keys::alert_place(&alert)))?])
            }
            (AlertWrite::Close(_, at), Some(open)) => self.closing(open, *at).await,
            (AlertWrite::Close(..), None) => Ok(Vec::new()),
        }
    }

    /// The writes that close an alert, which is then kept for as long as the organization says.
    pub(crate) async fn closing(&self, open: Alert, at: Timestamp) -> Result<Vec<TransactWriteItem>, Outage> {
        let mut writes = vec![self.table.deleting(keys::open(&open))?];
        let days = self.organization().await?.organization.closed_alert_days;
        if days > 0 {
            let closed = Alert { status: AlertStatus::Closed, last_seen: at, ..open };
            let item = encode(keys::closed_alert(&closed), &AlertRow { alert: closed.clone() })?;
            let until = seconds_after(at, i64::from(days) * SECONDS_PER_DAY);
            writes.push(self.table.putting(expiring(listed(item, keys::alert_place(&closed)), until))?);
        }
        Ok(writes)
    }

    async fn open_alert(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        kind: AlertKind,
    ) -> Result<Option<Alert>, Outage> {
        let item = self.table.get(keys::open_alert(mailbox, delivery, kind), true).await?;
        Ok(item.map(decode::<AlertRow>).transpose()?.map(|row| row.alert))
    }

    /// The writes that move a delivery from one slot of the schedule to another, or out of it.
    pub(crate) async fn schedule_writes(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        before: Option<u16>,
        after: Option<u16>,
    ) -> Result<Vec<TransactWriteItem>, Outage> {
        let mut writes = Vec::new();
        if let Some(minutes) = before {
            writes.push(self.table.deleting(keys::scheduled(mailbox, delivery, minutes))?);
        }
        if let Some(minutes) = after {
            self.list_interval(minutes).await?;
            writes.push(self.table.putting(key_of(keys::scheduled(mailbox, delivery, minutes)))?);
        }
        Ok(writes)
    }

    /// Adds an interval to those that the schedule looks at. It stays listed: an empty slot costs half a read unit.
    async fn list_interval(&self, minutes: u16) -> Result<(), Outage> {
        let known = |store: &Self| store.listed_intervals.lock().is_ok_and(|listed| listed.contains(&minutes));
        if known(self) {
            return Ok(());
        }
        let request = self
            .table
            .updating((keys::SCHEDULE.to_owned(), keys::INTERVALS.to_owned()))
            .update_expression("ADD intervals :interval")
            .expression_attribute_values(":interval", AttributeValue::Ns(vec![minutes.to_string()]));
        request.send().await.map_err(outage("listing an interval of the schedule"))?;
        if let Ok(mut listed) = self.listed_intervals.lock() {
            listed.insert(minutes);
        }
        Ok(())
    }
}
