//! What is to be seen: alerts, notices, the organization's settings, health.

use axum::{Json, extract::State, http::HeaderMap};
use mailrail_domain::{
    settings::{hold::HoldSettings, organization::Organization},
    words::{
        alert::{Alert, AlertStatus, Level},
        audit::{AuditAction, AuditSubject},
        delivery::Delivery,
        id::{MailboxId, ProfileId},
        invalid::Invalid,
        notice::{Notice, NoticeStatus},
    },
};
use mailrail_engine::{
    alerts::alerts_of_mailbox,
    ports::{AlertFilter, Directory, MailboxStore, NoticeStore, Ports, StoredOrganization, Written},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    auth::Caller,
    body::{Body, Parameters, from_value, merge, names, require_revision},
    page::{Listing, PageQuery},
    problem::Problem,
};

/// Which alerts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct AlertQuery {
    /// `open` (default) or `closed`.
    #[param(value_type = Option<String>)]
    status: Option<AlertStatus>,
    /// Those of this mailbox, open and closed; on the first page also the open ones of its profile.
    mailbox_id: Option<String>,
    /// Those of this profile itself, open and closed.
    profile_id: Option<String>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Which notices are wanted.
#[derive(Debug, Deserialize, IntoParams)]
pub struct NoticeQuery {
    /// `pending` (default) or `sent`.
    #[param(value_type = Option<String>)]
    status: Option<NoticeStatus>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Settings of the organization.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationSettings {
    /// The mailbox whose profile and credentials send notices; `null` for none, and notices wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice_mailbox_id: Option<String>,
    /// Whether email of users' mailboxes is processed only once their addresses are approved.
    process_emails_only_for_approved_users: bool,
    /// Whether email of queues' mailboxes is processed only once their addresses are approved.
    process_emails_only_for_approved_queues: bool,
    /// The tenant that the organization belongs to, where its servers are Exchange Online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    /// The application that may be granted mailboxes of other tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cross_tenant_client_id: Option<String>,
    /// Recipients that one mailbox may send to within an hour, 1 to 10000.
    recipients_per_hour: u32,
    /// How outages of servers are borne, where a profile says nothing else: `hold_after_mailboxes`, 0 to 100, and
    /// `recovery_probe`, `off`, `tell` or `resume`.
    #[schema(value_type = Object)]
    outages: HoldSettings,
    /// Whether an owner is told at the eighth failure in a row, two before the last.
    warn_before_disabling: bool,
    /// Whether a mailbox's own address is told what the owner of its profile is told.
    notify_mailbox_owners: bool,
    /// Levels of alerts that are recorded: `information`, `warning`, `error`.
    #[schema(value_type = Vec<String>)]
    recorded_alert_levels: Vec<Level>,
    /// Days for which closed alerts are kept, 0 to 3650.
    closed_alert_days: u16,
    /// Minutes without a success after which a delivery that does not fail is reported, up to 10080; 0 for never.
    stall_minutes: u16,
    /// Where the console is, for links in notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    console_url: Option<String>,
}

/// Settings of the organization, as they are shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganizationView {
    /// How often they have been written; a change may be conditional on it, by `If-Match`.
    revision: u64,
    /// Everything that was given.
    #[serde(flatten)]
    settings: OrganizationSettings,
}

impl From<StoredOrganization> for OrganizationView {
    fn from(stored: StoredOrganization) -> Self {
        let Organization {
            notice_mailbox_id,
            process_emails_only_for_approved_users,
            process_emails_only_for_approved_queues,
            tenant_id,
            cross_tenant_client_id,
            recipients_per_hour,
            hold: outages,
            warn_before_disabling,
            notify_mailbox_owners,
            recorded_alert_levels,
            closed_alert_days,
            stall_minutes,
            console_url,
        } = stored.organization;
        let settings = OrganizationSettings {
            notice_mailbox_id: notice_mailbox_id.map(String::from),
            process_emails_only_for_approved_users,
            process_emails_only_for_approved_queues,
            tenant_id,
            cross_tenant_client_id,
            recipients_per_hour,
            outages,
            warn_before_disabling,
            notify_mailbox_owners,
            recorded_alert_levels,
            closed_alert_days,
            stall_minutes,
            console_url,
        };
        Self { revision: stored.revision, settings }
    }
}

