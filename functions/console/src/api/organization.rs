//! The organization's settings: read and change.

use axum::{extract::State, http::HeaderMap};
use mailrail_domain::{settings::organization::Organization, words::id::MailboxId, words::invalid::Invalid};
use mailrail_engine::{
    administration::settings::{SettingsChange, no_such_notice_mailbox},
    ports::{Ports, StoredOrganization},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::words::{HoldInput, Level};
use crate::{
    app::App,
    auth::Caller,
    body::{Body, Revised, Tagged, expected_revision, merged, names, required_object},
    problem::Problem,
};

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
    /// What happens when servers fail, where a profile says nothing else.
    #[serde(deserialize_with = "required_object")]
    outages: HoldInput,
    /// Whether an owner is told at the eighth failure in a row, two before the last.
    warn_before_disabling: bool,
    /// Whether a mailbox's own address is told what the owner of its profile is told.
    notify_mailbox_owners: bool,
    /// Levels of alerts that are recorded.
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
pub(crate) struct OrganizationView {
    /// How often they have been written; a change may be conditional on it, by `If-Match`.
    revision: u64,
    /// Everything that was given.
    #[serde(flatten)]
    settings: OrganizationSettings,
}

impl Revised for OrganizationView {
    fn revision(&self) -> u64 {
        self.revision
    }
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
            outages: outages.into(),
            warn_before_disabling,
            notify_mailbox_owners,
            recorded_alert_levels: recorded_alert_levels.into_iter().map(Into::into).collect(),
            closed_alert_days,
            stall_minutes,
            console_url,
        };
        Self { revision: stored.revision, settings }
    }
}

impl TryFrom<OrganizationSettings> for Organization {
    type Error = Invalid;

    fn try_from(settings: OrganizationSettings) -> Result<Self, Invalid> {
        let mailbox = settings.notice_mailbox_id.map(MailboxId::parse).transpose();
        Ok(Self {
            notice_mailbox_id: mailbox.map_err(|_| no_such_notice_mailbox())?,
            process_emails_only_for_approved_users: settings.process_emails_only_for_approved_users,
            process_emails_only_for_approved_queues: settings.process_emails_only_for_approved_queues,
            tenant_id: settings.tenant_id,
            cross_tenant_client_id: settings.cross_tenant_client_id,
            recipients_per_hour: settings.recipients_per_hour,
            hold: settings.outages.into(),
            warn_before_disabling: settings.warn_before_disabling,
            notify_mailbox_owners: settings.notify_mailbox_owners,
            recorded_alert_levels: settings.recorded_alert_levels.into_iter().map(Into::into).collect(),
            closed_alert_days: settings.closed_alert_days,
            stall_minutes: settings.stall_minutes,
            console_url: settings.console_url,
        })
    }
}

/// Reads the organization's settings.
#[utoipa::path(get, path = "/v1/organization", responses((status = 200, body = OrganizationView)))]
pub(crate) async fn read<P: Ports>(State(app): State<App<P>>) -> Result<Tagged<OrganizationView>, Problem> {
    Ok(Tagged(app.engine.organization().await?.into()))
}

/// Changes the organization's settings by a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/v1/organization", request_body = OrganizationSettings, responses((status = 200, body = OrganizationView), (status = 409, body = Problem), (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Tagged<OrganizationView>, Problem> {
    let before = app.engine.organization_to_change(&expected_revision(&headers)?).await?;
    let fields = names(&patch);
    let settings = merged(&OrganizationView::from(before.clone()).settings, patch)?;
    let change = SettingsChange { before, after: settings.try_into()?, fields };
    Ok(Tagged(app.engine.change_organization(&by, change).await?.into()))
}
