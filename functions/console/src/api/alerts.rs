//! Alerts: what happened to mailboxes and profiles, why, and what to do about it.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mailrail_domain::words::{
    alert,
    id::{MailboxId, ProfileId},
    invalid::Invalid,
};
use mailrail_engine::{administration::trouble::AlertsOf, ports::Ports};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::{Cause, Delivery, EvidenceView, Level, api_enum};
use crate::{
    app::App,
    body::Parameters,
    page::{Listing, PageQuery},
    problem::Problem,
};

api_enum! {
    /// What an alert is about.
    AlertKind of alert::AlertKind {
        MailboxLocationNotDetermined,
        ServerNotReachable,
        SecureConnectionFailed,
        ServerNotSupported,
        ServerUnavailable,
        AuthenticationNotOffered,
        CredentialsMissing,
        MailboxCredentialsIncorrect,
        ProfileCredentialsIncorrect,
        SignInFailed,
        ApplicationUnknown,
        PermissionMissing,
        MailboxNotEnabled,
        MailboxInUse,
        MailboxNotFound,
        OverQuota,
        SenderRefused,
        SendingDeferred,
        TestMessageNotArrived,
        AddressNotApproved,
        TenantApprovalRequired,
        OrganizerMissing,
        OtherPrimaryOrganization,
        EmailPendingSend,
        ProfileHeld,
        MajorityFailing,
        Stalled,
        UnknownError,
    }
}

api_enum! {
    /// How far an alert reaches.
    AlertScope of alert::AlertScope { Email, Mailbox, Profile }
}

api_enum! {
    /// What mends the cause of an alert, where it can be done here.
    AlertAction of alert::AlertAction {
        Approve,
        ApproveForTenant,
        ReenterCredentials,
        ChangeProfile,
        OverridePrimaryOrganization,
        TestAgain,
    }
}

api_enum! {
    /// Whether the cause of an alert still stands.
    AlertStatus of alert::AlertStatus { Open, Closed }
}

/// An alert, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertView {
    /// What it is about.
    kind: AlertKind,
    /// How serious it is.
    level: Level,
    /// Whether its cause still stands.
    status: AlertStatus,
    /// The mailbox that it concerns; absent if it concerns the profile with all its mailboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox_id: Option<String>,
    /// The profile, or that of the mailbox.
    profile_id: String,
    /// The delivery that it concerns.
    delivery: Delivery,
    /// How far it reaches.
    scope: AlertScope,
    /// What happened, as a sentence.
    text: String,
    /// Why a failure was taken for what it was, as a sentence; absent where nothing failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    why: String,
    /// What mends it, where it can be done here.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<AlertAction>,
    /// What to do, step by step.
    resolution: Vec<String>,
    /// The cause, where a server's failure raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    /// The server's own words, with stage and codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceView>,
    /// How often it has happened since it was opened.
    count: u64,
    /// When it was opened.
    first_seen: DateTime<Utc>,
    /// When it last happened.
    last_seen: DateTime<Utc>,
}

impl From<alert::Alert> for AlertView {
    fn from(alert: alert::Alert) -> Self {
        Self {
            kind: alert.kind.into(),
            level: alert.level.into(),
            status: alert.status.into(),
            mailbox_id: alert.mailbox_id.map(String::from),
            profile_id: alert.profile_id.into(),
            delivery: alert.delivery.into(),
            scope: alert.scope.into(),
            text: alert.text,
            why: alert.why,
            action: alert.action.map(Into::into),
            resolution: alert.resolution,
            cause: alert.cause.map(Into::into),
            evidence: alert.evidence.map(Into::into),
            count: alert.count,
            first_seen: alert.first_seen,
            last_seen: alert.last_seen,
        }
    }
}

/// Which alerts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertQuery {
    /// `open` (default) or `closed`.
    #[param(inline)]
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

/// Lists alerts, the newest first.
#[utoipa::path(get, path = "/v1/alerts", params(AlertQuery), responses((status = 200, body = Listing<AlertView>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(query): Parameters<AlertQuery>,
) -> Result<Json<Listing<AlertView>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let of = match (query.mailbox_id, query.profile_id) {
        (Some(_), Some(_)) => {
            return Err(Invalid::new("profile_id", "mailbox_id is given too", "Give one of the two").into());
        }
        (Some(id), None) => AlertsOf::Mailbox(MailboxId::parse(id)?),
        (None, Some(id)) => AlertsOf::Profile(ProfileId::parse(id)?),
        (None, None) => AlertsOf::Everybody(query.status.unwrap_or(AlertStatus::Open).into()),
    };
    Ok(Json(Listing::of(app.engine.list_alerts(of, &page).await?, AlertView::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        AlertKind::check_values();
        AlertScope::check_values();
        AlertAction::check_values();
        AlertStatus::check_values();
    }
}
