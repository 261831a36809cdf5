//! Mailboxes, profiles, alerts and notices in memory.

mod access;
mod health;
mod outbox;
mod quarantine;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use mailrail_domain::{
    Timestamp,
    email::{position::Position, quarantine::Quarantined},
    rules::schedule::Slot,
    settings::mailbox::Mailbox,
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        audit::AuditEntry,
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        notice::Notice,
        passed_over::PassedOver,
        role::ApiToken,
        state::DeliveryState,
        trial::MailboxTest,
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{
        AlertFilter, AlertWrite, Claim, Closing, DeliveryRow, Directory, DuePage, MailboxDetails, MailboxStore,
        OutboxPlace, Page, PageRequest, StoredHealth, StoredMailbox, StoredOrganization, StoredProfile, Wake, Written,
    },
};

use super::{lock, page};

/// Mailboxes, profiles, alerts and notices.
#[derive(Debug, Default)]
pub struct MemoryState(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reads: Reads,
    enqueued_until: Option<Timestamp>,
    organization: StoredOrganization,
    tokens: BTreeMap<String, ApiToken>,
    audit: Vec<AuditEntry>,
    tests: BTreeMap<MailboxId, MailboxTest>,
    profiles: BTreeMap<ProfileId, StoredProfile>,
    mailboxes: BTreeMap<MailboxId, StoredMailbox>,
    addresses: BTreeMap<String, MailboxId>,
    deliveries: BTreeMap<(MailboxId, Delivery), Row>,
    schedule: BTreeMap<Slot, BTreeSet<(MailboxId, Delivery)>>,
    alerts: BTreeMap<(MailboxId, Delivery, AlertKind), Vec<Alert>>,
    profile_alerts: BTreeMap<(ProfileId, Delivery, AlertKind), Vec<Alert>>,
    notices: BTreeMap<String, Notice>,
    health: BTreeMap<ProfileId, StoredHealth>,
    permits: BTreeMap<(ProfileId, u16), Timestamp>,
    outboxes: BTreeMap<(MailboxId, OutboxPlace), Timestamp>,
    quarantine: BTreeMap<(MailboxId, String), Quarantined>,
    recipients: BTreeMap<(MailboxId, i64), u32>,
}

/// How often single things were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads {
    /// Mailboxes.
    pub mailboxes: u32,
    /// Profiles.
    pub profiles: u32,
    /// The organization's settings.
    pub organization: u32,
}

#[derive(Debug, Clone, Default)]
struct Row {
    state: DeliveryState,
    position: Option<Position>,
    interval_minutes: Option<u16>,
    leased_until: Option<Timestamp>,
    version: u64,
}

impl State {
    fn row(&mut self, claim: &Claim) -> Option<&mut Row> {
        let row = self.deliveries.get_mut(&(claim.mailbox.clone(), claim.delivery))?;
        (row.version == claim.version).then_some(row)
    }

    fn reschedule(&mut self, mailbox: &MailboxId, delivery: Delivery, interval: Option<u16>) {
        let key = (mailbox.clone(), delivery);
        for deliveries in self.schedule.values_mut() {
            deliveries.remove(&key);
        }
        if let Some(minutes) = interval {
            self.schedule.entry(Slot::of(mailbox, delivery, minutes)).or_default().insert(key.clone());
        }
        if let Some(row) = self.deliveries.get_mut(&key) {
            row.interval_minutes = interval;
        }
    }

    fn write_alert(&mut self, claim: &Claim, write: &AlertWrite) {
        match write {
            AlertWrite::Raise(alert) => {
                let key = (claim.mailbox.clone(), claim.delivery, alert.kind);
                let history = self.alerts.entry(key).or_default();
                match history.last_mut().filter(|open| open.status == AlertStatus::Open) {
                    Some(open) => {
                        let (count, first_seen) = (open.count + 1, open.first_seen);
                        *open = Alert { count, first_seen, ..(**alert).clone() };
                    }
                    None => history.push((**alert).clone()),
                }
            }
            AlertWrite::Close(kind, at) => self.close(&claim.mailbox, claim.delivery, *kind, *at),
        }
    }

    fn close(&mut self, mailbox: &MailboxId, delivery: Delivery, kind: AlertKind, at: Timestamp) {
        if self.organization.organization.closed_alert_days == 0 {
            self.alerts.remove(&(mailbox.clone(), delivery, kind));
        }
        let history = self.alerts.get_mut(&(mailbox.clone(), delivery, kind));
        for alert in history.into_iter().flatten().filter(|a| a.status == AlertStatus::Open) {
            alert.status = AlertStatus::Closed;
            alert.last_seen = at;
        }
    }

