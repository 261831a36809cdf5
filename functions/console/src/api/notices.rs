//! Notices: what owners are told by email, sent or waiting.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mailrail_domain::words::notice;
use mailrail_engine::ports::Ports;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::{Delivery, api_enum};
use crate::{
    app::App,
    body::Parameters,
    page::{Listing, PageQuery},
    problem::Problem,
};

api_enum! {
    /// Whether a notice has gone out.
    NoticeStatus of notice::NoticeStatus { Pending, Sent }
}

api_enum! {
    /// What a notice tells of.
    NoticeKind of notice::NoticeKind { Disabled, Warning, Recovered, Held, Released, MajorityFailing, Other }
}

/// A notice, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoticeView {
    /// Its identifier.
    id: String,
    /// What it tells of.
    kind: NoticeKind,
    /// Whom it goes to.
    to: String,
    /// Who gets a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_to: Option<String>,
    /// The mailbox that it is about; absent if it is about a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox_id: Option<String>,
    /// The name of that mailbox, or of the profile.
    about: String,
    /// Its profile.
    profile_id: String,
    /// The delivery that it is about.
    delivery: Delivery,
    /// Subject of the email.
    subject: String,
    /// Text of the email.
    text: String,
    /// Whether it has gone out.
    status: NoticeStatus,
    /// Tries so far.
    attempts: u32,
    /// Not before this moment.
    next_attempt: DateTime<Utc>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When what it tells of happened.
    created_at: DateTime<Utc>,
    /// When it went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<DateTime<Utc>>,
}

impl From<notice::Notice> for NoticeView {
    fn from(notice: notice::Notice) -> Self {
        Self {
            id: notice.id,
            kind: notice.kind.into(),
            to: notice.to.into(),
            copy_to: notice.copy_to.map(String::from),
            mailbox_id: notice.mailbox_id.map(String::from),
            about: notice.about,
            profile_id: notice.profile_id.into(),
            delivery: notice.delivery.into(),
            subject: notice.subject,
            text: notice.text,
            status: notice.status.into(),
            attempts: notice.attempts,
            next_attempt: notice.next_attempt,
            last_error: notice.last_error,
            created_at: notice.created_at,
            sent_at: notice.sent_at,
        }
    }
}

/// Which notices are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoticeQuery {
    /// `pending` (default) or `sent`.
    #[param(inline)]
    status: Option<NoticeStatus>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Lists notices: those that wait, with the reason, or those that were sent.
#[utoipa::path(get, path = "/v1/notices", params(NoticeQuery), responses((status = 200, body = Listing<NoticeView>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(query): Parameters<NoticeQuery>,
) -> Result<Json<Listing<NoticeView>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let status = query.status.unwrap_or(NoticeStatus::Pending).into();
    Ok(Json(Listing::of(app.engine.list_notices(status, &page).await?, NoticeView::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        NoticeStatus::check_values();
        NoticeKind::check_values();
    }
}
