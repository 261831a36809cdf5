//! The quarantine: list it, try its messages again, and say why a message was not synchronized.

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use mailrail_domain::{email::quarantine, words::id::MailboxId};
use mailrail_engine::{
    administration::quarantine::{Replay, Replays},
    ports::Ports,
    quarantine::{Finding, Replayed},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::api_enum;
use crate::{
    app::App,
    auth::Caller,
    body::{Body, Parameters},
    page::{Listing, PageQuery},
    problem::Problem,
};

api_enum! {
    /// Why a message could not become a record.
    QuarantineReason of quarantine::QuarantineReason { NotAMessage, Unreadable, TooLarge, NotHandedOut, Gone, Other }
}

/// What can be seen of a message that is no record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CluesView {
    /// Its Message-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Address of its sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
}

/// A message in quarantine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantinedView {
    /// The mailbox that it is in.
    mailbox_id: String,
    /// Its name on the server.
    remote_id: String,
    /// Why it is here.
    reason: QuarantineReason,
    /// Details of the reason, where there are any.
    detail: String,
    /// Key of its raw bytes in the deployment's bucket; empty if the server handed out none.
    raw_key: String,
    /// Its size in bytes, as the server says.
    size: u64,
    /// When it was put here.
    at: DateTime<Utc>,
    /// Tries to make a record of it, the first included.
    attempts: u32,
    /// When the last of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<DateTime<Utc>>,
    /// What could be seen of it.
    clues: CluesView,
    /// The reason as a sentence.
    explanation: &'static str,
}

impl From<quarantine::Quarantined> for QuarantinedView {
    fn from(message: quarantine::Quarantined) -> Self {
        let quarantine::Clues { message_id, subject, sender } = message.clues;
        Self {
            mailbox_id: message.mailbox_id.into(),
            remote_id: message.remote_id,
            reason: message.reason.into(),
            detail: message.detail,
            raw_key: message.raw_key,
            size: message.size,
            at: message.at,
            attempts: message.attempts,
            last_attempt: message.last_attempt,
            clues: CluesView { message_id, subject, sender },
            explanation: message.reason.sentence(),
        }
    }
}

/// Which messages are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineQuery {
    /// `not-a-message`, `unreadable`, `too-large`, `not-handed-out` or `gone`.
    #[param(inline)]
    reason: Option<QuarantineReason>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Which messages are to be tried again: those that are named, or all, or all of a mailbox or a reason.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayInput {
    /// Those of this mailbox.
    #[serde(default)]
    mailbox_id: Option<String>,
    /// Those in quarantine for this reason.
    #[serde(default)]
    reason: Option<QuarantineReason>,
    /// These of the mailbox, as `remote_id` names them.
    #[serde(default)]
    remote_ids: Option<Vec<String>>,
}

/// A message that a record has now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayedView {
    /// The mailbox.
    mailbox_id: String,
    /// Its name on the server.
    remote_id: String,
    /// The record.
    email_id: String,
}

/// A message that the server is asked for again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AskedView {
    /// The mailbox.
    mailbox_id: String,
    /// Its name on the server.
    remote_id: String,
}

/// A message that was tried again in vain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotReplayedView {
    /// The mailbox.
    mailbox_id: String,
    /// Its name on the server.
    remote_id: String,
    /// Why no record has it.
    detail: String,
}

/// What came of trying again.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ReplayResult {
    /// Messages that a record has now.
    recorded: Vec<ReplayedView>,
    /// Messages that the server did not hand out: the next run of their mailboxes asks for them again.
    asked: Vec<AskedView>,
    /// Messages that are in quarantine still, each with the reason.
    refused: Vec<NotReplayedView>,
    /// Whether there are more that match; call again for them.
    more: bool,
}