    fn configure(&mut self, mailbox: &StoredMailbox, delivery: Delivery, now: Timestamp) {
        let id = &mailbox.mailbox.id;
        let row = self.deliveries.entry((id.clone(), delivery)).or_default();
        let open = std::mem::take(&mut row.state.open_alerts);
        let state = mailbox.mailbox.state_begun_anew(delivery, &row.state);
        *row = Row { state, version: row.version + 1, leased_until: row.leased_until, ..Row::default() };
        self.reschedule(id, delivery, None);
        for kind in open {
            self.close(id, delivery, kind, now);
        }
    }

    /// Takes the address of a mailbox for it; the mailbox that has it, if another has.
    fn take_address(&mut self, mailbox: &Mailbox) -> Option<MailboxId> {
        let address = mailbox.address.as_ref()?.normalized();
        if let Some(owner) = self.addresses.get(&address).filter(|owner| **owner != mailbox.id) {
            return Some(owner.clone());
        }
        self.addresses.insert(address, mailbox.id.clone());
        None
    }

    fn leave_address(&mut self, mailbox: &Mailbox) {
        let address = mailbox.address.as_ref().map(|address| address.normalized());
        self.addresses.retain(|taken, owner| Some(taken) != address.as_ref() || *owner != mailbox.id);
    }
}

impl MemoryState {
    /// How often single things were read so far.
    pub fn reads(&self) -> Reads {
        lock(&self.0).reads
    }
}

impl MailboxStore for MemoryState {
    async fn load(&self, mailbox: &MailboxId, delivery: Delivery) -> Result<Option<DeliveryRow>, Outage> {
        let state = lock(&self.0);
        let (Some(stored), Some(row)) =
            (state.mailboxes.get(mailbox), state.deliveries.get(&(mailbox.clone(), delivery)))
        else {
            return Ok(None);
        };
        Ok(Some(DeliveryRow {
            mailbox: stored.mailbox.clone(),
            credentials: stored.credentials.clone(),
            state: row.state.clone(),
            position: row.position.clone(),
            interval_minutes: row.interval_minutes,
            leased_until: row.leased_until,
            claim: Claim { mailbox: mailbox.clone(), delivery, version: row.version },
        }))
    }

    async fn lease(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<Option<Claim>, Outage> {
        let mut state = lock(&self.0);
        let free = state.row(claim).filter(|row| row.leased_until.is_none_or(|held| held <= now));
        Ok(free.map(|row| {
            row.leased_until = Some(until);
            row.version += 1;
            Claim { version: row.version, ..claim.clone() }
        }))
    }

    async fn advance(&self, claim: &Claim, position: &Position, source: &str) -> Result<Option<Claim>, Outage> {
        let mut state = lock(&self.0);
        Ok(state.row(claim).map(|row| {
            row.position = Some(position.clone());
            row.state.source = Some(source.to_owned());
            (row.state.transient_failure_count, row.state.failing_since) = (0, None);
            row.version += 1;
            Claim { version: row.version, ..claim.clone() }
        }))
    }

    async fn mark_passed_over(&self, claim: &Claim, passed_over: PassedOver) -> Result<Option<Claim>, Outage> {
        let mut state = lock(&self.0);
        Ok(state.row(claim).map(|row| {
            row.state.passed_over = Some(passed_over);
            row.version += 1;
            Claim { version: row.version, ..claim.clone() }
        }))
    }

    async fn commit(&self, claim: &Claim, closing: &Closing) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let Some(row) = state.row(claim) else {
            return Ok(false);
        };
        row.state = closing.state.clone();
        row.position = closing.position.clone().or(row.position.take());
        row.leased_until = None;
        row.version += 1;
        let interval = closing.state.scheduled(closing.interval_minutes);
        state.reschedule(&claim.mailbox, claim.delivery, interval);
        for alert in &closing.alerts {
            state.write_alert(claim, alert);
        }
        if let Some(notice) = &closing.notice {
            state.notices.insert(notice.id.clone(), notice.clone());
        }
        state.audit.extend(closing.audit.clone());
        Ok(true)
    }

    async fn take_permit(
        &self,
        profile: &ProfileId,
        permits: u16,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u16>, Outage> {
        let mut state = lock(&self.0);
        let free = (0..permits).find(|n| state.permits.get(&(profile.clone(), *n)).is_none_or(|held| *held <= now));
        if let Some(number) = free {
            state.permits.insert((profile.clone(), number), until);
        }
        Ok(free)
    }

    async fn return_permit(&self, profile: &ProfileId, number: u16, until: Timestamp) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        let key = (profile.clone(), number);
        if state.permits.get(&key).is_some_and(|held| held.timestamp() == until.timestamp()) {
            state.permits.remove(&key);
        }
        Ok(())
    }