/// Lists alerts, the newest first.
#[utoipa::path(get, path = "/v1/alerts", params(AlertQuery), responses((status = 200, body = Listing<Object>), (status = 422, body = Problem)))]
pub async fn alerts(
    State(app): State<App>,
    Parameters(query): Parameters<AlertQuery>,
) -> Result<Json<Listing<Alert>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let store = app.engine.ports.mailboxes();
    let filter = match (query.mailbox_id, query.profile_id) {
        (Some(_), Some(_)) => {
            return Err(Invalid::new("profile_id", "mailbox_id is given too", "Give one of the two").into());
        }
        (Some(id), None) => {
            let alerts = alerts_of_mailbox(store, &MailboxId::parse(id)?, &page).await?;
            return Ok(Json(Listing::of(alerts, |alert| alert)));
        }
        (None, Some(id)) => AlertFilter::Profile(ProfileId::parse(id)?),
        (None, None) => AlertFilter::Status(query.status.unwrap_or(AlertStatus::Open)),
    };
    let alerts = store.alerts(&filter, &page).await?;
    Ok(Json(Listing::of(alerts, |alert| alert)))
}

/// Lists notices: those that wait, with the reason, or those that were sent.
#[utoipa::path(get, path = "/v1/notices", params(NoticeQuery), responses((status = 200, body = Listing<Object>), (status = 422, body = Problem)))]
pub async fn notices(
    State(app): State<App>,
    Parameters(query): Parameters<NoticeQuery>,
) -> Result<Json<Listing<Notice>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let status = query.status.unwrap_or(NoticeStatus::Pending);
    let notices = app.engine.ports.mailboxes().notices(status, &page).await?;
    Ok(Json(Listing::of(notices, |notice| notice)))
}

/// Reads the organization's settings.
#[utoipa::path(get, path = "/v1/organization", responses((status = 200, body = OrganizationView)))]
pub async fn organization(State(app): State<App>) -> Result<Json<OrganizationView>, Problem> {
    Ok(Json(app.engine.ports.mailboxes().organization().await?.into()))
}

/// Changes the organization's settings by a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/v1/organization", request_body = OrganizationSettings, responses((status = 200, body = OrganizationView), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn change_organization(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Json<OrganizationView>, Problem> {
    let mailboxes = app.engine.ports.mailboxes();
    let before = mailboxes.organization().await?;
    require_revision(&headers, before.revision)?;
    let fields = names(&patch);
    let mut settings = serde_json::to_value(OrganizationView::from(before.clone()).settings).unwrap_or_default();
    merge(&mut settings, patch);
    let settings: OrganizationSettings = from_value(settings)?;
    let notice_mailbox_id = match settings.notice_mailbox_id {
        None => None,
        Some(id) => {
            let unknown = || {
                let problem = "there is no mailbox with this id that sends email";
                Invalid::new("notice_mailbox_id", problem, "Give the id of a mailbox")
            };
            let id = MailboxId::parse(id).map_err(|_| unknown())?;
            mailboxes.load(&id, Delivery::OutgoingEmail).await?.ok_or_else(unknown)?;
            Some(id)
        }
    };
    let organization = Organization {
        notice_mailbox_id,
        process_emails_only_for_approved_users: settings.process_emails_only_for_approved_users,
        process_emails_only_for_approved_queues: settings.process_emails_only_for_approved_queues,
        tenant_id: settings.tenant_id,
        cross_tenant_client_id: settings.cross_tenant_client_id,
        recipients_per_hour: settings.recipients_per_hour,
        hold: settings.outages,
        warn_before_disabling: settings.warn_before_disabling,
        notify_mailbox_owners: settings.notify_mailbox_owners,
        recorded_alert_levels: settings.recorded_alert_levels,
        closed_alert_days: settings.closed_alert_days,
        stall_minutes: settings.stall_minutes,
        console_url: settings.console_url,
    };
    organization.validate()?;
    let audit = caller.audit(AuditAction::Changed, AuditSubject::Organization, "organization", fields);
    let stored = StoredOrganization { organization, revision: before.revision };
    match mailboxes.put_organization(&stored, &audit).await? {
        Written::Done => organization_view(&app).await,
        Written::AddressTaken(_) | Written::Superseded => Err(Problem::superseded()),
    }
}

async fn organization_view(app: &App) -> Result<Json<OrganizationView>, Problem> {
    organization(State(app.clone())).await
}

/// Says that the console answers.
#[utoipa::path(get, path = "/health", responses((status = 200)))]
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "up", "version": env!("CARGO_PKG_VERSION") }))
}