impl From<Replays> for ReplayResult {
    fn from(replays: Replays) -> Self {
        let mut result = Self { more: replays.more, ..Self::default() };
        for tried in replays.tried {
            let (mailbox_id, remote_id) = (tried.mailbox_id.into(), tried.remote_id);
            let detail = match tried.came_to {
                Replayed::Recorded(id) => {
                    result.recorded.push(ReplayedView { mailbox_id, remote_id, email_id: id.into() });
                    continue;
                }
                Replayed::Asked => {
                    result.asked.push(AskedView { mailbox_id, remote_id });
                    continue;
                }
                Replayed::Refused(why) => why,
                Replayed::Gone => "It is in no quarantine any more.".to_owned(),
            };
            result.refused.push(NotReplayedView { mailbox_id, remote_id, detail });
        }
        result
    }
}

/// What somebody misses.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedQuery {
    /// Message-ID, with or without angle brackets.
    message_id: Option<String>,
    /// A part of the subject.
    subject: Option<String>,
    /// A part of the sender's address.
    sender: Option<String>,
}

/// What is known of a message that somebody misses.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub(crate) enum FindingView {
    /// It is a record.
    Recorded {
        /// The record.
        email_id: String,
        /// Its subject.
        subject: String,
        /// When it was received.
        received_at: DateTime<Utc>,
    },
    /// It is in quarantine.
    Quarantined(Box<QuarantinedView>),
    /// Nothing like it is here.
    NotHere {
        /// How incoming email of the mailbox stands, as a sentence.
        explanation: String,
    },
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Recorded(email) => {
                Self::Recorded { email_id: email.id.into(), subject: email.subject, received_at: email.received_at }
            }
            Finding::Quarantined(message) => Self::Quarantined(Box::new((*message).into())),
            Finding::NotHere(explanation) => Self::NotHere { explanation },
        }
    }
}

/// Lists a mailbox's quarantine: messages that could not become records, and why.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/quarantine", params(("id" = String, Path, description = "Identifier of the mailbox"), PageQuery), responses((status = 200, body = Listing<QuarantinedView>), (status = 422, body = Problem)))]
pub(crate) async fn of_mailbox<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
    Parameters(page): Parameters<PageQuery>,
) -> Result<Json<Listing<QuarantinedView>>, Problem> {
    let messages = app.engine.list_quarantine_of(&MailboxId::parse(id)?, &page.request()?).await?;
    Ok(Json(Listing::of(messages, QuarantinedView::from)))
}

/// Lists the quarantine of all mailboxes, the newest first.
#[utoipa::path(get, path = "/v1/quarantine", params(QuarantineQuery), responses((status = 200, body = Listing<QuarantinedView>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(query): Parameters<QuarantineQuery>,
) -> Result<Json<Listing<QuarantinedView>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let messages = app.engine.list_quarantine(query.reason.map(Into::into), &page).await?;
    Ok(Json(Listing::of(messages, QuarantinedView::from)))
}

/// Tries messages in quarantine again, at most a hundred in one call. What was synchronized meanwhile is not doubled.
#[utoipa::path(post, path = "/v1/quarantine/replay", request_body = ReplayInput, responses((status = 200, body = ReplayResult), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn replay<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<ReplayInput>,
) -> Result<Json<ReplayResult>, Problem> {
    let ReplayInput { mailbox_id, reason, remote_ids } = input;
    let replay = Replay { mailbox_id, reason: reason.map(Into::into), remote_ids };
    Ok(Json(app.engine.replay_messages(&by, replay).await?.into()))
}

/// Says why a message was not synchronized: it is a record, it is in quarantine, or it never came.
#[utoipa::path(get, path = "/v1/mailboxes/{id}/why", params(("id" = String, Path, description = "Identifier of the mailbox"), WantedQuery), responses((status = 200, body = Vec<FindingView>), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn why<P: Ports>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
    Parameters(query): Parameters<WantedQuery>,
) -> Result<Json<Vec<FindingView>>, Problem> {
    let WantedQuery { message_id, subject, sender } = query;
    let wanted = quarantine::Wanted { message_id, subject, sender };
    let findings = app.engine.why_missing(&id, &wanted).await?;
    Ok(Json(findings.into_iter().map(FindingView::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        QuarantineReason::check_values();
    }
}