    async fn intervals(&self) -> Result<Vec<u16>, Outage> {
        let intervals: BTreeSet<u16> = lock(&self.0).schedule.keys().map(|slot| slot.interval_minutes).collect();
        Ok(intervals.into_iter().collect())
    }

    async fn enqueued_until(&self) -> Result<Option<Timestamp>, Outage> {
        Ok(lock(&self.0).enqueued_until)
    }

    async fn set_enqueued_until(&self, at: Timestamp) -> Result<(), Outage> {
        lock(&self.0).enqueued_until = Some(at);
        Ok(())
    }

    async fn due(&self, slot: Slot, _: Option<String>) -> Result<DuePage, Outage> {
        let state = lock(&self.0);
        let due = state.schedule.get(&slot).into_iter().flatten();
        let wakes = due.map(|(mailbox, delivery)| Wake { mailbox: mailbox.clone(), delivery: *delivery });
        Ok(DuePage { wakes: wakes.collect(), cursor: None })
    }
}

impl Directory for MemoryState {
    async fn put_profile(&self, profile: &StoredProfile, audit: &AuditEntry) -> Result<Written, Outage> {
        let mut state = lock(&self.0);
        let id = &profile.profile.id;
        if state.profiles.get(id).map_or(0, |known| known.revision) != profile.revision {
            return Ok(Written::Superseded);
        }
        let next = StoredProfile { revision: profile.revision + 1, ..profile.clone() };
        state.profiles.insert(id.clone(), next);
        state.audit.push(audit.clone());
        Ok(Written::Done)
    }

    async fn profile(&self, id: &ProfileId) -> Result<Option<StoredProfile>, Outage> {
        let mut state = lock(&self.0);
        state.reads.profiles += 1;
        Ok(state.profiles.get(id).cloned())
    }

    async fn profiles(&self, request: &PageRequest) -> Result<Page<StoredProfile>, Outage> {
        let state = lock(&self.0);
        Ok(page(state.profiles.iter().map(|(id, p)| (id.to_string(), p.clone())).collect(), request))
    }

