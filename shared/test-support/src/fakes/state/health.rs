//! What is told of profiles, and the notices that wait, in memory.

use mailrail_domain::{
    Timestamp,
    rules::hold::ProfileHealth,
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        delivery::Delivery,
        id::ProfileId,
        notice::{Notice, NoticeStatus},
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{HealthStore, NoticeStore, Page, PageRequest, StoredHealth},
};

use super::{
    super::{lock, page},
    MemoryState, State,
};

impl HealthStore for MemoryState {
    async fn health(&self, profile: &ProfileId) -> Result<Option<StoredHealth>, Outage> {
        Ok(lock(&self.0).health.get(profile).cloned())
    }

    async fn put_health(
        &self,
        profile: &ProfileId,
        health: &ProfileHealth,
        version: u64,
        told: Option<(&Alert, &Notice)>,
    ) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let is_ours = state.health.get(profile).map_or(0, |known| known.version) == version;
        if is_ours {
            let stored = StoredHealth { health: health.clone(), version: version + 1 };
            state.health.insert(profile.clone(), stored);
            if let Some((alert, notice)) = told {
                raise(&mut state, alert, Some(notice));
            }
        }
        Ok(is_ours)
    }

    async fn clear_health(
        &self,
        profile: &ProfileId,
        version: u64,
        over: Option<(&Alert, Timestamp, &Notice)>,
    ) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let is_ours = state.health.get(profile).is_some_and(|known| known.version == version);
        if is_ours {
            state.health.remove(profile);
            if let Some((alert, at, notice)) = over {
                close(&mut state, alert, at, Some(notice));
            }
        }
        Ok(is_ours)
    }

    async fn open_alert(
        &self,
        profile: &ProfileId,
        delivery: Delivery,
        kind: AlertKind,
    ) -> Result<Option<Alert>, Outage> {
        let state = lock(&self.0);
        let history = state.profile_alerts.get(&(profile.clone(), delivery, kind));
        Ok(history.and_then(|history| history.last()).filter(|alert| alert.status == AlertStatus::Open).cloned())
    }

    async fn raise(&self, alert: &Alert, notice: Option<&Notice>) -> Result<(), Outage> {
        raise(&mut lock(&self.0), alert, notice);
        Ok(())
    }

    async fn close(&self, alert: &Alert, at: Timestamp, notice: Option<&Notice>) -> Result<(), Outage> {
        close(&mut lock(&self.0), alert, at, notice);
        Ok(())
    }
}

fn raise(state: &mut State, alert: &Alert, notice: Option<&Notice>) {
    let key = (alert.profile_id.clone(), alert.delivery, alert.kind);
    let history = state.profile_alerts.entry(key).or_default();
    match history.last_mut().filter(|open| open.status == AlertStatus::Open) {
        Some(open) => *open = Alert { count: open.count + 1, first_seen: open.first_seen, ..alert.clone() },
        None => history.push(alert.clone()),
    }
    state.notices.extend(notice.map(|notice| (notice.id.clone(), notice.clone())));
}

fn close(state: &mut State, alert: &Alert, at: Timestamp, notice: Option<&Notice>) {
    let key = (alert.profile_id.clone(), alert.delivery, alert.kind);
    if state.organization.organization.closed_alert_days == 0 {
        state.profile_alerts.remove(&key);
    }
    for alert in state.profile_alerts.get_mut(&key).into_iter().flatten() {
        if alert.status == AlertStatus::Open {
            (alert.status, alert.last_seen) = (AlertStatus::Closed, at);
        }
    }
    state.notices.extend(notice.map(|notice| (notice.id.clone(), notice.clone())));
}

impl NoticeStore for MemoryState {
    async fn notices(&self, status: NoticeStatus, request: &PageRequest) -> Result<Page<Notice>, Outage> {
        let state = lock(&self.0);
        let mut notices: Vec<Notice> = state.notices.values().filter(|n| n.status == status).cloned().collect();
        notices.sort_by_key(|notice| (notice.next_attempt, notice.id.clone()));
        Ok(page((0..).map(|n: u32| format!("{n:08}")).zip(notices).collect(), request))
    }

    async fn update_notice(&self, notice: &Notice, attempts: u32) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let unchanged = state.notices.get(&notice.id).is_some_and(|known| known.attempts == attempts);
        if unchanged {
            state.notices.insert(notice.id.clone(), notice.clone());
        }
        Ok(unchanged)
    }
}