    async fn delete_profile(&self, id: &ProfileId, audit: &AuditEntry) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        state.profiles.remove(id);
        state.audit.push(audit.clone());
        Ok(())
    }

    async fn create_mailbox(&self, mailbox: &StoredMailbox, audit: &AuditEntry) -> Result<Written, Outage> {
        let mut state = lock(&self.0);
        if !state.profiles.contains_key(&mailbox.mailbox.profile_id) {
            return Ok(Written::ProfileGone);
        }
        if let Some(owner) = state.take_address(&mailbox.mailbox) {
            return Ok(Written::AddressTaken(owner));
        }
        if state.mailboxes.contains_key(&mailbox.mailbox.id) {
            return Ok(Written::Superseded);
        }
        let next = StoredMailbox { revision: mailbox.revision + 1, ..mailbox.clone() };
        state.mailboxes.insert(mailbox.mailbox.id.clone(), next);
        for delivery in Delivery::ALL {
            state.configure(mailbox, delivery, audit.at);
        }
        state.audit.push(audit.clone());
        Ok(Written::Done)
    }

    async fn mailbox(&self, id: &MailboxId) -> Result<Option<MailboxDetails>, Outage> {
        let mut state = lock(&self.0);
        state.reads.mailboxes += 1;
        Ok(state.mailboxes.get(id).map(|stored| MailboxDetails {
            stored: stored.clone(),
            deliveries: Delivery::ALL
                .into_iter()
                .filter_map(|d| state.deliveries.get(&(id.clone(), d)).map(|row| (d, row.state.clone())))
                .collect(),
        }))
    }

    async fn mailboxes(
        &self,
        profile: Option<&ProfileId>,
        request: &PageRequest,
    ) -> Result<Page<StoredMailbox>, Outage> {
        let state = lock(&self.0);
        let wanted = state.mailboxes.iter().filter(|(_, m)| profile.is_none_or(|p| m.mailbox.profile_id == *p));
        Ok(page(wanted.map(|(id, m)| (id.to_string(), m.clone())).collect(), request))
    }

    async fn details(&self, profile: &ProfileId, request: &PageRequest) -> Result<Page<MailboxDetails>, Outage> {
        let mailboxes = self.mailboxes(Some(profile), request).await?;
        let mut items = Vec::new();
        for stored in mailboxes.items {
            items.extend(self.mailbox(&stored.mailbox.id).await?);
        }
        Ok(Page { items, cursor: mailboxes.cursor })
    }

    async fn change_mailbox(
        &self,
        before: &MailboxDetails,
        after: &StoredMailbox,
        audit: &AuditEntry,
    ) -> Result<Written, Outage> {
        let mut state = lock(&self.0);
        let (old, new) = (&before.stored.mailbox, &after.mailbox);
        if state.mailboxes.get(&new.id).map(|known| known.revision) != Some(after.revision) {
            return Ok(Written::Superseded);
        }
        if old.profile_id != new.profile_id && !state.profiles.contains_key(&new.profile_id) {
            return Ok(Written::ProfileGone);
        }
        if !old.has_same_address(new) {
            if let Some(owner) = state.take_address(new) {
                return Ok(Written::AddressTaken(owner));
            }
            state.leave_address(old);
        }
        let next = StoredMailbox { revision: after.revision + 1, ..after.clone() };
        state.mailboxes.insert(new.id.clone(), next);
        for delivery in Delivery::ALL {
            if old.begins_anew(new, delivery) {
                state.configure(after, delivery, audit.at);
            }
        }
        state.audit.push(audit.clone());
        Ok(Written::Done)
    }

    async fn delete_mailbox(&self, details: &MailboxDetails, audit: &AuditEntry) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        let Some(StoredMailbox { mailbox, .. }) = state.mailboxes.remove(&details.stored.mailbox.id) else {
            return Ok(());
        };
        let mailbox = &mailbox;
        state.tests.remove(&mailbox.id);
        state.leave_address(mailbox);
        for delivery in Delivery::ALL {
            state.reschedule(&mailbox.id, delivery, None);
            state.deliveries.remove(&(mailbox.id.clone(), delivery));
        }
        state.alerts.retain(|(of, ..), _| *of != mailbox.id);
        state.audit.push(audit.clone());
        Ok(())
    }

    async fn enable(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        interval_minutes: u16,
        audit: &AuditEntry,
    ) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let Some(row) = state.deliveries.get_mut(&(mailbox.clone(), delivery)) else {
            return Ok(false);
        };
        let open = std::mem::take(&mut row.state.open_alerts);
        row.state = row.state.re_enabled(audit.at);
        row.version += 1;
        let enabled = row.state.enabled;
        state.reschedule(mailbox, delivery, enabled.then_some(interval_minutes));
        for kind in open {
            state.close(mailbox, delivery, kind, audit.at);
        }
        state.audit.push(audit.clone());
        Ok(true)
    }

    async fn moves_items(&self, method: SynchronizationMethod) -> Result<bool, Outage> {
        let state = lock(&self.0);
        Ok(state.mailboxes.values().any(|stored| stored.mailbox.appointments_contacts_tasks == method))
    }

    async fn hurry(&self, mailbox: &MailboxId, delivery: Delivery) -> Result<(), Outage> {
        if let Some(row) = lock(&self.0).deliveries.get_mut(&(mailbox.clone(), delivery)) {
            row.state.last_run = None;
        }
        Ok(())
    }

    async fn organization(&self) -> Result<StoredOrganization, Outage> {
        let mut state = lock(&self.0);
        state.reads.organization += 1;
        Ok(state.organization.clone())
    }

    async fn put_organization(&self, stored: &StoredOrganization, audit: &AuditEntry) -> Result<Written, Outage> {
        let mut state = lock(&self.0);
        if state.organization.revision != stored.revision {
            return Ok(Written::Superseded);
        }
        state.organization = StoredOrganization { revision: stored.revision + 1, ..stored.clone() };
        state.audit.push(audit.clone());
        Ok(Written::Done)
    }

    async fn alerts(&self, filter: &AlertFilter, request: &PageRequest) -> Result<Page<Alert>, Outage> {
        let state = lock(&self.0);
        let wanted = |alert: &&Alert| match filter {
            AlertFilter::Mailbox(mailbox) => alert.mailbox_id.as_ref() == Some(mailbox),
            AlertFilter::Profile(profile) => alert.mailbox_id.is_none() && alert.profile_id == *profile,
            AlertFilter::Status(status) => alert.status == *status,
        };
        let all = state.alerts.values().chain(state.profile_alerts.values());
        let mut alerts: Vec<Alert> = all.flatten().filter(wanted).cloned().collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.first_seen));
        Ok(page((0..).map(|n: u32| format!("{n:08}")).zip(alerts).collect(), request))
    }
}
